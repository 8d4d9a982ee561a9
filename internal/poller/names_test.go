package poller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

func asking(promQL string) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: promQL}}
	}
}

func scraped(name string) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.Name, b.Spec.Source.Metric.CounterType = name, v1alpha1.CounterCumulative
	}
}

// TestACounterScrapedEachMinuteIsNeverAssumed plays a quarter of an hour in which a window of a minute holds one point. The controls have
// a window of three minutes.
func TestACounterScrapedEachMinuteIsNeverAssumed(t *testing.T) {
	s := newListed(t, v1alpha1.APIPrometheus)
	for at := noon.Add(-15 * time.Minute); at.Before(noon.Add(20 * time.Minute)); at = at.Add(time.Minute) {
		s.sysdig.Store().Append(map[string]string{
			"__name__": "http_requests_total", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop",
			sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: "web-0",
		}, at, 10*at.Sub(noon.Add(-time.Hour)).Seconds())
	}
	web := func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Target.Name = "web" }
	few := []query.Definition{
		s.bind("typed", web, orZero, patient, scraped("http_requests_total")),
		s.bind("raw", orZero, patient, asking("sum(rate(http_requests_total[1m]))")),
	}
	enough := []query.Definition{
		s.bind("typed-3m", web, orZero, patient, scraped("http_requests_total"), windowOf(3*time.Minute)),
		s.bind("raw-3m", orZero, patient, asking("sum(rate(http_requests_total[3m]))")),
	}
	s.run(15*time.Minute, func() {
		for _, d := range few {
			s.wantReason(d, metric.TooFewPoints)
		}
	})
	for _, d := range enough {
		s.wantValue(d, 10)
	}
}

// TestAMisspeltNameInPromQLIsNotAssumed also while the names are not known yet, which the first ones are; the control is spelt well.
func TestAMisspeltNameInPromQLIsNotAssumed(t *testing.T) {
	s := newListed(t, v1alpha1.APIPrometheus)
	for _, name := range []string{"http_requests_total", "http_errors_total"} {
		s.fill(name, "other", "other-0", 1)
	}
	for name, promQL := range map[string]string{
		"alone":      "sum(rate(http_requets_total{kube_workload_name=\"web\"}[1m]))",
		"in-a-ratio": "sum(rate(http_errors_total{kube_workload_name=\"web\"}[1m])) / sum(rate(http_requets_total[1m]))",
		"in-a-match": "sum({__name__=\"http_requets_total\"})",
	} {
		d := s.bind(name, orZero, asking(promQL))
		s.tick()
		s.run(3*interval, func() {
			if sample, _ := s.serve(d); sample != nil {
				t.Fatalf("%s: got %v", name, sample.Value)
			}
		})
		const want = "spec.source.promQL.query: Sysdig has no metric http_requets_total; the nearest are http_requests_total, "
		if _, failure := s.serve(d); failure.Reason != metric.Rejected || !strings.HasPrefix(failure.Message, want) {
			t.Errorf("%s: got %v, want %s", name, failure, want)
		}
	}
	d := s.bind("control", orZero, asking("sum(rate(http_requests_total{kube_workload_name=\"web\"}[1m]))"))
	s.run(3*interval, func() {})
	s.wantValue(d, 0)
}

// TestNothingIsAssumedBeforeTheNamesAreKnown has Sysdig not tell the names for some time.
func TestNothingIsAssumedBeforeTheNamesAreKnown(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		silent := s.bind("silent", orZero)
		wrong := s.bind("wrong", orZero, metricNamed(misspelt))
		control := s.bind("control") // there is nothing to assume
		s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 403, Route: strings.TrimPrefix(apis[api], "/api/")}, sysdigtest.Fault{
			Kind: sysdigtest.FaultStatus, Status: 403, Route: "label",
		}, sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 403, Route: "data/metrics"})
		s.run(5*time.Minute, func() {
			s.wantReason(silent, metric.Pending)
			s.wantReason(wrong, metric.Pending)
			s.wantReason(control, metric.NoData)
		})
		s.sysdig.ClearFault()
		s.run(3*interval, func() {})
		s.wantValue(silent, 0)
		s.wantReason(wrong, metric.Rejected)
	})
}

// TestAMetricThatAppearsIsNoticedWithinTwoRounds has it appear long before the next list. The data API refuses to answer about it before,
// and is left alone for long because of that.
func TestAMetricThatAppearsIsNoticedWithinTwoRounds(t *testing.T) {
	for name, test := range map[string]struct {
		api    v1alpha1.API
		source func(*v1alpha1.SysdigMetricBinding)
	}{
		"PromQL, typed":          {v1alpha1.APIPrometheus, metricNamed("orders_total")},
		"PromQL, raw":            {v1alpha1.APIPrometheus, asking("sum(sum_over_time(orders_total{kube_workload_name=\"late\"}[1m]))")},
		"data, which refuses it": {v1alpha1.APIData, metricNamed("orders_total")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newListed(t, test.api)
			late := s.bind("late", orZero, test.source)
			s.run(10*time.Minute, func() {
				if sample, _ := s.serve(late); sample != nil {
					t.Fatalf("at %s: got %v", s.clk.Since(noon), sample.Value)
				}
			})
			s.wantReason(late, metric.Rejected)
			s.fill("orders_total", "other", "other-0", 1)
			s.run(2*interval+5*time.Second, func() {})
			s.wantValue(late, 0)
			if at := s.lists(test.api); len(at) > 1 {
				t.Errorf("listed at %s", at)
			}
		})
	}
}

// TestNamesAreAskedForAtABoundedCost has more misspelt names than a round asks for. All have their turn.
func TestNamesAreAskedForAtABoundedCost(t *testing.T) {
	for api, most := range map[v1alpha1.API]struct{ requests, names int }{v1alpha1.APIPrometheus: {1, 50}, v1alpha1.APIData: {2, 2}} {
		t.Run(string(api), func(t *testing.T) {
			s := newListed(t, api)
			s.listed(func(c *registry.Connection) { c.Source = nameless{c.Source, ""} })
			const wrong = 120
			for i := range wrong {
				s.bind(fmt.Sprint("wrong-", i), orZero, metricNamed(fmt.Sprintf("wrong_%03d", i)))
			}
			rounds := 5 + wrong/most.names
			s.run(time.Duration(rounds)*interval, func() {})
			asked := map[string]int{}
			in := map[time.Duration]int{}
			for _, r := range s.sysdig.Requests() {
				if r.Path != apis[api] || !byName(r) {
					continue
				}
				in[r.At.Sub(noon).Truncate(interval)]++
				for _, name := range append(r.Params["match[]"], r.Params["filter"]...) {
					asked[name]++
				}
			}
			for at, n := range in {
				if n > most.requests {
					t.Errorf("%d requests in the round at %s, at most %d are allowed", n, at, most.requests)
				}
			}
			if len(asked) != wrong {
				t.Errorf("%d of %d names were asked for", len(asked), wrong)
			}
			for name, n := range asked {
				if n > 1+rounds*most.names/wrong+1 {
					t.Errorf("%s was asked for %d times", name, n)
				}
			}
		})
	}
}

// orZeroAt takes silence for 0, of a binding whose status shows that it was taken for that at a time.
func orZeroAt(at time.Time) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) {
		orZero(b)
		b.Status.ObservedGeneration = b.Generation
		b.Status.Observed = &v1alpha1.Observed{Value: "0", Time: metav1.NewTime(at), Assumed: true}
	}
}

// TestAValueThatWasAssumedIsNotRemembered as one that was measured: a metric that does not exist stays Rejected after a restart.
func TestAValueThatWasAssumedIsNotRemembered(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		s.bind("web")
		wrong := s.bind("wrong", metricNamed(misspelt), orZeroAt(noon.Add(-time.Minute)))
		s.tick()
		s.wantReason(wrong, metric.Pending) // it is not known yet which metrics there are
		s.run(2*interval, func() {
			if sample, failure := s.serve(wrong); failure == nil {
				t.Fatalf("at %s it is %v", s.clk.Since(noon), sample.Value)
			}
		})
		s.wantReason(wrong, metric.Rejected)
	})
}

// TestAMetricThatWasMeasuredOnceMayBeSilentForLong: it is in no list any more, and its name was right.
func TestAMetricThatWasMeasuredOnceMayBeSilentForLong(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		s.bind("web")
		idle := s.bind("idle", metricNamed(misspelt), orZeroAt(noon.Add(-time.Minute)), func(b *v1alpha1.SysdigMetricBinding) {
			at := metav1.NewTime(noon.Add(-24 * time.Hour))
			b.Status.Observed.Measured = &at
		})
		s.tick()
		s.run(3*interval, func() { s.wantValue(idle, 0) })
	})
}
