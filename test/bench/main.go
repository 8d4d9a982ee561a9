// Command bench measures what a read costs: our provider beside one that does nothing, on the same serving library, and the
// parts of a read alone. It prints tables in Markdown; progress goes to standard error.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// serveCommand is the hidden subcommand that the parent starts itself with.
const serveCommand = "serve"

// plan is how much is measured.
type plan struct {
	pairs       int           // rounds in which each server has a window
	ofSets      int           // the same, for each scene of a set
	window      time.Duration // of one server in one round
	connections int
	rounds      int // of everything inside the process
	benchtime   time.Duration
	deadline    time.Duration
}

func fullPlan() plan {
	return plan{pairs: 15, ofSets: 9, window: 2500 * time.Millisecond, connections: 8, rounds: 5, benchtime: 400 * time.Millisecond, deadline: 30 * time.Minute}
}

func quickPlan() plan {
	return plan{pairs: 2, ofSets: 1, window: 500 * time.Millisecond, connections: 4, rounds: 1, benchtime: 20 * time.Millisecond, deadline: 5 * time.Minute}
}

// roundsOf is how many rounds a scene has.
func (p plan) roundsOf(s scene) int {
	if s.name == byName {
		return p.pairs
	}
	return p.ofSets
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == serveCommand {
		return serve(ctx, args[1:], os.Stdin, os.Stdout)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "only see whether everything works; the numbers mean little")
	pairs := flags.Int("pairs", fullPlan().pairs, "how many rounds of windows to compare, of reads by name")
	ofSets := flags.Int("set-pairs", fullPlan().ofSets, "how many rounds of windows to compare, of each kind of set")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *pairs < 1 || *ofSets < 1 {
		return fmt.Errorf("want no arguments but flags, and at least one round")
	}
	p := fullPlan()
	p.pairs, p.ofSets = *pairs, *ofSets
	if *quick {
		p = quickPlan()
	}
	r, err := run(ctx, p, os.Stderr)
	if err != nil {
		return err
	}
	return r.print(os.Stdout)
}

// results are everything that was measured.
type results struct {
	plan       plan
	duels      []duel
	authorized duel
	parts      []part
	discovery  []discovered
	heap       sizes
}

// run measures everything, one after the other: nothing that is measured runs beside something else of ours.
func run(ctx context.Context, p plan, log io.Writer) (results, error) {
	ctx, cancel := context.WithTimeout(ctx, p.deadline)
	defer cancel()
	testing.Init()
	if err := flag.Set("test.benchtime", p.benchtime.String()); err != nil {
		return results{}, fmt.Errorf("setting how long a benchmark runs: %w", err)
	}
	r := results{plan: p}
	var err error
	fmt.Fprintln(log, "measuring the heap")
	if r.heap, err = measureHeap(p.rounds); err != nil {
		return r, err
	}
	fmt.Fprintln(log, "measuring the parts")
	if r.parts, err = measureParts(ctx, p.rounds); err != nil {
		return r, err
	}
	for _, s := range scenes() {
		d, err := fight(ctx, p, s, log)
		if err != nil {
			return r, fmt.Errorf("%s: %w", s.title, err)
		}
		r.duels = append(r.duels, d)
	}
	if r.authorized, err = fightAuthorized(ctx, p, log); err != nil {
		return r, fmt.Errorf("authorized reads: %w", err)
	}
	r.discovery, err = discover(ctx, p, log)
	return r, err
}
