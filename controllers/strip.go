package controllers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// Strip keeps of a SysdigMetricBinding what the operator looks at. It is the transform of the informer, so that many bindings stay
// small in memory: what kubectl apply remembers in an annotation is as large as the spec.
func Strip(object any) (any, error) {
	full, ok := object.(*v1alpha1.SysdigMetricBinding)
	if !ok {
		return object, nil
	}
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name: full.Name, Namespace: full.Namespace, UID: full.UID, ResourceVersion: full.ResourceVersion,
			Generation: full.Generation, CreationTimestamp: full.CreationTimestamp,
		},
		Spec: full.Spec, Status: full.Status,
	}, nil
}
