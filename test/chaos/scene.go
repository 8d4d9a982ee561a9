package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	clusterName = "chaos"
	namespace   = "chaos"
	connection  = "chaos"
	metricName  = "net.http.request.count"
	// pods is how many each Deployment has, and perPod the requests per second of each: just what the HPAs want.
	pods, perPod = 2, 100
	// syncPeriod is that of the HPA controller.
	syncPeriod = 5 * time.Second
	// window and maxAge are those of the bindings.
	window, maxAge = 30 * time.Second, time.Minute
	// settleLimit is when all has to work.
	settleLimit = 4 * time.Minute
	// delay is how long a replica serves after SIGTERM: that of the manifests.
	delay = 5 * time.Second
	// history is how long the load is there already.
	history = 5 * time.Minute
)

// scene is two replicas of the operator behind one Service, and Deployments with HPAs whose load never changes.
type scene struct {
	plan     plan
	log      io.Writer
	began    time.Time
	stage    *stage.Stage
	sysdig   *sysdigtest.Server
	balancer *balancer
	token    string

	mu       sync.Mutex
	replicas []*stage.Replica
	started  int
}

func (s *scene) say(format string, args ...any) {
	fmt.Fprintf(s.log, "%6s  %s\n", time.Since(s.began).Round(time.Second), fmt.Sprintf(format, args...))
}

// open starts everything that plays and waits until all HPAs read their metrics. background bounds what goes on meanwhile.
func (s *scene) open(ctx, background context.Context, helpers *sync.WaitGroup) (err error) {
	if s.stage, err = stage.Start(ctx, stage.Options{
		Log: s.log, NoOperator: true,
		Cluster: cluster.Options{HPASyncPeriod: syncPeriod, ExtraArgs: map[binaries.Component][]string{
			binaries.ControllerManager: {"--concurrent-horizontal-pod-autoscaler-syncs=10"},
		}},
	}); err != nil {
		return err
	}
	s.token = newToken(0)
	s.sysdig = sysdigtest.New(sysdigtest.Options{Tokens: []string{s.token}})
	if err := s.sysdig.StartTLS(); err != nil {
		return err
	}
	if s.balancer, err = newBalancer(s.stage.Port()); err != nil {
		return err
	}
	helpers.Go(func() { s.balancer.run(background) })
	for range 2 {
		if _, err := s.add(ctx); err != nil {
			return err
		}
	}
	if err := s.stage.WaitAvailable(ctx); err != nil {
		return err
	}
	load, err := s.fill(ctx)
	if err != nil {
		return err
	}
	helpers.Go(func() { _ = load.Run(background) })
	s.say("waiting until all HPAs read their metrics")
	return stage.Wait(ctx, settleLimit, s.content)
}

func (s *scene) close(ctx context.Context) error {
	if s.sysdig != nil {
		s.sysdig.Close()
	}
	if s.stage == nil {
		return nil
	}
	return s.stage.Cluster.Stop(ctx)
}

// add starts one more replica, which becomes an endpoint, and waits until it is ready.
func (s *scene) add(ctx context.Context) (*stage.Replica, error) {
	s.mu.Lock()
	s.started++
	name := fmt.Sprint("replica-", s.started)
	s.mu.Unlock()
	r, err := s.stage.StartReplica(ctx, name, "--shutdown-delay-duration="+s.plan.delay.String())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.replicas = append(s.replicas, r)
	s.mu.Unlock()
	s.balancer.add(r)
	return r, r.WaitReady(ctx)
}

// drop takes a replica that ends out of the list; it stops being an endpoint when it is no longer ready.
func (s *scene) drop(r *stage.Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.replicas {
		if s.replicas[i] == r {
			s.replicas = append(s.replicas[:i:i], s.replicas[i+1:]...)
			return
		}
	}
}

func (s *scene) running() []*stage.Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*stage.Replica(nil), s.replicas...)
}

func newToken(n int) string { return fmt.Sprintf("%08d-2222-3333-4444-555555555555", n) }

func deploymentName(n int) string { return fmt.Sprintf("app-%03d", n) }

// bound is the name of the n-th metric of a Deployment.
func bound(n int) string { return fmt.Sprintf("requests-%02d", n) }

// fill makes all objects, and the load as if it had been there for a while.
func (s *scene) fill(ctx context.Context) (*sysdigtest.Load, error) {
	s.say("making %d Deployments with HPAs and %d bindings", s.plan.deployments, s.plan.deployments*s.plan.metrics)
	first, then := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}}, []client.Object(nil)
	for n := range s.plan.deployments {
		first, then = append(first, deployment(n)), append(then, autoscaler(n))
		for m := range s.plan.metrics {
			then = append(then, binding(n, m))
		}
	}
	if err := s.create(ctx, first); err != nil {
		return nil, err
	}
	var load *sysdigtest.Load
	if err := stage.Wait(ctx, settleLimit, func(ctx context.Context) (err error) { load, err = s.load(ctx); return err }); err != nil {
		return nil, fmt.Errorf("waiting for the pods: %w", err)
	}
	load.Step(time.Now())
	if err := s.stage.Connect(ctx, connection, clusterName, s.sysdig.URL, s.sysdig.CABundle(), s.token); err != nil {
		return nil, err
	}
	return load, s.create(ctx, then)
}

func (s *scene) create(ctx context.Context, objects []client.Object) error {
	for _, o := range objects {
		if err := s.stage.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("making %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// load spreads the load of each Deployment over the pods that it has, which stay as they are unless something goes wrong.
func (s *scene) load(ctx context.Context) (*sysdigtest.Load, error) {
	var list corev1.PodList
	if err := s.stage.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, pod := range list.Items {
		names[pod.Labels["app"]] = append(names[pod.Labels["app"]], pod.Name)
	}
	var all []sysdigtest.Workload
	for n := range s.plan.deployments {
		name := deploymentName(n)
		if len(names[name]) != pods {
			return nil, fmt.Errorf("%s has %d pods", name, len(names[name]))
		}
		all = append(all, sysdigtest.Workload{
			Cluster: clusterName, Namespace: namespace, Kind: "deployment", Name: name, Service: name,
			Pods: func() []string { return names[name] }, RPS: func() float64 { return pods * perPod },
		})
	}
	return sysdigtest.NewLoad(s.sysdig.Store(), clock.RealClock{}, time.Now().Add(-history), all...), nil
}

func deployment(n int) *appsv1.Deployment {
	replicas, labels := int32(pods), map[string]string{"app": deploymentName(n)}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: deploymentName(n)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "none"}}},
			},
		},
	}
}

func reference(n int) autoscalingv2.CrossVersionObjectReference {
	return autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: deploymentName(n)}
}

func autoscaler(n int) *autoscalingv2.HorizontalPodAutoscaler {
	lowest := int32(1)
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: deploymentName(n)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: reference(n), MinReplicas: &lowest, MaxReplicas: 10 * pods,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: reference(n), Metric: autoscalingv2.MetricIdentifier{Name: bound(0)},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(perPod, resource.DecimalSI)},
			}}},
		},
	}
}

func binding(n, m int) *v1alpha1.SysdigMetricBinding {
	r := reference(n)
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s-%02d", r.Name, m)},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			ConnectionRef: v1alpha1.ConnectionReference{Name: connection}, MetricName: bound(m), MaxAge: metav1.Duration{Duration: maxAge},
			Target: &v1alpha1.Target{APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name},
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: metricName, TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupSum, Window: metav1.Duration{Duration: window},
			}},
		},
	}
}

// content is why not every HPA reads its metric.
func (s *scene) content(ctx context.Context) error {
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := s.stage.Client.List(ctx, &list); err != nil {
		return err
	}
	if len(list.Items) < s.plan.deployments {
		return errors.New("some HPAs are missing")
	}
	for i := range list.Items {
		if active, why := scalingActive(&list.Items[i]); !active {
			return fmt.Errorf("HPA %s: %s", list.Items[i].Name, why)
		}
	}
	return nil
}

// scalingActive tells whether an HPA could read its metrics when it last did.
func scalingActive(h *autoscalingv2.HorizontalPodAutoscaler) (bool, string) {
	for _, c := range h.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			return c.Status == corev1.ConditionTrue, c.Message
		}
	}
	return false, "it was not looked at"
}
