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
// statuses up to date while no time passes, and is the control that shows how many writes there would be.
func TestWritesOfManyBindings(t *testing.T) {
	before := answered(t)
	s := newScene(t, "many", *many)
	s.round()
	control := s.startUnlimited()
	control.settles(v1alpha1.ReasonServing)
	control.stop()
	if sent, most := control.sent.Load(), control.allowed(); sent < int64(*many) || sent <= most {
		t.Errorf("the control shows nothing: it has sent %d writes for %d bindings, while %d are allowed", sent, *many, most)
	}
	s.findsAllShown()
	s.refreshes()
	s.flips()
	s.confirmed(before)
}

// findsAllShown: a new leader that finds everything shown writes nothing but what has changed since.
func (s *scene) findsAllShown() {
	s.t.Helper()
	o := s.start()
	o.looksAtAll()
	last := *many - 1
	s.suspend(last)
	s.eventually("a change of standing and its Event", func() bool {
		return s.reason(last) == string(metric.Suspended) && s.events(s.namespace, s.definitions[last].Binding.Name)[string(metric.Suspended)] == 1
	})
	if o.stop(); o.sent.Load() != 2 {
		s.t.Errorf("%d writes although one binding has changed, want its status and its Event", o.sent.Load())
	}
}

// refreshes: a new leader shows newer values slowly, although all bindings have one.
func (s *scene) refreshes() {
	s.t.Helper()
	s.round()
	o := s.start()
	o.looksAtAll()
	const ticks = 16
	for tick := range int64(ticks) {
		s.step(pace)
		s.round()
		o.sweep.Tick(s.t.Context())
		if sent := o.sent.Load(); sent > tick+1 {
			s.t.Errorf("%d refreshes in %s, want two a second", sent, pace*time.Duration(tick+1))
		}
	}
	o.seen.forget()
	s.registry.TellAll()
	o.looksAtAll()
	if sent := o.sent.Load(); sent < ticks/2 || sent > ticks { // one that the API server does not answer in time is left out
		s.t.Errorf("%d refreshes in %s, want two a second", sent, pace*ticks)
	}
	// One change of standing goes before these refreshes: no time passes.
	s.suspend(*many / 2)
	s.eventually("one change is written", func() bool { return s.reason(*many/2) == string(metric.Suspended) })
	o.stop()
}

// flips: when all flip at once, again and again, there are as many writes as are allowed, which a connection and its Event do not
// wait for.
func (s *scene) flips() {
	s.t.Helper()
	o := s.start()
	o.looksAtAll()
	for flips := range 5 {
		s.flip(flips%2 == 0)
		for range 2 * perSecond {
			s.eventually("a status waits for its turn", s.turns.HasWaiters)
			s.step(turn)
			o.sweep.Tick(s.t.Context()) // finds no room
			o.keeps()
		}
	}
	s.eventually("every turn was taken", func() bool { return o.sent.Load() >= o.allowed() })
	o.keeps()

	connection := s.connect()
	s.registry.FileHealth(connection.Name, metric.Failf(metric.Unauthorized, "HTTP 401"))
	// Of two that wait, a binding has a turn and then the connection. It may have been looked at before its health was filed.
	if turns := o.turnsUntil("a connection's status", func() bool { return s.connection(connection.Name) == string(metric.Unauthorized) }); turns > 4 {
		s.t.Errorf("a connection's status has waited for %d turns", turns)
	}
	if turns := o.turnsUntil("a connection's Event", func() bool {
		return s.events(metav1.NamespaceDefault, connection.Name)[string(metric.Unauthorized)] == 1
	}); turns > 2 {
		s.t.Errorf("a connection's Event has waited for %d turns", turns)
	}
	o.keeps()
	if shown := s.reasons()[string(metric.NotRouted)]; shown == *many {
		s.t.Error("no binding waited")
	}
}

// turnsUntil waits until something is so, and counts the turns that passes. They pass while somebody else than a binding waits, too.
func (o *operator) turnsUntil(what string, so func() bool) (turns int) {
	o.t.Helper()
	o.eventually(what, func() bool {
		if so() {
			return true
		}
		if o.turns.Waiters() >= 2 {
			o.step(turn)
			turns++
		}
		return false
	})
	return turns
}

// TestWritesOfAFewBindings: with few there is room for everything, Events included, soon.
func TestWritesOfAFewBindings(t *testing.T) {
	const few = 10
	before := answered(t)
	s := newScene(t, "few", few)
	s.round()
	o := s.start()
	if took := o.settles(v1alpha1.ReasonServing); took > 10*time.Second {
		t.Errorf("the statuses took %s", took)
	}
	if took := o.tells(v1alpha1.ReasonServing); took > 20*time.Second {
		t.Errorf("an Event of each took %s", took)
	}
	for flips := range 9 {
		s.flip(flips%2 == 0)
		wanted := v1alpha1.ReasonServing
		if flips%2 == 0 {
			wanted = string(metric.NotRouted)
		}
		s.eventually("a status waits for its turn", func() bool { return s.turns.HasWaiters() || s.all(wanted) })
		s.step(700 * time.Millisecond)
		o.sweep.Tick(t.Context())
		o.keeps()
	}
	if took := o.settles(string(metric.NotRouted)); took > 10*time.Second { // the truth comes last
		t.Errorf("the truth took %s", took)
	}
	s.confirmed(before)
}

// tells waits until each binding has an Event, and returns how much of the scene's time that takes: a second whenever all of those
// that are left wait for room.
func (o *operator) tells(reason string) time.Duration {
	o.t.Helper()
	from := o.turns.Now()
	o.eventually("an Event of each", func() bool {
		left := 0
		for _, d := range o.definitions {
			left += 1 - o.events(o.namespace, d.Binding.Name)[reason]
		}
		if left > 0 && o.clock.Waiters() == left+1 { // each has its patience, and one looks once a second
			o.step(time.Second)
			o.keeps()
		}
		return left == 0
	})
	return o.turns.Since(from)
}

// TestAForeignStatusIsPutRight: what stands in a status is looked at again when it changes, whoever wrote it. So is what was
// compared with a cache that did not hold our last write yet, which comes by as that write.
func TestAForeignStatusIsPutRight(t *testing.T) {
	s := newScene(t, "foreign", 2)
	s.round()
	o := s.start()
	o.settles(v1alpha1.ReasonServing)
	var b v1alpha1.SysdigMetricBinding
	s.must(admin.Get(t.Context(), s.definitions[0].Binding, &b))
	before := b.DeepCopy()
	meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(metric.Stale), Message: "somebody says so",
	})
	s.must(admin.Status().Patch(t.Context(), &b, client.MergeFrom(before)))
	o.settles(v1alpha1.ReasonServing)

	c := s.connect()
	pending := func() bool { return s.connection(c.Name) == string(metric.Pending) }
	o.until("a connection's status", pending)
	s.must(admin.Get(t.Context(), client.ObjectKeyFromObject(c), c))
	was := c.DeepCopy()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected, Message: "somebody says so",
	})
	s.must(admin.Status().Patch(t.Context(), c, client.MergeFrom(was)))
	o.until("a connection's status as it was", pending)
}

// TestStaleSamplesAreShownWithoutARound: when nothing is filed any more, the statuses say so in time. Without the sweep they
// would claim to serve for ever.
func TestStaleSamplesAreShownWithoutARound(t *testing.T) {
	for name, swept := range map[string]bool{"swept": true, "control": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "stale-"+name, 5)
			const maxAge = 5 * time.Second
			for i := range s.definitions {
				s.definitions[i].Policy.MaxAge = maxAge
				s.registry.Put(s.definitions[i])
			}
			s.round()
			filed := s.clock.Now()
			o := s.start()
			o.settles(v1alpha1.ReasonServing)
			pass := func(age time.Duration) {
				for s.clock.Since(filed) < age {
					s.step(min(pace, age-s.clock.Since(filed)))
					if swept {
						o.sweep.Tick(t.Context())
					}
				}
			}
			pass(maxAge)
			s.othersServe(o, 0)
			if !swept {
				pass(maxAge + time.Hour)
				s.othersServe(o, 1)
				return
			}
			pass(maxAge + pace)
			o.until("all others are stale", func() bool { return s.reasons()[string(metric.Stale)] == len(s.definitions)-1 })
		})
	}
}

// othersServe suspends one binding more than were suspended, and when that is written all others have to say that they serve.
func (s *scene) othersServe(o *operator, suspended int) {
	s.t.Helper()
	s.suspend(suspended)
	o.until("the one that comes last", func() bool { return s.reason(suspended) == string(metric.Suspended) })
	if reasons := s.reasons(); reasons[v1alpha1.ReasonServing] != len(s.definitions)-suspended-1 {
		s.t.Errorf("the bindings are %v, want one more suspended and all others serving", reasons)
	}
}
