// Command traffic is what runs in the pods of package node: a web server that counts what it answers, a load generator, an
// agent that collects the counts as Sysdig's does, and the process that holds a pod's namespaces.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

// run does what the first argument says until the context ends.
func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args)
	case "load":
		return load(ctx, args)
	case "agent":
		return agent(ctx, args)
	case "pause":
		<-ctx.Done()
		return nil
	}
	return fmt.Errorf("say serve, load, agent or pause, not %q", command)
}
