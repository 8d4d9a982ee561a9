package query_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// heartbeat asks for the pods that agents see.
func heartbeat(minimum int) query.Heartbeat {
	return query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: query.ScopeOf(connection()), Coverage: minimum}
}

// rolled is a pod of Deployment web of namespace shop, how long it has been ready at the time that is asked about, and since when
// its agent sees it and until when, both before noon.
type rolled struct {
	ready, from, until time.Duration
}

// always is a pod that is seen all the time; silent is one whose agent has stopped, back one whose agent was away until 30 s before
// the end of the window, and young one that is too young to be missed.
var (
	always = rolled{ready: time.Hour, from: 20 * time.Minute}
	silent = rolled{ready: time.Hour, from: 20 * time.Minute, until: 5 * time.Minute}
	back   = rolled{ready: time.Hour, from: 55 * time.Second}
	young  = rolled{ready: 69 * time.Second, from: 20 * time.Second}
	adult  = rolled{ready: 70 * time.Second, from: 20 * time.Second}
)

var deployment = metric.Workload{Type: "deployment", Name: "web"}

// roll fills Sysdig with pods web-0, web-1 … whose points are 70 times 1, 2, 3 …, and returns what the API server knows of them.
func (s *sysdigStage) roll(of ...rolled) query.Cluster {
	for i, r := range of {
		for name, value := range map[string]float64{"sysdig_container_net_http_request_count": 70, "http_requests_total": 70, "sysdig_container_up": 1} {
			sysdigtest.Fill(s.Store(), map[string]string{
				"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelWorkloadType: "deployment",
				sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: fmt.Sprint("web-", i), sysdigtest.LabelMethod: "GET",
			}, noon.Add(-r.from), noon.Add(-r.until), func(time.Time) float64 { return value })
		}
	}
	s.series("sysdig_container_up", "c1", "kube-system", "heart", "heart-0", 1, 0)
	return cluster{
		selected: func(string, string, time.Duration) []string { return names(of, nil) },
		services: func(string, string) map[string]string { return map[string]string{"front": "app=web", "bare": ""} },
		ready: func(namespace, selector string, since time.Time) map[metric.Workload][]string {
			if namespace != "shop" || selector != "" && selector != "app=web" {
				return nil
			}
			return map[metric.Workload][]string{deployment: names(of, func(r rolled) bool { return !attempt.At.Add(-r.ready).After(since) })}
		},
	}
}

func names(of []rolled, keep func(rolled) bool) (names []string) {
	for i, r := range of {
		if keep == nil || keep(r) {
			names = append(names, fmt.Sprint("web-", i))
		}
	}
	return names
}

// hear asks for a heartbeat of requests.
func (s *sysdigStage) hear(beat query.Heartbeat, requests []query.Request) query.Heard {
	s.t.Helper()
	needs := beat.Needs(requests)
	answer, err := s.client.Query(s.t.Context(), beat.PromQL(needs), attempt.At)
	if err != nil {
		s.t.Fatal(err)
	}
	heard, failure := beat.Read(answer, attempt.At, needs)
	if failure != nil {
		s.t.Fatal(failure)
	}
	return heard
}

// covered answers one question when so many percent of pods have to be seen.
func (s *sysdigStage) covered(minimum int, q query.Question, in query.Cluster) query.Outcome {
	s.t.Helper()
	requests := query.Plan([]query.Question{q}, query.Whole)
	answer, err := s.client.Query(s.t.Context(), requests[0].PromQL, attempt.At)
	if err != nil {
		s.t.Fatal(err)
	}
	with := attempt
	with.Heard = s.hear(heartbeat(minimum), requests)
	if failure := with.Heard.Covers(&requests[0]); failure != nil {
		s.t.Fatal(failure)
	}
	return requests[0].Read(answer, with, in)[0]
}

func floor(of query.Found) string {
	if of.Floor == nil {
		return "none"
	}
	return fmt.Sprint(of.Floor.Value)
}

func found(of metric.Reading) query.Found {
	return query.Found{Sample: of.Sample, Failure: of.Failure, Floor: of.Floor}
}

const threeOfSix = "Partial: the agents see 3 of 6 pods that were ready for the whole window of 1m0s; not web-3, web-4 and 1 more; coverage.minimum is 80 %"

func TestAValueNeedsEnoughOfThePodsThatShouldBeSeen(t *testing.T) {
	half := []rolled{always, always, always, silent, silent, silent}
	svc := target("v1", "Service", "front")
	for name, test := range map[string]struct {
		pods    []rolled
		minimum int
		edits   []edit
		want    string
		floor   string
		control string // what is read without the rule
	}{
		"all are seen":                       {slices.Repeat([]rolled{always}, 6), 80, []edit{aggregated("Rate", "Sum")}, "42,", "none", "42,"},
		"half are silent, Average":           {half, 80, nil, threeOfSix, "none", "7,"},
		"half are silent, Min":               {half, 80, []edit{aggregated("Rate", "Min")}, threeOfSix, "none", "7,"},
		"half are silent, Sum":               {half, 80, []edit{aggregated("Rate", "Sum")}, threeOfSix, "21", "21,"},
		"half are silent, Max":               {half, 80, []edit{aggregated("Rate", "Max")}, threeOfSix, "7", "7,"},
		"half are silent, and 50 % will do":  {half, 50, []edit{aggregated("Rate", "Sum")}, "21,", "none", "21,"},
		"half are silent, 51 % are wanted":   {half, 51, []edit{aggregated("Rate", "Sum")}, "Partial: ", "21", "21,"},
		"a gauge may be negative":            {half, 80, []edit{aggregated("Average", "Sum")}, threeOfSix, "none", "210,"},
		"a sum of a gauge may be, too":       {half, 80, []edit{aggregated("Sum", "Sum")}, threeOfSix, "none", "1260,"},
		"what a counter has counted is not":  {half, 80, []edit{aggregated("Sum", "Sum"), cumulative}, threeOfSix, "0", "0,"},
		"a multiplier that turns it around":  {half, 80, []edit{aggregated("Rate", "Sum"), multiplied("-1")}, threeOfSix, "none", "-21,"},
		"a multiplier":                       {half, 80, []edit{aggregated("Rate", "Sum"), multiplied("0.1")}, threeOfSix, "2.1", "2.1"},
		"a breach of bounds":                 {half, 80, []edit{aggregated("Rate", "Sum"), bounds("", "20")}, "Implausible: ", "none", "Implausible: "},
		"kept apart by a dimension":          {half, 80, []edit{aggregated("Average", "Sum"), dimensions(method)}, threeOfSix, "210", "210,"},
		"a Service":                          {half, 80, []edit{svc}, threeOfSix, "none", "7,"},
		"a Service, Sum of a gauge":          {half, 80, []edit{svc, aggregated("Average", "Sum")}, threeOfSix, "210", "210,"},
		"a Service, Max":                     {half, 80, []edit{svc, aggregated("Rate", "Max")}, threeOfSix, "7", "7,"},
		"all are silent":                     {slices.Repeat([]rolled{silent}, 2), 80, []edit{aggregated("Rate", "Sum")}, "Partial: the agents see 0 of 2 pods that were ready for the whole window of 1m0s; not web-0 and web-1; ", "none", "NoData: "},
		"all of a Service are silent":        {slices.Repeat([]rolled{silent}, 2), 80, []edit{svc}, "Partial: the agents see 0 of 2 ", "none", "NoData: "},
		"one of ten is silent":               {append(slices.Repeat([]rolled{always}, 9), silent), 80, []edit{aggregated("Rate", "Sum")}, "63,", "none", "63,"},
		"one of ten is silent, all count":    {append(slices.Repeat([]rolled{always}, 9), silent), 100, []edit{aggregated("Rate", "Sum")}, "Partial: the agents see 9 of 10 pods that were ready for the whole window of 1m0s; not web-9; ", "63", "63,"},
		"young pods are never missing":       {[]rolled{young, young, young, always}, 80, []edit{aggregated("Rate", "Sum")}, "7,", "none", "7,"},
		"pods that are old enough are":       {[]rolled{adult, adult, adult, always}, 80, []edit{aggregated("Rate", "Sum")}, "Partial: the agents see 1 of 4 ", "7", "7,"},
		"nobody is old enough to be missing": {[]rolled{young, young}, 100, nil, "NoData: ", "none", "NoData: "},
		"windows are half empty":             {[]rolled{back, back}, 80, []edit{aggregated("Rate", "Sum")}, "Partial: the agents see 0 of 2 ", "7", "7,"},
		"of a Service, they tell nothing":    {[]rolled{back, always, back}, 80, []edit{svc, aggregated("Average", "Sum")}, "Partial: the agents see 1 of 3 ", "70", "210,"},
		"one Pod is silent":                  {half, 80, []edit{target("v1", "Pod", "web-3"), aggregated("Rate", "Sum")}, "Partial: the agents see 0 of 1 pods ", "none", "NoData: "},
		"one Pod of them is not":             {half, 80, []edit{target("v1", "Pod", "web-2")}, "7,", "none", "7,"},
		"another workload":                   {half, 80, []edit{target("apps/v1", "StatefulSet", "web")}, "NoData: ", "none", "NoData: "},
		"a Namespace is not made of pods":    {half, 80, []edit{target("v1", "Namespace", "")}, "7,", "none", "7,"},
		"an external metric is not either":   {half, 80, []edit{external, aggregated("Rate", "Sum")}, "21,", "none", "21,"},
		"raw PromQL is not either":           {half, 80, []edit{raw("sum(sysdig_container_net_http_request_count)", "")}, "210,", "none", "210,"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSysdig(t)
			in := s.roll(test.pods...)
			question := compile(t, binding(test.edits...), connection()).Question
			o := s.covered(test.minimum, question, in)
			if got := show(o); !strings.HasPrefix(got, test.want) || floor(found(o.Reading)) != test.floor {
				t.Errorf("got %s, not less than %s; want %s, not less than %s", got, floor(found(o.Reading)), test.want, test.floor)
			}
			if got := show(s.covered(0, question, in)); !strings.HasPrefix(got, test.control) {
				t.Errorf("without the rule it is %s, want %s", got, test.control)
			}
		})
	}
}

func TestANegativeRowLeavesNoFloor(t *testing.T) {
	s := newSysdig(t)
	in := s.roll(always, always, silent)
	s.series("gauge", "c1", "shop", "web", "web-0", 5, 0)
	s.series("gauge", "c1", "shop", "web", "web-1", -1, 0)
	for _, group := range []v1alpha1.GroupAggregation{v1alpha1.GroupSum, v1alpha1.GroupMax} {
		q := compile(t, binding(target("v1", "Service", "front"), named("gauge"), aggregated("Average", group)), connection()).Question
		if o := s.covered(80, q, in); show(o) == "" || !strings.HasPrefix(show(o), "Partial: ") || o.Reading.Floor != nil {
			t.Errorf("%s: got %s, not less than %s", group, show(o), floor(found(o.Reading)))
		}
	}
}

func TestOfASetThoseThatAreNotSeenHaveNoValue(t *testing.T) {
	const partial = "Partial: the agents see 0 of 1 pods that were ready for the whole window of 1m0s; not "
	few := []rolled{always, back, silent, young}
	for name, test := range map[string]struct {
		pods          []rolled
		edits         []edit
		want, control map[string]string
	}{
		"Pods, of which enough are seen": {
			[]rolled{always, always, always, always, always, always, always, always, back, silent},
			[]edit{every("v1", "Pod", nil)},
			map[string]string{
				"web-0": "7,", "web-1": "7,", "web-2": "7,", "web-3": "7,", "web-4": "7,", "web-5": "7,", "web-6": "7,", "web-7": "7,",
				"web-8": partial + "web-8", "web-9": partial + "web-9",
			},
			map[string]string{
				"web-0": "7,", "web-1": "7,", "web-2": "7,", "web-3": "7,", "web-4": "7,", "web-5": "7,", "web-6": "7,", "web-7": "7,", "web-8": "3.5,",
			},
		},
		"Deployments": {
			few,
			[]edit{every("apps/v1", "Deployment", nil), aggregated("Rate", "Sum")},
			map[string]string{"web": "Partial: the agents see 1 of 3 "}, map[string]string{"web": "10.5,"},
		},
		"StatefulSets": {few, []edit{every("apps/v1", "StatefulSet", nil)}, map[string]string{}, map[string]string{}},
		"Services": {
			few,
			[]edit{every("v1", "Service", nil), aggregated("Rate", "Sum")},
			map[string]string{"front": "Partial: the agents see 1 of 3 ", "bare": "Rejected: "}, map[string]string{"front": "10.5,", "bare": "Rejected: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSysdig(t)
			in := s.roll(test.pods...)
			q := compile(t, binding(test.edits...), connection()).Question
			for minimum, want := range map[int]map[string]string{80: test.want, 0: test.control} {
				o := s.covered(minimum, q, in)
				if len(o.Objects) != len(want) || o.Reading.Failure != nil {
					t.Errorf("%d %%: got %s", minimum, show(o))
				}
				for object, prefix := range want {
					if got := showObjects(query.Outcome{Objects: map[string]query.Found{object: o.Objects[object]}}); !strings.HasPrefix(got, object+": "+prefix) {
						t.Errorf("%d %%: got %s, want %s", minimum, got, prefix)
					}
				}
			}
		})
	}
}

// TestTooFewPodsOfASet: an HPA that got those that are seen would take the others for pods at their target, and shrink when these are
// idle. The control is what it would get.
func TestTooFewPodsOfASet(t *testing.T) {
	s := newSysdig(t)
	in := s.roll(always, back, silent, young)
	for selector, want := range map[string]map[int]string{
		"web":   {80: "Partial: the agents see 1 of 3 pods ", 0: "web-0: 7"},
		"other": {80: "web-0: 7", 0: "web-0: 7"}, // another set's pods, of which none is expected
	} {
		q := compile(t, binding(every("v1", "Pod", map[string]string{"app": selector})), connection()).Question
		for minimum, text := range want {
			if got := show(s.covered(minimum, q, in)); !strings.Contains(got, text) {
				t.Errorf("%s, %d %%: got %s, want %s", selector, minimum, got, text)
			}
		}
	}
}

// TestADeploymentWithoutAnyRowIsInItsSet: left out of the set it would have no data.
func TestADeploymentWithoutAnyRowIsInItsSet(t *testing.T) {
	s := newSysdig(t)
	in := s.roll(silent, silent)
	q := compile(t, binding(every("apps/v1", "Deployment", nil)), connection()).Question
	if got := show(s.covered(80, q, in)); !strings.HasPrefix(got, "web: Partial: the agents see 0 of 2 ") {
		t.Errorf("got %s", got)
	}
	if got := show(s.covered(0, q, in)); got != "" {
		t.Errorf("without the rule there is %s", got)
	}
}

func TestAnIncompleteHeartbeatTellsNothingOfPods(t *testing.T) {
	typed := query.Plan([]query.Question{compile(t, binding(), connection()).Question}, query.Whole)
	others := query.Plan([]query.Question{
		compile(t, binding(external), connection()).Question,
		compile(t, binding(raw("sum(rate(x[1m]))", "")), connection()).Question,
	}, query.Whole)
	whole := []sysdig.Series{
		{Labels: map[string]string{}, Value: float64(attempt.At.Unix() - 5)},
		{Labels: map[string]string{partLabel: "1m"}, Value: 6},
	}
	pod := sysdig.Series{Labels: map[string]string{partLabel: "1m", "kube_namespace_name": "shop", "kube_pod_name": "web-0"}, Value: 6}
	for name, answer := range map[string]sysdig.Answer{
		"Sysdig warns":            {Series: whole, Warnings: []string{"results truncated"}},
		"there are too many rows": {Series: append(slices.Clone(whole), slices.Repeat([]sysdig.Series{pod}, mostSegments-2)...)},
	} {
		t.Run(name, func(t *testing.T) {
			beat := heartbeat(80)
			heard, failure := beat.Read(answer, attempt.At, beat.Needs(slices.Concat(typed, others)))
			if failure != nil {
				t.Fatal(failure)
			}
			got := heard.Covers(&typed[0])
			if got == nil || got.Reason != metric.Truncated || !strings.Contains(got.Message, "spec.coverage.minimum to 0") {
				t.Errorf("a request about pods: %v", got)
			}
			for i := range others {
				if got := heard.Covers(&others[i]); got != nil {
					t.Errorf("%s: %v", others[i].PromQL, got)
				}
			}
			off := heartbeat(0)
			heard, _ = off.Read(answer, attempt.At, off.Needs(typed))
			if got := heard.Covers(&typed[0]); got != nil {
				t.Errorf("switched off: %v", got)
			}
		})
	}
}

func TestAHeartbeatAsksForThePodsOfTheNamespacesThatMatter(t *testing.T) {
	ask := func(minimum int, edits ...[]edit) string {
		var questions []query.Question
		for _, e := range edits {
			questions = append(questions, compile(t, binding(e...), connection()).Question)
		}
		requests := query.Plan(questions, query.Whole)
		promQL := heartbeat(minimum).PromQL(heartbeat(minimum).Needs(requests))
		parse(t, promQL)
		if len(promQL) > 48_000 {
			t.Errorf("the query has %d characters", len(promQL))
		}
		return promQL
	}
	const (
		shared = `max(timestamp(sysdig_container_up{kube_cluster_name="c1"})) or label_replace(max(count_over_time(sysdig_container_up{kube_cluster_name="c1"}[1m])), "sysdig_metrics_part", "1m", "", "")`
		perPod = ` or label_replace(max by (kube_namespace_name, kube_pod_name) (count_over_time(sysdig_container_up{kube_namespace_name=~"bank|shop",kube_cluster_name="c1"}[1m])) >= 5, "sysdig_metrics_part", "1m", "", "")`
	)
	about := []([]edit){{in("shop")}, {in("bank"), target("v1", "Service", "front")}, {in("mill"), external}, {in("tail"), raw("sum(rate(x[1m]))", "")}}
	if got := ask(80, about...); got != shared+perPod {
		t.Errorf("got %s", got)
	}
	if got := ask(0, about...); got != shared {
		t.Errorf("switched off: got %s", got)
	}
	var many [][]edit
	for i := range 800 {
		many = append(many, []edit{in(fmt.Sprintf("%s-%d", strings.Repeat("n", 59), i))})
	}
	if got := ask(80, many...); strings.Contains(got, "nnn") || !strings.Contains(got, `by (kube_namespace_name, kube_pod_name) (count_over_time(sysdig_container_up{kube_cluster_name="c1"}[1m]))`) {
		t.Errorf("of 800 namespaces: got %s", got)
	}
}

// TestWhatWasHeardOfOtherNamespacesTellsNothing: a pod that nobody asked for is not silent.
func TestWhatWasHeardOfOtherNamespacesTellsNothing(t *testing.T) {
	needs := func(edits ...[]edit) query.Needs {
		var questions []query.Question
		for _, e := range edits {
			questions = append(questions, compile(t, binding(e...), connection()).Question)
		}
		return heartbeat(80).Needs(query.Plan(questions, query.Whole))
	}
	shop, bank, longer := []edit{in("shop")}, []edit{in("bank")}, []edit{in("shop"), window(5 * time.Minute)}
	elsewhere := []edit{in("tail"), raw("sum(rate(x[5m]))", "")}
	for name, test := range map[string]struct {
		now, heard query.Needs
		want       bool
	}{
		"the same":                         {needs(shop), needs(shop), true},
		"less":                             {needs(shop), needs(shop, bank, longer), true},
		"another namespace":                {needs(bank), needs(shop), false},
		"another window":                   {needs(longer), needs(shop), false},
		"a window heard without pods":      {needs(longer), needs(shop, elsewhere), false},
		"a window heard with pods":         {needs(elsewhere), needs(longer), true},
		"nothing, before anything was":     {query.Needs{}, query.Needs{}, true},
		"something, before anything was":   {needs(shop), query.Needs{}, false},
		"a window of others' and of pods'": {needs(shop, elsewhere), needs(shop, bank), false},
	} {
		if got := test.now.Within(test.heard); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestTheWindowOfRawPromQLIsItsLongestRange(t *testing.T) {
	for text, want := range map[string][2]time.Duration{ // of the sample, and what has to be covered
		"sum(x)":                                             {0, 0},
		"sum(rate(x[5m]))":                                   {5 * time.Minute, 5 * time.Minute},
		"sum(rate(x[1m])) / sum(rate(y[3m]))":                {3 * time.Minute, 3 * time.Minute},
		"max_over_time(sum(x)[10m:10s])":                     {10 * time.Minute, 10 * time.Minute},
		"max_over_time(rate(x[1m])[10m:10s])":                {11 * time.Minute, 11 * time.Minute},
		"avg_over_time(max_over_time(x[2m])[10m:10s]) + x":   {12 * time.Minute, 12 * time.Minute},
		"sum(max_over_time(max_over_time(x[5m:10s])[5m:])) ": {10 * time.Minute, 10 * time.Minute},
		"sum(rate(x[45s]))":                                  {45 * time.Second, 50 * time.Second},
		"sum(increase(x[1d]))":                               {24 * time.Hour, time.Hour},
	} {
		q := compile(t, binding(raw(text, "")), connection()).Question
		request := query.Plan([]query.Question{q}, query.Whole)[0]
		if got := [2]time.Duration{q.Shape.Value().Window, request.Window()}; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// BenchmarkReadingCovered is one answer about 10,000 Deployments of five pods each, of which some are silent.
func BenchmarkReadingCovered(b *testing.B) {
	const workloads, perWorkload = 10_000, 5
	for _, namespaces := range []int{1, 500} {
		ready := map[string]map[metric.Workload][]string{}
		var questions []query.Question
		var answer, beat sysdig.Answer
		beat.Series = []sysdig.Series{{Labels: map[string]string{}, Value: float64(attempt.At.Unix() - 5)}, {Labels: map[string]string{partLabel: "1m"}, Value: 6}}
		for i := range workloads {
			namespace, name := fmt.Sprintf("shop-%03d", i%namespaces), fmt.Sprintf("web-%05d", i)
			questions = append(questions, compile(b, binding(in(namespace), target("apps/v1", "Deployment", name)), connection()).Question)
			row := map[string]string{"kube_namespace_name": namespace, "kube_workload_type": "deployment", "kube_workload_name": name}
			dated := maps.Clone(row)
			dated[partLabel] = "time"
			answer.Series = append(answer.Series, sysdig.Series{Labels: row, Value: 1}, sysdig.Series{Labels: dated, Value: float64(noon.Unix() - 30)})
			if ready[namespace] == nil {
				ready[namespace] = map[metric.Workload][]string{}
			}
			for p := range perWorkload {
				pod := fmt.Sprintf("%s-%d", name, p)
				owner := metric.Workload{Type: "deployment", Name: name}
				ready[namespace][owner] = append(ready[namespace][owner], pod)
				if p == 0 && i%2 == 0 {
					continue
				}
				beat.Series = append(beat.Series, sysdig.Series{Labels: map[string]string{partLabel: "1m", "kube_namespace_name": namespace, "kube_pod_name": pod}, Value: 6})
			}
		}
		in := cluster{ready: func(namespace, _ string, _ time.Time) map[metric.Workload][]string { return ready[namespace] }}
		request := query.Plan(questions, query.Whole)[0]
		for name, minimum := range map[string]int{"off": 0, "80": 80} {
			asks := heartbeat(minimum)
			b.Run(fmt.Sprintf("%d namespaces/%s", namespaces, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					with := attempt
					with.Heard, _ = asks.Read(beat, attempt.At, asks.Needs([]query.Request{request}))
					if got := request.Read(answer, with, in); len(got) != len(request.Questions) || got[0].Reading.Sample == nil {
						b.Fatal(show(got[0]))
					}
				}
			})
		}
	}
}

// TestAHeartbeatInDottedNotationIsHeardByBothAPIs asks the stand-in for the metric of every pod by its dotted name.
func TestAHeartbeatInDottedNotationIsHeardByBothAPIs(t *testing.T) {
	for written, stored := range map[string]string{
		"uptime": "sysdig_container_up", "memory.bytes.used": "sysdig_container_memory_used_bytes", "net.request.count.in": "sysdig_container_net_request_in_count",
		"sysdig_container_up": "sysdig_container_up",
	} {
		for _, c := range []*v1alpha1.SysdigConnection{connection(), connection(byData)} {
			s := newSysdig(t)
			s.series(stored, "c1", "shop", "web", "web-1", 1, 30*time.Second)
			h := query.Heartbeat{Metric: written, Scope: query.ScopeOf(c)}
			if failure := h.Check(); failure != nil {
				t.Fatal(failure)
			}
			answer, err := s.line().Listen(h, h.Needs(nil), attempt.At)
			if err != nil {
				t.Fatal(err)
			}
			heard, failure := h.Read(answer, attempt.At, h.Needs(nil))
			if want := noon.Add(-30 * time.Second); failure != nil || !heard.Newest.Equal(want) {
				t.Errorf("%s by %s: the newest point is of %s, %v; want %s", written, c.Spec.API, heard.Newest, failure, want)
			}
		}
	}
}
