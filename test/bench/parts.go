package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// part is what one operation inside the process costs.
type part struct {
	name               string
	nanos              summary
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
	var parts []part
	for _, b := range s.benchmarks() {
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
		parts = append(parts, part{name: b.name, nanos: summarize(nanos), bytes: last.AllocedBytesPerOp(), allocations: last.AllocsPerOp()})
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
	metrics, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	s := &subject{board: board, all: all, provider: provider.New(board, clock.RealClock{}, metrics)}
	for _, n := range shuffled() {
		s.claims = append(s.claims, all[n].Claim)
	}
	return s, nil
}

func (s *subject) benchmarks() []benchmark {
	return []benchmark{
		{"registry read", sequential(s, s.serve)},
		{"registry read, parallel", parallel(s, s.serve)},
		{"provider read", sequential(s, s.get)},
		{"provider read, parallel", parallel(s, s.get)},
		{"claims for discovery", func(b *testing.B) {
			for b.Loop() {
				s.board.Claims()
			}
		}},
		{"metrics for discovery", func(b *testing.B) {
			for b.Loop() {
				s.provider.ListAllMetrics()
			}
		}},
		{fmt.Sprintf("filing a round of %d outcomes", entries), s.file},
	}
}

// serve reads one claim from the registry.
func (s *subject) serve(claim metric.Claim) bool {
	_, sample, failure, known := s.board.Serve(claim)
	return known && failure == nil && sample != nil
}

// get reads one claim as the serving library does.
func (s *subject) get(claim metric.Claim) bool {
	name := types.NamespacedName{Namespace: claim.Namespace, Name: claim.Object}
	if claim.RootScoped() {
		name.Namespace = ""
	}
	info := upstream.CustomMetricInfo{GroupResource: claim.Resource, Metric: claim.Metric, Namespaced: !claim.RootScoped()}
	value, err := s.provider.GetMetricByName(context.Background(), name, info, labels.Everything())
	return err == nil && value != nil
}

// file files one round after the other. Making the outcomes is not part of it.
func (s *subject) file(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		round := outcomes(s.all, clock.RealClock{}.Now())
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
