package metric

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Claim is one name under which a value is served in custom.metrics.k8s.io. It is comparable and used as a map key.
type Claim struct {
	// Namespace of the object. For a Namespace itself: its name, although the API serves it at root scope.
	Namespace string
	// Resource of the object: services, deployments.apps, namespaces.
	Resource schema.GroupResource
	// Object is the object's name.
	Object string
	// Metric is the metric's name.
	Metric string
}

// namespaces is the resource of namespaces, which the API serves at root scope.
var namespaces = schema.GroupResource{Resource: "namespaces"}

// NamespaceClaim is the claim of a metric that describes a namespace.
func NamespaceClaim(namespace, metric string) Claim {
	return Claim{Namespace: namespace, Resource: namespaces, Object: namespace, Metric: metric}
}

// RootScoped tells whether the API serves the claim at root scope: the namespaces themselves.
func (c Claim) RootScoped() bool { return c.Resource == namespaces }

// Servable tells whether the claim names a resource. That of a kind that the cluster does not have does not.
func (c Claim) Servable() bool { return c.Resource.Resource != "" }

// Path is what to paste after kubectl get --raw, for the given version of custom.metrics.k8s.io; empty when the claim is
// not servable.
func (c Claim) Path(version string) string {
	if !c.Servable() {
		return ""
	}
	base := "/apis/custom.metrics.k8s.io/" + version + "/namespaces/" + c.Namespace
	if c.RootScoped() {
		return base + "/metrics/" + c.Metric
	}
	return base + "/" + c.Resource.String() + "/" + c.Object + "/" + c.Metric
}

// Object is the Kubernetes object that a value describes, as the API reports it.
type Object struct {
	Kind       string
	APIVersion string
	types.NamespacedName
}
