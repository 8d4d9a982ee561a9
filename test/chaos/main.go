// Command chaos plays what befalls an operator in a cluster to two replicas of it behind one Service: updates, crashes, an API
// server that restarts, a Sysdig that answers nothing, rotations of everything that expires, and half an hour of nothing at all.
// Metrics are read all the time, by HPAs of a real controller and by readers of its own. It prints a table in Markdown; progress
// goes to standard error. It fails when a read failed that need not have, when replicas changed that had no reason to, or when
// something grew.
//
// The replicas are processes of this machine, and a balancer of TCP connections stands for their Service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// plan says what is played.
type plan struct {
	play        string // faults, rotations or soak
	only        []string
	runs        int
	deployments int // with an HPA each
	metrics     int // bindings of each
	blackHole   time.Duration
	rotations   int
	soak        time.Duration
	settle      time.Duration // after each fault
	delay       time.Duration // for which a replica serves after SIGTERM
}

// deadline bounds a whole run.
const deadline = 3 * time.Hour

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	p, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string) (plan, error) {
	p := plan{metrics: 1}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.StringVar(&p.play, "play", "faults", "what is played: faults, rotations or soak")
	only := flags.String("only", "", "names of faults, with commas between")
	flags.IntVar(&p.runs, "runs", 3, "how often each fault is played")
	flags.IntVar(&p.deployments, "deployments", 20, "how many Deployments with HPAs there are")
	flags.DurationVar(&p.blackHole, "black-hole", 10*time.Minute, "how long Sysdig answers nothing")
	flags.IntVar(&p.rotations, "rotations", 100, "how many certificates and tokens are replaced")
	flags.DurationVar(&p.soak, "soak", 30*time.Minute, "how long nothing happens")
	flags.DurationVar(&p.settle, "settle", 20*time.Second, "how long is looked on after a fault")
	flags.DurationVar(&p.delay, "shutdown-delay", delay, "how long a replica serves after SIGTERM; 0 is the control run of graceful faults")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	switch {
	case flags.NArg() > 0:
		return plan{}, errors.New("want no arguments but flags")
	case p.play == "soak":
		p.metrics = 1000 / p.deployments
	case p.play != "faults" && p.play != "rotations":
		return plan{}, fmt.Errorf("--play: %q is none of faults, rotations, soak", p.play)
	}
	return p, nil
}

func run(ctx context.Context, p plan) (err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	s := &scene{plan: p, log: os.Stderr, began: time.Now()}
	background, end := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer func() {
		end()
		helpers.Wait()
		err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}()
	if err := s.open(ctx, background, &helpers); err != nil {
		return err
	}
	o, err := newObserver(s)
	if err != nil {
		return err
	}
	helpers.Go(func() { o.run(background) })
	if err := stage.Sleep(ctx, p.settle); err != nil {
		return err
	}
	if p.play == "soak" {
		return soak(ctx, s, o)
	}
	played := faults(p)
	if p.play == "rotations" {
		played = []fault{rotations(p)}
	}
	return playAll(ctx, s, o, played)
}

// playAll plays the faults as often as the plan says and prints what was seen, also when one could not be played.
func playAll(ctx context.Context, s *scene, o *observer, all []fault) (err error) {
	r := &report{}
	for n := range s.plan.runs {
		for _, f := range all {
			if f.once && n > 0 || len(s.plan.only) > 0 && !slices.Contains(s.plan.only, f.name) {
				continue
			}
			s.say("run %d: %s", n+1, f.name)
			row, failed := playOne(ctx, s, o, f)
			r.rows = append(r.rows, row)
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", f.name, failed))
				break
			}
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, r.print(os.Stdout), r.wrong())
}

// playOne lets one fault happen, waits until all HPAs are content, and looks on for a while.
func playOne(ctx context.Context, s *scene, o *observer, f fault) (row, error) {
	before, err := s.memory(ctx)
	if err != nil {
		return row{fault: f}, err
	}
	o.begin()
	began := time.Now()
	if err := f.play(ctx, s, o); err != nil {
		return row{fault: f, seen: o.end(), took: time.Since(began)}, err
	}
	over := time.Now()
	err = stage.Wait(ctx, settleLimit, s.content)
	recovered := time.Since(over)
	err = errors.Join(err, stage.Sleep(ctx, s.plan.settle))
	after, failed := s.memory(ctx)
	return row{fault: f, seen: o.end(), took: over.Sub(began), recovered: recovered, before: before, after: after}, errors.Join(err, failed)
}

// memory is the resident memory of the replica that holds most.
func (s *scene) memory(ctx context.Context) (most int, err error) {
	for _, r := range s.running() {
		u, err := s.held(ctx, r)
		if err != nil {
			return 0, err
		}
		most = max(most, u.rss)
	}
	return most, nil
}
