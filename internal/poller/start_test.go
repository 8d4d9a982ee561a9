package poller_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// overheard is a clock that tells for how long the loop is about to wait.
type overheard struct {
	*clocktesting.FakeClock
	waits chan time.Duration
}

func (o *overheard) NewTimer(d time.Duration) clock.Timer {
	timer := o.FakeClock.NewTimer(d)
	o.waits <- d
	return timer
}

func (o *overheard) After(d time.Duration) <-chan time.Time {
	passed := o.FakeClock.After(d)
	o.waits <- d
	return passed
}

// wantWait expects the loop to wait for so long next.
func (o *overheard) wantWait(t *testing.T, want time.Duration) {
	t.Helper()
	select {
	case got := <-o.waits:
		if got != want {
			t.Fatalf("at %s the loop waits for %s, want %s", o.Now().Sub(noon), got, want)
		}
	case <-time.After(ample):
		t.Fatalf("at %s the loop does not wait, want it to for %s", o.Now().Sub(noon), want)
	}
}

func TestStartAsksWhenWokenAndWhenDueUntilItIsStopped(t *testing.T) {
	const idle, gather = time.Minute, 50 * time.Millisecond
	base := newStage(t)
	loop := &overheard{FakeClock: base.clk, waits: make(chan time.Duration, 10)}
	s := newStageOn(t, base.clk, loop, base.sysdig)
	s.connect(s.client())
	<-s.registry.Wake()
	s.load("web", 1, perPod)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.poller.Start(ctx) }()
	loop.wantWait(t, idle)

	web := s.bind("web")
	loop.wantWait(t, gather)
	s.wantRequests(0)
	s.clk.Step(gather)
	// After a round has begun, and again when it has ended, the loop looks when the next one is due.
	for range 2 {
		loop.wantWait(t, secondSlot.Sub(noon)-gather)
	}
	s.wantRequests(1)
	s.wantValue(web, perPod)

	s.clk.SetTime(secondSlot)
	for range 2 {
		loop.wantWait(t, interval)
	}
	s.wantRequests(2)

	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(ample):
		t.Error("it goes on")
	}
}

func TestStartIsNotBoundToTheLeader(t *testing.T) {
	if newStage(t).poller.NeedLeaderElection() {
		t.Error("only the leader would poll")
	}
}

func TestRequestsAreCounted(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	s.bind("web")
	s.bind("bad", metricNamed("bad_metric"))
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500, Query: "bad_metric"})
	s.tick()
	for name, want := range map[string]int{
		"sysdig_metrics_requests_total": 1, "sysdig_metrics_request_errors_total": 1, "sysdig_metrics_request_duration_seconds": 1,
	} {
		if got, err := testutil.GatherAndCount(s.metrics, name); err != nil || got != want {
			t.Errorf("%s: %d series, %v; want %d", name, got, err, want)
		}
	}
	if _, err := poller.NewMetrics(s.metrics); err == nil {
		t.Error("registering twice succeeded")
	}
	if _, err := poller.NewMetrics(prometheus.NewRegistry()); err != nil {
		t.Error(err)
	}
}
