package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// part is what one operation inside the process costs.
type part struct {
	name               string
	nanos              measure.Summary
	bytes, allocations int64
}

// benchmark is an operation to measure.
type benchmark struct {
	name string
	run  func(*testing.B)
}

// measureParts measures each operation several times.
func measureParts(ctx context.Context, rounds int) ([]part, error) {
	s, err := newSubject()
	if err != nil {
		return nil, err
	}
	ofSets, err := setBenchmarks()
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, b := range append(s.benchmarks(), ofSets...) {
		var nanos []float64
		var last testing.BenchmarkResult
		for range rounds {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if last = testing.Benchmark(b.run); last.N == 0 {
				return nil, fmt.Errorf("the benchmark of %s has failed", b.name)
			}
			nanos = append(nanos, float64(last.T.Nanoseconds())/float64(last.N))
		}
		parts = append(parts, part{name: b.name, nanos: measure.Summarize(nanos), bytes: last.AllocedBytesPerOp(), allocations: last.AllocsPerOp()})
	}
	return parts, nil
}

// subject is what is measured.
type subject struct {
	board    *registry.Registry
	provider *provider.Provider
	all      []query.Definition
	claims   []metric.Claim // in random order
	offset   atomic.Int64
}

func newSubject() (*subject, error) {
	board, all, err := filled()
	if err != nil {
		return nil, err
	}
	s := &subject{board: board, all: all}
	for _, n := range shuffled() {
		s.claims = append(s.claims, all[n].Claim)
	}
	s.provider, err = content{board: board}.newProvider()
	return s, err
}

func (s *subject) benchmarks() []benchmark {
	return []benchmark{
		{"registry read", sequential(s, s.serve)},
		{"registry read, parallel", parallel(s, s.serve)},
		{"provider read", sequential(s, s.get)},
		{"provider read, parallel", parallel(s, s.get)},
		{fmt.Sprintf("metrics for discovery, %d bindings of 8 names", entries), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.provider.ListAllMetrics()
			}
		}},
		{fmt.Sprintf("filing a round of %d outcomes", entries), s.file},
	}
}

// setBenchmarks are reads of sets, and what else happens to the largest.
func setBenchmarks() ([]benchmark, error) {
	var all []benchmark
	for _, s := range append(scenes()[1:], scene{
		title: fmt.Sprintf("%d pods of a StatefulSet", crowdSize), items: crowdSize, fill: func() (content, error) { return podSet(unalike, crowdSize) },
	}) {
		c, err := s.fill()
		if err != nil {
			return nil, err
		}
		p, err := c.newProvider()
		if err != nil {
			return nil, err
		}
		all = append(all, benchmark{"provider read of " + s.title, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if list, err := c.readSet(p); err != nil || len(list.Items) != s.items {
					b.Fatalf("a read gave %v, %v", list, err)
				}
			}
		}})
	}
	d, err := set("Pod", podResource, map[string]string{appLabel: alike})
	if err != nil {
		return nil, err
	}
	index := objects.NewIndex(indexOf(crowd(alike, crowdSize)))
	names, board := index.Select(podResource, crowded, d.Selector), newBoard(index, d)
	return append(all,
		benchmark{fmt.Sprintf("filing the outcome of %d pods", crowdSize), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				outcome, _, err := outcomeOf(d, names, time.Now())
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				board.File([]query.Outcome{outcome})
			}
		}},
		benchmark{fmt.Sprintf("status of a binding of %d pods", crowdSize), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if standing, _ := board.Standing(d.Binding); standing.Fresh != crowdSize {
					b.Fatalf("%d of %d are fresh", standing.Fresh, standing.Matched)
				}
			}
		}},
	), nil
}

// serve reads one claim from the registry.
func (s *subject) serve(claim metric.Claim) bool {
	_, sample, failure, known := s.board.Serve(claim, nil)
	return known && failure == nil && sample != nil
}

// get reads one claim from the provider.
func (s *subject) get(claim metric.Claim) bool {
	value, err := get(s.provider, claim)
	return err == nil && value != nil
}

// file files one round after the other. Making the outcomes is not part of it.
func (s *subject) file(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		round := outcomes(s.all, time.Now())
		b.StartTimer()
		s.board.File(round)
	}
}

func sequential(s *subject, read func(metric.Claim) bool) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if !read(s.claims[i]) {
				b.Fatal("a read gave no value")
			}
			if i++; i == len(s.claims) {
				i = 0
			}
		}
	}
}

// parallel reads from as many goroutines as there are processors, each in another place of the order.
func parallel(s *subject, read func(metric.Claim) bool) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			i := int(s.offset.Add(1)*7919) % len(s.claims)
			for pb.Next() {
				if !read(s.claims[i]) {
					b.Error("a read gave no value")
					return
				}
				if i++; i == len(s.claims) {
					i = 0
				}
			}
		})
	}
}
