package writes_test

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// scene is bindings of a namespace, and a registry that holds them as their own controller would put them. Its time stands still but
// for step.
type scene struct {
	t         *testing.T
	namespace string
	clock     *clocktesting.FakeClock
	// turns has the same time, and is that of the budgets alone: who waits for it waits for a turn to write.
	turns       *clocktesting.FakeClock
	registry    *registry.Registry
	definitions []query.Definition
	rounds      int64
	sent        []*atomic.Int64 // by each operator
}

// newScene makes bindings that no round was about yet.
func newScene(t *testing.T, namespace string, bindings int) *scene {
	t.Helper()
	now := time.Date(2033, 3, 4, 5, 6, 7, 0, time.UTC)
	s := &scene{t: t, namespace: namespace, clock: clocktesting.NewFakeClock(now), turns: clocktesting.NewFakeClock(now), definitions: make([]query.Definition, bindings)}
	s.registry = registry.New(s.clock, nil)
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

// step lets time pass.
func (s *scene) step(d time.Duration) {
	s.turns.Step(d)
	s.clock.Step(d)
}

// round files a newer value of every binding.
func (s *scene) round() {
	s.rounds++
	now := s.clock.Now()
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

// all tells whether all bindings have a reason.
func (s *scene) all(reason string) bool {
	s.t.Helper()
	return s.reasons()[reason] == len(s.definitions)
}

// eventually waits until something is so while the scene's time stands still.
func (s *scene) eventually(what string, so func() bool) {
	s.t.Helper()
	for started := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Since(started) > patience {
			s.t.Fatalf("after %s: not yet %s; the bindings are %v", patience, what, s.reasons())
		}
	}
}

// confirmed waits until the API server counts what the operators have sent since it counted before.
func (s *scene) confirmed(before float64) {
	s.t.Helper()
	sent := 0.0
	for _, n := range s.sent {
		sent += float64(n.Load())
	}
	s.eventually(fmt.Sprintf("the API server has answered %.0f writes", sent), func() bool {
		return math.Abs(answered(s.t)-before-sent) <= underWay
	})
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

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
