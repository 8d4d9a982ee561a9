package metric

import (
	"net/url"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Claim is one name under which values are served: of one object, of all objects of a kind that a selector matches (a
// set), or of an external metric. It is comparable and used as a map key.
type Claim struct {
	// Namespace of the object. For a Namespace itself: its name, although the API serves it at root scope.
	Namespace string
	// Resource of the object: services, deployments.apps, namespaces. Empty for an external metric.
	Resource schema.GroupResource
	// Object is the object's name. Empty for a set and for an external metric.
	Object string
	// Selector of a set in canonical form; empty matches every object.
	Selector string
	// Metric is the metric's name.
	Metric string
	// External is true for a metric of external.metrics.k8s.io.
	External bool
}

// namespaces is the resource of namespaces, which the API serves at root scope.
var namespaces = schema.GroupResource{Resource: "namespaces"}

// NamespaceClaim is the claim of a metric that describes a namespace.
func NamespaceClaim(namespace, metric string) Claim {
	return Claim{Namespace: namespace, Resource: namespaces, Object: namespace, Metric: metric}
}

// ExternalClaim is the claim of an external metric.
func ExternalClaim(namespace, metric string) Claim {
	return Claim{Namespace: namespace, Metric: metric, External: true}
}

// API is the API group that serves the claim.
func (c Claim) API() API {
	if c.External {
		return ExternalMetrics
	}
	return CustomMetrics
}

// RootScoped tells whether the API serves the claim at root scope: the namespaces themselves.
func (c Claim) RootScoped() bool { return c.Resource == namespaces }

// Set tells whether the claim is about all objects that a selector matches.
func (c Claim) Set() bool { return c.Object == "" && !c.External }

// Family is what the claims of one metric on the objects of one kind in one namespace have in common.
func (c Claim) Family() Claim {
	c.Object, c.Selector = "", ""
	return c
}

// Servable tells whether the claim names a resource. That of a kind that the cluster does not have does not.
func (c Claim) Servable() bool { return c.External || c.Resource.Resource != "" }

// Path is what to paste after kubectl get --raw, for the given version of custom.metrics.k8s.io; empty when the claim is
// not servable.
func (c Claim) Path(version string) string {
	switch {
	case !c.Servable():
		return ""
	case c.External:
		return "/apis/" + string(ExternalMetrics) + "/v1beta1/namespaces/" + c.Namespace + "/" + c.Metric
	}
	base := "/apis/" + string(CustomMetrics) + "/" + version + "/namespaces/" + c.Namespace
	switch {
	case c.RootScoped():
		return base + "/metrics/" + c.Metric
	case !c.Set():
		return base + "/" + c.Resource.String() + "/" + c.Object + "/" + c.Metric
	}
	base += "/" + c.Resource.String() + "/*/" + c.Metric
	if c.Selector == "" {
		return base
	}
	return base + "?labelSelector=" + url.QueryEscape(c.Selector)
}

// Object is the Kubernetes object that a value describes, as the API reports it.
type Object struct {
	Kind       string
	APIVersion string
	types.NamespacedName
}

// Item is the value of one object of several.
type Item struct {
	// Of is the kind, the version and the namespace of the object, and Name its name. Items share what Of points to.
	Of     *Object
	Name   string
	Sample *Sample
}
