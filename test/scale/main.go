// Command scale runs the operator with 100, 1,000 and 10,000 bindings on a real control plane, with an HPA for each, and
// measures what it costs, beside an adapter that sends a query for every read; and how long it takes from a step of the load to
// the replicas. It prints tables in Markdown; progress goes to standard error. It fails when a value, a number of replicas or an
// answer is wrong; a target that was missed is only told.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/go-logr/logr"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

// defaultSegments is how many segments a connection asks the data API for at a time.
const defaultSegments = 500

// The parts of the report.
const (
	partScale    = "scale"
	partNaive    = "naive"
	partReaction = "reaction"
	partRequests = "requests"
)

// plan is how much is measured.
type plan struct {
	sizes           []int
	scale, naive    bool // naive comes after scale, on the same HPAs
	reaction        bool
	requests        bool
	way             way // how the operator on the control plane asks
	settle, window  time.Duration
	batches         int // of steps
	perBatch        int
	deadline        time.Duration
	profiles, pprof string // where to write profiles, and where the operator serves them
}

func fullPlan() plan {
	return plan{
		sizes: []int{100, 1000, 10_000}, way: way{v1alpha1.APIPrometheus, defaultSegments}, settle: 20 * time.Second, window: 2 * time.Minute, batches: 5, perBatch: 4, deadline: 2 * time.Hour,
	}
}

func quickPlan() plan {
	return plan{
		sizes: []int{20}, way: way{v1alpha1.APIPrometheus, defaultSegments}, settle: 2 * time.Second, window: 35 * time.Second, batches: 1, perBatch: 2,
		deadline: 10 * time.Minute,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case standinCommand:
			return serveStandin(ctx, args[1:], os.Stdin, os.Stdout)
		case naiveCommand:
			return serveNaive(ctx, args[1:], os.Stdin, os.Stdout)
		}
	}
	p, err := parse(args)
	if err != nil {
		return err
	}
	return measureAll(ctx, p, os.Stdout, os.Stderr)
}

// parse turns flags into a plan.
func parse(args []string) (plan, error) {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "only see whether everything works; the numbers mean little")
	sizes := flags.String("sizes", "", "numbers of bindings, with commas between")
	parts := []string{partScale, partNaive, partReaction, partRequests}
	only := flags.String("only", "", "one part of all: "+strings.Join(parts, ", ")+" (naive needs scale, and runs it)")
	api := flags.String("api", string(v1alpha1.APIPrometheus), "the API of Sysdig that the operator asks: Prometheus or Data; requests counts both")
	segments := flags.Int("segments", defaultSegments, "how many segments the data API is asked for at a time")
	profiles := flags.String("profile", "", "run the operator with an endpoint for profiles and write some of its heap and CPU to this `folder`")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	p := fullPlan()
	if *quick {
		p = quickPlan()
	}
	if flags.NArg() > 0 || !slices.Contains(append(parts, ""), *only) {
		return plan{}, fmt.Errorf("want no arguments but flags, and --only with one of %s", strings.Join(parts, ", "))
	}
	wants := func(some ...string) bool { return *only == "" || slices.Contains(some, *only) }
	p.scale, p.naive, p.reaction, p.requests = wants(partScale, partNaive), wants(partNaive), wants(partReaction), wants(partRequests)
	if p.way = (way{v1alpha1.API(*api), *segments}); p.way.api != v1alpha1.APIPrometheus && p.way.api != v1alpha1.APIData {
		return plan{}, fmt.Errorf("--api: want Prometheus or Data, not %q", *api)
	}
	if *sizes != "" {
		p.sizes = nil
		for text := range strings.SplitSeq(*sizes, ",") {
			n, err := strconv.Atoi(text)
			if err != nil {
				return plan{}, fmt.Errorf("--sizes: %w", err)
			}
			if _, err := newScene(n); err != nil {
				return plan{}, fmt.Errorf("--sizes: %w", err)
			}
			p.sizes = append(p.sizes, n)
		}
	}
	if p.profiles = *profiles; p.profiles != "" {
		ports, err := cluster.FreePorts(1)
		if err != nil {
			return plan{}, err
		}
		p.pprof = fmt.Sprintf("127.0.0.1:%d", ports[0])
		return p, os.MkdirAll(p.profiles, 0o700)
	}
	return p, nil
}

// measureAll measures one thing after the other and prints what is known at the end, also when a later part fails.
func measureAll(ctx context.Context, p plan, out, log io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, p.deadline)
	defer cancel()
	r := report{way: p.way}
	var failed error
	if p.requests {
		r.requests, failed = countAll(ctx, p.sizes, log)
	}
	if p.scale && failed == nil {
		for _, size := range p.sizes {
			res, err := measureSize(ctx, p, size, log)
			if err != nil {
				failed = fmt.Errorf("%d bindings: %w", size, err)
				break
			}
			r.sizes = append(r.sizes, res)
		}
	}
	if p.reaction && failed == nil {
		res, err := measureReaction(ctx, p, log)
		if err != nil {
			failed = fmt.Errorf("reaction: %w", err)
		} else {
			r.reaction = &res
		}
	}
	return errors.Join(failed, r.print(out), r.wrong())
}
