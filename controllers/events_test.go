package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
)

// written is a sink that counts what reaches the API server.
type written struct {
	events.EventSink
	n atomic.Int32
}

func (w *written) Create(_ context.Context, e *eventsv1.Event) (*eventsv1.Event, error) {
	w.n.Add(1)
	return e, nil
}

func (w *written) Patch(_ context.Context, e *eventsv1.Event, _ []byte) (*eventsv1.Event, error) {
	w.n.Add(1)
	return e, nil
}

// eventOf is an Event of an object of a kind.
func eventOf(kind string) *eventsv1.Event {
	return &eventsv1.Event{Regarding: corev1.ObjectReference{Kind: kind}}
}

// narrow is a sink with a budget that is used up.
func narrow(t *testing.T) (*sink, *written, *clocktesting.FakeClock) {
	t.Helper()
	clk, server := clocktesting.NewFakeClock(now), &written{}
	s := &sink{EventSink: server, writes: NewBudget(clk, WritesPerSecond, 2*WritesPerSecond), clock: clk, waiting: make(chan struct{}, crowd), first: make(chan struct{}, 1), dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})}
	for range 2 * WritesPerSecond {
		if err := s.writes.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s, server, clk
}

// create begins to send an Event.
func (s *sink) create(t *testing.T, kind string) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() {
		_, err := s.Create(t.Context(), eventOf(kind))
		done <- err
	}()
	return done
}

// looking waits until so many Events of bindings are left, each with its patience, and one of them looks again in a second. Before
// that a step would pass unseen.
func looking(t *testing.T, clk *clocktesting.FakeClock, left int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d Events that wait for room", left), func() bool { return clk.Waiters() == left+1 })
}

func TestAnEventWaitsForRoom(t *testing.T) {
	s, server, clk := narrow(t)
	done := s.create(t, "SysdigMetricBinding")
	looking(t, clk, 1)
	clk.Step(time.Second)
	if err := within(t, done); err != nil || server.n.Load() != 1 || testutil.ToFloat64(s.dropped) != 0 {
		t.Errorf("%d were sent, %v, %v left out", server.n.Load(), err, testutil.ToFloat64(s.dropped))
	}
}

// TestAnEventIsLeftOutWhileStatusesNeedAllWrites and is no error: it would be tried again.
func TestAnEventIsLeftOutWhileStatusesNeedAllWrites(t *testing.T) {
	s, server, clk := narrow(t)
	done := s.create(t, "SysdigMetricBinding")
	looking(t, clk, 1)
	for range patience / time.Second {
		for range WritesPerSecond {
			if !s.writes.limiter.AllowN(clk.Now().Add(time.Second), 1) { // as statuses that wait in a row do
				t.Fatal("the statuses have no writes")
			}
		}
		clk.Step(time.Second)
		waitFor(t, "an Event that waits, or has ended", func() bool { return clk.Waiters() == 2 || len(done) > 0 })
	}
	if err := within(t, done); err != nil || server.n.Load() != 0 || testutil.ToFloat64(s.dropped) != 1 {
		t.Errorf("%d were sent, %v, %v left out", server.n.Load(), err, testutil.ToFloat64(s.dropped))
	}
}

// TestOneEventLooksForRoom and those behind it follow as soon as there is some.
func TestOneEventLooksForRoom(t *testing.T) {
	s, server, clk := narrow(t)
	const all = 2 * WritesPerSecond
	var done [all]chan error
	for i := range done {
		done[i] = s.create(t, "SysdigMetricBinding")
	}
	left := all
	for _, sent := range []int32{1, WritesPerSecond, all - 1 - WritesPerSecond} { // the first leaves less than half of the burst behind it
		looking(t, clk, left)
		clk.Step(time.Second)
		left -= int(sent)
		waitFor(t, fmt.Sprintf("all but %d Events sent", left), func() bool { return server.n.Load() == int32(all-left) })
	}
	for _, sent := range done {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if dropped := testutil.ToFloat64(s.dropped); dropped != 0 || len(s.waiting)+len(s.first) > 0 {
		t.Errorf("%v were left out, %d wait", dropped, len(s.waiting))
	}
}

// TestFewEventsWait: those that there is no place for are left out at once.
func TestFewEventsWait(t *testing.T) {
	s, server, clk := narrow(t)
	s.waiting = make(chan struct{}, 1)
	first := s.create(t, "SysdigMetricBinding")
	looking(t, clk, 1)
	if _, err := s.Create(t.Context(), eventOf("SysdigMetricBinding")); err != nil || testutil.ToFloat64(s.dropped) != 1 {
		t.Errorf("%v, %v left out", err, testutil.ToFloat64(s.dropped))
	}
	clk.Step(time.Second)
	if err := <-first; err != nil || server.n.Load() != 1 || len(s.waiting) > 0 {
		t.Errorf("%d were sent, %v, %d wait", server.n.Load(), err, len(s.waiting))
	}
}

// TestARepetitionNeverWaits: the broadcaster holds a lock meanwhile.
func TestARepetitionNeverWaits(t *testing.T) {
	s, server, clk := narrow(t)
	if _, err := s.Patch(t.Context(), eventOf("SysdigMetricBinding"), nil); err != nil || server.n.Load() != 0 || testutil.ToFloat64(s.dropped) != 1 {
		t.Errorf("%d were sent, %v, %v left out", server.n.Load(), err, testutil.ToFloat64(s.dropped))
	}
	clk.Step(2 * time.Second)
	if _, err := s.Patch(t.Context(), eventOf("SysdigMetricBinding"), nil); err != nil || server.n.Load() != 1 {
		t.Errorf("%d were sent, %v", server.n.Load(), err)
	}
}

// TestAnEventOfAConnectionHasItsTurn before there is room for those of bindings.
func TestAnEventOfAConnectionHasItsTurn(t *testing.T) {
	s, server, clk := narrow(t)
	done := s.create(t, "SysdigConnection")
	waitFor(t, "somebody who waits for a turn", clk.HasWaiters)
	clk.Step(time.Second / WritesPerSecond)
	if err := within(t, done); err != nil || server.n.Load() != 1 {
		t.Errorf("%d were sent, %v", server.n.Load(), err)
	}
}

// TestAnEventEndsWithItsContext instead of keeping a process from ending.
func TestAnEventEndsWithItsContext(t *testing.T) {
	for _, kind := range []string{"SysdigMetricBinding", "SysdigConnection"} {
		s, server, _ := narrow(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Create(ctx, eventOf(kind)); err != nil || server.n.Load() != 0 {
			t.Errorf("%s: %d were sent, %v", kind, server.n.Load(), err)
		}
	}
}
