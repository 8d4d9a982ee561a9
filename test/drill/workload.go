package main

import (
	"fmt"
	"math"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/drill/judge"
)

const (
	// metricName is what HPAs read.
	metricName = "net.http.request.count"
	// ours is the label of everything that is watched; its value is the workload's name, of which first is the one that speaks
	// for its group.
	ours  = "drill"
	first = "app-00"
)

// manner is how an HPA reads its metric.
type manner int

const (
	byValue   manner = iota // the average over the pods, with a target of type Value
	byAverage               // the sum over the pods, with a target of type AverageValue
	byPods                  // each pod for itself
	manners
)

func (m manner) String() string { return [...]string{"Value", "AverageValue", "Pods"}[m] }

// workload is a Deployment with a Service of the same name, a binding, an HPA and a load.
type workload struct {
	namespace, name string
	manner          manner
	ofService       bool // the binding is about the Service
	window, maxAge  time.Duration
	connection      string
	minReady        int32 // seconds

	mu     sync.Mutex
	rps    float64
	needed judge.Line
}

// load sets the requests per second from now on.
func (w *workload) load(rps float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rps = rps
	w.needed = append(w.needed, judge.Step{At: time.Now(), Replicas: int32(max(1, math.Ceil(rps/perReplica)))})
}

// need sets a load that needs a number of replicas.
func (w *workload) need(replicas int) { w.load(filled * perReplica * float64(replicas)) }

func (w *workload) requests() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rps
}

// truth is how many replicas the load needed over time.
func (w *workload) truth() judge.Line {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(judge.Line(nil), w.needed...)
}

func (w *workload) key() client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: w.name}
}

func (w *workload) labels() map[string]string { return map[string]string{"app": w.name} }

func (w *workload) deployment() *appsv1.Deployment {
	replicas := int32(calm)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.name, Labels: map[string]string{ours: w.name}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, MinReadySeconds: w.minReady, Selector: &metav1.LabelSelector{MatchLabels: w.labels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": w.name, ours: w.name}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "none"}}},
			},
		},
	}
}

func (w *workload) service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.name},
		Spec:       corev1.ServiceSpec{Selector: w.labels(), Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// object is what the binding of an Object metric is about.
func (w *workload) object() autoscalingv2.CrossVersionObjectReference {
	if w.ofService {
		return autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: w.name}
	}
	return autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: w.name}
}

func (w *workload) binding() *v1alpha1.SysdigMetricBinding {
	group := v1alpha1.GroupAverage
	if w.manner == byAverage {
		group = v1alpha1.GroupSum
	}
	target := &v1alpha1.Target{APIVersion: w.object().APIVersion, Kind: w.object().Kind, Name: w.name}
	if w.manner == byPods {
		target = &v1alpha1.Target{APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{MatchLabels: w.labels()}}
	}
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.name, Labels: map[string]string{ours: w.name}},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			ConnectionRef: v1alpha1.ConnectionReference{Name: w.connection}, Target: target, MetricName: metricName,
			MaxAge: metav1.Duration{Duration: w.maxAge},
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: metricName, TimeAggregation: v1alpha1.TimeRate, GroupAggregation: group, Window: metav1.Duration{Duration: w.window},
			}},
		},
	}
}

func (w *workload) hpa() *autoscalingv2.HorizontalPodAutoscaler {
	lowest := int32(1)
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: w.name},
			MinReplicas:    &lowest, MaxReplicas: most, Metrics: []autoscalingv2.MetricSpec{w.metric()},
		},
	}
}

func (w *workload) metric() autoscalingv2.MetricSpec {
	name, share := autoscalingv2.MetricIdentifier{Name: metricName}, resource.NewQuantity(perReplica, resource.DecimalSI)
	average := autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: share}
	object := &autoscalingv2.ObjectMetricSource{DescribedObject: w.object(), Metric: name, Target: average}
	switch w.manner {
	case byValue:
		object.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: share}
	case byPods:
		return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{Metric: name, Target: average}}
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: object}
}

// source is a part of the load as a stand-in takes it: spread evenly over the ready pods, as a load balancer does.
func (w *workload) source(pods func(client.ObjectKey) []string, part float64) sysdigtest.Workload {
	return sysdigtest.Workload{
		Cluster: clusterName, Namespace: w.namespace, Kind: "deployment", Name: w.name, Service: w.name,
		Pods: func() []string { return pods(w.key()) }, RPS: func() float64 { return part * w.requests() },
	}
}

// query is what an adapter asks that knows nothing of lags, gaps and missing pods.
func (w *workload) query() string {
	matchers := fmt.Sprintf(`%s=%q,%s=%q,%s=%q`, sysdigtest.LabelCluster, clusterName, sysdigtest.LabelNamespace, w.namespace, sysdigtest.LabelWorkloadName, w.name)
	rate := fmt.Sprintf(`sum by (%s) (sum_over_time(%s{%s}[%.0fs])) / %.0f`, sysdigtest.LabelPod, sysdigtest.MetricHTTPRequests, matchers, w.window.Seconds(), w.window.Seconds())
	switch w.manner {
	case byValue:
		return "avg(" + rate + ")"
	case byAverage:
		return "sum(" + rate + ")"
	}
	return rate
}
