package controllers

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// places tells which bindings of a namespace are served when it has too many: the oldest, by creation time and then UID, as all replicas
// see it.
type places struct {
	bound      int // per namespace
	namespaces map[string]*queue
}

// queue is all bindings of a namespace.
type queue struct {
	order  []*place // the oldest first; those within the bound are served
	byName map[string]*place
	full   *metric.Failure // what the others are told
}

// place is that of a binding in the queue of its namespace.
type place struct {
	name    string
	uid     types.UID
	created time.Time
}

// of is the queue of a namespace; nil when it was never filled or is empty.
func (p *places) of(namespace string) *queue { return p.namespaces[namespace] }

// fill makes the queue of a namespace from all bindings that it has.
func (p *places) fill(namespace string, bindings []v1alpha1.SysdigMetricBinding) {
	q := &queue{byName: make(map[string]*place, len(bindings)), full: metric.Failf(metric.Rejected,
		"metadata.namespace: namespace %s has more than %d SysdigMetricBindings, the most that the operator takes of one (--max-bindings-per-namespace), and older ones keep their places; delete some, or ask the platform team",
		namespace, p.bound)}
	for i := range bindings {
		one := placeOf(&bindings[i])
		q.order, q.byName[one.name] = append(q.order, one), one
	}
	slices.SortFunc(q.order, inOrder)
	if p.namespaces == nil {
		p.namespaces = map[string]*queue{}
	}
	p.namespaces[namespace] = q
}

// take gives a binding its place, if it has none yet. refused is why it is not served; nil when it is. moved are the bindings for
// which that has changed.
func (p *places) take(b *v1alpha1.SysdigMetricBinding) (refused *metric.Failure, moved []types.NamespacedName) {
	q := p.of(b.Namespace)
	one := placeOf(b)
	if old := q.byName[b.Name]; old == nil || old.uid != one.uid || !old.created.Equal(one.created) {
		if old != nil { // it was deleted and made again unseen
			moved = p.leave(types.NamespacedName{Namespace: b.Namespace, Name: b.Name})
			p.namespaces[b.Namespace] = q // it may have been the last
		}
		at, _ := slices.BinarySearchFunc(q.order, one, inOrder)
		q.order, q.byName[b.Name] = slices.Insert(q.order, at, one), one
		if at < p.bound && len(q.order) > p.bound {
			moved = append(moved, types.NamespacedName{Namespace: b.Namespace, Name: q.order[p.bound].name})
		}
	}
	if at, _ := slices.BinarySearchFunc(q.order, one, inOrder); at >= p.bound {
		return q.full, moved
	}
	return nil, moved
}

// leave takes the place of a binding. moved is the one that is served in its stead.
func (p *places) leave(binding types.NamespacedName) (moved []types.NamespacedName) {
	q := p.of(binding.Namespace)
	if q == nil || q.byName[binding.Name] == nil {
		return nil
	}
	at, _ := slices.BinarySearchFunc(q.order, q.byName[binding.Name], inOrder)
	q.order = slices.Delete(q.order, at, at+1)
	delete(q.byName, binding.Name)
	if at < p.bound && len(q.order) >= p.bound {
		moved = append(moved, types.NamespacedName{Namespace: binding.Namespace, Name: q.order[p.bound-1].name})
	}
	if len(q.order) == 0 {
		delete(p.namespaces, binding.Namespace)
	}
	return moved
}

func placeOf(b *v1alpha1.SysdigMetricBinding) *place {
	return &place{name: b.Name, uid: b.UID, created: b.CreationTimestamp.Time}
}

func inOrder(a, b *place) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.uid, b.uid), cmp.Compare(a.name, b.name))
}
