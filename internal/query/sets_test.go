package query_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// workload is a row and its time of any workload of namespace shop.
func workload(kind, name string, v float64) []sysdig.Series {
	return []sysdig.Series{
		of(of(value(v), "kube_workload_type", kind), "kube_workload_name", name),
		of(of(timeOf(30*time.Second), "kube_workload_type", kind), "kube_workload_name", name),
	}
}

func rows(of ...[]sysdig.Series) []sysdig.Series {
	var all []sysdig.Series
	for _, series := range of {
		all = append(all, series...)
	}
	return all
}

func TestReadingAnAnswerAboutAll(t *testing.T) {
	web, api, db := workload("deployment", "web", 7), workload("deployment", "api", 8), workload("statefulset", "db", 9)
	elsewhere := []sysdig.Series{of(value(5), "kube_namespace_name", "bank"), of(timeOf(0), "kube_namespace_name", "bank")}
	const webAndAPI = "api: 8, 30s old; web: 7, 30s old"
	tests := map[string]struct {
		edits  []edit
		series []sysdig.Series
		want   string
	}{
		"each of the kind":                       {nil, rows(web, api, db), webAndAPI},
		"none of another namespace":              {nil, rows(elsewhere, web, api), webAndAPI},
		"nobody where the label is missing":      {nil, rows(workload("deployment", "", 5), web, api), webAndAPI},
		"nothing":                                {nil, nil, ""},
		"others only":                            {nil, rows(db, elsewhere), ""},
		"times without values":                   {nil, rows(web[1:], api), "api: 8, 30s old"},
		"a value without a time harms no other":  {nil, rows(web[:1], api), "api: 8, 30s old; web: Stale: "},
		"NaN harms no other":                     {nil, rows(workload("deployment", "web", math.NaN()), api), "api: 8, 30s old; web: Implausible: the value is NaN"},
		"an infinity harms no other":             {nil, rows(web, workload("deployment", "api", math.Inf(1))), "api: Implausible: the value is +Inf, which is not a number that an HPA can use; web: 7, 30s old"},
		"a breach of bounds harms no other":      {[]edit{bounds("", "7.5")}, rows(web, api), "api: Implausible: the value 8 is above spec.bounds.max 7.5; web: 7, 30s old"},
		"the bounds are themselves plausible":    {[]edit{bounds("7", "8")}, rows(web, api), webAndAPI},
		"the multiplier goes before the bounds":  {[]edit{bounds("70", "80"), multiplied("10")}, rows(web, api), "api: 80, 30s old; web: 70, 30s old"},
		"two values of one object harm no other": {nil, rows(web, api, web), "api: 8, 30s old; web: Implausible: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits := append([]edit{every("apps/v1", "Deployment", nil)}, test.edits...)
			request := query.Plan([]query.Question{compile(t, binding(edits...), connection()).Question}, query.Whole)[0]
			got := request.Read(sysdig.Answer{Series: test.series}, attempt, nil)[0]
			if !strings.HasPrefix(show(got), test.want) || (test.want == "") != (show(got) == "") {
				t.Errorf("got %s, want %s", show(got), test.want)
			}
			if r := got.Reading; r.Sample != nil || r.Failure != nil || got.Objects == nil || !r.Asked.Equal(attempt.At) || !r.Attempted.Equal(attempt.Received) {
				t.Errorf("got %+v", r)
			}
			cut := request.Read(sysdig.Answer{Series: test.series, Warnings: []string{"cut short"}}, attempt, nil)[0]
			if cut.Objects != nil || cut.Reading.Failure == nil || cut.Reading.Failure.Reason != metric.Truncated {
				t.Errorf("an answer that warns gives %s", show(cut))
			}
		})
	}
}

// combined are the rows of a workload with n values of label code.
func combined(name string, n int) []sysdig.Series {
	var all []sysdig.Series
	for i := range n {
		for _, one := range workload("deployment", name, 1) {
			all = append(all, of(of(one, "code", fmt.Sprint(i)), "kube_pod_name", fmt.Sprint("pod-", i%7)))
		}
	}
	return all
}

func TestAnObjectHasAtMostAHundredCombinations(t *testing.T) {
	kept := dimensions("code")
	const refusal = "Rejected: spec.source dimensions: 101 combinations of their values, at most 100"
	tests := map[string]struct {
		edits []edit
		rows  []sysdig.Series
		want  string
	}{
		"a hundred":                    {[]edit{kept}, combined("web", 100), "14.28"},
		"one more":                     {[]edit{kept}, combined("web", 101), refusal},
		"one more harms no other":      {[]edit{kept, every("apps/v1", "Deployment", nil)}, rows(combined("web", 101), combined("api", 1)), "api: 1, 30s old; web: " + refusal},
		"the hundreds of many objects": {[]edit{kept, every("apps/v1", "Deployment", nil), aggregated("Rate", "Sum")}, rows(combined("web", 100), combined("api", 99)), "api: 99, 30s old; web: 100, 30s old"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := query.Plan([]query.Question{compile(t, binding(test.edits...), connection()).Question}, query.Whole)[0]
			if got := show(request.Read(sysdig.Answer{Series: test.rows}, attempt, nil)[0]); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheItemsOfAnExternalMetricAreCountedToo(t *testing.T) {
	var series []sysdig.Series
	for i := range 101 {
		row := map[string]string{"kube_namespace_name": "shop", "queue": fmt.Sprint("q-", i)}
		dated := map[string]string{"kube_namespace_name": "shop", "queue": fmt.Sprint("q-", i), partLabel: "time"}
		series = append(series, sysdig.Series{Labels: row, Value: 0.0001}, sysdig.Series{Labels: dated, Value: float64(noon.Unix() - 30)})
	}
	request := query.Plan([]query.Question{compile(t, binding(external, dimensions("queue")), connection()).Question}, query.Whole)[0]
	ask := func(series []sysdig.Series) query.Outcome {
		return request.Read(sysdig.Answer{Series: series}, attempt, nil)[0]
	}
	if got := show(ask(series)); !strings.HasPrefix(got, "Rejected: spec.source dimensions: 101 combinations") {
		t.Errorf("got %s", got)
	}
	// The HPA adds up thousandths, so the value is their sum: 100 × 0.001 and not 0.01.
	if got := show(ask(series[:200])); got != "0.1, 30s old" {
		t.Errorf("got %s", got)
	}
	series[0].Value = -1
	got := ask(series[:200]).Reading.Sample
	if got == nil || got.Whole == nil || got.Whole.Reason != metric.Implausible || !strings.Contains(got.Whole.Message, "negative") {
		t.Fatalf("a negative item gives %+v", got)
	}
	one, err := labels.Parse("queue=q-7")
	if err != nil {
		t.Fatal(err)
	}
	if got, failure := got.Select(one, request.Questions[0].Dimensions(), request.Questions[0].Measure); failure != nil || got.Milli != 1 {
		t.Errorf("and those that are not read with it %+v, %v", got, failure)
	}
}

func TestTheValuesOfPodsAndServices(t *testing.T) {
	s := newSysdig(t)
	const requests = "sysdig_container_net_http_request_count"
	for pod, rps := range map[string]float64{"web-0": 1, "web-1": 3, "api-0": 100} {
		s.series(requests, "c1", "shop", "web", pod, rps*10, 0)
	}
	s.series(requests, "c1", "shop", "web", "web-2", 50, 7*time.Minute)
	s.series(requests, "c1", "bank", "web", "web-9", 500, 0)
	s.series(requests, "c2", "shop", "web", "web-8", 500, 0)
	world := cluster{
		selected: func(namespace, selector string, window time.Duration) []string {
			if namespace != "shop" || window < time.Minute+25*time.Second {
				t.Errorf("asked for %s, %s, %s", namespace, selector, window)
			}
			return map[string][]string{"app=web": {"web-0", "web-1", "web-2"}, "app=api": {"api-0"}, "app=gone": {"gone-0"}, "app=old": {"web-2"}}[selector]
		},
		services: func(namespace, selector string) map[string]string {
			if namespace != "shop" || selector != "tier=front" {
				t.Errorf("asked for the Services %s of %s", selector, namespace)
			}
			return map[string]string{"web": "app=web", "web-too": "app=web", "api": "app=api", "gone": "app=gone", "old": "app=old", "headless": "", "idle": "app=none"}
		},
	}
	services := every("v1", "Service", map[string]string{"tier": "front"})
	const nothing = "NoData: Sysdig answered and holds nothing for this object"
	const stale = "old: Stale: Sysdig did not say when the value was measured: its points are older than 5 minutes, or a label that tells values apart is missing from a selector; "
	long := window(10 * time.Minute)
	tests := map[string]struct {
		edits []edit
		want  string
	}{
		"each Service has the mean of its own pods":                     {[]edit{services}, "api: 100, 30s old; gone: " + nothing + "; headless: Rejected: spec.target: Service headless has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL; idle: " + nothing + "; old: " + nothing + "; web: 2, 30s old; web-too: 2, 30s old"},
		"each Service has the sum of its own pods":                      {[]edit{services, aggregated("Rate", "Sum")}, "api: 100, 30s old; gone: " + nothing + "; headless: Rejected: spec.target: Service headless has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL; idle: " + nothing + "; old: " + nothing + "; web: 4, 30s old; web-too: 4, 30s old"},
		"a pod that has stopped within the window is no part of a mean": {[]edit{services, long}, "api: 100, 30s old; gone: " + nothing + "; headless: Rejected: spec.target: Service headless has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL; idle: " + nothing + "; " + stale + "web: 2, 30s old; web-too: 2, 30s old"},
		"each pod has its own value":                                    {[]edit{every("v1", "Pod", nil)}, "api-0: 100, 30s old; web-0: 1, 30s old; web-1: 3, 30s old"},
		"a pod that has stopped within the window has none":             {[]edit{every("v1", "Pod", nil), long}, "api-0: 100, 30s old; web-0: 1, 30s old; web-1: 3, 30s old; web-2: Stale"},
		"which pods are selected is not asked here":                     {[]edit{every("v1", "Pod", app("web"))}, "api-0: 100, 30s old; web-0: 1, 30s old; web-1: 3, 30s old"},
		"an external metric has all of the namespace":                   {[]edit{external, aggregated("Rate", "Sum")}, "104, 30s old"},
		"a Service by name has its own":                                 {[]edit{target("v1", "Service", "web"), long}, "2, 30s old"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := query.Compile(binding(test.edits...), connection(), query.Target{Selector: "app=web"})
			if d.Refused != nil {
				t.Fatal(d.Refused)
			}
			if got := show(s.askOne(d.Question, world)); !strings.HasPrefix(got, test.want) {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// queues holds, in namespace shop, messages by queue and priority, a limit of each queue, and one limit of all.
func queues(t *testing.T) *sysdigStage {
	s := newSysdig(t)
	add := func(name, namespace string, value float64, until time.Duration, pairs ...string) {
		set := map[string]string{"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: namespace}
		for i := 0; i < len(pairs); i += 2 {
			set[pairs[i]] = pairs[i+1]
		}
		sysdigtest.Fill(s.Store(), set, noon.Add(-10*time.Minute), noon.Add(-until), func(time.Time) float64 { return value })
	}
	for i, queue := range []string{"orders", "mail"} {
		for j, priority := range []string{"high", "low"} {
			add("messages", "shop", float64(1+10*i+100*j), time.Duration(j)*50*time.Second, "queue", queue, "priority", priority)
			add("messages", "bank", 1e6, 0, "queue", queue, "priority", priority)
		}
		add("capacity", "shop", float64(2+2*i), 70*time.Second, "queue", queue)
	}
	add("weight", "shop", 4, 90*time.Second)
	return s
}

func TestRawQueriesAboutManyObjectsAndDimensions(t *testing.T) {
	s := queues(t)
	set := every("v1", "Service", nil)
	single := target("v1", "Service", "orders")
	tests := map[string]struct {
		edits []edit
		read  string
		want  string
	}{
		"each object has its row":                              {[]edit{set, raw("sum by (queue) (messages)", "queue")}, "", "mail: 122, 30s old; orders: 102, 30s old"},
		"the object of a name":                                 {[]edit{single, raw("sum by (queue) (messages)", "queue")}, "", "102, 30s old"},
		"a selector that lacks the label dates all objects":    {[]edit{set, raw("sum by (queue) (messages) / scalar(weight)", "queue")}, "", "mail: 30.5, 1m30s old; orders: 25.5, 1m30s old"},
		"rows without the label are not nothing":               {[]edit{set, raw("sum(messages)", "queue")}, "", "Implausible: the query returned series without the label queue, which spec.source.promQL.objectLabel names"},
		"two series of an object name what is in the way":      {[]edit{set, raw("sum by (queue, priority) (messages)", "queue")}, "", "mail: Implausible: the query returned 2 series where one is needed; they differ in priority: "},
		"two series of the only object do so, too":             {[]edit{single, raw("messages", "")}, "", "Implausible: the query returned 4 series where one is needed; they differ in priority and queue: "},
		"an object kept apart is one of its series":            {[]edit{set, raw("sum by (queue, priority) (messages)", "queue"), dimensions("priority")}, "priority=low", "mail: 111, 50s old; orders: 101, 50s old"},
		"a selector of values":                                 {[]edit{set, raw("sum by (queue, priority) (messages)", "queue"), dimensions("priority")}, "priority in (high,low),priority!=low", "mail: 11, 30s old; orders: 1, 30s old"},
		"an object kept apart is not all of its series":        {[]edit{set, raw("sum by (queue, priority) (messages)", "queue"), dimensions("priority")}, "", "mail: Implausible: there are 2 series where one is needed; they differ in priority; choose among them with the HPA's metric.selector"},
		"no series matches":                                    {[]edit{single, raw("sum by (queue, priority) (messages)", "queue"), dimensions("priority")}, "priority=none", "NoData: Sysdig answered, and no series matches metric.selector priority=none"},
		"a label that is not kept apart":                       {[]edit{single, raw("sum by (queue, priority) (messages)", "queue"), dimensions("priority")}, "queue=mail", "Rejected: metric.selector of the HPA names queue, which this binding does not keep apart: its dimensions are priority"},
		"a dimension that one selector lacks":                  {[]edit{single, raw("sum by (queue, priority) (messages) / on (queue) group_left () capacity", "queue"), dimensions("priority")}, "priority=high", "0.5, 1m10s old"},
		"the same for a value that is older than the others":   {[]edit{external, raw("messages", ""), dimensions("queue", "priority")}, "queue=mail,priority=low", "111, 50s old"},
		"an external metric is one number":                     {[]edit{external, raw("sum(messages)", "")}, "", "224, 30s old"},
		"an external metric is as old as its oldest item":      {[]edit{external, raw("messages", ""), dimensions("queue", "priority")}, "", "224, 50s old"},
		"and some of them are as old as the oldest":            {[]edit{external, raw("messages", ""), dimensions("queue", "priority")}, "queue=mail", "122, 50s old"},
		"items that a label outside of the dimensions divides": {[]edit{external, raw("messages", ""), dimensions("queue")}, "", "Implausible: the query returned 2 series where one is needed; they differ in priority: "},
		"items whose selectors lack different dimensions":      {[]edit{external, raw("messages / on (queue) group_left () capacity / scalar(weight)", ""), dimensions("queue", "priority")}, "priority=high", "0.813, 1m30s old"},
		"a dimension that the answer lacks":                    {[]edit{external, raw("sum by (queue) (messages)", ""), dimensions("queue", "zone")}, "!zone,queue=orders", "102, 30s old"},
		"a dimension that the query sums up":                   {[]edit{external, raw("sum(messages)", ""), dimensions("queue")}, "", "Stale: Sysdig did not say when"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(test.edits...), connection())
			parse(t, d.Query())
			selector, err := labels.Parse(test.read)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(selected(s.askOne(d.Question, nil), selector)); !strings.HasPrefix(got, test.want) || (test.want == "") != (got == "") {
				t.Errorf("%s gives %s, want %s", d.Query(), got, test.want)
			}
		})
	}
}

// selected is what an HPA gets that reads an outcome with a selector.
func selected(o query.Outcome, s labels.Selector) query.Outcome {
	pick := func(sample *metric.Sample, failure *metric.Failure) (*metric.Sample, *metric.Failure) {
		if failure != nil || sample == nil {
			return nil, failure
		}
		return sample.Select(s, o.Question.Dimensions(), o.Question.Measure)
	}
	o.Reading.Sample, o.Reading.Failure = pick(o.Reading.Sample, o.Reading.Failure)
	for name, one := range o.Objects {
		one.Sample, one.Failure = pick(one.Sample, one.Failure)
		o.Objects[name] = one
	}
	return o
}

// TestAPodIsSummedBeforePodsAreReduced is the meaning of dimensions in one example.
func TestAPodIsSummedBeforePodsAreReduced(t *testing.T) {
	s := newSysdig(t)
	for _, one := range []struct {
		pod, method string
		value       float64
	}{{"web-0", "GET", 10}, {"web-0", "POST", 20}, {"web-1", "GET", 70}} {
		sysdigtest.Fill(s.Store(), map[string]string{
			"__name__": "x", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelWorkloadType: "deployment",
			sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: one.pod, "net_http_method": one.method,
		}, noon.Add(-5*time.Minute), noon, func(time.Time) float64 { return one.value })
	}
	everything, get := labels.Everything(), labels.SelectorFromSet(labels.Set{method: "GET"})
	for group, want := range map[v1alpha1.GroupAggregation][2]string{"Average": {"50", "40"}, "Sum": {"100", "80"}, "Min": {"30", "10"}, "Max": {"70", "70"}} {
		apart := compile(t, binding(named("x"), aggregated("Last", group), dimensions(method)), connection()).Question
		o := s.askOne(apart, nil)
		for i, by := range []labels.Selector{everything, get} {
			if got := show(selected(o, by)); got != want[i]+", 30s old" {
				t.Errorf("%s by %q is %s, want %s", group, by, got, want[i])
			}
		}
	}
}
