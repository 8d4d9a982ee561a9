package standin

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// podSet holds the pods that take load: from the moment a pod is first ready until it is deleted or has finished.
type podSet struct {
	mu   sync.Mutex
	pods map[string]types.UID
	// listed is done when those are known that there were at the beginning.
	listed cache.DoneChecker
}

// names returns the names of the pods, sorted.
func (s *podSet) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.pods))
}

// observe notes the state of a pod.
func (s *podSet) observe(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	switch {
	case !finished && ready(pod):
		s.pods[pod.Name] = pod.UID
	case finished, s.pods[pod.Name] != pod.UID:
		// A successor of the same name, as in a StatefulSet, has to become ready by itself.
		delete(s.pods, pod.Name)
	}
}

func (s *podSet) remove(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[pod.Name] == pod.UID {
		delete(s.pods, pod.Name)
	}
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// watchPods returns the pods of a workload, and the factory of the informer that keeps them up to date.
func watchPods(client kubernetes.Interface, w workload) (*podSet, informers.SharedInformerFactory, error) {
	set := &podSet{pods: map[string]types.UID{}}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(w.namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = w.selector.String() }),
	)
	seen, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { each(obj, set.observe) },
		UpdateFunc: func(_, obj any) { each(obj, set.observe) },
		DeleteFunc: func(obj any) { each(obj, set.remove) },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("watch the pods of %s: %w", w, err)
	}
	set.listed = seen.HasSyncedChecker()
	return set, factory, nil
}

// each calls f with the pod of an informer's event, which may be the last known state of a pod whose end was missed.
func each(obj any, f func(*corev1.Pod)) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		f(pod)
	}
}
