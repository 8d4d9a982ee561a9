package objects

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
)

// object is what is remembered of an object.
type object struct {
	name     string
	labels   labelled.Set
	selector string // of a Service
}

// store holds the objects of one resource.
type store struct {
	mu         sync.RWMutex
	namespaces map[string][]object // in the order of names
}

var _ toolscache.ResourceEventHandler = (*store)(nil)

// OnAdd implements cache.ResourceEventHandler.
func (s *store) OnAdd(event any, _ bool) {
	if m, ok := event.(metav1.Object); ok {
		s.put(m.GetNamespace(), describe(m))
	}
}

// OnUpdate implements cache.ResourceEventHandler.
func (s *store) OnUpdate(_, event any) { s.OnAdd(event, false) }

// OnDelete implements cache.ResourceEventHandler.
func (s *store) OnDelete(event any) {
	if lost, ok := event.(toolscache.DeletedFinalStateUnknown); ok {
		event = lost.Obj
	}
	if m, ok := event.(metav1.Object); ok {
		s.remove(m.GetNamespace(), m.GetName())
	}
}

func describe(m metav1.Object) object {
	o := object{name: m.GetName(), labels: labelled.Of(m)}
	if service, ok := m.(*corev1.Service); ok {
		o.selector = labels.Set(service.Spec.Selector).String()
	}
	return o
}

// put mostly appends: objects come in the order of their names when an informer starts.
func (s *store) put(namespace string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.namespaces[namespace]
	i, found := find(all, o.name)
	if found {
		all[i] = o
		return
	}
	s.namespaces[namespace] = slices.Insert(all, i, o)
}

func (s *store) remove(namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.namespaces[namespace]
	i, found := find(all, name)
	switch {
	case !found:
	case len(all) == 1:
		delete(s.namespaces, namespace)
	default:
		s.namespaces[namespace] = slices.Delete(all, i, i+1)
	}
}

func (s *store) matches(namespace, name string, selector labels.Selector) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.namespaces[namespace]
	i, found := find(all, name)
	return found && all[i].labels.Selects(selector)
}

func (s *store) each(namespace string, selectors []labels.Selector, do func(object)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.namespaces[namespace] {
		if o.labels.Selects(selectors...) {
			do(o)
		}
	}
}

func find(all []object, name string) (int, bool) {
	return slices.BinarySearchFunc(all, name, func(o object, name string) int { return strings.Compare(o.name, name) })
}

// Strip keeps of an object's metadata what is remembered of it, so that annotations take no memory. It is the transform of the
// informers' cache.
func Strip(event any) (any, error) {
	full, ok := event.(*metav1.PartialObjectMetadata)
	if !ok {
		return event, nil
	}
	stripped := &metav1.PartialObjectMetadata{TypeMeta: full.TypeMeta, ObjectMeta: identityOf(full)}
	labelled.Strip(&stripped.ObjectMeta, full)
	return stripped, nil
}

// maxSelector is how many bytes the labels of a Service's selector have together, at most, to be kept. Selectors have some 50.
const maxSelector = labelled.MaxBytes

// StripService keeps of a Service what the operator looks at: name, labels, selector, and its addresses within the cluster. It is the
// transform of the Service informer. A selector that is too long is none.
func StripService(event any) (any, error) {
	full, ok := event.(*corev1.Service)
	if !ok {
		return event, nil
	}
	stripped := &corev1.Service{
		ObjectMeta: identityOf(full), Spec: corev1.ServiceSpec{ClusterIP: full.Spec.ClusterIP, ClusterIPs: full.Spec.ClusterIPs},
	}
	labelled.Strip(&stripped.ObjectMeta, full)
	if labelled.Length(full.Spec.Selector) <= maxSelector {
		stripped.Spec.Selector = full.Spec.Selector
	}
	return stripped, nil
}

// StripNamespace keeps of a Namespace its name and its labels. It is the transform of the Namespace informer.
func StripNamespace(event any) (any, error) {
	full, ok := event.(*corev1.Namespace)
	if !ok {
		return event, nil
	}
	stripped := &corev1.Namespace{ObjectMeta: identityOf(full)}
	labelled.Strip(&stripped.ObjectMeta, full)
	return stripped, nil
}

// identityOf is what tells one object, and one state of it, from others.
func identityOf(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}
