package controllers

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

func TestStrip(t *testing.T) {
	want := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", UID: "uid", ResourceVersion: "7", Generation: 3, CreationTimestamp: metav1.NewTime(now),
		},
		Spec: v1alpha1.SysdigMetricBindingSpec{MetricName: "m", Target: &v1alpha1.Target{Kind: "Service"}},
		Status: v1alpha1.SysdigMetricBindingStatus{
			MetricName: "m", Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}},
		},
	}
	full := want.DeepCopy()
	full.Status.Query = strings.Repeat("sum(x)+", 20)
	want.Status.Query = digest(full.Status.Query)
	full.APIVersion, full.Kind = "autoscaling.sysdigmetrics.dev/v1alpha1", "SysdigMetricBinding"
	full.Labels, full.ManagedFields = map[string]string{"a": "b"}, []metav1.ManagedFieldsEntry{{Manager: "m"}}
	full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
	s := &Stripper{}
	got, err := s.Strip(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	again, err := s.Strip(got)
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("stripped twice: %+v, %v", again, err)
	}
	lost := cache.DeletedFinalStateUnknown{Key: "shop/web", Obj: full}
	if got, err := s.Strip(lost); err != nil || !reflect.DeepEqual(got, lost) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestEqualTextsAreKeptOnce, and the object that they came with stays as it was: it may be read.
func TestEqualTextsAreKeptOnce(t *testing.T) {
	s := &Stripper{}
	texts := func(uid string) (texts []string) {
		text := func(parts ...string) string { return strings.Join(parts, "-") } // one of its own
		full := &v1alpha1.SysdigMetricBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: text("shop", "1")},
			Spec: v1alpha1.SysdigMetricBindingSpec{
				MetricName: text("requests", "1"),
				Target:     &v1alpha1.Target{Kind: text("Service", "1")},
				Source:     v1alpha1.Source{Metric: &v1alpha1.MetricSource{Name: text("net", "1"), TimeAggregation: v1alpha1.TimeAggregation(text("Rate", "1"))}},
			},
			Status: v1alpha1.SysdigMetricBindingStatus{Conditions: []metav1.Condition{{Type: text("Ready", "1"), Message: text("it is", "served")}}},
		}
		full.UID = types.UID(uid)
		before := full.DeepCopy()
		kind, condition := unsafe.StringData(full.Spec.Target.Kind), unsafe.StringData(full.Status.Conditions[0].Message)
		got, err := s.Strip(full)
		if err != nil || !reflect.DeepEqual(full, before) {
			t.Fatalf("became %+v, %v", full, err)
		}
		if unsafe.StringData(full.Spec.Target.Kind) != kind || unsafe.StringData(full.Status.Conditions[0].Message) != condition {
			t.Error("the object was written to")
		}
		b, ok := got.(*v1alpha1.SysdigMetricBinding)
		if !ok || !reflect.DeepEqual(b, before) {
			t.Fatalf("got %+v", got)
		}
		m := b.Spec.Source.Metric
		return []string{b.Namespace, b.Spec.MetricName, b.Spec.Target.Kind, m.Name, string(m.TimeAggregation), b.Status.Conditions[0].Type, b.Status.Conditions[0].Message}
	}
	first, second := texts("1"), texts("2")
	for i := range first {
		if unsafe.StringData(first[i]) != unsafe.StringData(second[i]) {
			t.Errorf("%s is kept twice", first[i])
		}
	}
	for i := range 3 * maxKnown {
		s.one(strconv.Itoa(i))
	}
	if len(s.known) > maxKnown {
		t.Errorf("%d texts are known", len(s.known))
	}
}

func TestAQueryIsRecalledByItsDigest(t *testing.T) {
	right, other := strings.Repeat("sum(x)+", 20), strings.Repeat("sum(y)+", 20)
	tests := map[string]struct{ kept, want string }{
		"the right one is":                     {digest(right), right},
		"another one is not":                   {digest(other), digest(other)},
		"none is not":                          {"", ""},
		"one that was kept as it is needs not": {right, right},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status := v1alpha1.SysdigMetricBindingStatus{Query: test.kept}
			if recall(&status, &v1alpha1.SysdigMetricBindingStatus{Query: right}); status.Query != test.want {
				t.Errorf("got %q, want %q", status.Query, test.want)
			}
		})
	}
	if short := "sum(x)"; digest(short) != short || digest(digest(right)) != digest(right) || len(digest(right)) >= len(right) {
		t.Errorf("got %q and %q", digest(short), digest(digest(right)))
	}
}
