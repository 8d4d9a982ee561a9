package query_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// returned is when values are back after a gap: three of six points of the window of attempt are of after it.
var returned = noon.Add(-50 * time.Second)

// The gaps of the tests.
var (
	missing  = sysdigtest.Veil{Covers: valued, Until: returned}
	zeroed   = sysdigtest.Veil{Covers: valued, Until: returned, Zero: true}
	onePod   = sysdigtest.Veil{Covers: isPod("web-2")}
	firstPod = sysdigtest.Veil{Covers: isPod("web-0")}
	oldPod   = sysdigtest.Veil{Covers: isPod("web-0"), From: returned}
)

func valued(l labels.Labels) bool { return l.Get("__name__") != "sysdig_container_up" }

func isPod(name string) func(labels.Labels) bool {
	return func(l labels.Labels) bool { return valued(l) && l.Get(sysdigtest.LabelPod) == name }
}

// waves fills Sysdig with pods web-0, web-1 and web-2 and values of each point: of the HTTP rate 60, 120 and 600 before they are back
// and twice that afterwards; a gauge that is those less 180; and a counter that has counted for long and then counts the rate.
func (s *sysdigStage) waves() {
	for i, base := range []float64{60, 120, 600} {
		rate := func(t time.Time) float64 {
			if t.Before(returned) {
				return base
			}
			return 2 * base
		}
		counted := 1e6
		for name, value := range map[string]func(time.Time) float64{
			"sysdig_container_net_http_request_count": rate,
			"gauge":               func(t time.Time) float64 { return rate(t) - 180 },
			"counter":             func(t time.Time) float64 { counted += rate(t); return counted },
			"sysdig_container_up": func(time.Time) float64 { return 1 },
		} {
			sysdigtest.Fill(s.Store(), map[string]string{
				"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelWorkloadType: "deployment",
				sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: fmt.Sprint("web-", i), sysdigtest.LabelMethod: "GET",
			}, noon.Add(-20*time.Minute), noon, value)
		}
	}
}

// TestWhatCanOnlyBeTooLow compares the value of a window that holds some of a gap with that of the whole one: a value that is told to
// be the least is no higher, and for the others there is a gap after which they are.
func TestWhatCanOnlyBeTooLow(t *testing.T) {
	svc, pod := target("v1", "Service", "front"), target("v1", "Pod", "web-1")
	ns := target("v1", "Namespace", "")
	for name, test := range map[string]struct {
		edits []edit
		gap   sysdigtest.Veil
		young bool // one more pod is ready, and not for long
		least bool
		// higher: what the gap leaves is above the truth: the control.
		higher bool
	}{
		"Rate and Sum":                                {edits: []edit{aggregated("Rate", "Sum")}, gap: missing, least: true},
		"Rate and Sum, after zeroes":                  {edits: []edit{aggregated("Rate", "Sum")}, gap: zeroed, least: true},
		"Rate and Sum, of which a pod is not back":    {edits: []edit{aggregated("Rate", "Sum")}, gap: onePod, least: true},
		"Rate and Max":                                {edits: []edit{aggregated("Rate", "Max")}, gap: missing, least: true},
		"Rate and Max, of which a pod is not back":    {edits: []edit{aggregated("Rate", "Max")}, gap: onePod, least: true},
		"Rate and Average of all pods":                {edits: []edit{aggregated("Rate", "Average")}, gap: missing, least: true},
		"Rate and Average of all pods, after zeroes":  {edits: []edit{aggregated("Rate", "Average")}, gap: zeroed, least: true},
		"Rate and Min of all pods":                    {edits: []edit{aggregated("Rate", "Min")}, gap: missing, least: true},
		"Rate and Average, and a pod is young":        {edits: []edit{aggregated("Rate", "Average")}, gap: missing, young: true},
		"Rate and Min, and a pod is young":            {edits: []edit{aggregated("Rate", "Min")}, gap: missing, young: true},
		"Rate and Sum, and a pod is young":            {edits: []edit{aggregated("Rate", "Sum")}, gap: missing, young: true, least: true},
		"a Service, Average of all pods":              {edits: []edit{svc}, gap: missing, least: true},
		"a Service, Average, a pod is not back":       {edits: []edit{svc}, gap: firstPod, higher: true},
		"a Service, Min, a pod is not back":           {edits: []edit{svc, aggregated("Rate", "Min")}, gap: firstPod, higher: true},
		"a Service, Sum, a pod is not back":           {edits: []edit{svc, aggregated("Rate", "Sum")}, gap: firstPod, least: true},
		"dimensions, Average of all pods":             {edits: []edit{dimensions(method)}, gap: missing, least: true},
		"dimensions, Average, a pod is not back":      {edits: []edit{dimensions(method)}, gap: firstPod, higher: true},
		"one Pod, Average":                            {edits: []edit{pod}, gap: missing, least: true},
		"a Namespace, Sum":                            {edits: []edit{ns, aggregated("Rate", "Sum")}, gap: missing, least: true},
		"a Namespace, Average: its pods are unknown":  {edits: []edit{ns}, gap: firstPod, higher: true},
		"an external metric, Sum":                     {edits: []edit{external, aggregated("Rate", "Sum")}, gap: missing, least: true},
		"a multiplier":                                {edits: []edit{aggregated("Rate", "Sum"), multiplied("0.1")}, gap: missing, least: true},
		"a multiplier that turns it around":           {edits: []edit{aggregated("Rate", "Sum"), multiplied("-1")}, gap: missing, higher: true},
		"a multiplier of nothing":                     {edits: []edit{aggregated("Rate", "Sum"), multiplied("0")}, gap: missing},
		"the mean of points":                          {edits: []edit{svc, aggregated("Average", "Sum")}, gap: missing, higher: true},
		"the least point":                             {edits: []edit{svc, aggregated("Min", "Sum")}, gap: missing, higher: true},
		"the last point, of which one is of before":   {edits: []edit{svc, named("falling"), aggregated("Last", "Sum")}, gap: oldPod, higher: true},
		"the greatest point, Sum":                     {edits: []edit{svc, aggregated("Max", "Sum")}, gap: zeroed, least: true},
		"the greatest point, Max":                     {edits: []edit{svc, aggregated("Max", "Max")}, gap: missing, least: true},
		"the sum of points":                           {edits: []edit{svc, aggregated("Sum", "Sum")}, gap: missing, least: true},
		"negative ones, the sum of points":            {edits: []edit{svc, named("gauge"), aggregated("Sum", "Sum")}, gap: firstPod, higher: true},
		"negative ones are there":                     {edits: []edit{svc, named("gauge"), aggregated("Max", "Sum")}, gap: onePod},
		"negative ones may be in what is reduced":     {edits: []edit{named("gauge"), aggregated("Max", "Sum")}, gap: firstPod, higher: true},
		"what a counter counts, after zeroes":         {edits: []edit{named("counter"), cumulative, aggregated("Rate", "Sum")}, gap: zeroed, higher: true},
		"what a counter has counted, after zeroes":    {edits: []edit{named("counter"), cumulative, aggregated("Sum", "Sum")}, gap: zeroed, higher: true},
		"what a counter counts, of a Service":         {edits: []edit{svc, named("counter"), cumulative, aggregated("Rate", "Sum")}, gap: zeroed, higher: true},
		"raw PromQL":                                  {edits: []edit{raw("sum(avg_over_time(sysdig_container_net_http_request_count[1m]))", "")}, gap: missing, higher: true},
		"raw PromQL that nobody looks at any closer ": {edits: []edit{raw("sum(sum_over_time(sysdig_container_net_http_request_count[1m]))", "")}, gap: missing},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSysdig(t)
			s.waves()
			s.series("falling", "c1", "shop", "web", "web-1", 5, 0)
			sysdigtest.Fill(s.Store(), map[string]string{
				"__name__": "falling", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelPod: "web-0",
			}, noon.Add(-20*time.Minute), noon, func(t time.Time) float64 { return max(0, returned.Sub(t).Seconds()) })
			in := steadyPods(test.young)
			q := compile(t, binding(test.edits...), connection()).Question
			whole := s.covered(80, q, in).Reading
			s.Store().SetVeils(test.gap)
			thin := s.covered(80, q, in).Reading
			if whole.Sample == nil || thin.Sample == nil {
				t.Fatalf("got %v and %v", whole.Failure, thin.Failure)
			}
			if thin.Sample.Least != test.least {
				t.Errorf("of %v there is %v, the least: %t, want %t", whole.Sample.Value, thin.Sample.Value, thin.Sample.Least, test.least)
			}
			if is := thin.Sample.Value > whole.Sample.Value; is != test.higher {
				t.Errorf("of %v there is %v, want higher: %t", whole.Sample.Value, thin.Sample.Value, test.higher)
			}
		})
	}
}

// steadyPods are web-0 to web-2, and one that has just become ready.
func steadyPods(young bool) query.Cluster {
	all := []rolled{always, always, always}
	if young {
		all = append(all, rolled{ready: 10 * time.Second})
	}
	return cluster{
		selected: func(string, string, time.Duration) []string { return names(all, nil) },
		ready: func(_, _ string, since time.Time) map[metric.Workload][]string {
			return map[metric.Workload][]string{deployment: names(all, func(r rolled) bool { return !attempt.At.Add(-r.ready).After(since) })}
		},
	}
}

// TestAnAverageOfPodsThatAreNotComparedIsNoBound: who is in it is not known.
func TestAnAverageOfPodsThatAreNotComparedIsNoBound(t *testing.T) {
	s := newSysdig(t)
	s.waves()
	for group, want := range map[metric.Aggregation]bool{metric.Average: false, metric.Sum: true} {
		q := compile(t, binding(func(b *v1alpha1.SysdigMetricBinding) {
			b.Spec.Source.Metric.GroupAggregation = v1alpha1.GroupAggregation(group)
		}), connection()).Question
		if got := s.covered(0, q, steadyPods(false)).Reading.Sample; got.Least != want {
			t.Errorf("%s: got %t", group, got.Least)
		}
	}
}

// TestOfASetEachObjectHasItsOwnBound is about Deployments, of which the pods of one are all there.
func TestOfASetEachObjectHasItsOwnBound(t *testing.T) {
	s := newSysdig(t)
	s.waves()
	s.series("sysdig_container_net_http_request_count", "c1", "shop", "api", "api-0", 70, 0)
	s.series("sysdig_container_up", "c1", "shop", "api", "api-0", 1, 0)
	api := metric.Workload{Type: "deployment", Name: "api"}
	in := cluster{ready: func(_, _ string, since time.Time) map[metric.Workload][]string {
		ready := map[metric.Workload][]string{deployment: {"web-0", "web-1", "web-2"}, api: {"api-0"}}
		if !since.Before(attempt.At) {
			ready[api] = append(ready[api], "api-1")
		}
		return ready
	}}
	o := s.covered(80, compile(t, binding(every("apps/v1", "Deployment", nil)), connection()).Question, in)
	if web, api := o.Objects["web"].Sample, o.Objects["api"].Sample; !web.Least || api.Least {
		t.Errorf("web: %t, api, of which a pod is young: %t", web.Least, api.Least)
	}
	pods := s.covered(80, compile(t, binding(every("v1", "Pod", nil)), connection()).Question, steadyPods(true))
	for name, found := range pods.Objects {
		if !found.Sample.Least {
			t.Errorf("pod %s, which is all there is of it, has no bound", name)
		}
	}
}
