package controllers

import (
	"reflect"
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
			MetricName: "m", Query: "sum(x)", Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}},
		},
	}
	full := want.DeepCopy()
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
