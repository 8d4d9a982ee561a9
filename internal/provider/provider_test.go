package provider_test

import (
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	clocktesting "k8s.io/utils/clock/testing"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
)

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

var (
	pods        = schema.GroupResource{Resource: "pods"}
	services    = schema.GroupResource{Resource: "services"}
	namespaces  = schema.GroupResource{Resource: "namespaces"}
	deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}
)

// board answers what a test put there, under the claim of one object or the family of all.
type board map[metric.Claim]answer

type answer struct {
	object  metric.Object
	sample  *metric.Sample
	items   []metric.Item
	failure *metric.Failure
	saw     func(objects, series labels.Selector) // is shown what a read picks, if set
}

func (b board) Serve(claim metric.Claim, series labels.Selector) (metric.Object, *metric.Sample, *metric.Failure, bool) {
	a, known := b[claim]
	a.show(nil, series)
	return a.object, a.sample, a.failure, known
}

func (b board) List(of metric.Claim, objects, series labels.Selector) ([]metric.Item, *metric.Failure, bool) {
	a, known := b[of.Family()]
	a.show(objects, series)
	return a.items, a.failure, known
}

func (a answer) show(objects, series labels.Selector) {
	if a.saw != nil {
		a.saw(objects, series)
	}
}

func (b board) Claims(api metric.API) []metric.Claim {
	var all []metric.Claim
	for claim := range b {
		if claim.API() == api {
			all = append(all, claim)
		}
	}
	return all
}

func claim(resource schema.GroupResource, object, name string) metric.Claim {
	return metric.Claim{Namespace: "shop", Resource: resource, Object: object, Metric: name}
}

func object(kind, apiVersion, namespace, name string) metric.Object {
	return metric.Object{Kind: kind, APIVersion: apiVersion, NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// open takes numbers as they are.
var open = metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1)}

func sample(t testing.TB, value float64, window time.Duration) *metric.Sample {
	t.Helper()
	s, failure := metric.NewSample(open, []metric.Series{{Raw: value}}, false, noon.Add(-40*time.Second), noon.Add(-10*time.Second), window)
	if failure != nil {
		t.Fatal(failure)
	}
	return s
}

func newProvider(t testing.TB, b provider.Board) (*provider.Provider, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := provider.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return provider.New(b, clocktesting.NewFakePassiveClock(noon), metrics), registry
}

func TestServedValues(t *testing.T) {
	p, _ := newProvider(t, board{
		claim(services, "web", "rate"):         {object: object("Service", "v1", "shop", "web"), sample: sample(t, 12.5, time.Minute)},
		claim(deployments, "web", "rate"):      {object: object("Deployment", "apps/v1", "shop", "web"), sample: sample(t, 1./3, 0)},
		claim(services, "idle", "rate"):        {object: object("Service", "v1", "shop", "idle"), sample: sample(t, 0, time.Minute)},
		claim(services, "drain", "rate"):       {object: object("Service", "v1", "shop", "drain"), sample: sample(t, -5, time.Minute)},
		metric.NamespaceClaim("shop", "rate"):  {object: object("Namespace", "v1", "", "shop"), sample: sample(t, 1e15, time.Hour)},
		metric.NamespaceClaim("other", "rate"): {object: object("Namespace", "v1", "", "other"), sample: sample(t, 1, time.Hour)},
	})
	window := func(seconds int64) *int64 { return &seconds }
	tests := map[string]struct {
		name     types.NamespacedName
		resource schema.GroupResource
		object   custom_metrics.ObjectReference
		quantity string
		window   *int64
	}{
		"a Service":       {types.NamespacedName{Namespace: "shop", Name: "web"}, services, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "web"}, "12500m", window(60)},
		"a Deployment":    {types.NamespacedName{Namespace: "shop", Name: "web"}, deployments, custom_metrics.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}, "334m", nil},
		"nothing to do":   {types.NamespacedName{Namespace: "shop", Name: "idle"}, services, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "idle"}, "0", window(60)},
		"less than none":  {types.NamespacedName{Namespace: "shop", Name: "drain"}, services, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "drain"}, "-5", window(60)},
		"a namespace":     {types.NamespacedName{Name: "shop"}, namespaces, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "shop"}, "1P", window(3600)},
		"a namespace too": {types.NamespacedName{Name: "other"}, namespaces, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "other"}, "1", window(3600)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, selector := range []labels.Selector{nil, labels.Everything()} {
				got, err := p.GetMetricByName(t.Context(), test.name, upstream.CustomMetricInfo{GroupResource: test.resource, Metric: "rate", Namespaced: true}, selector)
				if err != nil {
					t.Fatal(err)
				}
				if quantity := got.Value.String(); quantity != test.quantity {
					t.Errorf("got %s, want %s", quantity, test.quantity)
				}
				got.Value.Reset()
				want := &custom_metrics.MetricValue{
					DescribedObject: test.object, Metric: custom_metrics.MetricIdentifier{Name: "rate"},
					Timestamp: metav1.NewTime(noon.Add(-40 * time.Second)), WindowSeconds: test.window, Value: got.Value,
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
}

// wantStatus expects an error of the API with a status, a reason and a text.
func wantStatus(t *testing.T, err error, code int32, reason metav1.StatusReason, text string) {
	t.Helper()
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if s := status.Status(); s.Code != code || s.Reason != reason || s.Status != metav1.StatusFailure || !strings.Contains(s.Message, text) {
		t.Errorf("got %+v, want %d %s with %q", s, code, reason, text)
	}
}

func TestErrors(t *testing.T) {
	b := board{claim(services, "web", "rate"): {sample: sample(t, 1, time.Minute)}}
	for _, reason := range metric.Reasons() {
		b[claim(services, "web", strings.ToLower(string(reason)))] = answer{failure: metric.Failf(reason, "it is 3m0s old")}
	}
	p, registry := newProvider(t, b)
	get := func(object, name string, selector labels.Selector) error {
		got, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "shop", Name: object}, upstream.CustomMetricInfo{GroupResource: services, Metric: name, Namespaced: true}, selector)
		if got != nil {
			t.Errorf("%s %s: got a value", object, name)
		}
		return err
	}
	canary := labels.SelectorFromSet(labels.Set{"track": "canary"})
	wantStatus(t, get("web", "unknown", nil), http.StatusNotFound, metav1.StatusReasonNotFound, "unknown for services web")
	wantStatus(t, get("api", "rate", nil), http.StatusNotFound, metav1.StatusReasonNotFound, "rate for services api")
	for _, reason := range metric.Reasons() {
		name := strings.ToLower(string(reason))
		wantStatus(t, get("web", name, nil), http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, name+" of services web: "+string(reason)+": it is 3m0s old")
		wantStatus(t, get("web", name, canary), http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, string(reason))
	}
	if n, err := testutil.GatherAndCount(registry, "sysdig_metrics_reads_total"); err != nil || n != len(metric.Reasons())+2 {
		t.Errorf("%d series of reads, %v; want one per result", n, err)
	}
}

func TestReadsAreCountedWithTheAgeOfWhatWasServed(t *testing.T) {
	p, registry := newProvider(t, board{claim(services, "web", "rate"): {sample: sample(t, 1, time.Minute)}})
	for range 2 {
		if _, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, upstream.CustomMetricInfo{GroupResource: services, Metric: "rate"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := `
# HELP sysdig_metrics_served_sample_age_seconds Age of samples at the moment they were served.
# TYPE sysdig_metrics_served_sample_age_seconds histogram
sysdig_metrics_served_sample_age_seconds_bucket{le="10"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="20"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="30"} 0
sysdig_metrics_served_sample_age_seconds_bucket{le="45"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="60"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="90"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="120"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="300"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="600"} 2
sysdig_metrics_served_sample_age_seconds_bucket{le="+Inf"} 2
sysdig_metrics_served_sample_age_seconds_sum 80
sysdig_metrics_served_sample_age_seconds_count 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "sysdig_metrics_served_sample_age_seconds"); err != nil {
		t.Error(err)
	}
	if _, err := provider.NewMetrics(registry); err == nil {
		t.Error("registering twice succeeded")
	}
}

func TestDiscoveryShowsWhatIsBound(t *testing.T) {
	empty, _ := newProvider(t, board{})
	if got := empty.ListAllMetrics(); !reflect.DeepEqual(got, []upstream.CustomMetricInfo{provider.Placeholder()}) {
		t.Errorf("got %+v, want the placeholder", got)
	}
	if p := provider.Placeholder(); p.GroupResource.Empty() || p.Metric == "" || !p.Namespaced {
		t.Errorf("got %+v", p)
	}
	for resource, namespaced := range map[schema.GroupResource]bool{services: true, deployments: true, namespaces: false} {
		p, _ := newProvider(t, board{{Resource: resource, Metric: "rate"}: {}})
		want := []upstream.CustomMetricInfo{{GroupResource: resource, Metric: "rate", Namespaced: namespaced}}
		if got := p.ListAllMetrics(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestANamespaceIsNotReadBelowAnother makes sure that …/namespaces/mine/namespaces/yours/… is unknown: it would be authorized
// in mine.
func TestANamespaceIsNotReadBelowAnother(t *testing.T) {
	p, _ := newProvider(t, board{metric.NamespaceClaim("yours", "rate"): {object: object("Namespace", "v1", "", "yours"), sample: sample(t, 1, time.Hour)}})
	for _, below := range []string{"mine", "yours"} {
		_, err := p.GetMetricByName(t.Context(), types.NamespacedName{Namespace: below, Name: "yours"}, upstream.CustomMetricInfo{GroupResource: namespaces, Metric: "rate", Namespaced: true}, nil)
		if !apierrors.IsNotFound(err) {
			t.Errorf("below %s: %v", below, err)
		}
	}
}
