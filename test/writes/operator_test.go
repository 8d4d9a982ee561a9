package writes_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sysdig-metrics/sysdig-metrics-operator/controllers"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// operator is the status loops as the product puts them together.
type operator struct {
	*scene
	started time.Time // on the scene's clock
	sent    *atomic.Int64
	seen    *seen
	sweep   *controllers.Sweep // ticks when a test says so
	stop    func()
}

// seen is a registry that notes which bindings a leader has looked at.
type seen struct {
	*registry.Registry
	mu       sync.Mutex
	bindings map[types.NamespacedName]struct{}
}

// Standing implements controllers.Standings.
func (s *seen) Standing(binding types.NamespacedName) (registry.Standing, bool) {
	s.mu.Lock()
	s.bindings[binding] = struct{}{}
	s.mu.Unlock()
	return s.Registry.Standing(binding)
}

func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.bindings)
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bindings)
}

// start starts an operator that keeps to the budget, until it is stopped or the test ends.
func (s *scene) start() *operator {
	s.t.Helper()
	return s.startWith(controllers.NewBudget(s.turns, controllers.WritesPerSecond, 2*controllers.WritesPerSecond), false)
}

// startUnlimited starts one that writes statuses as it likes. It sends no Events, some of which would be under way when it ends.
func (s *scene) startUnlimited() *operator {
	s.t.Helper()
	return s.startWith(controllers.NewBudget(s.turns, 1e6, 1e6), true)
}

func (s *scene) startWith(writes *controllers.Budget, silent bool) *operator {
	s.t.Helper()
	o := &operator{
		scene: s, started: s.turns.Now(), sent: &atomic.Int64{},
		seen: &seen{Registry: s.registry, bindings: map[types.NamespacedName]struct{}{}},
	}
	s.sent = append(s.sent, o.sent)
	counted := testbed.AdminConfig()
	counted.Wrap(func(inner http.RoundTripper) http.RoundTripper { return &wire{inner, o.sent} })
	mgr, err := ctrl.NewManager(counted, ctrl.Options{
		Scheme: admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}, DefaultTransform: (&controllers.Stripper{}).Strip},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	s.must(err)
	var recorder events.EventRecorder = &events.FakeRecorder{}
	if !silent {
		recorder = s.recorder(mgr, counted, writes)
	}
	o.sweep = s.assemble(mgr, o.seen, recorder, writes)
	o.run(mgr)
	return o
}

// recorder sends Events within the budget.
func (s *scene) recorder(mgr manager.Manager, api *rest.Config, writes *controllers.Budget) events.EventRecorder {
	s.t.Helper()
	sent, err := controllers.NewEvents(kubernetes.NewForConfigOrDie(api).EventsV1(), writes, s.clock, prometheus.NewRegistry())
	s.must(err)
	s.must(mgr.Add(sent))
	return sent.Recorder(mgr.GetScheme(), "sysdig-metrics-operator")
}

// assemble puts the status loops into the manager but for the sweep, whose ticks would come in real time.
func (s *scene) assemble(mgr manager.Manager, standings controllers.Standings, recorder events.EventRecorder, writes *controllers.Budget) *controllers.Sweep {
	s.t.Helper()
	bindings, connections := &controllers.Notifier{}, &controllers.Notifier{}
	s.registry.Listen(bindings.Notify)
	s.registry.ListenConnections(func(name string) { connections.Notify(types.NamespacedName{Name: name}) })
	elector := &controllers.Elector{Elected: s.registry.TellAll}
	statuses := &controllers.StatusReconciler{
		Client: mgr.GetClient(), Clock: s.clock, Standings: standings, Leader: elector, Events: recorder, Notifier: bindings, Writes: writes,
	}
	s.must(mgr.Add(elector))
	s.must(statuses.SetupWithManager(mgr))
	s.must((&controllers.ConnectionStatusReconciler{
		Client: mgr.GetClient(), Clock: s.clock, Health: s.registry, Leader: elector, Events: recorder, Notifier: connections, Writes: writes,
	}).SetupWithManager(mgr))
	return &controllers.Sweep{Clock: s.clock, Leader: elector, Board: s.registry, Statuses: statuses}
}

// run runs the manager until stop is called or the test ends.
func (o *operator) run(mgr manager.Manager) {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(o.stop)
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		o.t.Fatal("the cache has not synced")
	}
}

// allowed is how many writes there may have been since the start.
func (o *operator) allowed() int64 {
	return burst + int64(o.turns.Since(o.started)/turn)
}

// keeps tells of more writes than that.
func (o *operator) keeps() {
	o.t.Helper()
	if sent, most := o.sent.Load(), o.allowed(); sent > most {
		o.t.Errorf("%d writes in %s, want %d at most", sent, o.turns.Since(o.started), most)
	}
}

// looksAtAll waits until the operator has looked at all bindings since it was asked to forget, or since its start.
func (o *operator) looksAtAll() {
	o.t.Helper()
	o.eventually("a look at all bindings", func() bool { return o.seen.count() == len(o.definitions) })
}

// until waits until something is so, and returns how much of the scene's time that takes: a turn whenever somebody waits for one.
func (o *operator) until(what string, so func() bool) time.Duration {
	o.t.Helper()
	from := o.turns.Now()
	o.eventually(what, func() bool {
		if so() {
			return true
		}
		if o.turns.HasWaiters() {
			o.step(turn)
			o.keeps()
		}
		return false
	})
	return o.turns.Since(from)
}

// settles waits until all bindings have a reason.
func (o *operator) settles(reason string) time.Duration {
	o.t.Helper()
	return o.until("all "+reason, func() bool { return o.all(reason) })
}
