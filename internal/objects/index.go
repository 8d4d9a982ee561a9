// Package objects remembers which objects carry which labels, of every kind that a binding's selector may be about, so
// that a read is answered without a call to the API server. Pods and Services are always there; other kinds are watched,
// as metadata only, while somebody wants them (Kinds).
package objects

import (
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
)

// Pods answers for pods, whose history somebody else keeps.
type Pods interface {
	Matches(namespace, name string, selector labels.Selector) bool
	Present(namespace string, selectors ...labels.Selector) []string
}

// Service is a Service and the pods that it stands for.
type Service struct {
	Name string
	// Selector is spec.selector in canonical form. Empty: the Service selects nothing.
	Selector string
}

// Index is safe for concurrent use.
type Index struct {
	pods Pods

	mu     sync.RWMutex // never held together with a store's
	stores map[schema.GroupResource]*store
}

// NewIndex returns an index without any object but the pods.
func NewIndex(pods Pods) *Index {
	return &Index{pods: pods, stores: map[schema.GroupResource]*store{}}
}

// Feed begins to remember the objects of a resource, with none. The handler is for an informer of the resource, be it of
// metadata or typed; only a typed one of Services tells their selectors. A handler that Feed returned before for the same
// resource has no effect any more.
func (x *Index) Feed(resource schema.GroupResource) toolscache.ResourceEventHandler {
	s := &store{namespaces: map[string][]object{}}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stores[resource] = s
	return s
}

// Forget frees the memory of a resource.
func (x *Index) Forget(resource schema.GroupResource) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.stores, resource)
}

// Matches tells whether the object exists and the selector selects it.
func (x *Index) Matches(resource schema.GroupResource, namespace, name string, selector labels.Selector) bool {
	if resource == podResource {
		return x.pods.Matches(namespace, name, selector)
	}
	s := x.store(resource)
	return s != nil && s.matches(namespace, name, selector)
}

// Select lists, in order, the names of the objects of a namespace that all selectors select.
func (x *Index) Select(resource schema.GroupResource, namespace string, selectors ...labels.Selector) []string {
	if resource == podResource {
		return x.pods.Present(namespace, selectors...)
	}
	var names []string
	if s := x.store(resource); s != nil {
		s.each(namespace, selectors, func(o object) { names = append(names, o.name) })
	}
	return names
}

// Services lists, in the order of their names, the Services of a namespace that the selector selects.
func (x *Index) Services(namespace string, selector labels.Selector) []Service {
	var services []Service
	if s := x.store(serviceResource); s != nil {
		s.each(namespace, []labels.Selector{selector}, func(o object) {
			services = append(services, Service{Name: o.name, Selector: o.selector})
		})
	}
	return services
}

func (x *Index) store(resource schema.GroupResource) *store {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.stores[resource]
}
