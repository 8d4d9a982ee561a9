// Package pods remembers which pods carry which labels, now and in the recent past: a Service's value covers the pods
// that it selects now or selected within the query's window.
package pods

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
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

// Index is filled by the events of a Pod informer. It is safe for concurrent use.
type Index struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	pods  map[string]map[string][]span // by namespace and name; the last span may be the current one
	swept time.Time
}

var _ cache.ResourceEventHandler = (*Index)(nil)

// NewIndex returns an empty index.
func NewIndex(clock clock.PassiveClock) *Index {
	return &Index{clock: clock, pods: map[string]map[string][]span{}}
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

func (x *Index) record(pod *corev1.Pod, running bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sweep()
	spans := x.pods[pod.Namespace][pod.Name]
	if last := len(spans) - 1; last >= 0 && spans[last].until.IsZero() {
		if running && maps.Equal(spans[last].labels, labels.Set(pod.Labels)) {
			return
		}
		spans[last].until = x.clock.Now()
	}
	if running {
		spans = append(spans, span{labels: pod.Labels})
	}
	if x.pods[pod.Namespace] == nil {
		x.pods[pod.Namespace] = map[string][]span{}
	}
	x.pods[pod.Namespace][pod.Name] = spans
}

// Selected lists, in order, the pods of a namespace that a label selector selects now or selected within the window
// before now. A selector that cannot be parsed selects nothing.
func (x *Index) Selected(namespace, selector string, window time.Duration) []string {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(namespace)
	now := x.clock.Now()
	var names []string
	for name, spans := range x.pods[namespace] {
		if slices.ContainsFunc(spans, func(s span) bool {
			return (s.until.IsZero() || now.Sub(s.until) <= window) && parsed.Matches(s.labels)
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sweep forgets in all namespaces, most of which nobody asks about.
func (x *Index) sweep() {
	if now := x.clock.Now(); now.Sub(x.swept) >= sweepEvery {
		x.swept = now
		for namespace := range x.pods {
			x.forget(namespace)
		}
	}
}

// forget drops spans that no window reaches any more.
func (x *Index) forget(namespace string) {
	now := x.clock.Now()
	for name, spans := range x.pods[namespace] {
		spans = slices.DeleteFunc(spans, func(s span) bool { return !s.until.IsZero() && now.Sub(s.until) > retention })
		if len(spans) == 0 {
			delete(x.pods[namespace], name)
			continue
		}
		x.pods[namespace][name] = spans
	}
	if len(x.pods[namespace]) == 0 {
		delete(x.pods, namespace)
	}
}

// Strip keeps of a pod what the operator looks at: names, labels, phase, readiness and start time. It is the transform of
// the Pod informer, so that a large cluster's pods stay small in memory.
func Strip(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	stripped := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, StartTime: pod.Status.StartTime},
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			stripped.Status.Conditions = []corev1.PodCondition{{
				Type: condition.Type, Status: condition.Status, LastTransitionTime: condition.LastTransitionTime,
			}}
		}
	}
	return stripped, nil
}
