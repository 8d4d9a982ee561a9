package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// scrape stores a counter of a pod that rises by ten a second, with a point each interval, the newest of them so long ago.
func (s *sysdigStage) scrape(pod string, every, newest time.Duration) {
	for at := noon.Add(-newest); at.After(noon.Add(-10 * time.Minute)); at = at.Add(-every) {
		s.Store().Append(map[string]string{
			"__name__": "http_requests_total", "kube_cluster_name": "c1", "kube_namespace_name": "shop", "kube_workload_type": "deployment",
			"kube_workload_name": "web", "kube_pod_name": pod,
		}, at, 10*at.Sub(noon.Add(-time.Hour)).Seconds())
	}
}

// TestTooFewPointsAreNoNoData has points that are further apart than a window takes: rate makes nothing of one point, and nothing at all
// is made of none. That must not be answered by onNoData.
func TestTooFewPointsAreNoNoData(t *testing.T) {
	rate := both(named("http_requests_total"), both(aggregated(v1alpha1.TimeRate, v1alpha1.GroupSum), cumulative))
	gauge := both(named("http_requests_total"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum))
	const minute = "TooFewPoints: Sysdig has a point every 1m or so, which are too few in "
	for name, test := range map[string]struct {
		every, newest time.Duration
		edits         []edit
		want, cure    string
	}{
		"raw, a rate of one point":                    {time.Minute, 70 * time.Second, []edit{external, raw("sum(rate(http_requests_total[1m]))", "")}, minute + "a range of the query", "set the range in spec.source.promQL.query to two scrape intervals or more, such as 2m"},
		"raw, a rate of two points":                   {time.Minute, 70 * time.Second, []edit{external, raw("sum(rate(http_requests_total[3m]))", "")}, "10,", ""},
		"raw, the last difference of one point":       {time.Minute, 70 * time.Second, []edit{external, raw("sum(irate(http_requests_total[1m]))", "")}, minute, ""},
		"raw, the increase of one point":              {time.Minute, 70 * time.Second, []edit{external, raw("max(increase(http_requests_total[1m])) * 2", "")}, minute, ""},
		"raw, the slope of one point":                 {time.Minute, 70 * time.Second, []edit{external, raw("sum(deriv(http_requests_total[1m]))", "")}, minute, ""},
		"raw, a mean of no point":                     {time.Minute, 80 * time.Second, []edit{external, raw("sum(avg_over_time(http_requests_total[30s]))", "")}, minute, ""},
		"raw, by pod":                                 {time.Minute, 70 * time.Second, []edit{target("v1", "Pod", "web-0"), raw("sum by (kube_pod_name) (rate(http_requests_total[1m]))", "kube_pod_name")}, minute, ""},
		"raw, left out by a comparison":               {10 * time.Second, 30 * time.Second, []edit{external, raw("sum(rate(http_requests_total[1m])) > 1000", "")}, "NoData: ", ""},
		"raw, another object":                         {time.Minute, 70 * time.Second, []edit{target("v1", "Pod", "web-1"), raw("sum by (kube_pod_name) (rate(http_requests_total[1m]))", "kube_pod_name")}, "NoData: ", ""},
		"typed, a rate of one point":                  {time.Minute, 70 * time.Second, []edit{rate}, minute + "the window of 1m", "set spec.source.metric.window to two scrape intervals or more, such as 2m"},
		"typed, of two points":                        {time.Minute, 70 * time.Second, []edit{rate, window(3 * time.Minute)}, "10,", ""},
		"typed, a sum of one point":                   {time.Minute, 70 * time.Second, []edit{rate, aggregated(v1alpha1.TimeSum, v1alpha1.GroupSum)}, minute, ""},
		"typed, of a Service":                         {time.Minute, 70 * time.Second, []edit{rate, target("v1", "Service", "web")}, minute, ""},
		"typed, of Pods":                              {time.Minute, 70 * time.Second, []edit{rate, every("v1", "Pod", nil)}, "web-0: " + minute, ""},
		"typed, of an external metric":                {time.Minute, 70 * time.Second, []edit{rate, external}, minute, ""},
		"a gauge with no point in the window":         {30 * time.Second, 55 * time.Second, []edit{gauge, window(10 * time.Second)}, "TooFewPoints: Sysdig has a point every 33s or so, which are too few in the window of 10s", ""},
		"half a minute, and points as far apart":      {30 * time.Second, 65 * time.Second, []edit{rate, window(30 * time.Second)}, "TooFewPoints: ", ""},
		"a series that has stopped":                   {10 * time.Second, 3 * time.Minute, []edit{rate}, "NoData: ", ""},
		"a series that has stopped, by raw PromQL":    {10 * time.Second, 3 * time.Minute, []edit{external, raw("sum(rate(http_requests_total[1m]))", "")}, "NoData: ", ""},
		"a gauge that has stopped, of a short window": {10 * time.Second, 3 * time.Minute, []edit{gauge, window(10 * time.Second)}, "NoData: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSysdig(t)
			s.scrape("web-0", test.every, test.newest)
			b := binding(test.edits...)
			if b.Spec.Target == nil || b.Spec.Target.Selector == nil {
				onNoData("Value", "0")(b) // it speaks of objects, and not of pods
			}
			d := compile(t, b, connection())
			in := cluster{selected: func(string, string, time.Duration) []string { return []string{"web-0"} }}
			if got := show(s.askOne(d.Question, in)); !strings.HasPrefix(got, test.want) || !strings.Contains(got, test.cure) {
				t.Errorf("got %s, want %s…%s", got, test.want, test.cure)
			}
		})
	}
}

// TestTheFirstPointIsTooFew of a series that has just begun.
func TestTheFirstPointIsTooFew(t *testing.T) {
	s := newSysdig(t)
	s.Store().Append(map[string]string{
		"__name__": "http_requests_total", "kube_cluster_name": "c1", "kube_namespace_name": "shop", "kube_workload_type": "deployment",
		"kube_workload_name": "web", "kube_pod_name": "web-0",
	}, noon.Add(-40*time.Second), 10)
	d := compile(t, binding(named("http_requests_total"), aggregated(v1alpha1.TimeRate, v1alpha1.GroupSum), cumulative, onNoData("Value", "0")), connection())
	if got := s.askOne(d.Question, nil).Reading.Failure; got == nil || got.Reason != metric.TooFewPoints || !strings.Contains(got.Message, "one point, ") {
		t.Errorf("got %v", got)
	}
}
