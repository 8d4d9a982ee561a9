package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// creators is how many objects are made at a time.
const creators = 32

// scalableCRD is what the HPAs scale: something that has a number of replicas and no pods. Without a status subresource one
// write makes it whole.
const scalableCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scalables.bench.sysdigmetrics.dev}
spec:
  group: bench.sysdigmetrics.dev
  names: {kind: Scalable, plural: scalables, singular: scalable}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {replicas: {type: integer}, selector: {type: string}}}
          status: {type: object, properties: {replicas: {type: integer}}}
    subresources:
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .spec.selector}
`

func scalableKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "bench.sysdigmetrics.dev", Version: "v1", Kind: "Scalable"}
}

// installScalable makes the kind that the HPAs scale known.
func installScalable(ctx context.Context, s *stage.Stage) error {
	file := filepath.Join(s.Cluster.Dir(), "scalable.yaml")
	if err := os.WriteFile(file, []byte(scalableCRD), 0o600); err != nil {
		return fmt.Errorf("writing a CRD: %w", err)
	}
	if _, err := s.Cluster.Kubectl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	_, err := s.Cluster.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=5m", "crd/scalables.bench.sysdigmetrics.dev")
	return err
}

// createAll makes n objects, many at a time. Pods are refused until their namespace has its service account.
func createAll(ctx context.Context, c client.Client, n int, object func(i int) client.Object) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for i := range n {
		group.Go(func() error {
			o := object(i)
			again := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 9}
			if err := retry.OnError(again, apierrors.IsForbidden, func() error { return c.Create(ctx, o) }); err != nil {
				return fmt.Errorf("making %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// create makes everything of a scene but the HPAs.
func (s scene) create(ctx context.Context, c client.Client) error {
	if err := createAll(ctx, c, s.namespaces, func(i int) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}
	}); err != nil {
		return err
	}
	if err := createAll(ctx, c, s.bindings, func(i int) client.Object { return s.subject(i).binding }); err != nil {
		return err
	}
	if err := createAll(ctx, c, s.bindings, func(i int) client.Object { return scalable(s.subject(i).binding, replicas) }); err != nil {
		return err
	}
	if err := createAll(ctx, c, s.namespaces*s.apps(), func(i int) client.Object {
		return service(namespace(i/s.apps()), app(i%s.apps()))
	}); err != nil {
		return err
	}
	return createAll(ctx, c, s.pods(), func(i int) client.Object {
		of := i / podsPerApp
		return pod(namespace(of/s.apps()), app(of%s.apps()), i%podsPerApp)
	})
}

// autoscale makes an HPA for every binding.
func (s scene) autoscale(ctx context.Context, c client.Client) error {
	return createAll(ctx, c, s.bindings, func(i int) client.Object {
		of := s.subject(i)
		t := of.binding.Spec.Target
		return hpa(of.binding, autoscalingv2.CrossVersionObjectReference{APIVersion: t.APIVersion, Kind: t.Kind, Name: of.object}, of.quantity.served, of.value/replicas)
	})
}

// service selects the pods of an app.
func service(namespace, app string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// pod is one of an app. Nobody schedules it.
func pod(namespace, app string, i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: podName(app, i), Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "none"}}},
	}
}

// scalable is what the HPA of the same name scales.
func scalable(of metav1.Object, replicas int64) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"spec":   map[string]any{"replicas": replicas, "selector": "scalable=" + of.GetName()},
		"status": map[string]any{"replicas": replicas},
	}}
	u.SetGroupVersionKind(scalableKind())
	u.SetNamespace(of.GetNamespace())
	u.SetName(of.GetName())
	return u
}

// hpa scales the scalable of the same name by a metric of an object, each replica taking its share.
func hpa(of metav1.Object, object autoscalingv2.CrossVersionObjectReference, metric string, share float64) *autoscalingv2.HorizontalPodAutoscaler {
	lowest, target := int32(1), resource.NewMilliQuantity(int64(share*1000), resource.DecimalSI)
	version, kind := scalableKind().ToAPIVersionAndKind()
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: of.GetNamespace(), Name: of.GetName()},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: of.GetName()},
			MinReplicas:    &lowest, MaxReplicas: 20,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ObjectMetricSourceType,
				Object: &autoscalingv2.ObjectMetricSource{
					DescribedObject: object, Metric: autoscalingv2.MetricIdentifier{Name: metric},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: target},
				},
			}},
		},
	}
}
