package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/drill/judge"
)

// watch sees the replicas that Deployments are told to have, and which of their pods take load.
type watch struct {
	pods cache.Indexer

	mu       sync.Mutex
	replicas map[client.ObjectKey]judge.Line
}

// byApp is the index of pods by the Deployment that they belong to.
const byApp = "app"

// startWatch watches until the context ends.
func startWatch(ctx context.Context, config *rest.Config) (*watch, error) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(clientset, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = ours }))
	w := &watch{replicas: map[client.ObjectKey]judge.Line{}}
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{byApp: func(o any) ([]string, error) {
		pod := o.(*corev1.Pod)
		return []string{pod.Namespace + "/" + pod.Labels[byApp]}, nil
	}}); err != nil {
		return nil, fmt.Errorf("watching pods: %w", err)
	}
	w.pods = pods.GetIndexer()
	if _, err := factory.Apps().V1().Deployments().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    w.note,
		UpdateFunc: func(_, o any) { w.note(o) },
	}); err != nil {
		return nil, fmt.Errorf("watching Deployments: %w", err)
	}
	factory.Start(ctx.Done())
	for _, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, errors.New("watching Deployments and pods: not in time")
		}
	}
	return w, nil
}

func (w *watch) note(o any) {
	d := o.(*appsv1.Deployment)
	key, replicas := client.ObjectKeyFromObject(d), *d.Spec.Replicas
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.replicas[key]; len(l) == 0 || l[len(l)-1].Replicas != replicas {
		w.replicas[key] = append(l, judge.Step{At: time.Now(), Replicas: replicas})
	}
}

// line is what a Deployment was told to have over time.
func (w *watch) line(key client.ObjectKey) judge.Line {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(judge.Line(nil), w.replicas[key]...)
}

// now is what a Deployment is told to have.
func (w *watch) now(key client.ObjectKey) int32 { return w.line(key).At(time.Now()) }

// ready are the names of the pods of a Deployment that take load.
func (w *watch) ready(key client.ObjectKey) []string {
	found, err := w.pods.ByIndex(byApp, key.String())
	if err != nil {
		return nil
	}
	var names []string
	for _, o := range found {
		if pod := o.(*corev1.Pod); pod.DeletionTimestamp == nil && isReady(pod) {
			names = append(names, pod.Name)
		}
	}
	return names
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
