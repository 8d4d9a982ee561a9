package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// swept is a sweep of a registry of bindings that remembers what it refreshes and is told of.
type swept struct {
	*Sweep
	clk       *clocktesting.FakeClock
	board     *registry.Registry
	leads     bool
	refreshed map[string]int
	told      []string
}

func (s *swept) Leads() bool { return s.leads }

func (s *swept) Refresh(_ context.Context, binding types.NamespacedName) error {
	s.refreshed[binding.Name]++
	return nil
}

func sweepOf(t *testing.T, bindings int) *swept {
	t.Helper()
	clk := clocktesting.NewFakeClock(now)
	s := &swept{clk: clk, board: registry.New(clk, nil), leads: true, refreshed: map[string]int{}}
	s.Sweep = &Sweep{Clock: clk, Leader: s, Board: s.board, Statuses: s}
	for i := range bindings {
		d := definition(fmt.Sprintf("%05d", i))
		s.board.Put(d)
		s.board.File([]query.Outcome{{Question: d.Question, Reading: metric.Reading{
			Sample: &metric.Sample{Milli: 1000, Time: now, Received: now}, Asked: now, Attempted: now,
		}}})
	}
	s.board.Listen(func(key types.NamespacedName) { s.told = append(s.told, key.Name) })
	return s
}

func definition(name string) query.Definition {
	return query.Definition{
		Binding: types.NamespacedName{Namespace: "shop", Name: name}, Claim: metric.NamespaceClaim("shop", name), Policy: metric.Policy{MaxAge: time.Minute},
		Question: query.Question{Shape: query.Shape{Metric: name}.ID()},
	}
}

// pass lets time pass.
func (s *swept) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for range d / pace {
		s.clk.Step(pace)
		s.Tick(t.Context())
	}
}

func TestEveryBindingIsRefreshedInTurnAndFewAtATime(t *testing.T) {
	for _, test := range []struct {
		bindings int
		span     time.Duration
		each     int // how often each of those that were refreshed was
		refresh  int // how many were
	}{
		{0, time.Minute, 0, 0},
		{1, 5 * refresh, 5, 1},
		{10, 5 * refresh, 5, 10},
		{60, 5 * refresh, 5, 60},
		{10_000, time.Minute, 1, 120}, // in place of 20,000
		{1000, 500 * time.Second, 1, 1000},
	} {
		s := sweepOf(t, test.bindings)
		s.pass(t, test.span+pace/2)
		counts := slices.Compact(slices.Sorted(maps.Values(s.refreshed)))
		if len(s.refreshed) != test.refresh || test.refresh > 0 && !slices.Equal(counts, []int{test.each}) {
			t.Errorf("of %d bindings %d were refreshed in %s, each %v times; want %d, each %d times", test.bindings, len(s.refreshed), test.span, counts, test.refresh, test.each)
		}
	}
}

// TestANewBindingIsRefreshedSoon: the first sample is a change of standing, the next one is a refresh.
func TestANewBindingIsRefreshedSoon(t *testing.T) {
	s := sweepOf(t, 20)
	s.pass(t, 17*time.Second)
	s.board.Put(definition("00010-new"))
	s.pass(t, refresh+2*pace)
	if s.refreshed["00010-new"] == 0 {
		t.Error("it was not refreshed")
	}
}

// TestStaleSamplesAreNoticedAtOnce although nothing is filed any more, and the turn of most bindings would be an hour later.
func TestStaleSamplesAreNoticedAtOnce(t *testing.T) {
	const bindings = 10_000
	s := sweepOf(t, bindings)
	s.pass(t, time.Minute)
	if len(s.told) != 0 {
		t.Fatalf("told of %d bindings whose samples are fresh", len(s.told))
	}
	s.pass(t, time.Second)
	if len(s.told) != bindings {
		t.Errorf("told of %d of %d bindings", len(s.told), bindings)
	}
}

func TestOnlyTheLeaderSweeps(t *testing.T) {
	s := sweepOf(t, 100)
	s.leads = false
	s.pass(t, 10*time.Minute)
	if len(s.told)+len(s.refreshed) != 0 {
		t.Errorf("told of %d bindings, refreshed %d", len(s.told), len(s.refreshed))
	}
}

// TestASweepEndsWithItsContext runs the loop itself.
func TestASweepEndsWithItsContext(t *testing.T) {
	s := sweepOf(t, 60)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	waitFor(t, "a ticker", s.clk.HasWaiters)
	s.clk.Step(pace)
	cancel()
	if err := within(t, done); err != nil {
		t.Error(err)
	}
}
