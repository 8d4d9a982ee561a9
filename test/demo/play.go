package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

const (
	// lookEvery is the time between two looks at the cluster.
	lookEvery = time.Second
	// printEvery is how many looks a row of the table stands for.
	printEvery = 5
	// headerEvery is how many rows follow a header.
	headerEvery = 12
)

// result is how a phase that held went.
type result struct {
	phase         phase
	value         float64 // of the metric at the end
	replicas      int32
	settled, took time.Duration
}

// player plays phases.
type player struct {
	out     io.Writer
	setLoad func(ctx context.Context, rps float64) error
	look    func(context.Context) sample
	// alive returns why the show cannot go on.
	alive func() error
	began time.Time
}

// play plays the phases one after the other. It ends with the first that does not hold.
func (p *player) play(ctx context.Context, phases []phase) ([]result, error) {
	p.began = time.Now()
	var results []result
	for _, ph := range phases {
		r, err := p.phase(ctx, ph)
		if err != nil {
			return results, fmt.Errorf("phase %s: %w", ph.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func (p *player) phase(ctx context.Context, ph phase) (result, error) {
	if err := p.setLoad(ctx, ph.rps); err != nil {
		return result{}, err
	}
	fmt.Fprint(p.out, announce(ph))
	w := watch{phase: ph, started: time.Now()}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for i := 0; ; i++ {
		s := p.look(ctx)
		if ctx.Err() != nil {
			return result{}, context.Cause(ctx)
		}
		var v verdict
		w, v = w.see(s)
		if i%printEvery == 0 || v != open {
			if i%(printEvery*headerEvery) == 0 {
				fmt.Fprint(p.out, header())
			}
			fmt.Fprint(p.out, row(s.at.Sub(p.began), ph, s))
		}
		switch v {
		case held:
			return result{ph, s.metric.value, s.desired, w.settled.Sub(w.started), s.at.Sub(w.started)}, nil
		case late:
			return result{}, lateError(ph, s)
		}
		if err := p.alive(); err != nil {
			return result{}, err
		}
		select {
		case <-ctx.Done():
			return result{}, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// lateError tells what was seen when a phase's deadline passed.
func lateError(p phase, s sample) error {
	switch {
	case s.err != nil:
		return fmt.Errorf("it did not hold within %s: %w", p.deadline, s.err)
	case s.metric == nil:
		return fmt.Errorf("it did not hold within %s: the metric is not served: %w", p.deadline, s.metricErr)
	default:
		return fmt.Errorf("it did not hold within %s: %d replicas are asked for and %d are ready, want %d to %d for %s",
			p.deadline, s.desired, s.ready, p.lowest, p.highest, p.hold)
	}
}
