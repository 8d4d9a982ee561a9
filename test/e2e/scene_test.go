package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	token      = "11111111-2222-3333-4444-555555555555"
	metricName = "net.http.request.count"
	// history is how far back the points of a scene reach: longer than any window in use.
	history = 3 * time.Minute
)

// scene is a namespace with a Sysdig and a connection of its own.
type scene struct {
	t         *testing.T
	stage     *stage.Stage
	namespace string
	name      string // of the connection
	sysdig    *sysdigtest.Server
	load      *sysdigtest.Load
}

// workload is a Deployment whose load the test sets.
type workload struct {
	name   string
	rps    atomic.Uint64 // bits of a float64
	silent atomic.Bool
}

func (w *workload) setRPS(rps float64) { w.rps.Store(math.Float64bits(rps)) }

// newScene makes a namespace, a stand-in for Sysdig over TLS and a connection to it, all of the same name.
func newScene(t *testing.T, s *stage.Stage, namespace, connection string) *scene {
	t.Helper()
	c := &scene{t: t, stage: s, namespace: namespace, name: connection}
	c.sysdig = sysdigtest.New(sysdigtest.Options{Clock: clock.RealClock{}, Tokens: []string{token}, Lag: time.Second})
	if err := c.sysdig.StartTLS(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.sysdig.Close)
	c.load = sysdigtest.NewLoad(c.sysdig.Store(), clock.RealClock{}, time.Now().Add(-history), sysdigtest.Workload{
		Cluster: "e2e", Namespace: "kube-system", Kind: "daemonset", Name: "heart",
		Pods: func() []string { return []string{"heart-0"} }, RPS: func() float64 { return 0 },
	})
	go func() { _ = c.load.Run(t.Context()) }()
	if namespace != "default" {
		c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	// The newline is the tutorial's: echo … | base64.
	if err := s.Connect(t.Context(), connection, "e2e", c.sysdig.URL, c.sysdig.CABundle(), token+"\n"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *scene) create(o client.Object) {
	c.t.Helper()
	if err := c.stage.Client.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// attach gives a workload to the load: its ready pods share what it is told, as if they always had.
func (c *scene) attach(name string, replicas int, rps float64) *workload {
	c.t.Helper()
	c.eventually(30*time.Second, "pods of "+name, func(context.Context) error {
		if got := len(c.readyPods(name)); got != replicas {
			return fmt.Errorf("%d are ready, want %d", got, replicas)
		}
		return nil
	})
	w := &workload{name: name}
	w.setRPS(rps)
	load := sysdigtest.Workload{
		Cluster: "e2e", Namespace: c.namespace, Kind: "deployment", Name: name,
		Pods:   func() []string { return c.readyPods(name) },
		RPS:    func() float64 { return math.Float64frombits(w.rps.Load()) },
		Silent: w.silent.Load,
	}
	now := time.Now()
	sysdigtest.NewLoad(c.sysdig.Store(), clock.RealClock{}, now.Add(-history), load).Step(now)
	c.load.Add(load)
	return w
}

func (c *scene) readyPods(app string) []string {
	var list corev1.PodList
	if err := c.stage.Client.List(c.t.Context(), &list, client.InNamespace(c.namespace), client.MatchingLabels{"app": app}); err != nil {
		return nil
	}
	var names []string
	for _, pod := range list.Items {
		ready := slices.ContainsFunc(pod.Status.Conditions, func(p corev1.PodCondition) bool {
			return p.Type == corev1.PodReady && p.Status == corev1.ConditionTrue
		})
		if ready && pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	return names
}

// deploy makes a Deployment and a Service of the same name and gives them load.
func (c *scene) deploy(name string, replicas int32, rps float64) *workload {
	c.t.Helper()
	selector := map[string]string{"app": name}
	c.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: selector},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "none"}}},
			},
		},
	})
	c.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Port: 80}}},
	})
	return c.attach(name, int(replicas), rps)
}

// bind makes a binding for a Service of the same name; change may edit it before.
func (c *scene) bind(name string, change func(*v1alpha1.SysdigMetricBindingSpec)) *v1alpha1.SysdigMetricBinding {
	c.t.Helper()
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			ConnectionRef: v1alpha1.ConnectionReference{Name: c.name},
			Target:        v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: name},
			MetricName:    metricName,
			MaxAge:        metav1.Duration{Duration: 35 * time.Second},
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: metricName, TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupAverage,
				Window: metav1.Duration{Duration: 20 * time.Second},
			}},
		},
	}
	if change != nil {
		change(&b.Spec)
	}
	c.create(b)
	return b
}

// scale makes an HPA for a Deployment on the metric of the Service of the same name.
func (c *scene) scale(name string, lowest, highest int32, target string) {
	c.t.Helper()
	value := resource.MustParse(target)
	c.create(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    &lowest, MaxReplicas: highest,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ObjectMetricSourceType,
				Object: &autoscalingv2.ObjectMetricSource{
					DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: name},
					Metric:          autoscalingv2.MetricIdentifier{Name: metricName},
					Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &value},
				},
			}},
		},
	})
}

// replicas is what the Deployment is told to have.
func (c *scene) replicas(name string) int32 {
	c.t.Helper()
	var d appsv1.Deployment
	if err := c.stage.Client.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: name}, &d); err != nil {
		c.t.Fatal(err)
	}
	return *d.Spec.Replicas
}

// eventually waits until check returns nil.
func (c *scene) eventually(deadline time.Duration, what string, check func(context.Context) error) {
	c.t.Helper()
	if err := stage.Wait(c.t.Context(), deadline, check); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// always fails the test as soon as check returns an error during the time given.
func (c *scene) always(during time.Duration, what string, check func() error) {
	c.t.Helper()
	timer := time.NewTimer(during)
	defer timer.Stop()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		if err := check(); err != nil {
			c.t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-c.t.Context().Done():
			c.t.Fatal(c.t.Context().Err())
		case <-timer.C:
			return
		case <-ticker.C:
		}
	}
}

func (c *scene) eventuallyReplicas(deadline time.Duration, name string, lowest, highest int32) {
	c.t.Helper()
	c.eventually(deadline, "replicas of "+name, func(context.Context) error {
		if got := c.replicas(name); got < lowest || got > highest {
			return fmt.Errorf("%d replicas, want %d to %d", got, lowest, highest)
		}
		return nil
	})
}

func (c *scene) alwaysReplicas(during time.Duration, name string, lowest, highest int32) {
	c.t.Helper()
	c.always(during, "replicas of "+name, func() error {
		if got := c.replicas(name); got < lowest || got > highest {
			return fmt.Errorf("%d replicas, want %d to %d", got, lowest, highest)
		}
		return nil
	})
}

// read reads a metric the way kubectl get --raw does.
func (c *scene) read(ctx context.Context, path string) (custommetrics.MetricValue, error) {
	clientset, err := kubernetes.NewForConfig(c.stage.Cluster.AdminConfig())
	if err != nil {
		return custommetrics.MetricValue{}, err
	}
	raw, err := clientset.RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return custommetrics.MetricValue{}, fmt.Errorf("%w: %s", err, raw)
	}
	var list struct {
		Items []struct {
			custommetrics.MetricValue
			Window *int64 `json:"window"` // what v1beta1 calls windowSeconds
		} `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return custommetrics.MetricValue{}, err
	}
	if len(list.Items) != 1 {
		return custommetrics.MetricValue{}, fmt.Errorf("%d items in %s", len(list.Items), raw)
	}
	value := list.Items[0].MetricValue
	value.WindowSeconds = cmp.Or(value.WindowSeconds, list.Items[0].Window)
	return value, nil
}

func (c *scene) servicePath(name string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + c.namespace + "/services/" + name + "/" + metricName
}

// eventuallyServed waits for a value and returns it.
func (c *scene) eventuallyServed(deadline time.Duration, path string) custommetrics.MetricValue {
	c.t.Helper()
	var value custommetrics.MetricValue
	c.eventually(deadline, path, func(ctx context.Context) (err error) {
		value, err = c.read(ctx, path)
		return err
	})
	return value
}

// eventuallyValue waits for a value: that of a load which has lasted for a whole window.
func (c *scene) eventuallyValue(deadline time.Duration, path string, want float64) {
	c.t.Helper()
	c.eventually(deadline, path, func(ctx context.Context) error {
		value, err := c.read(ctx, path)
		if err != nil {
			return err
		}
		if got := float64(value.Value.MilliValue()) / 1000; math.Abs(got-want) > 0.001 {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// eventuallyRefused waits until a read is refused with 503 and a reason.
func (c *scene) eventuallyRefused(deadline time.Duration, path, reason string) {
	c.t.Helper()
	c.eventually(deadline, path, func(ctx context.Context) error { return c.refused(ctx, path, reason) })
}

func (c *scene) refused(ctx context.Context, path, reason string) error {
	value, err := c.read(ctx, path)
	if err == nil {
		return fmt.Errorf("it was answered with %s", value.Value.String())
	}
	if !apierrors.IsServiceUnavailable(errors.Unwrap(err)) || !containsWord(err.Error(), reason) {
		return fmt.Errorf("want 503 with %s, got %w", reason, err)
	}
	return nil
}

// eventuallyReady waits until a binding's Ready condition has a reason.
func (c *scene) eventuallyReady(deadline time.Duration, name, reason string) v1alpha1.SysdigMetricBinding {
	c.t.Helper()
	var b v1alpha1.SysdigMetricBinding
	c.eventually(deadline, "status of "+name, func(ctx context.Context) error {
		if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &b); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason || ready.ObservedGeneration != b.Generation {
			return fmt.Errorf("Ready is %+v, want %s at generation %d", ready, reason, b.Generation)
		}
		return nil
	})
	return b
}
