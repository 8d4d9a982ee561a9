package query_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// value and timeOf are rows of an answer about Deployment web.
func value(v float64) sysdig.Series { return sysdig.Series{Labels: webLabels(), Value: v} }

func timeOf(ago time.Duration) sysdig.Series {
	labels := webLabels()
	labels[partLabel] = "time"
	return sysdig.Series{Labels: labels, Value: float64(noon.Add(-ago).UnixMilli()) / 1000}
}

func webLabels() map[string]string {
	return map[string]string{"kube_namespace_name": "shop", "kube_workload_type": "deployment", "kube_workload_name": "web"}
}

// of gives a row other labels.
func of(s sysdig.Series, label, value string) sysdig.Series {
	s.Labels[label] = value
	return s
}

func TestReadingAnAnswer(t *testing.T) {
	const fresh = 30 * time.Second
	tests := map[string]struct {
		edits  []edit
		series []sysdig.Series
		want   string
	}{
		"a value and its time":                     {nil, []sysdig.Series{value(7), timeOf(fresh)}, "7, 30s old"},
		"the time comes first":                     {nil, []sysdig.Series{timeOf(fresh), value(7)}, "7, 30s old"},
		"0 is a value":                             {nil, []sysdig.Series{value(0), timeOf(fresh)}, "0, 30s old"},
		"nothing":                                  {nil, nil, "NoData"},
		"a time without a value":                   {nil, []sysdig.Series{timeOf(fresh)}, "TooFewPoints"},
		"a value without a time":                   {nil, []sysdig.Series{value(7)}, "Stale"},
		"a time that is no number":                 {nil, []sysdig.Series{value(7), {Labels: timeOf(0).Labels, Value: math.NaN()}}, "Stale"},
		"a time without end":                       {nil, []sysdig.Series{value(7), {Labels: timeOf(0).Labels, Value: math.Inf(1)}}, "Stale"},
		"a time after that of the question":        {nil, []sysdig.Series{value(7), timeOf(-time.Hour)}, "7, 25s old"},
		"a fraction of a second in the time":       {nil, []sysdig.Series{value(7), timeOf(30*time.Second + 250*time.Millisecond)}, "7, 30.25s old"},
		"several values":                           {nil, []sysdig.Series{value(7), value(7), timeOf(fresh)}, "Implausible"},
		"NaN":                                      {nil, []sysdig.Series{value(math.NaN()), timeOf(fresh)}, "Implausible"},
		"an infinity":                              {nil, []sysdig.Series{value(math.Inf(-1)), timeOf(fresh)}, "Implausible"},
		"too large for an HPA":                     {nil, []sysdig.Series{value(1e300), timeOf(fresh)}, "Implausible"},
		"another workload":                         {nil, []sysdig.Series{of(value(7), "kube_workload_name", "api"), of(timeOf(fresh), "kube_workload_name", "api")}, "NoData"},
		"another namespace":                        {nil, []sysdig.Series{of(value(7), "kube_namespace_name", "bank"), of(timeOf(fresh), "kube_namespace_name", "bank")}, "NoData"},
		"another kind of the same name":            {nil, []sysdig.Series{of(value(7), "kube_workload_type", "statefulset"), of(timeOf(fresh), "kube_workload_type", "statefulset")}, "NoData"},
		"the time of another":                      {nil, []sysdig.Series{value(7), of(timeOf(fresh), "kube_workload_name", "api")}, "Stale"},
		"a multiplier":                             {[]edit{multiplied("0.001")}, []sysdig.Series{value(7), timeOf(fresh)}, "0.007, 30s old"},
		"a negative multiplier":                    {[]edit{multiplied("-2")}, []sysdig.Series{value(7), timeOf(fresh)}, "-14, 30s old"},
		"a multiplier that makes it too large":     {[]edit{multiplied("1e99")}, []sysdig.Series{value(1e10), timeOf(fresh)}, "Implausible"},
		"a namespace":                              {[]edit{target("v1", "Namespace", "")}, []sysdig.Series{value(7), timeOf(fresh)}, "7, 30s old"},
		"a raw query":                              {[]edit{raw("sum(x)", "")}, []sysdig.Series{{Value: 7}, {Labels: map[string]string{partLabel: "0"}, Value: float64(noon.Unix() - 40)}}, "7, 40s old"},
		"a raw query lacks one of two times":       {[]edit{raw("sum(x) + sum(y)", "")}, []sysdig.Series{{Value: 7}, {Labels: map[string]string{partLabel: "0"}, Value: float64(noon.Unix() - 40)}}, "Stale"},
		"a raw query about the binding's own name": {[]edit{raw("sum by (ns) (x)", "ns"), target("v1", "Namespace", "")}, []sysdig.Series{{Labels: map[string]string{"ns": "shop"}, Value: 7}, {Labels: map[string]string{"ns": "shop", partLabel: "0"}, Value: float64(noon.Unix() - 40)}}, "7, 40s old"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := query.Plan([]query.Question{compile(t, binding(test.edits...), connection()).Question}, query.Whole)[0]
			outcomes := request.Read(sysdig.Answer{Series: test.series}, attempt, nil)
			if got := show(outcomes[0]); len(outcomes) != 1 || !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			r := outcomes[0].Reading
			if (r.Sample == nil) == (r.Failure == nil) || !r.Asked.Equal(attempt.At) || !r.Attempted.Equal(attempt.Received) {
				t.Errorf("got %+v", r)
			}
			if r.Sample != nil && (!r.Sample.Received.Equal(attempt.Received) || r.Sample.Window != request.Window()) {
				t.Errorf("got %+v", r.Sample)
			}
			cut := request.Read(sysdig.Answer{Series: test.series, Warnings: []string{"cut short"}}, attempt, nil)
			if got := show(cut[0]); !strings.HasPrefix(got, "Truncated") || !strings.Contains(got, "cut short") {
				t.Errorf("an answer that warns gives %s", got)
			}
			failure := metric.Failf(metric.RateLimited, "slow")
			if failed := request.Fail(failure, attempt)[0].Reading; failed.Failure != failure || failed.Sample != nil || !failed.Attempted.Equal(noon) {
				t.Errorf("got %+v", failed)
			}
		})
	}
}

func TestTheValueOfAService(t *testing.T) {
	s := newSysdig(t)
	for pod, rps := range map[string]float64{"web-0": 1, "web-1": 2, "web-2": 6, "api-0": 100} {
		s.series("sysdig_container_net_http_request_count", "c1", "shop", "web", pod, rps*10, 0)
	}
	s.series("sysdig_container_net_http_request_count", "c1", "shop", "web", "web-3", 0, 40*time.Second)
	s.series("sysdig_container_net_http_request_count", "c1", "bank", "web", "web-4", 500, 0)
	tests := map[string]struct {
		group v1alpha1.GroupAggregation
		pods  []string
		want  string
	}{
		"the mean of its pods":                         {"Average", []string{"web-0", "web-1", "web-2"}, "3, 30s old"},
		"the sum of its pods":                          {"Sum", []string{"web-0", "web-1", "web-2"}, "9, 30s old"},
		"the smallest of its pods":                     {"Min", []string{"web-0", "web-1", "web-2"}, "1, 30s old"},
		"the largest of its pods":                      {"Max", []string{"web-0", "web-1", "web-2"}, "6, 30s old"},
		"a silent pod is left out and is no 0":         {"Average", []string{"web-0", "web-1", "web-2", "web-9"}, "3, 30s old"},
		"a silent pod is not the smallest":             {"Min", []string{"web-1", "web-9"}, "2, 30s old"},
		"the newest point counts":                      {"Sum", []string{"web-0", "web-3"}, "1, 30s old"},
		"one pod whose points are older":               {"Sum", []string{"web-3"}, "0, 40s old"},
		"silent pods only":                             {"Average", []string{"web-8", "web-9"}, "NoData: Sysdig answered and holds nothing for this object"},
		"no pods":                                      {"Sum", nil, "NoData"},
		"a pod of the same name elsewhere is not ours": {"Sum", []string{"web-4"}, "NoData"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(target("v1", "Service", "web"), aggregated("Rate", test.group)), connection())
			got := s.askOne(d.Question, cluster{selected: func(namespace, selector string, window time.Duration) []string {
				if namespace != "shop" || selector != "app=web" || window != time.Minute+25*time.Second {
					t.Errorf("asked for %s, %s, %s", namespace, selector, window)
				}
				return test.pods
			}})
			if got := show(got); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// mostSegments is how many series Sysdig returns of an aggregation; it does not say when it leaves others out.
const mostSegments = 100_000

// TestAnAnswerThatMayBeCutIsNotRead: values and times fill the most that Sysdig returns, and the time of a pod was cut off. The
// control has one row less, as an answer that was cut elsewhere would: the pod looks stopped and the mean is wrong.
func TestAnAnswerThatMayBeCutIsNotRead(t *testing.T) {
	pod := func(s sysdig.Series, name string) sysdig.Series { return of(s, "kube_pod_name", name) }
	mine := []sysdig.Series{pod(value(10), "web-0"), pod(value(30), "web-1"), pod(timeOf(30*time.Second), "web-0"), pod(timeOf(30*time.Second), "web-1")}
	crowd := func(rows int) []sysdig.Series {
		half := rows / 2
		one, dated := of(value(1), "kube_namespace_name", "bank"), of(timeOf(0), "kube_namespace_name", "bank")
		return append(slices.Repeat([]sysdig.Series{one}, half), slices.Repeat([]sysdig.Series{dated}, rows-half)...)
	}
	tests := map[string]struct {
		series []sysdig.Series
		want   string
	}{
		"as many rows as there may be":        {rows(mine[:3], crowd(mostSegments-3)), "Truncated: the answer has 100000 rows"},
		"control: one row less":               {rows(mine[:3], crowd(mostSegments-4)), "10, 30s old"},
		"control: one row less, nothing lost": {rows(mine, crowd(mostSegments-5)), "20, 30s old"},
	}
	request := query.Plan([]query.Question{compile(t, binding(target("v1", "Service", "web")), connection()).Question}, query.Whole)[0]
	pods := cluster{selected: func(string, string, time.Duration) []string { return []string{"web-0", "web-1"} }}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := show(request.Read(sysdig.Answer{Series: test.series}, attempt, pods)[0]); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
