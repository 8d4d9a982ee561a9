package poller_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// outages are ways in which Sysdig goes away for a while, and how many requests may be sent meanwhile: 20 shapes and a heartbeat
// would be 42 a minute. An outage costs one request per interval and, at first, a few more that look for its end; a connection that is
// reset is tried once more by the transport.
var outages = map[string]struct {
	fault   sysdigtest.Fault
	lasts   time.Duration
	timeout time.Duration
	most    int
	reason  metric.Reason
}{
	"429 with Retry-After 1 h": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429, RetryAfter: time.Hour}, lasts: time.Hour, most: 1, reason: metric.RateLimited,
	},
	"429 without Retry-After": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429}, lasts: 10 * time.Minute, most: 21, reason: metric.RateLimited,
	},
	"401": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 401}, lasts: 10 * time.Minute, most: 20, reason: metric.Unauthorized,
	},
	"500": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500}, lasts: 10 * time.Minute, most: 32, reason: metric.Unavailable,
	},
	"hangs": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultHang}, lasts: 10 * time.Minute, timeout: 100 * time.Millisecond, most: 32, reason: metric.Unavailable,
	},
	"resets": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultReset}, lasts: 10 * time.Minute, most: 32, reason: metric.Unavailable,
	},
	"a body that drips": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultDrip, Delay: time.Hour}, lasts: 10 * time.Minute, timeout: 100 * time.Millisecond, most: 32, reason: metric.Unavailable,
	},
}

// hasty gives requests a shorter deadline while there is one, so that a test need not wait for those that hang.
type hasty struct {
	registry.Source
	deadline atomic.Int64
}

func (h *hasty) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	if d := h.deadline.Load(); d > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(d))
		defer cancel()
		ctx = limited
	}
	return h.Source.Query(ctx, promQL, at)
}

// TestOutagesCostFewRequestsAndEndWithinAnInterval counts what is sent while Sysdig is away, and how long after its return all is
// served again.
func TestOutagesCostFewRequestsAndEndWithinAnInterval(t *testing.T) {
	for name, test := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			source := &hasty{Source: s.client(20 * time.Second)}
			s.registry.PutConnection(registry.Connection{
				Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: source, RequestsPerMinute: 60,
			})
			all := s.shapes(20)
			s.run(2*time.Minute, func() {})
			for _, d := range all {
				s.wantValue(d, perPod)
			}
			s.sysdig.SetFault(test.fault)
			source.deadline.Store(int64(test.timeout))
			before := s.sysdig.RequestCount()
			s.run(test.lasts, func() {})
			sent := s.sysdig.RequestCount() - before
			for _, d := range all {
				s.wantReason(d, test.reason)
			}
			s.sysdig.ClearFault()
			source.deadline.Store(0)
			ended := s.clk.Now()
			recovered := time.Duration(-1)
			s.run(interval, func() {
				if recovered < 0 && s.allServed(all) {
					recovered = s.clk.Now().Sub(ended)
				}
			})
			t.Logf("%s for %s: %d requests, served again after %s", name, test.lasts, sent, recovered)
			if sent > test.most || sent == 0 {
				t.Errorf("%d requests were sent, want at most %d", sent, test.most)
			}
			if recovered < 0 {
				t.Errorf("an interval after the end not all is served")
			}
		})
	}
}

func (s *stage) allServed(all []query.Definition) bool {
	for _, d := range all {
		if sample, _ := s.serve(d); sample == nil {
			return false
		}
	}
	return true
}
