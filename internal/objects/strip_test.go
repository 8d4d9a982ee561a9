package objects_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
)

// full is metadata with all that is not looked at.
func full(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: "uid", ResourceVersion: "7", Labels: map[string]string{"app": "web"},
		Annotations:   map[string]string{"note": strings.Repeat("n", 100_000)},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}, Finalizers: []string{"f"},
	}
}

func bare(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid", ResourceVersion: "7", Labels: map[string]string{"app": "web"}}
}

func TestServicesAndNamespacesAreSmallInTheCache(t *testing.T) {
	long := map[string]string{}
	for i := range 100 {
		long[fmt.Sprint("key-", i)] = strings.Repeat("v", 63)
	}
	addresses := corev1.ServiceSpec{ClusterIP: "192.0.2.1", ClusterIPs: []string{"192.0.2.1", "2001:db8::1"}}
	selecting, selectingTooMuch := addresses, addresses
	selecting.Selector, selectingTooMuch.Selector = map[string]string{"app": "web"}, long
	withPorts := selecting
	withPorts.Ports, withPorts.ExternalName = []corev1.ServicePort{{Port: 80}}, "example.com"
	for name, test := range map[string]struct {
		strip      func(any) (any, error)
		give, want any
	}{
		"a Service": {objects.StripService, &corev1.Service{ObjectMeta: full("web"), Spec: withPorts}, &corev1.Service{ObjectMeta: bare("web"), Spec: selecting}},
		"a Service with a selector of 100 labels": {
			objects.StripService, &corev1.Service{ObjectMeta: full("web"), Spec: selectingTooMuch}, &corev1.Service{ObjectMeta: bare("web"), Spec: addresses},
		},
		"a Namespace": {
			objects.StripNamespace, &corev1.Namespace{ObjectMeta: full("shop"), Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"f"}}},
			&corev1.Namespace{ObjectMeta: bare("shop")},
		},
		"something else":             {objects.StripService, cache.DeletedFinalStateUnknown{Key: "k"}, cache.DeletedFinalStateUnknown{Key: "k"}},
		"something else, a key only": {objects.StripNamespace, "shop", "shop"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.strip(test.give)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v", got, err)
			}
			if again, err := test.strip(got); err != nil || !reflect.DeepEqual(again, test.want) {
				t.Errorf("stripped twice: %+v, %v", again, err)
			}
		})
	}
}

// TestAnObjectWithTooManyLabelsIsSelectedByThoseThatAreKept, and by no selector that names another one, of a set or by its absence.
func TestAnObjectWithTooManyLabelsIsSelectedByThoseThatAreKept(t *testing.T) {
	o := object("web", "web")
	for i := range 1000 {
		o.Labels[fmt.Sprintf("%063d", i)] = strings.Repeat("v", 63)
	}
	stripped, err := objects.Strip(o)
	if err != nil {
		t.Fatal(err)
	}
	x := objects.NewIndex(somePods{})
	x.Feed(deployments).OnAdd(stripped, true)
	for text, want := range map[string]bool{
		"": true, "app=web": true, "app": true, "app!=api": true, "tier!=front": true, "app=api": false,
		fmt.Sprintf("%063d", 999): false, fmt.Sprintf("!%063d", 999): false,
	} {
		if got := x.Matches(deployments, "shop", "web", selector(t, text)); got != want {
			t.Errorf("%q matches it: %t, want %t", text, got, want)
		}
	}
	if got := len(stripped.(*metav1.PartialObjectMetadata).Labels); got > labelled.MaxLabels {
		t.Errorf("%d labels are kept", got)
	}
}
