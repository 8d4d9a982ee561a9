package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
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
	// patience is the end of every wait. It tells of what never happens; how long something takes is no matter of these tests.
	patience = 10 * time.Minute
	// lasting is a maxAge for values that are to be served all the time, on a machine that is too busy to poll in time, too.
	lasting = 10 * time.Minute
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

// newScene makes a namespace, a stand-in for Sysdig over TLS and a connection to it. Those of the connection "default" are
// the same for all scenes.
func newScene(t *testing.T, s *stage.Stage, namespace, connection string) *scene {
	t.Helper()
	return newSceneOf(t, s, v1alpha1.APIPrometheus, namespace, connection)
}

// byEachAPI plays the same over each of Sysdig's APIs, in scenes of their own: nothing is to be different for the user.
func byEachAPI(t *testing.T, play func(t *testing.T, newScene func(name string) *scene)) {
	t.Parallel()
	for _, api := range []v1alpha1.API{v1alpha1.APIPrometheus, v1alpha1.APIData} {
		t.Run(string(api), func(t *testing.T) {
			t.Parallel()
			play(t, func(name string) *scene {
				if api == v1alpha1.APIData {
					name += "-data"
				}
				return newSceneOf(t, theStage, api, name, name)
			})
		})
	}
}

func newSceneOf(t *testing.T, s *stage.Stage, api v1alpha1.API, namespace, connection string) *scene {
	t.Helper()
	c := &scene{t: t, stage: s, namespace: namespace, name: connection}
	if namespace != "default" {
		c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	b := &defaultBackend
	if connection != "default" {
		b = &backend{api: api}
		t.Cleanup(b.close)
	}
	if err := b.open(s, connection); err != nil {
		t.Fatal(err)
	}
	c.sysdig, c.load = b.sysdig, b.load
	return c
}

// defaultBackend is behind the connection "default", which the samples and the pages of the documentation name. It lives
// as long as the stage.
var defaultBackend backend

// backend is a stand-in for Sysdig with a load.
type backend struct {
	api    v1alpha1.API // empty for Prometheus
	once   sync.Once
	err    error
	sysdig *sysdigtest.Server
	load   *sysdigtest.Load
	stop   context.CancelFunc
}

// open starts the stand-in over TLS and makes a connection to it, once.
func (b *backend) open(s *stage.Stage, connection string) error {
	b.once.Do(func() {
		b.sysdig = sysdigtest.New(sysdigtest.Options{Clock: clock.RealClock{}, Tokens: []string{token}, Lag: time.Second})
		if b.err = b.sysdig.StartTLS(); b.err != nil {
			return
		}
		b.load = sysdigtest.NewLoad(b.sysdig.Store(), clock.RealClock{}, time.Now().Add(-history), sysdigtest.Workload{
			Cluster: "e2e", Namespace: "kube-system", Kind: "daemonset", Name: "heart",
			Pods: func() []string { return []string{"heart-0"} }, RPS: func() float64 { return 0 },
		})
		var ctx context.Context
		ctx, b.stop = context.WithCancel(context.Background())
		go func() { _ = b.load.Run(ctx) }()
		// The newline is the tutorial's: echo … | base64.
		b.err = s.Connect(ctx, connection, "e2e", b.sysdig.URL, b.sysdig.CABundle(), token+"\n", func(c *v1alpha1.SysdigConnectionSpec) { c.API = b.api })
	})
	return b.err
}

func (b *backend) close() {
	if b.stop != nil {
		b.stop()
	}
	if b.sysdig != nil { // a run of some tests may do without
		b.sysdig.Close()
	}
}

func (c *scene) create(o client.Object) {
	c.t.Helper()
	if err := c.stage.Client.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// applyText applies manifests as they are; those without a namespace go into the scene's.
func (c *scene) applyText(manifests string) {
	c.t.Helper()
	apply := exec.CommandContext(c.t.Context(), c.stage.Cluster.KubectlPath(), "apply", "--server-side", "-n", c.namespace, "-f", "-")
	apply.Env = append(os.Environ(), "KUBECONFIG="+c.stage.Cluster.AdminKubeconfig())
	apply.Stdin = strings.NewReader(manifests)
	if output, err := apply.CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, output)
	}
}

// attach gives a workload to the load: its ready pods share what it is told, as if they always had.
func (c *scene) attach(name string, replicas int, rps float64) *workload {
	c.t.Helper()
	return c.attachMethods(name, replicas, rps, nil)
}

// attachMethods is attach with requests of several HTTP methods, each with its share.
func (c *scene) attachMethods(name string, replicas int, rps float64, methods map[string]float64) *workload {
	c.t.Helper()
	c.eventuallyPods(name, replicas)
	w := &workload{name: name}
	w.setRPS(rps)
	load := sysdigtest.Workload{
		Cluster: "e2e", Namespace: c.namespace, Kind: "deployment", Name: name,
		Pods:   func() []string { return c.readyPods(name) },
		RPS:    func() float64 { return math.Float64frombits(w.rps.Load()) },
		Silent: w.silent.Load, Methods: methods, Service: name,
	}
	c.load.Add(load) // first, so that no point is missing between what was and what will be
	now := time.Now()
	sysdigtest.NewLoad(c.sysdig.Store(), clock.RealClock{}, now.Add(-history), load).Step(now)
	return w
}

// eventuallyPods waits for ready pods.
func (c *scene) eventuallyPods(app string, pods int) {
	c.t.Helper()
	c.eventually("pods of "+app, func(context.Context) error {
		if got := len(c.readyPods(app)); got != pods {
			return fmt.Errorf("%d are ready, want %d", got, pods)
		}
		return nil
	})
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

// feed adds series of the test's own to the load, as if they had always been.
func (c *scene) feed(points func() []sysdigtest.Point) {
	c.load.AddSource(points)
	now := time.Now()
	past := sysdigtest.NewLoad(c.sysdig.Store(), clock.RealClock{}, now.Add(-history))
	past.AddSource(points)
	past.Step(now)
}

// deploy makes a Deployment and a Service of the same name and gives them load.
func (c *scene) deploy(name string, replicas int32, rps float64) *workload {
	c.t.Helper()
	c.deployIdle(name, replicas)
	return c.attach(name, int(replicas), rps)
}

// deployIdle makes a Deployment and a Service of the same name, whose pods agents see.
func (c *scene) deployIdle(name string, replicas int32) {
	c.t.Helper()
	c.load.AddSource(func() []sysdigtest.Point {
		var points []sysdigtest.Point
		for _, pod := range c.readyPods(name) {
			points = append(points, sysdigtest.Point{Value: 1, Labels: map[string]string{
				"__name__": sysdigtest.MetricUp, sysdigtest.LabelCluster: "e2e", sysdigtest.LabelNamespace: c.namespace, sysdigtest.LabelPod: pod,
			}})
		}
		return points
	})
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
}

// bind makes a binding for a Service of the same name; change may edit it before.
func (c *scene) bind(name string, change func(*v1alpha1.SysdigMetricBindingSpec)) *v1alpha1.SysdigMetricBinding {
	c.t.Helper()
	b := c.binding(name, change)
	c.create(b)
	return b
}

// served is for bind: values stay good for longer than any poll is late.
func served(s *v1alpha1.SysdigMetricBindingSpec) { s.MaxAge.Duration = lasting }

// binding is what bind makes.
func (c *scene) binding(name string, change func(*v1alpha1.SysdigMetricBindingSpec)) *v1alpha1.SysdigMetricBinding {
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			ConnectionRef: v1alpha1.ConnectionReference{Name: c.name},
			Target:        &v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: name},
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
	return b
}

// scale makes an HPA for a Deployment on the metric of the Service of the same name.
func (c *scene) scale(name string, lowest, highest int32, target string) {
	c.t.Helper()
	c.autoscale(name, lowest, highest, nil, objectMetric(name, metricName, value(target), nil))
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

// eventually waits until check returns nil, and logs how long that took.
func (c *scene) eventually(what string, check func(context.Context) error) {
	c.t.Helper()
	began := time.Now()
	if err := stage.Wait(c.t.Context(), patience, check); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
	c.t.Logf("%s: %s", time.Since(began).Round(time.Second/10), what)
}

// always fails the test as soon as check returns an error during the time given. Who is watched has had its turn meanwhile if
// the machine is quick; what proves it comes after.
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

func (c *scene) eventuallyReplicas(name string, lowest, highest int32) {
	c.t.Helper()
	c.eventually("replicas of "+name, func(context.Context) error {
		if got := c.replicas(name); got < lowest || got > highest {
			return fmt.Errorf("%d replicas, want %d to %d", got, lowest, highest)
		}
		return nil
	})
}

// alwaysReplicas makes sure that the replicas are within bounds for a time, and after a look of the HPA at the end of it.
func (c *scene) alwaysReplicas(during time.Duration, name string, lowest, highest int32) {
	c.t.Helper()
	within := func() error {
		if got := c.replicas(name); got < lowest || got > highest {
			return fmt.Errorf("%d replicas, want %d to %d", got, lowest, highest)
		}
		return nil
	}
	c.always(during, "replicas of "+name, within)
	c.looked(name)
	if err := within(); err != nil {
		c.t.Fatalf("replicas of %s: %v", name, err)
	}
}

// raw reads a path the way kubectl get --raw does.
func (c *scene) raw(ctx context.Context, path string) ([]byte, error) {
	clientset, err := kubernetes.NewForConfig(c.stage.Cluster.AdminConfig())
	if err != nil {
		return nil, err
	}
	raw, err := clientset.RESTClient().Get().RequestURI(path).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, raw)
	}
	return raw, nil
}

// item is a value of either API, in any version.
type item struct {
	custommetrics.MetricValue
	Window       *int64            `json:"window"` // what v1beta1 calls windowSeconds
	MetricLabels map[string]string `json:"metricLabels"`
}

// number is the item's value.
func (i item) number() float64 { return float64(i.Value.MilliValue()) / 1000 }

// items reads all values of an answer.
func (c *scene) items(ctx context.Context, path string) ([]item, error) {
	raw, err := c.raw(ctx, path)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []item }
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// read reads one value.
func (c *scene) read(ctx context.Context, path string) (custommetrics.MetricValue, error) {
	items, err := c.items(ctx, path)
	if err != nil {
		return custommetrics.MetricValue{}, err
	}
	if len(items) != 1 {
		return custommetrics.MetricValue{}, fmt.Errorf("%d items: %+v", len(items), items)
	}
	value := items[0].MetricValue
	value.WindowSeconds = cmp.Or(value.WindowSeconds, items[0].Window)
	return value, nil
}

// eventuallyItems waits until a list has so many values.
func (c *scene) eventuallyItems(path string, want int) {
	c.t.Helper()
	c.eventually(path, func(ctx context.Context) error {
		items, err := c.items(ctx, path)
		if err == nil && len(items) != want {
			err = fmt.Errorf("%d items, want %d: %+v", len(items), want, items)
		}
		return err
	})
}

// eventuallyObjects waits until a list has exactly these objects with these values.
func (c *scene) eventuallyObjects(path string, want map[string]float64) {
	c.t.Helper()
	c.eventuallyNumbers(path, want, func(i item) string { return i.DescribedObject.Name })
}

// eventuallySeries waits until an external metric has exactly these items, by the value of a label.
func (c *scene) eventuallySeries(path, label string, want map[string]float64) {
	c.t.Helper()
	c.eventuallyNumbers(path, want, func(i item) string { return i.MetricLabels[label] })
}

func (c *scene) eventuallyNumbers(path string, want map[string]float64, name func(item) string) {
	c.t.Helper()
	c.eventually(path, func(ctx context.Context) error {
		items, err := c.items(ctx, path)
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for _, i := range items {
			got[name(i)] = math.Round(i.number()*100) / 100
		}
		if len(items) != len(want) || !maps.Equal(got, want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// eventuallyGone waits for a 404.
func (c *scene) eventuallyGone(path string) {
	c.t.Helper()
	c.eventually(path, func(ctx context.Context) error {
		raw, err := c.raw(ctx, path)
		if err == nil {
			return fmt.Errorf("still %s", raw)
		}
		return notFound(err)
	})
}

// custom is the path of a custom metric of the scene's namespace: objects are RESOURCE/NAME or RESOURCE/*.
func (c *scene) custom(objects, metric string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + c.namespace + "/" + objects + "/" + metric
}

// external is the path of an external metric of the scene's namespace.
func (c *scene) external(metric string) string {
	return "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + c.namespace + "/" + metric
}

func (c *scene) servicePath(name string) string {
	return c.custom("services/"+name, metricName)
}

// eventuallyServed waits for a value and returns it.
func (c *scene) eventuallyServed(path string) custommetrics.MetricValue {
	c.t.Helper()
	var value custommetrics.MetricValue
	c.eventually(path, func(ctx context.Context) (err error) {
		value, err = c.read(ctx, path)
		return err
	})
	return value
}

// eventuallyValue waits for a value: that of a load which has lasted for a whole window.
func (c *scene) eventuallyValue(path string, want float64) {
	c.t.Helper()
	c.eventually(path, func(ctx context.Context) error {
		value, err := c.read(ctx, path)
		if err != nil {
			return err
		}
		if got := float64(value.Value.MilliValue()) / 1000; math.Abs(got-want) > 0.0015 { // a sum of floats, rounded away from 0
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

// eventuallyRefused waits until a read is refused with 503 and a reason.
func (c *scene) eventuallyRefused(path, reason string) {
	c.t.Helper()
	c.eventually(path, func(ctx context.Context) error { return c.refused(ctx, path, reason) })
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

// servedUntil waits as eventually does, and makes sure that each read on the way gives a value.
func (c *scene) servedUntil(what, path string, check func(context.Context) error) {
	c.t.Helper()
	c.eventually(what, func(ctx context.Context) error {
		if _, err := c.read(ctx, path); err != nil && ctx.Err() == nil {
			c.t.Fatalf("a read on the way to %s: %v", what, err)
		}
		return check(ctx)
	})
}

// observed is nil when the status of a binding is about its generation.
func (c *scene) observed(ctx context.Context, b *v1alpha1.SysdigMetricBinding) error {
	want := b.Generation
	if err := c.stage.Client.Get(ctx, client.ObjectKeyFromObject(b), b); err != nil {
		return err
	}
	if b.Status.ObservedGeneration < want {
		return fmt.Errorf("the status of %s is of generation %d, want %d", b.Name, b.Status.ObservedGeneration, want)
	}
	return nil
}

// anyOf is nil when one of the errors is.
func anyOf(all ...error) error {
	if slices.Contains(all, nil) {
		return nil
	}
	return errors.Join(all...)
}

// eventuallyReady waits until a binding's Ready condition has a reason.
func (c *scene) eventuallyReady(name, reason string) v1alpha1.SysdigMetricBinding {
	c.t.Helper()
	var b v1alpha1.SysdigMetricBinding
	c.eventually("status of "+name, func(ctx context.Context) error {
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
