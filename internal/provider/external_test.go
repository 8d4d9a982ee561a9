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
	"k8s.io/metrics/pkg/apis/external_metrics"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
)

// queues is a sample of an external metric with an item for each queue.
func queues(t testing.TB) *metric.Sample {
	t.Helper()
	measure := open
	measure.External = true
	s, failure := metric.NewSample(measure, []metric.Series{
		{Labels: labels.Set{"queue": "mail"}, Raw: 1. / 3}, {Labels: labels.Set{"queue": "orders", "vhost": "/"}, Raw: 12},
	}, true, noon.Add(-40*time.Second), noon.Add(-10*time.Second), time.Minute)
	if failure != nil {
		t.Fatal(failure)
	}
	return s
}

func TestAnExternalMetricHasItsItems(t *testing.T) {
	window := int64(60)
	item := func(labels map[string]string, window *int64) external_metrics.ExternalMetricValue {
		return external_metrics.ExternalMetricValue{MetricName: "queue", MetricLabels: labels, Timestamp: metav1.NewTime(noon.Add(-40 * time.Second)), WindowSeconds: window}
	}
	assumed := &metric.Sample{Value: 7, Milli: 7000, Time: noon.Add(-40 * time.Second), Received: noon.Add(-10 * time.Second)}
	for name, test := range map[string]struct {
		sample     *metric.Sample
		items      []external_metrics.ExternalMetricValue
		quantities []string
	}{
		"an item for each combination":      {queues(t), []external_metrics.ExternalMetricValue{item(map[string]string{"queue": "mail"}, &window), item(map[string]string{"queue": "orders", "vhost": "/"}, &window)}, []string{"334m", "12"}},
		"one item without dimensions":       {sample(t, 0, time.Minute), []external_metrics.ExternalMetricValue{item(nil, &window)}, []string{"0"}},
		"the value of onNoData is one item": {assumed, []external_metrics.ExternalMetricValue{item(nil, nil)}, []string{"7"}},
	} {
		t.Run(name, func(t *testing.T) {
			var series labels.Selector
			p, registry := newProvider(t, board{metric.ExternalClaim("shop", "queue"): {sample: test.sample, saw: func(_, s labels.Selector) { series = s }}})
			list, err := p.GetExternalMetric(t.Context(), "shop", parse(t, "queue in (mail,orders)"), upstream.ExternalMetricInfo{Metric: "queue"})
			if err != nil {
				t.Fatal(err)
			}
			if series.String() != "queue in (mail,orders)" {
				t.Errorf("the registry was asked for %s", series)
			}
			if len(list.Items) != len(test.items) {
				t.Fatalf("got %+v", list.Items)
			}
			for i, got := range list.Items {
				if quantity := got.Value.String(); quantity != test.quantities[i] {
					t.Errorf("got %s, want %s", quantity, test.quantities[i])
				}
				got.Value.Reset()
				test.items[i].Value = got.Value
				if !reflect.DeepEqual(got, test.items[i]) {
					t.Errorf("got %+v, want %+v", got, test.items[i])
				}
			}
			if n, err := testutil.GatherAndCount(registry, "sysdig_metrics_served_sample_age_seconds"); err != nil || n != 1 {
				t.Errorf("%d ages, %v", n, err)
			}
		})
	}
}

func TestErrorsOfExternalMetrics(t *testing.T) {
	b := board{metric.ExternalClaim("shop", "queue"): {sample: queues(t)}, claim(pods, "", "rate"): {items: podItems(t)}}
	for _, reason := range metric.Reasons() {
		b[metric.ExternalClaim("shop", strings.ToLower(string(reason)))] = answer{failure: metric.Failf(reason, "it is 3m0s old")}
	}
	p, registry := newProvider(t, b)
	get := func(namespace, name string) error {
		list, err := p.GetExternalMetric(t.Context(), namespace, labels.Everything(), upstream.ExternalMetricInfo{Metric: name})
		if list != nil {
			t.Errorf("%s: got a list", name)
		}
		return err
	}
	wantStatus(t, get("shop", "unknown"), http.StatusNotFound, metav1.StatusReasonNotFound, "no SysdigMetricBinding in namespace shop serves the external metric unknown")
	wantStatus(t, get("bank", "queue"), http.StatusNotFound, metav1.StatusReasonNotFound, "in namespace bank")
	wantStatus(t, get("", "queue"), http.StatusNotFound, metav1.StatusReasonNotFound, "queue")
	wantStatus(t, get("shop", "rate"), http.StatusNotFound, metav1.StatusReasonNotFound, "rate")
	for _, reason := range metric.Reasons() {
		name := strings.ToLower(string(reason))
		wantStatus(t, get("shop", name), http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, name+" of namespace shop: "+string(reason)+": it is 3m0s old")
	}
	if n, err := testutil.GatherAndCount(registry, "sysdig_metrics_reads_total"); err != nil || n != len(metric.Reasons())+2 {
		t.Errorf("%d series of reads, %v; want one per result", n, err)
	}
}

func TestDiscoveryShowsEachAPIWhatIsItsOwn(t *testing.T) {
	p, _ := newProvider(t, board{})
	placeholder := []upstream.ExternalMetricInfo{{Metric: provider.Placeholder().Metric}}
	if got := p.ListAllExternalMetrics(); !reflect.DeepEqual(got, placeholder) {
		t.Errorf("got %+v, want the placeholder", got)
	}
	p, _ = newProvider(t, board{metric.ExternalClaim("", "queue"): {}})
	if got := p.ListAllExternalMetrics(); !reflect.DeepEqual(got, []upstream.ExternalMetricInfo{{Metric: "queue"}}) {
		t.Errorf("got %+v", got)
	}
	if got := p.ListAllMetrics(); !reflect.DeepEqual(got, []upstream.CustomMetricInfo{provider.Placeholder()}) {
		t.Errorf("an external metric is in the custom API: %+v", got)
	}
	p, _ = newProvider(t, board{claim(pods, "", "rate"): {}})
	if got := p.ListAllExternalMetrics(); !reflect.DeepEqual(got, placeholder) {
		t.Errorf("a custom metric is in the external API: %+v", got)
	}
}
