// Command demo plays a story on this machine: a real control plane starts, the operator serves a metric of a stand-in for
// Sysdig, load drives a Deployment from 2 to 8 replicas, and idle brings it back.
//
//	go run ./test/demo [--keep] [DIR]
//	go run ./test/demo --stop [DIR]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// stopTimeout bounds the end of all processes; those that still run are killed then.
const stopTimeout = 30 * time.Second

func main() {
	ctrl.SetLogger(logr.Discard()) // The client asks for one; the table is the log.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // A second signal ends this process at once.
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 when all went well, 2 for wrong usage, 1 for everything else.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "Usage: go run ./test/demo [--keep [DIR]] | --stop [DIR]\nDIR is a folder in your cache by default.\n\n")
		flags.PrintDefaults()
	}
	keep := flags.Bool("keep", false, "leave the cluster running at the end")
	end := flags.Bool("stop", false, "end a demo that was kept")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	if flags.NArg() > 1 || *keep && *end || flags.NArg() == 1 && !*keep && !*end {
		flags.Usage()
		return 2
	}
	if err := act(ctx, *keep, *end, flags.Arg(0), stdout); err != nil {
		fmt.Fprintln(stderr, "demo:", err)
		return 1
	}
	return 0
}

// act does what the flags say.
func act(ctx context.Context, keep, end bool, dir string, out io.Writer) error {
	if !keep && !end {
		return demo(ctx, "", out)
	}
	dir, err := keptDir(dir)
	if err != nil {
		return err
	}
	if end {
		if err := release(ctx, dir); err != nil {
			return err
		}
		fmt.Fprintln(out, "ended the demo and removed", dir)
		return nil
	}
	if err := claim(dir); err != nil {
		if errors.Is(err, errKept) {
			return fmt.Errorf("%w; end it with: %s", err, stopCommand(dir))
		}
		return err
	}
	return demo(ctx, dir, out)
}

// demo sets the scene and plays the story. With a folder it leaves everything running there unless it was interrupted.
func demo(ctx context.Context, dir string, out io.Writer) (err error) {
	kept := false
	clean := func(end func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if !kept {
			err = errors.Join(err, end(ctx))
		}
	}
	if dir != "" {
		defer clean(func(ctx context.Context) error { return release(ctx, dir) })
	}
	s, err := setScene(ctx, dir, out)
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted(ctx) // What it broke explains nothing.
	case err != nil:
		return err
	}
	defer clean(s.stage.Cluster.Stop)

	fmt.Fprint(out, introduction)
	p := &player{out: out, setLoad: s.standIn.setLoad, look: s.observer.look, alive: s.alive}
	results, err := p.play(ctx, story())
	if ctx.Err() != nil {
		fmt.Fprintln(out, "\nending all processes")
		return interrupted(ctx)
	}
	if err != nil {
		fmt.Fprintf(out, "\nThe story did not hold: %v\n\n%s", err, s.diagnosis(ctx))
	} else {
		fmt.Fprintf(out, "\nThe story held.\n\n%s%s", summary(results), further)
	}
	if dir != "" {
		kept = true
		c := s.stage.Cluster
		fmt.Fprint(out, tour{c.AdminKubeconfig(), c.KubectlPath(), s.standIn.url, s.standIn.bundleFile, dir})
	}
	return err
}

func interrupted(ctx context.Context) error { return fmt.Errorf("interrupted: %w", context.Cause(ctx)) }
