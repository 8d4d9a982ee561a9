package controllers

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	got, err := Strip(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	again, err := Strip(got)
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("stripped twice: %+v, %v", again, err)
	}
	lost := cache.DeletedFinalStateUnknown{Key: "shop/web", Obj: full}
	if got, err := Strip(lost); err != nil || !reflect.DeepEqual(got, lost) {
		t.Errorf("got %+v, %v", got, err)
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
			if recall(&status, right); status.Query != test.want {
				t.Errorf("got %q, want %q", status.Query, test.want)
			}
		})
	}
	if short := "sum(x)"; digest(short) != short || digest(digest(right)) != digest(right) || len(digest(right)) >= len(right) {
		t.Errorf("got %q and %q", digest(short), digest(digest(right)))
	}
}
