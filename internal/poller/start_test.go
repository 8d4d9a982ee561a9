package poller_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// until lets other goroutines work until a condition holds.
func (s *stage) until(what string, done func() bool) {
	s.t.Helper()
	for !done() {
		if s.t.Context().Err() != nil {
			s.t.Fatalf("did not happen: %s", what)
		}
		runtime.Gosched()
	}
}

func TestStartAsksWhenWokenAndWhenDueUntilItIsStopped(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- s.poller.Start(ctx) }()

	web := s.bind("web")
	s.until("the first round", func() bool {
		if len(s.questions()) == 0 && s.clk.HasWaiters() {
			s.clk.Step(10 * time.Millisecond)
			time.Sleep(5 * time.Millisecond) // or hours pass while a request is under way, and Sysdig's points end
		}
		_, failure := s.serve(web)
		return failure == nil || ctx.Err() != nil
	})
	// Time goes on while requests are under way, on a slow machine by more than an interval: there may be more rounds than one. A step
	// may also fall between the round and the loop's timer, which then waits for the next one.
	first := len(s.questions())
	s.until("the second round", func() bool {
		if s.clk.HasWaiters() && len(s.questions()) == first {
			s.clk.Step(time.Second)
			time.Sleep(20 * time.Millisecond) // so that less of it passes while requests are under way
		}
		return len(s.questions()) > first || ctx.Err() != nil
	})
	if early := noon.Add(interval).Sub(s.clk.Now()); early > 0 {
		t.Errorf("the second round came %s early", early)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if ended := len(s.questions()); ended <= first {
		t.Errorf("%d requests after %d", ended, first)
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
