// Command build makes sure that the programs of the tests' control plane are in the user's cache folder; with --node those of a node,
// too, with --oldest those of the oldest control plane instead.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

func main() {
	node := flag.Bool("node", false, "the programs of a node, too")
	oldest := flag.Bool("oldest", false, "the oldest control plane")
	flag.Parse()
	set := binaries.ControlPlane
	switch {
	case *oldest:
		set = binaries.Oldest
	case *node:
		set = binaries.Node
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := binaries.Ensure(ctx, os.Stdout, set)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
