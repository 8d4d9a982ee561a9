package writes_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/controllers"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// scene is bindings of a namespace, and a registry that holds them as their own controller would put them.
type scene struct {
	t           *testing.T
	namespace   string
	registry    *registry.Registry
	definitions []query.Definition
	rounds      int64
}

// newScene makes bindings that no round was about yet.
func newScene(t *testing.T, namespace string, bindings int) *scene {
	t.Helper()
	s := &scene{t: t, namespace: namespace, registry: registry.New(clock.RealClock{}, nil), definitions: make([]query.Definition, bindings)}
	if err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(16)
	for i := range bindings {
		group.Go(func() (err error) {
			s.definitions[i], err = s.bind(fmt.Sprintf("web-%05d", i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.definitions {
		s.registry.Put(d)
	}
	return s
}

// bind makes a binding and its definition, with a question of its own.
func (s *scene) bind(name string) (query.Definition, error) {
	b := &v1alpha1.SysdigMetricBinding{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	b.Spec.Source.PromQL = &v1alpha1.PromQLSource{Query: "sum(up)"}
	b.Spec.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}
	if err := admin.Create(s.t.Context(), b); err != nil {
		return query.Definition{}, err
	}
	return query.Definition{
		Binding: client.ObjectKeyFromObject(b), UID: b.UID, Generation: b.Generation, Claim: metric.NamespaceClaim(s.namespace, name),
		Object: metric.Object{Kind: "Namespace", NamespacedName: types.NamespacedName{Name: s.namespace}}, Policy: metric.Policy{MaxAge: time.Hour},
		Question: query.Question{Shape: query.Shape{Metric: name}.ID()},
	}, nil
}

// round files a newer value of every binding.
func (s *scene) round() {
	s.rounds++
	now := time.Now()
	outcomes := make([]query.Outcome, len(s.definitions))
	for i, d := range s.definitions {
		sample := &metric.Sample{Value: float64(s.rounds), Milli: 1000 * s.rounds, Time: now, Received: now}
		outcomes[i] = query.Outcome{Question: d.Question, Reading: metric.Reading{Sample: sample, Asked: now, Attempted: now}}
	}
	s.registry.File(outcomes)
}

// flip turns all bindings bad or good at once.
func (s *scene) flip(bad bool) {
	var route *metric.Failure
	if bad {
		route = metric.Failf(metric.NotRouted, "HPAs reach another adapter")
	}
	s.registry.SetRoute(metric.CustomMetrics, route)
}

// suspend flips one binding.
func (s *scene) suspend(i int) {
	s.definitions[i].Policy.Suspended = true
	s.registry.Put(s.definitions[i])
}

// reason is that of a binding's condition Ready, as the API server has it.
func (s *scene) reason(i int) string {
	s.t.Helper()
	var b v1alpha1.SysdigMetricBinding
	if err := admin.Get(s.t.Context(), s.definitions[i].Binding, &b); err != nil {
		s.t.Fatal(err)
	}
	return reasonOf(b.Status.Conditions)
}

// reasons counts the bindings by reason.
func (s *scene) reasons() map[string]int {
	s.t.Helper()
	var list v1alpha1.SysdigMetricBindingList
	if err := admin.List(s.t.Context(), &list, client.InNamespace(s.namespace)); err != nil {
		s.t.Fatal(err)
	}
	counts := map[string]int{}
	for i := range list.Items {
		counts[reasonOf(list.Items[i].Status.Conditions)]++
	}
	return counts
}

// settles waits until all bindings have a reason.
func (s *scene) settles(limit time.Duration, reason string) {
	s.t.Helper()
	s.eventually(limit, "all "+reason, func() bool { return s.reasons()[reason] == len(s.definitions) })
}

// eventually waits until something is so, and returns how long that took.
func (s *scene) eventually(limit time.Duration, what string, so func() bool) time.Duration {
	s.t.Helper()
	started := time.Now()
	for !so() {
		if time.Since(started) > limit {
			s.t.Fatalf("after %s: not yet %s; the bindings are %v", limit, what, s.reasons())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(started)
}

// events counts the Events of an object by reason.
func (s *scene) events(namespace, name string) map[string]int {
	s.t.Helper()
	var list eventsv1.EventList
	if err := admin.List(s.t.Context(), &list, client.InNamespace(namespace)); err != nil {
		s.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, e := range list.Items {
		if e.Regarding.Name == name {
			counts[e.Reason]++
		}
	}
	return counts
}

// connect makes a connection that is known and Pending.
func (s *scene) connect() *v1alpha1.SysdigConnection {
	s.t.Helper()
	c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	c.Spec.Endpoint.Region = "us2"
	c.Spec.ClusterName = "prod"
	c.Spec.TokenSecretRef = v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"}
	s.must(admin.Create(s.t.Context(), c))
	s.registry.PutConnection(registry.Connection{Name: c.Name, Generation: c.Generation})
	return c
}

// connection is a connection as the API server has it: the reason of its condition Ready.
func (s *scene) connection(name string) string {
	s.t.Helper()
	var c v1alpha1.SysdigConnection
	s.must(admin.Get(s.t.Context(), types.NamespacedName{Name: name}, &c))
	return reasonOf(c.Status.Conditions)
}

func reasonOf(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// options say how the operator of a scene differs from that of the product.
type options struct {
	unlimited bool // writes as it likes
	sweepless bool
}

// start starts the status loops as the operator puts them together, until stop is called or the test ends.
func (s *scene) start(o options) (stop func()) {
	s.t.Helper()
	mgr, err := ctrl.NewManager(testbed.AdminConfig(), ctrl.Options{
		Scheme: admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}, DefaultTransform: (&controllers.Stripper{}).Strip},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	s.must(err)
	clk := clock.RealClock{}
	writes := controllers.NewBudget(clk, controllers.WritesPerSecond, 2*controllers.WritesPerSecond)
	if o.unlimited {
		writes = controllers.NewBudget(clk, 1e6, 1e6)
	}
	events, err := controllers.NewEvents(kubernetes.NewForConfigOrDie(testbed.AdminConfig()).EventsV1(), writes, clk, prometheus.NewRegistry())
	s.must(err)
	recorder := events.Recorder(mgr.GetScheme(), "sysdig-metrics-operator")
	bindings, connections := &controllers.Notifier{}, &controllers.Notifier{}
	s.registry.Listen(bindings.Notify)
	s.registry.ListenConnections(func(name string) { connections.Notify(types.NamespacedName{Name: name}) })
	elector := &controllers.Elector{Elected: s.registry.TellAll}
	statuses := &controllers.StatusReconciler{
		Client: mgr.GetClient(), Clock: clk, Standings: s.registry, Leader: elector, Events: recorder, Notifier: bindings, Writes: writes,
	}
	s.must(mgr.Add(elector))
	s.must(mgr.Add(events))
	s.must(statuses.SetupWithManager(mgr))
	s.must((&controllers.ConnectionStatusReconciler{
		Client: mgr.GetClient(), Clock: clk, Health: s.registry, Leader: elector, Events: recorder, Notifier: connections, Writes: writes,
	}).SetupWithManager(mgr))
	if !o.sweepless {
		s.must(mgr.Add(&controllers.Sweep{Clock: clk, Leader: elector, Board: s.registry, Statuses: statuses}))
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if cancel(); stopped.CompareAndSwap(false, true) {
			if err := <-done; err != nil {
				s.t.Error(err)
			}
		}
	}
	s.t.Cleanup(stop)
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		s.t.Fatal("the cache has not synced")
	}
	return stop
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
