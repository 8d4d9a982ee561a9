package poller_test

import (
	"context"
	"slices"
	"strings"
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
	fault  sysdigtest.Fault
	lasts  time.Duration
	most   int
	reason metric.Reason
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
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultHang}, lasts: 10 * time.Minute, most: 32, reason: metric.Unavailable,
	},
	"resets": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultReset}, lasts: 10 * time.Minute, most: 32, reason: metric.Unavailable,
	},
	"a body that drips": {
		fault: sysdigtest.Fault{Kind: sysdigtest.FaultDrip, Delay: time.Hour}, lasts: 10 * time.Minute, most: 32, reason: metric.Unavailable,
	},
}

// hasty lets requests that hang run into a deadline as soon as Sysdig has them, so that a test need not wait for it.
type hasty struct {
	registry.Source
	sysdig *sysdigtest.Server
	// of is part of the names of the metrics that hang; what names none of them waits for its answer.
	of    string
	hangs atomic.Bool
}

// hasty is a client that is.
func (s *stage) hasty(of string) *hasty {
	return &hasty{Source: s.client(), sysdig: s.sysdig, of: of}
}

func (h *hasty) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	if h.hangs.Load() && strings.Contains(promQL, h.of) {
		limited := overdue(ctx, h.sysdig)
		defer limited.leave()
		ctx = limited
	}
	return h.Source.Query(ctx, promQL, at)
}

func (h *hasty) Data(ctx context.Context, request sysdig.DataRequest) (sysdig.DataAnswer, error) {
	named := slices.ContainsFunc(request.Values, func(v sysdig.DataValue) bool { return strings.Contains(v.Metric, h.of) })
	if h.hangs.Load() && named {
		limited := overdue(ctx, h.sysdig)
		defer limited.leave()
		ctx = limited
	}
	return h.Source.Data(ctx, request)
}

// limited is a context whose deadline passes when it is told to.
type limited struct {
	context.Context
	passed, left chan struct{}
}

func (l *limited) Done() <-chan struct{} { return l.passed }

func (l *limited) Err() error {
	select {
	case <-l.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func (l *limited) leave() { close(l.left) }

// overdue is a context whose deadline passes a moment after another request has come.
func overdue(ctx context.Context, server *sysdigtest.Server) *limited {
	l := &limited{Context: ctx, passed: make(chan struct{}), left: make(chan struct{})}
	before := server.RequestCount()
	go func() {
		const moment = 5 * time.Millisecond // of a body that drips, the headers may arrive
		tick := time.NewTicker(moment)
		defer tick.Stop()
		for had := false; ; {
			select {
			case <-l.left:
				return
			case <-ctx.Done():
				close(l.passed)
				return
			case <-tick.C:
			}
			if had {
				close(l.passed)
				return
			}
			had = server.RequestCount() > before
		}
	}()
	return l
}

// TestOutagesCostFewRequestsAndEndWithinAnInterval counts what is sent while Sysdig is away, and how long after its return all is
// served again.
func TestOutagesCostFewRequestsAndEndWithinAnInterval(t *testing.T) {
	for name, test := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			source := s.hasty("")
			s.registry.PutConnection(registry.Connection{
				Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: source, RequestsPerMinute: 60,
			})
			all := s.shapes(20)
			s.run(2*time.Minute, func() {})
			for _, d := range all {
				s.wantValue(d, perPod)
			}
			s.sysdig.SetFault(test.fault)
			source.hangs.Store(test.fault.Kind == sysdigtest.FaultHang || test.fault.Kind == sysdigtest.FaultDrip)
			before := s.sysdig.RequestCount()
			s.run(test.lasts, func() {})
			sent := s.sysdig.RequestCount() - before
			for _, d := range all {
				s.wantReason(d, test.reason)
			}
			s.sysdig.ClearFault()
			source.hangs.Store(false)
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
