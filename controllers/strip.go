package controllers

import (
	"crypto/sha256"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// Strip keeps of a SysdigMetricBinding what the operator looks at. It is the transform of the informer, so that many bindings stay
// small in memory: what kubectl apply remembers in an annotation is as large as the spec. Of a long query it keeps a digest, which
// tells whether it is still the right one.
func Strip(object any) (any, error) {
	full, ok := object.(*v1alpha1.SysdigMetricBinding)
	if !ok {
		return object, nil
	}
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name: full.Name, Namespace: full.Namespace, UID: full.UID, ResourceVersion: full.ResourceVersion,
			Generation: full.Generation, CreationTimestamp: full.CreationTimestamp,
		},
		Spec: full.Spec, Status: full.Status,
	}
	b.Status.Query = digest(full.Status.Query)
	return b, nil
}

// digest stands for a text, in fewer bytes if that is long. That of a digest is itself.
func digest(text string) string {
	short := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	if len(text) <= len(short) {
		return text
	}
	return short
}

// recall puts a query in the place of its digest. Any other query stays what it is, so that the right one is written.
func recall(status *v1alpha1.SysdigMetricBindingStatus, query string) {
	if status.Query == digest(query) {
		status.Query = query
	}
}
