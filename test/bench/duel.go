package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// verified is how many answers of ours are compared with what was filed.
const verified = 500

// window is what one server did in one stretch of time.
type window struct {
	reads   int
	elapsed time.Duration
	used    usage
	behind  time.Duration // of the API server's processor time
	reviews float64       // that the API server was asked
}

func (w window) readsPerSecond() float64 { return float64(w.reads) / w.elapsed.Seconds() }
func (w window) cpuPerRead() float64     { return float64(w.used.CPU.Nanoseconds()) / float64(w.reads) }
func (w window) bytesPerRead() float64   { return float64(w.used.Bytes) / float64(w.reads) }
func (w window) allocsPerRead() float64  { return float64(w.used.Allocations) / float64(w.reads) }
func (w window) collections() float64    { return 1000 * float64(w.used.Collections) / float64(w.reads) }

// duel are the windows of each kind of server in one scene, turn by turn.
type duel struct {
	scene   scene
	rounds  int
	windows map[string][]window
}

// fighter is a server and the load on it.
type fighter struct {
	child *child
	load  *load
}

// fight compares our provider with those that do nothing. They take turns, so that whatever else the machine does meets
// all.
func fight(ctx context.Context, p plan, s scene, log io.Writer) (result duel, err error) {
	result = duel{scene: s, rounds: p.roundsOf(s), windows: map[string][]window{}}
	c, err := s.fill()
	if err != nil {
		return result, err
	}
	paths, want := c.paths(), c.want
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return result, fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	roots, err := writeCertificate(dir, time.Now())
	if err != nil {
		return result, err
	}
	ports, err := cluster.FreePorts(len(kinds()))
	if err != nil {
		return result, err
	}
	var fighters []*fighter
	defer func() {
		for _, f := range fighters {
			err = errors.Join(err, f.leave())
		}
	}()
	for i, kind := range kinds() {
		c, err := startChild(ctx, s.name, kind, ports[i], dir)
		if err != nil {
			return result, err
		}
		f := &fighter{child: c, load: newLoad(roots, requests(paths))}
		fighters = append(fighters, f)
		if err := f.warmUp(ctx, p); err != nil {
			return result, fmt.Errorf("%s: %w", kind, err)
		}
	}
	if err := fighters[0].load.verify(fighters[0].load.conns[0], verified, want); err != nil {
		return result, err
	}
	for turn := range result.rounds {
		fmt.Fprintf(log, "%s: turn %d of %d\n", s.title, turn+1, result.rounds)
		for i := range kinds() {
			i = (i + turn) % len(kinds()) // nobody is always the first
			kind := kinds()[i]
			w, err := fighters[i].measure(ctx, p.window)
			if err != nil {
				return result, fmt.Errorf("%s: %w", kind, err)
			}
			result.windows[kind] = append(result.windows[kind], w)
		}
	}
	return result, nil
}

// warmUp connects and reads for one window.
func (f *fighter) warmUp(ctx context.Context, p plan) error {
	ready, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := f.load.connect(ready, f.child.address, p.connections); err != nil {
		return err
	}
	_, err := f.load.run(ctx, p.window)
	return err
}

func (f *fighter) measure(ctx context.Context, length time.Duration) (window, error) {
	before, err := f.child.usage()
	if err != nil {
		return window{}, err
	}
	started := time.Now()
	reads, err := f.load.run(ctx, length)
	elapsed := time.Since(started)
	if err != nil {
		return window{}, err
	}
	after, err := f.child.usage()
	if err != nil {
		return window{}, err
	}
	if reads == 0 || ctx.Err() != nil {
		return window{}, errors.Join(errors.New("no read was answered in time"), ctx.Err())
	}
	return window{reads: reads, elapsed: elapsed, used: usage{
		CPU: after.CPU - before.CPU, Bytes: after.Bytes - before.Bytes, Allocations: after.Allocations - before.Allocations,
		Collections: after.Collections - before.Collections,
	}}, nil
}

func (f *fighter) leave() error {
	f.load.close()
	return f.child.Stop()
}

// compare are the values of ours and of another, and turn by turn their ratio.
func (d duel) compare(other string, value func(window) float64) (mine, theirs, ratio measure.Summary) {
	var a, b, quotients []float64
	for i := range d.windows[ours] {
		a, b = append(a, value(d.windows[ours][i])), append(b, value(d.windows[other][i]))
		quotients = append(quotients, a[i]/b[i])
	}
	return measure.Summarize(a), measure.Summarize(b), measure.Summarize(quotients)
}
