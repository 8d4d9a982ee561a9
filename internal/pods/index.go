// Package pods remembers which pods carry which labels, now and in the recent past: a Service's value covers the pods
// that it selects now or selected within the query's window, a Pods metric the pods that exist now.
package pods

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// retention is how long a pod is remembered after it is gone: the longest window of a query plus the longest lag.
const retention = 70 * time.Minute

// sweepEvery bounds how often all pods are searched for those that can be forgotten.
const sweepEvery = 5 * time.Minute

// span is a stretch of time during which a pod carried labels and ran. A zero until means now.
type span struct {
	labels labels.Set
	until  time.Time
}

// pod is a pod that exists now. Neighbours with equal labels share them: the pods of a workload are mostly alike and next
// to each other, so that a selector has to look at one of them.
type pod struct {
	name   string
	labels *labels.Set
	owner  unique.Handle[metric.Workload]
	// ready is since when the pod has been ready, in Unix seconds; 0 when it is not, or is about to end.
	ready int64
}

// namespace holds the pods of one namespace.
type namespace struct {
	history map[string][]span // by name; the last span may be the current one
	present []pod             // in the order of names: the pods whose last span is the current one
}

// Index is filled by the events of a Pod informer. It is safe for concurrent use.
type Index struct {
	clock clock.PassiveClock

	mu         sync.RWMutex
	namespaces map[string]*namespace
	swept      time.Time
}

var _ cache.ResourceEventHandler = (*Index)(nil)

// NewIndex returns an empty index.
func NewIndex(clock clock.PassiveClock) *Index {
	return &Index{clock: clock, namespaces: map[string]*namespace{}}
}

// OnAdd implements cache.ResourceEventHandler.
func (x *Index) OnAdd(object any, _ bool) {
	if pod, ok := object.(*corev1.Pod); ok {
		x.record(pod, !terminal(pod))
	}
}

// OnUpdate implements cache.ResourceEventHandler.
func (x *Index) OnUpdate(_, object any) { x.OnAdd(object, false) }

// OnDelete implements cache.ResourceEventHandler.
func (x *Index) OnDelete(object any) {
	if lost, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = lost.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		x.record(pod, false)
	}
}

// terminal pods never report again; a Service does not select them.
func terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (x *Index) record(p *corev1.Pod, running bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sweep()
	n := x.namespaces[p.Namespace]
	if n == nil {
		n = &namespace{history: map[string][]span{}}
		x.namespaces[p.Namespace] = n
	}
	n.remember(p, running, x.clock.Now())
	n.keep(p, running)
}

// remember brings history in step.
func (n *namespace) remember(p *corev1.Pod, running bool, now time.Time) {
	spans := n.history[p.Name]
	if last := len(spans) - 1; last >= 0 && spans[last].until.IsZero() {
		if running && maps.Equal(spans[last].labels, labels.Set(p.Labels)) {
			return
		}
		spans[last].until = now
	}
	if running {
		spans = append(spans, span{labels: p.Labels})
	}
	n.history[p.Name] = spans
}

// keep brings present in step. Pods mostly come in the order of their names, so that most of them go to the end. Most events
// leave the labels of a pod alone.
func (n *namespace) keep(p *corev1.Pod, running bool) {
	i, found := n.find(p.Name)
	if found && !running {
		n.present = slices.Delete(n.present, i, i+1)
	}
	if !running {
		return
	}
	is := pod{name: p.Name, owner: unique.Make(ownerOf(p)), ready: readySince(p)}
	switch {
	case !found:
		is.labels = n.share(i, p.Labels)
		n.present = slices.Insert(n.present, i, is)
	case maps.Equal(*n.present[i].labels, labels.Set(p.Labels)):
		is.name, is.labels = n.present[i].name, n.present[i].labels
		n.present[i] = is
	default:
		is.labels = n.share(i, p.Labels)
		n.present[i] = is
	}
}

// share finds labels beside a place.
func (n *namespace) share(i int, set labels.Set) *labels.Set {
	for _, neighbour := range n.present[max(i-1, 0):min(i+1, len(n.present))] {
		if maps.Equal(*neighbour.labels, set) {
			return neighbour.labels
		}
	}
	return &set
}

func (n *namespace) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.present, name, func(p pod, name string) int { return strings.Compare(p.name, name) })
}

// Present lists, in order, the pods of a namespace that exist now and that all selectors select.
func (x *Index) Present(namespace string, selectors ...labels.Selector) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.namespaces[namespace]
	if n == nil {
		return nil
	}
	var names []string
	var last *labels.Set
	var wanted bool
	for i := range n.present {
		p := &n.present[i]
		if p.labels != last {
			last, wanted = p.labels, selected(*p.labels, selectors)
		}
		if wanted {
			if names == nil { // most reads want most of those that are left
				names = make([]string, 0, len(n.present)-i)
			}
			names = append(names, p.name)
		}
	}
	return names
}

func selected(set labels.Set, selectors []labels.Selector) bool {
	for _, s := range selectors {
		if !s.Matches(set) {
			return false
		}
	}
	return true
}

// Matches tells whether the pod exists now and the selector selects it.
func (x *Index) Matches(namespace, name string, selector labels.Selector) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.namespaces[namespace]
	if n == nil {
		return false
	}
	i, found := n.find(name)
	return found && selector.Matches(*n.present[i].labels)
}

// Selected lists, in order, the pods of a namespace that a label selector selects now or selected within the window
// before now. A selector that cannot be parsed selects nothing.
func (x *Index) Selected(namespace, selector string, window time.Duration) []string {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	now := x.clock.Now()
	window = min(window, retention) // also of what was not swept up yet
	n := x.namespaces[namespace]
	if n == nil {
		return nil
	}
	var names []string
	for name, spans := range n.history {
		if slices.ContainsFunc(spans, func(s span) bool {
			return (s.until.IsZero() || now.Sub(s.until) <= window) && parsed.Matches(s.labels)
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Ready lists the pods of a namespace that a label selector selects now, that have been ready since a time or longer, and that
// are not about to end: by the workload that owns them, and in order. A selector that cannot be parsed selects nothing.
func (x *Index) Ready(namespace, selector string, since time.Time) map[metric.Workload][]string {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.namespaces[namespace]
	if n == nil {
		return nil
	}
	ready := map[metric.Workload][]string{}
	var last *labels.Set
	var wanted bool
	for i := range n.present {
		p := &n.present[i]
		if p.ready == 0 || p.ready > since.Unix() {
			continue
		}
		if p.labels != last {
			last, wanted = p.labels, parsed.Matches(*p.labels)
		}
		if wanted {
			owner := p.owner.Value()
			ready[owner] = append(ready[owner], p.name)
		}
	}
	return ready
}

// sweep forgets in all namespaces, most of which nobody asks about.
func (x *Index) sweep() {
	if now := x.clock.Now(); now.Sub(x.swept) >= sweepEvery {
		x.swept = now
		for namespace := range x.namespaces {
			x.forget(namespace, now)
		}
	}
}

// forget drops spans that no window reaches any more.
func (x *Index) forget(namespace string, now time.Time) {
	n := x.namespaces[namespace]
	if n == nil {
		return
	}
	for name, spans := range n.history {
		spans = slices.DeleteFunc(spans, func(s span) bool { return !s.until.IsZero() && now.Sub(s.until) > retention })
		if len(spans) == 0 {
			delete(n.history, name)
			continue
		}
		n.history[name] = spans
	}
	if len(n.history) == 0 {
		delete(x.namespaces, namespace)
	}
}
