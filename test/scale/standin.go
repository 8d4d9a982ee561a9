package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

const (
	// standinCommand is the hidden subcommand that serves a stand-in for Sysdig.
	standinCommand = "standin"
	token          = "11111111-2222-3333-4444-555555555555"
	// history is how far back the points reach at the start: further than any window.
	history = 5 * time.Minute
	// feedEvery bounds by how much a point comes late.
	feedEvery = 50 * time.Millisecond
	// roundGap is the silence that tells one round of requests from the next.
	roundGap = 2 * time.Second
)

// standin is a stand-in for Sysdig in a process of its own.
type standin struct {
	*measure.Child
	address
}

// address is where a stand-in is reached.
type address struct {
	URL      string
	CABundle []byte
}

// traffic is what a stand-in was asked since it was last asked for this.
type traffic struct {
	Requests int
	// Failed are the answers other than 200 among the newest 10,000.
	Failed int
	// Rounds are stretches of requests with silence between them.
	Rounds []round
}

// round is one stretch of requests, from the arrival of the first to the last answer.
type round struct {
	Requests int
	Took     time.Duration
}

// startStandin starts a stand-in for a scene and waits until it serves.
func startStandin(ctx context.Context, args ...string) (*standin, error) {
	child, err := measure.StartChild(ctx, append([]string{standinCommand}, args...)...)
	if err != nil {
		return nil, err
	}
	s := &standin{Child: child}
	if err := child.Ask("address", &s.address); err != nil {
		return nil, errors.Join(err, child.Stop())
	}
	return s, nil
}

// traffic is what was asked since the last call.
func (s *standin) traffic() (t traffic, err error) {
	err = s.Ask("traffic", &t)
	return t, err
}

// step raises the load of an app tenfold, or takes it back, and returns when.
func (s *standin) step(app string) (at time.Time, err error) {
	err = s.Ask("step "+app, &at)
	return at, err
}

// serveStandin is the subcommand.
func serveStandin(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(standinCommand, flag.ContinueOnError)
	bindings := flags.Int("bindings", 0, "the scene whose series are served")
	steps := flags.Int("steps", 0, "how many apps have a load that steps")
	lag := flags.Duration("lag", sysdigtest.DefaultLag, "time from a point's timestamp until queries see it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	loads := newLoads(*steps)
	all := loads.series()
	if *bindings > 0 {
		s, err := newScene(*bindings)
		if err != nil {
			return err
		}
		all = append(all, s.series()...)
	}
	server := sysdigtest.New(sysdigtest.Options{Clock: clock.RealClock{}, Tokens: []string{token}, Lag: *lag})
	now := time.Now()
	for _, s := range all {
		sysdigtest.Fill(server.Store(), s.labels, now.Add(-history), now, s.value)
	}
	if err := server.StartTLS(); err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	group.Go(func() error {
		feed(ctx, server.Store(), all, now)
		return nil
	})
	d := desk{server: server, loads: loads}
	err := measure.Answer(in, out, d.answer)
	cancel()
	return errors.Join(err, group.Wait())
}

// feed appends the points of series until the context ends, each as soon as its time has come. Those until since are there.
func feed(ctx context.Context, store *sysdigtest.Store, all []series, since time.Time) {
	ticker := time.NewTicker(feedEvery)
	defer ticker.Stop()
	next := since.Truncate(sysdigtest.Interval).Add(sysdigtest.Interval)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for ; !next.After(now); next = next.Add(sysdigtest.Interval) {
				for _, s := range all {
					store.Append(s.labels, next, s.value(next))
				}
			}
		}
	}
}

// desk answers the parent's questions.
type desk struct {
	server *sysdigtest.Server
	loads  *loads
	seen   int // requests that were told of
}

func (d *desk) answer(question string) (any, error) {
	verb, name, _ := strings.Cut(question, " ")
	switch verb {
	case "address":
		return address{URL: d.server.URL, CABundle: d.server.CABundle()}, nil
	case "traffic":
		count, log := d.server.RequestCount(), d.server.Requests()
		fresh := count - d.seen
		d.seen = count
		return summarizeTraffic(fresh, log[len(log)-min(len(log), fresh):]), nil
	case "step":
		return d.loads.step(name, time.Now())
	}
	return nil, fmt.Errorf("%q is no question", question)
}

// summarizeTraffic finds the rounds in a log. Requests that are still under way are in no round.
func summarizeTraffic(requests int, log []sysdigtest.Request) traffic {
	t := traffic{Requests: requests}
	var first, last time.Time
	for _, r := range log {
		if r.Answered.IsZero() {
			continue
		}
		if r.Status != http.StatusOK {
			t.Failed++
			continue
		}
		if len(t.Rounds) == 0 || r.At.Sub(last) > roundGap {
			t.Rounds = append(t.Rounds, round{})
			first, last = r.At, r.Answered
		}
		if r.Answered.After(last) {
			last = r.Answered
		}
		current := &t.Rounds[len(t.Rounds)-1]
		current.Requests++
		current.Took = last.Sub(first)
	}
	return t
}

// loads are gauges of apps, each with one pod, that step between 1 and 10.
type loads struct {
	mu    sync.Mutex
	names []string
	steps map[string][]time.Time
}

const (
	stepNamespace = "reaction"
	stepSeries    = "sysdig_container_net_http_request_time"
	stepHeight    = 10
)

// stepApp is the name of the i-th app with a load that steps.
func stepApp(i int) string { return fmt.Sprintf("step-%02d", i) }

func newLoads(n int) *loads {
	l := &loads{steps: map[string][]time.Time{}}
	for i := range n {
		l.names = append(l.names, stepApp(i))
		l.steps[stepApp(i)] = nil
	}
	return l
}

// step changes the load of an app from now on.
func (l *loads) step(name string, now time.Time) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.steps[name]; !known {
		return now, fmt.Errorf("no app %q", name)
	}
	l.steps[name] = append(l.steps[name], now)
	return now, nil
}

// value is the load of an app at a time.
func (l *loads) value(name string, t time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	value := 1.0
	for i, at := range l.steps[name] {
		if at.After(t) {
			break
		}
		value = 1
		if i%2 == 0 {
			value = stepHeight
		}
	}
	return value
}

func (l *loads) series() []series {
	var all []series
	for _, name := range l.names {
		gauge := constant(stepSeries, stepNamespace, name, podName(name, 0), 0)
		gauge.value = func(t time.Time) float64 { return l.value(name, t) }
		all = append(all, constant("sysdig_container_up", stepNamespace, name, podName(name, 0), 1), gauge)
	}
	return all
}
