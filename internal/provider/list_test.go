package provider_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

func parse(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func info(resource schema.GroupResource) upstream.CustomMetricInfo {
	return upstream.CustomMetricInfo{GroupResource: resource, Metric: "rate", Namespaced: true}
}

// podItems are two pods, of which the second has the older sample.
func podItems(t testing.TB) []metric.Item {
	old := sample(t, 1./3, 0)
	old.Time = noon.Add(-90 * time.Second)
	all := object("Pod", "v1", "shop", "")
	return []metric.Item{
		{Of: &all, Name: "web-0", Sample: sample(t, 12.5, time.Minute)},
		{Of: &all, Name: "web-1", Sample: old},
	}
}

func TestAListHasAValueOfEachObjectInOrder(t *testing.T) {
	var objects, series labels.Selector
	p, registry := newProvider(t, board{claim(pods, "", "rate"): {items: podItems(t), saw: func(o, s labels.Selector) { objects, series = o, s }}})
	list, err := p.GetMetricBySelector(t.Context(), "shop", parse(t, "app=web,tier in (a,b)"), info(pods), parse(t, "method=GET"))
	if err != nil {
		t.Fatal(err)
	}
	if objects.String() != "app=web,tier in (a,b)" || series.String() != "method=GET" {
		t.Errorf("the registry was asked for %s and %s", objects, series)
	}
	window := int64(60)
	want := []custom_metrics.MetricValue{
		{DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-0"}, Timestamp: metav1.NewTime(noon.Add(-40 * time.Second)), WindowSeconds: &window},
		{DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-1"}, Timestamp: metav1.NewTime(noon.Add(-90 * time.Second))},
	}
	if len(list.Items) != 2 || list.Items[0].Value.String() != "12500m" || list.Items[1].Value.String() != "334m" {
		t.Fatalf("got %+v", list.Items)
	}
	for i, got := range list.Items {
		want[i].Metric = custom_metrics.MetricIdentifier{Name: "rate", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"method": "GET"}, MatchExpressions: got.Metric.Selector.MatchExpressions}}
		want[i].Value = got.Value
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("got %+v, want %+v", got, want[i])
		}
	}
	age := `
# HELP sysdig_metrics_served_sample_age_seconds Age of samples at the moment they were served.
# TYPE sysdig_metrics_served_sample_age_seconds histogram
sysdig_metrics_served_sample_age_seconds_bucket{le="10"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="20"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="30"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="45"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="60"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="90"} 1
sysdig_metrics_served_sample_age_seconds_bucket{le="120"} 1
sysdig_metrics_served_sample_age_seconds_bucket{le="300"} 1
sysdig_metrics_served_sample_age_seconds_bucket{le="600"} 1
sysdig_metrics_served_sample_age_seconds_bucket{le="+Inf"} 1
sysdig_metrics_served_sample_age_seconds_sum 90
sysdig_metrics_served_sample_age_seconds_count 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(age), "sysdig_metrics_served_sample_age_seconds"); err != nil {
		t.Errorf("a list is one read, as old as its oldest sample: %v", err)
	}
}

func TestTheIdentifierTellsWhichSeriesWerePicked(t *testing.T) {
	p, _ := newProvider(t, board{claim(services, "web", "rate"): {object: object("Service", "v1", "shop", "web"), sample: sample(t, 1, 0)}})
	tests := map[string]*metav1.LabelSelector{
		"":             nil,
		"a in (x, y)":  {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn, Values: []string{"x", "y"}}}},
		"a notin (x)":  {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}}}},
		"a":            {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}}},
		"!a":           {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpDoesNotExist}}},
		"a=x,b.c=y":    {MatchLabels: map[string]string{"a": "x", "b.c": "y"}},
		"a in (x),b=y": {MatchLabels: map[string]string{"b": "y"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn, Values: []string{"x"}}}},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, info(services), parse(t, text))
			if err != nil {
				t.Fatal(err)
			}
			if metav1.FormatLabelSelector(got.Metric.Selector) != metav1.FormatLabelSelector(want) || got.Metric.Name != "rate" {
				t.Errorf("got %+v, want %+v", got.Metric.Selector, want)
			}
		})
	}
}

func TestErrorsOfLists(t *testing.T) {
	b := board{claim(pods, "", "rate"): {items: podItems(t)}}
	for _, reason := range metric.Reasons() {
		b[claim(pods, "", strings.ToLower(string(reason)))] = answer{failure: metric.Failf(reason, "none of 2 pods has a value; web-0: it is 3m0s old")}
	}
	p, registry := newProvider(t, b)
	get := func(namespace string, resource schema.GroupResource, name string) error {
		list, err := p.GetMetricBySelector(t.Context(), namespace, parse(t, "app=web"), upstream.CustomMetricInfo{GroupResource: resource, Metric: name, Namespaced: true}, labels.Everything())
		if list != nil {
			t.Errorf("%s %s: got a list", resource, name)
		}
		return err
	}
	wantStatus(t, get("shop", pods, "unknown"), http.StatusNotFound, metav1.StatusReasonNotFound, "unknown for pods * with selector app=web")
	wantStatus(t, get("shop", services, "rate"), http.StatusNotFound, metav1.StatusReasonNotFound, "rate for services")
	wantStatus(t, get("bank", pods, "rate"), http.StatusNotFound, metav1.StatusReasonNotFound, "rate for pods")
	for _, reason := range metric.Reasons() {
		name := strings.ToLower(string(reason))
		wantStatus(t, get("shop", pods, name), http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, name+" of pods: "+string(reason)+": none of 2 pods has a value; web-0: it is 3m0s old")
	}
	want := `
# HELP sysdig_metrics_reads_total Reads of metrics by HPAs and others, by result: Served, NotFound, or the reason of the error.
# TYPE sysdig_metrics_reads_total counter
sysdig_metrics_reads_total{result="NotFound"} 3
sysdig_metrics_reads_total{result="Served"} 0
`
	for _, reason := range metric.Reasons() {
		want += `sysdig_metrics_reads_total{result="` + string(reason) + "\"} 1\n"
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "sysdig_metrics_reads_total"); err != nil {
		t.Error(err)
	}
}

// TestNoListReachesAcrossNamespaces is about reads at root scope: they are authorized for the cluster, and a tenant sees its own.
func TestNoListReachesAcrossNamespaces(t *testing.T) {
	all := answer{items: podItems(t)}
	p, _ := newProvider(t, board{
		claim(pods, "", "rate"):                                   all,
		{Resource: pods, Metric: "rate"}:                          all,
		{Resource: namespaces, Metric: "rate"}:                    all,
		{Namespace: "shop", Resource: namespaces, Metric: "rate"}: all,
		metric.NamespaceClaim("shop", "rate"):                     all,
		metric.NamespaceClaim("shop", "rate").Family():            all,
	})
	for name, test := range map[string]struct {
		namespace string
		resource  schema.GroupResource
	}{
		"pods of all namespaces":         {"", pods},
		"all namespaces":                 {"", namespaces},
		"namespaces below another":       {"shop", namespaces},
		"pods of a namespace that is no": {"*", pods},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := p.GetMetricBySelector(t.Context(), test.namespace, labels.Everything(), info(test.resource), labels.Everything())
			if list != nil {
				t.Errorf("got %+v", list)
			}
			wantStatus(t, err, http.StatusNotFound, metav1.StatusReasonNotFound, "rate for")
		})
	}
}
