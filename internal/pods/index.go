// Package pods remembers which pods carry which labels, now and in the recent past: a Service's value covers the pods
// that it selects now or selected within the query's window, a Pods metric the pods that exist now.
package pods

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// sweepEvery bounds how often all pods are searched for those that can be forgotten.
const sweepEvery = 5 * time.Minute

// pod is a pod that exists now. Neighbours with equal labels share them: the pods of a workload are mostly alike and next
// to each other, so that a selector has to look at one of them.
type pod struct {
	name   string
	labels *labelled.Set
	owner  unique.Handle[metric.Workload]
	// ready is since when the pod has been ready, in Unix seconds; 0 when it is not, or is about to end.
	ready int64
}

// namespace holds the pods of one namespace.
type namespace struct {
	history
	present []pod // in the order of names
	cut     int   // how many of them have labels that were cut off
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
	now := x.clock.Now()
	x.sweep(now)
	n := x.namespace(p.Namespace)
	switch i, found := n.find(p.Name); {
	case running:
		n.keep(i, found, p, now)
	case found:
		n.end(i, now)
	}
	if n.idle() {
		delete(x.namespaces, p.Namespace)
	}
}

// namespace is that of a name. The first who needs it makes it.
func (x *Index) namespace(name string) *namespace {
	n := x.namespaces[name]
	if n == nil {
		n = &namespace{history: history{followed: map[string]*followed{}}}
		x.namespaces[name] = n
	}
	return n
}

// idle tells whether nothing is known of a namespace.
func (n *namespace) idle() bool { return len(n.present) == 0 && n.empty() }

// keep brings a running pod, whose place is known, in step. Pods mostly come in the order of their names, so that most of them go to
// the end. Most events leave the labels of a pod alone.
func (n *namespace) keep(i int, found bool, p *corev1.Pod, now time.Time) {
	set := labelled.Of(p)
	is := pod{name: p.Name, owner: unique.Make(ownerOf(p)), ready: readySince(p)}
	switch {
	case !found:
		is.labels = n.share(i, set)
		n.present = slices.Insert(n.present, i, is)
		n.count(is.labels, 1)
	case n.present[i].labels.Equal(set):
		is.name, is.labels = n.present[i].name, n.present[i].labels
		n.present[i] = is
	default:
		was := n.present[i].labels
		is.name, is.labels = n.present[i].name, n.share(i, set)
		n.present[i] = is
		n.count(was, -1)
		n.count(is.labels, 1)
		n.lose(is.name, was, is.labels, now)
	}
}

// end takes out a pod that has ended.
func (n *namespace) end(i int, now time.Time) {
	was := n.present[i]
	n.present = slices.Delete(n.present, i, i+1)
	n.count(was.labels, -1)
	n.lose(was.name, was.labels, nil, now)
}

func (n *namespace) count(set *labelled.Set, by int) {
	if set.Cut() {
		n.cut += by
	}
}

// share finds labels beside a place.
func (n *namespace) share(i int, set labelled.Set) *labelled.Set {
	for _, neighbour := range n.present[max(i-1, 0):min(i+1, len(n.present))] {
		if neighbour.labels.Equal(set) {
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
	return n.selected(selectors...)
}

// selected lists, in order, the pods that exist now and that all selectors select.
func (n *namespace) selected(selectors ...labels.Selector) (names []string) {
	var last *labelled.Set
	var wanted bool
	for i := range n.present {
		p := &n.present[i]
		if p.labels != last {
			last, wanted = p.labels, p.labels.Selects(selectors...)
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

// Matches tells whether the pod exists now and the selector selects it.
func (x *Index) Matches(namespace, name string, selector labels.Selector) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.namespaces[namespace]
	if n == nil {
		return false
	}
	i, found := n.find(name)
	return found && n.present[i].labels.Selects(selector)
}

// Selected lists, in order, the pods of a namespace that a label selector selects now or selected within the window
// before now, as far as this process has seen. unknown is why there may be others; nil when there are none. A selector that cannot be
// parsed selects nothing.
func (x *Index) Selected(namespace, selector string, window time.Duration) (names []string, unknown *metric.Failure) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, nil
	}
	x.follow(namespace, selector, parsed)
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := x.namespaces[namespace]
	if n == nil {
		return nil, nil
	}
	names = n.selected(parsed)
	if f := n.followed[selector]; f != nil {
		from := x.clock.Now().Add(-min(window, retention)) // also of what was not swept up yet
		unknown = f.unknown(namespace, selector, from)
		names = append(names, f.since(from)...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names, cmp.Or(unknown, n.undecided(selector, parsed))
}

// follow makes a namespace remember which pods leave a selector. Where there are no pods there is nothing to remember.
func (x *Index) follow(namespace, text string, selector labels.Selector) {
	now := x.clock.Now()
	x.mu.RLock()
	n := x.namespaces[namespace]
	known := n != nil && n.followed[text] != nil
	if known {
		n.followed[text].asked.Store(now.UnixNano())
	}
	x.mu.RUnlock()
	if n == nil || known {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := x.namespaces[namespace]; n != nil && n.followed[text] == nil {
		n.follow(text, selector, now)
	}
}

// undecided is why a pod that exists now may be one of a Service's or not; nil when there is no such pod.
func (n *namespace) undecided(selector string, parsed labels.Selector) *metric.Failure {
	if n.cut == 0 {
		return nil
	}
	for i := range n.present {
		if p := &n.present[i]; !p.labels.Knows(parsed) {
			return metric.Failf(metric.Partial,
				"pod %s has more than %d labels, or more than %d bytes of them, so it is not known whether %q selects it; give it fewer labels",
				p.name, labelled.MaxLabels, labelled.MaxBytes, short(selector))
		}
	}
	return nil
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
	var last *labelled.Set
	var wanted bool
	for i := range n.present {
		p := &n.present[i]
		if p.ready == 0 || p.ready > since.Unix() {
			continue
		}
		if p.labels != last {
			last, wanted = p.labels, p.labels.Selects(parsed)
		}
		if wanted {
			owner := p.owner.Value()
			ready[owner] = append(ready[owner], p.name)
		}
	}
	return ready
}

// sweep forgets in all namespaces, most of which nobody asks about.
func (x *Index) sweep(now time.Time) {
	if now.Sub(x.swept) < sweepEvery {
		return
	}
	x.swept = now
	for name, n := range x.namespaces {
		n.sweep(now)
		if n.idle() {
			delete(x.namespaces, name)
		}
	}
}
