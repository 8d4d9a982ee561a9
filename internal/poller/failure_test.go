package poller_test

import (
	"cmp"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// failures are the ways in which Sysdig stops telling the truth.
var failures = map[string]struct {
	fault sysdigtest.Fault
	// begin and end replace the fault.
	begin, end func(*stage)
	// gone is set when nobody is there in place of the fault.
	gone   bool
	window time.Duration
	// leaves is for how long the window may hold some of the failure.
	leaves time.Duration
	reason metric.Reason
	text   string
}{
	"Sysdig holds no data":        {fault: sysdigtest.Fault{Kind: sysdigtest.FaultEmpty, Query: "http_request"}, leaves: time.Minute, reason: metric.NoData},
	"Sysdig holds nothing at all": {fault: sysdigtest.Fault{Kind: sysdigtest.FaultEmpty}, reason: metric.Stale, text: "spec.heartbeatMetric"},
	"the token is rejected": {
		begin:  func(s *stage) { s.sysdig.RevokeToken(token) },
		end:    func(s *stage) { s.sysdig.AddToken(token, nil) },
		reason: metric.Unauthorized, text: "HTTP 401",
	},
	"Sysdig answers HTTP 500":                 {fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500}, reason: metric.Unavailable, text: "HTTP 500"},
	"Sysdig answers HTTP 503":                 {fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 503, Body: "<html>"}, reason: metric.Unavailable, text: "HTTP 503"},
	"Sysdig never answers":                    {fault: sysdigtest.Fault{Kind: sysdigtest.FaultHang}, reason: metric.Unavailable, text: "in time"},
	"the connection is reset":                 {fault: sysdigtest.Fault{Kind: sysdigtest.FaultReset}, reason: metric.Unavailable},
	"the body is cut":                         {fault: sysdigtest.Fault{Kind: sysdigtest.FaultTruncate}, reason: metric.Unavailable},
	"the values are NaN":                      {fault: sysdigtest.Fault{Kind: sysdigtest.FaultNaN}, reason: metric.Implausible, text: "NaN"},
	"no new points come":                      {fault: sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints}, reason: metric.Stale, text: "maxAge is 2m0s"},
	"no new points come, the window is long":  {fault: sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints}, window: 5 * time.Minute, reason: metric.Stale, text: "maxAge is 2m0s"},
	"Sysdig answers HTTP 429":                 {fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429}, reason: metric.RateLimited, text: "HTTP 429"},
	"a proxy answers with a page":             {fault: sysdigtest.Fault{Kind: sysdigtest.FaultGarbage}, reason: metric.Unavailable, text: "text/html"},
	"the result is missing from the answer":   {fault: sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"vector"}}`}, reason: metric.Unavailable},
	"the answer says that it is incomplete":   {fault: sysdigtest.Fault{Kind: sysdigtest.FaultWarnings, Body: "results truncated"}, reason: metric.Truncated, text: "results truncated"},
	"the query is refused":                    {fault: sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 422, Body: `{"error":"too many"}`}, reason: metric.Rejected, text: "too many"},
	"Sysdig sends the client somewhere else":  {fault: sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: "http://127.0.0.1:1/"}, reason: metric.Unavailable, text: "redirects"},
	"nobody listens at the address of Sysdig": {gone: true, reason: metric.Unavailable, text: "refused"},
}

// suffer lets a stage run well, then fail for longer than maxAge. before sees what is served while the last sample is
// fresh, after what is served then. At the end Sysdig recovers.
func suffer(t *testing.T, name string, wrap func(registry.Source) registry.Source, before, after func(*stage, *metric.Sample, *metric.Failure)) {
	test := failures[name]
	s := newStage(t)
	s.load("web", 2, perPod)
	source := s.hasty("")
	s.connect(wrap(source))
	web := s.bind("web", func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.Window.Duration = cmp.Or(test.window, time.Minute)
	})
	s.run(10*time.Second, func() { s.wantValue(web, perPod) })
	switch {
	case test.begin != nil:
		test.begin(s)
	case test.gone: // the port of a server that has ended could be another one's by now
		source.Source = s.clientOf("http://127.0.0.1:1")
	default:
		source.hangs.Store(test.fault.Kind == sysdigtest.FaultHang)
		s.sysdig.SetFault(test.fault)
	}
	last, _ := s.serve(web)
	fresh := last.Time.Add(maxAge)
	s.run(4*time.Minute, func() {
		sample, failure := s.serve(web)
		if s.clk.Now().After(fresh.Add(interval)) {
			after(s, sample, failure)
		} else if !s.clk.Now().After(fresh) {
			before(s, sample, failure)
		}
	})
	if t.Failed() {
		return
	}
	switch {
	case test.end != nil:
		test.end(s)
	case test.gone:
		source.Source = s.client()
	default:
		s.sysdig.ClearFault()
		source.hangs.Store(false)
	}
	s.run(interval+test.leaves, func() {})
	s.wantValue(web, perPod)
}

func TestAFailureIsNeverServedAsANumber(t *testing.T) {
	for name, test := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			honest := func(source registry.Source) registry.Source { return source }
			suffer(t, name, honest, func(s *stage, sample *metric.Sample, failure *metric.Failure) {
				if failure != nil || sample.Value != perPod {
					t.Fatalf("after %s the last sample is fresh, but got %v, %v", s.clk.Now().Sub(noon), sample, failure)
				}
			}, func(s *stage, sample *metric.Sample, failure *metric.Failure) {
				if sample != nil {
					t.Fatalf("after %s the number %v was served", s.clk.Now().Sub(noon), sample.Value)
				}
				if failure.Reason != test.reason || !strings.Contains(failure.Full(), test.text) {
					t.Fatalf("after %s: %v; want %s with %q", s.clk.Now().Sub(noon), failure, test.reason, test.text)
				}
			})
		})
	}
}

// naive answers like an adapter that takes whatever it gets for the present, and nothing for 0.
type naive struct{ registry.Source }

func (n naive) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	if isHeartbeat(promQL) {
		answer := sysdig.Answer{Series: []sysdig.Series{{Value: float64(at.Unix())}}}
		for _, window := range []string{"1m", "5m"} {
			answer.Series = append(answer.Series, sysdig.Series{Labels: map[string]string{"sysdig_metrics_part": window}, Value: 1000})
		}
		return answer, nil
	}
	answer, _ := n.Source.Query(ctx, promQL, at)
	answer.Warnings = nil
	labels := map[string]string{
		sysdigtest.LabelNamespace: "shop", sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web",
	}
	value := 0.0
	for _, s := range answer.Series {
		if _, isTime := s.Labels["sysdig_metrics_part"]; !isTime && !math.IsNaN(s.Value) {
			value = s.Value
		}
	}
	measured := sysdig.Series{Labels: map[string]string{"sysdig_metrics_part": "time"}, Value: float64(at.Unix())}
	for name, value := range labels {
		measured.Labels[name] = value
	}
	answer.Series = []sysdig.Series{{Labels: labels, Value: value}, measured}
	return answer, nil
}

// TestTheTableOfFailuresBites shows that each of the failures does produce a number in a poller that is less careful.
func TestTheTableOfFailuresBites(t *testing.T) {
	for name := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lessCareful := func(source registry.Source) registry.Source { return naive{source} }
			suffer(t, name, lessCareful, func(*stage, *metric.Sample, *metric.Failure) {}, func(s *stage, sample *metric.Sample, failure *metric.Failure) {
				if failure != nil {
					t.Fatalf("after %s: %v; want a number", s.clk.Now().Sub(noon), failure)
				}
			})
		})
	}
}

// TestTheLogSaysOnceWhatTenantsAreNotTold: Sysdig's words, for as long as it is the same failure, and that it is over.
func TestTheLogSaysOnceWhatTenantsAreNotTold(t *testing.T) {
	var lines []string
	ctx := log.IntoContext(t.Context(), funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	s := ready(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	rounds := func(n int) {
		for range n {
			s.poller.Tick(ctx)
			s.poller.Wait()
			s.clk.Step(interval)
		}
	}
	rounds(3)
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 503, Body: `{"message":"no healthy store at 10.20.30.40"}`})
	rounds(10)
	sample, failure := s.serve(web)
	if sample != nil || strings.Contains(failure.Error(), "10.20.30.40") {
		t.Errorf("tenants are told %v", failure)
	}
	s.sysdig.ClearFault()
	rounds(3)
	if len(lines) != 2 || !strings.Contains(lines[0], "no healthy store at 10.20.30.40") || !strings.Contains(lines[1], "answers again") {
		t.Errorf("the log says %q", lines)
	}
}

// TestTenantsWhoShareAQueryAreNotToldWhatSysdigSaysOfIt, since it may name the others. Who asks alone is.
func TestTenantsWhoShareAQueryAreNotToldWhatSysdigSaysOfIt(t *testing.T) {
	for name, namespaces := range map[string][]string{"alone": {"shop"}, "shared": {"shop", "secret-project"}} {
		t.Run(name, func(t *testing.T) {
			s := ready(t)
			var all []query.Definition
			for _, namespace := range namespaces {
				all = append(all, s.bind("web", func(b *v1alpha1.SysdigMetricBinding) { b.Namespace = namespace }, metricNamed("bad_metric")))
			}
			s.sysdig.SetFault(sysdigtest.Fault{
				Kind: sysdigtest.FaultStatus, Status: 422, Query: "bad_metric",
				Body: `{"status":"error","errorType":"execution","error":"many-to-many matching of secret-project"}`,
			})
			s.tick()
			for _, d := range all {
				_, failure := s.serve(d)
				if told := strings.Contains(failure.Error(), "secret-project"); told != (len(namespaces) == 1) {
					t.Errorf("%s is told %q", d.Binding, failure.Error())
				}
			}
			state := s.usage().Dearest[0].State
			if !strings.Contains(state, "many-to-many matching of secret-project") {
				t.Errorf("the platform team is told %q", state)
			}
		})
	}
}
