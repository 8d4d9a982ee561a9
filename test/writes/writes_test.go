package writes_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// TestWritesOfManyBindings plays what makes many bindings want to write. The first operator has no limit: it brings all
// statuses up to date, and is the control that shows how many writes there would be.
func TestWritesOfManyBindings(t *testing.T) {
	s := newScene(t, "many", *many)
	s.round()
	counting := newTally(t)
	stop := s.start(options{unlimited: true})
	s.settles(10*time.Minute, v1alpha1.ReasonServing)
	stop()
	writes, took, excess := counting.stop()
	if t.Logf("without a limit: %.0f writes in %s", writes, took); excess == nil {
		t.Error("the control keeps the limit: it shows nothing")
	}

	// A new leader that finds everything shown writes nothing.
	counting = newTally(t)
	stop = s.start(options{})
	time.Sleep(2 * time.Second)
	stop()
	if writes, took, _ := counting.stop(); writes > 0 {
		t.Errorf("%.0f writes in %s although nothing has changed", writes, took)
	}

	// A new leader shows newer values slowly, although all bindings have one.
	s.round()
	counting = newTally(t)
	s.start(options{})
	for range 4 {
		time.Sleep(time.Second)
		s.round()
	}
	writes, took, _ = counting.stop()
	if t.Logf("newer values: %.0f writes in %s", writes, took); writes > 2*took.Seconds()+1 || writes < 4 {
		t.Errorf("%.0f refreshes in %s, want two a second", writes, took)
	}

	// One change of standing goes before these refreshes.
	s.suspend(*many / 2)
	t.Logf("one change was written after %s", s.eventually(2*time.Second, "suspended", func() bool {
		return s.reason(*many/2) == string(metric.Suspended)
	}))

	// All flip at once, again and again.
	counting = newTally(t)
	for flips := range 5 {
		s.flip(flips%2 == 0)
		time.Sleep(2 * time.Second)
	}
	writes, took, excess = counting.stop()
	if t.Logf("flips: %.0f writes in %s", writes, took); excess != nil {
		t.Error(excess)
	}
	if writes < perSecond*took.Seconds()/2 {
		t.Errorf("only %.0f writes in %s", writes, took)
	}

	// A connection and its Event do not wait for these bindings.
	connection := s.connect()
	s.registry.FileHealth(connection.Name, metric.Failf(metric.Unauthorized, "HTTP 401"))
	s.eventually(3*time.Second, "a connection's status", func() bool { return s.connection(connection.Name) == string(metric.Unauthorized) })
	s.eventually(3*time.Second, "a connection's Event", func() bool {
		return s.events(metav1.NamespaceDefault, connection.Name)[string(metric.Unauthorized)] == 1
	})
	if shown := s.reasons()[string(metric.NotRouted)]; shown == *many {
		t.Error("no binding waited")
	}
}

// TestWritesOfAFewBindings: with few there is room for everything, Events included, soon.
func TestWritesOfAFewBindings(t *testing.T) {
	const few = 10
	s := newScene(t, "few", few)
	s.round()
	counting := newTally(t)
	s.start(options{})
	s.settles(10*time.Second, v1alpha1.ReasonServing)
	for i := range few {
		s.eventually(20*time.Second, "an Event of each", func() bool {
			return s.events(s.namespace, s.definitions[i].Binding.Name)[v1alpha1.ReasonServing] == 1
		})
	}
	for flips := range 9 {
		s.flip(flips%2 == 0)
		time.Sleep(700 * time.Millisecond)
	}
	s.settles(10*time.Second, string(metric.NotRouted)) // the truth comes last
	writes, took, excess := counting.stop()
	if t.Logf("%.0f writes in %s", writes, took); excess != nil {
		t.Error(excess)
	}
}

// TestAForeignStatusIsPutRight: what stands in a status is looked at again when it changes, whoever wrote it. So is what was
// compared with a cache that did not hold our last write yet, which comes by as that write.
func TestAForeignStatusIsPutRight(t *testing.T) {
	s := newScene(t, "foreign", 2)
	s.round()
	s.start(options{sweepless: true})
	s.settles(10*time.Second, v1alpha1.ReasonServing)
	var b v1alpha1.SysdigMetricBinding
	s.must(admin.Get(t.Context(), s.definitions[0].Binding, &b))
	before := b.DeepCopy()
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(metric.Stale), Message: "somebody says so",
	})
	s.must(admin.Status().Patch(t.Context(), &b, client.MergeFrom(before)))
	s.settles(10*time.Second, v1alpha1.ReasonServing)

	c := s.connect()
	s.eventually(10*time.Second, "a connection's status", func() bool { return s.connection(c.Name) == string(metric.Pending) })
	s.must(admin.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	was := c.DeepCopy()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected, Message: "somebody says so",
	})
	s.must(admin.Status().Patch(t.Context(), c, client.MergeFrom(was)))
	s.eventually(10*time.Second, "a connection's status", func() bool { return s.connection(c.Name) == string(metric.Pending) })
}

// TestStaleSamplesAreShownWithoutARound: when nothing is filed any more, the statuses say so in time. Without the sweep they
// would claim to serve for ever.
func TestStaleSamplesAreShownWithoutARound(t *testing.T) {
	for name, o := range map[string]options{"swept": {}, "control": {sweepless: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "stale-"+name, 5)
			const maxAge = 5 * time.Second
			for i := range s.definitions {
				s.definitions[i].Policy.MaxAge = maxAge
				s.registry.Put(s.definitions[i])
			}
			s.round()
			filed := time.Now()
			s.start(o)
			s.settles(maxAge, v1alpha1.ReasonServing)
			if o.sweepless {
				time.Sleep(time.Until(filed.Add(maxAge + 2*time.Second)))
				s.settles(0, v1alpha1.ReasonServing)
				return
			}
			s.settles(time.Until(filed.Add(maxAge+3*time.Second)), string(metric.Stale))
			if early := time.Since(filed); early < maxAge {
				t.Errorf("they are stale after %s", early)
			}
		})
	}
}
