package registry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// allowing is connection "default" that allows so many queries per namespace.
func allowing(queries int) registry.Connection {
	c := connectionNamed("default")
	c.QueriesPerNamespace = queries
	return c
}

// ofTenant is a binding of a namespace that asks about a shape and claims a name of its own.
func ofTenant(namespace, name, shape string, age time.Duration) query.Definition {
	return define(name, created(-age), claiming(name), func(d *query.Definition) {
		d.Binding.Namespace, d.Claim.Namespace = namespace, namespace
		d.Question = question(shape)
		d.Question.View.Namespace = namespace
	})
}

// askedOf lists the shapes that are asked for a namespace.
func (b *board) askedOf(namespace string) []string {
	shapes := []string{}
	for _, w := range b.Wanted() {
		for _, asked := range w.Shapes {
			if slices.ContainsFunc(asked.Questions, func(q query.Question) bool { return q.View.Namespace == namespace }) {
				shapes = append(shapes, asked.Shape.Value().Metric)
			}
		}
	}
	slices.Sort(shapes)
	return shapes
}

func (b *board) wantAsked(namespace string, want ...string) {
	b.t.Helper()
	if got := b.askedOf(namespace); !slices.Equal(got, want) {
		b.t.Errorf("of %s %q are asked, want %q", namespace, got, want)
	}
}

func TestANamespaceThatNeedsTooManyQueriesKeepsThoseOfItsOldestBindings(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(allowing(2))
	young, old := ofTenant("shop", "young", "c", time.Minute), ofTenant("shop", "old", "a", 3*time.Minute)
	middle, twin := ofTenant("shop", "middle", "b", 2*time.Minute), ofTenant("shop", "twin", "b", 0)
	b.Put(young)
	b.Put(old)
	b.wantAsked("shop", "a", "c")
	b.told = nil
	b.Put(middle)
	b.wantAsked("shop", "a", "b")
	b.wantTold("middle", "young")
	b.wantReason(young.Claim, metric.Rejected)
	if s, _ := b.Standing(young.Binding); s.Definition.Refused == nil || !strings.Contains(s.Failure.Message, "needs 3 different queries of connection default, which allows 2") {
		t.Errorf("the status would show %+v", s)
	}
	b.Put(twin) // shares the query of an older one
	b.wantAsked("shop", "a", "b")
	b.answer(middle.Question, 7)
	b.wantValue(twin.Claim, 7)
	// Another namespace has an allotment of its own.
	b.Put(ofTenant("bank", "one", "c", 0))
	b.wantAsked("bank", "c")

	b.told = nil
	b.Delete(old.Binding)
	b.wantAsked("shop", "b", "c")
	b.wantReason(young.Claim, metric.Pending)
	b.wantTold("young")
	b.PutConnection(allowing(1))
	b.wantAsked("shop", "b")
	b.wantReason(young.Claim, metric.Rejected)
	b.PutConnection(allowing(5))
	b.wantAsked("shop", "b", "c")
	b.wantReason(young.Claim, metric.Pending)
	if b.Settled() {
		t.Error("a binding that may be asked again counts as settled")
	}
	b.PutConnection(allowing(1))
	b.answer(question("c"), 1)
	for _, w := range b.Wanted() {
		for _, asked := range w.Shapes {
			for _, q := range asked.Questions {
				b.answer(q, 1)
			}
		}
	}
	if !b.Settled() {
		t.Error("a binding that is over the limit is waited for")
	}
}

// TestWhoIsAllottedDoesNotDependOnTheOrder puts, deletes and edits at random and compares with looking at everything.
func TestWhoIsAllottedDoesNotDependOnTheOrder(t *testing.T) {
	const seed, limit = 20310301, 3
	dice := rand.New(rand.NewPCG(seed, 7))
	b := newBoard(t)
	b.PutConnection(allowing(limit))
	bindings := map[types.NamespacedName]query.Definition{}
	crowded := 0
	for step := range 3000 {
		d := ofTenant(fmt.Sprint("ns-", dice.IntN(3)), fmt.Sprint("b-", dice.IntN(12)), fmt.Sprint("s-", dice.IntN(7)), time.Duration(dice.IntN(1000))*time.Second)
		if dice.IntN(3) == 0 {
			b.Delete(d.Binding)
			delete(bindings, d.Binding)
		} else {
			b.Put(d)
			bindings[d.Binding] = d
		}
		for i := range 3 {
			namespace := fmt.Sprint("ns-", i)
			want, over := allotted(bindings, namespace, limit)
			crowded += over
			if got := b.askedOf(namespace); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: of %s %q are asked, want %q", seed, step, namespace, got, want)
			}
		}
	}
	if crowded < 500 {
		t.Errorf("only %d times there were too many: the comparison says little", crowded)
	}
}

// allotted lists the shapes of a namespace's oldest bindings, and tells whether there are more.
func allotted(bindings map[types.NamespacedName]query.Definition, namespace string, limit int) (shapes []string, over int) {
	var mine []query.Definition
	for _, d := range bindings {
		if d.Binding.Namespace == namespace {
			mine = append(mine, d)
		}
	}
	slices.SortFunc(mine, func(a, b query.Definition) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(string(a.UID), string(b.UID))
	})
	shapes = []string{}
	for _, d := range mine {
		shape := d.Question.Shape.Value().Metric
		switch {
		case slices.Contains(shapes, shape):
		case len(shapes) < limit:
			shapes = append(shapes, shape)
		default:
			over = 1
		}
	}
	slices.Sort(shapes)
	return shapes, over
}

func TestTheListOfAShapeIsSharedUntilItChanges(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("default"))
	b.Put(ofTenant("shop", "one", "a", 0))
	b.Put(ofTenant("bank", "two", "a", 0))
	first := b.Wanted()[0].Shapes[0]
	b.answer(first.Questions[0], 1)
	b.answer(first.Questions[1], 1)
	again := b.Wanted()[0].Shapes[0]
	if len(first.Unanswered) != 2 || len(again.Unanswered) != 0 || again.Version != first.Version || &again.Questions[0] != &first.Questions[0] {
		t.Errorf("an answer changed the list: %+v, then %+v", first, again)
	}
	b.Put(ofTenant("mall", "three", "a", 0))
	if third := b.Wanted()[0].Shapes[0]; third.Version == first.Version || len(third.Questions) != 3 || len(third.Unanswered) != 1 || len(first.Questions) != 2 {
		t.Errorf("after another binding %+v", third)
	}
	count, names := b.Askers(first.Shape, 2)
	if count != 3 || len(names) != 2 || names[0].String() != "bank/two" || names[1].String() != "mall/three" {
		t.Errorf("asked by %d, first %v", count, names)
	}
	if count, names := b.Askers(question("nobody").Shape, 2); count != 0 || len(names) != 0 {
		t.Errorf("asked by %d, %v", count, names)
	}
}

func TestAStretchedIntervalShowsWhereItPassesMaxAge(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("default"))
	patient, hasty := define("patient", claiming("patient"), func(d *query.Definition) { d.Policy.MaxAge = 10 * time.Minute }), define("hasty", claiming("hasty"))
	b.Put(patient)
	b.Put(hasty)
	for _, d := range []query.Definition{patient, hasty} {
		b.answer(d.Question, 7)
	}
	told := 0
	b.ListenConnections(func(string) { told++ })
	usage := registry.Usage{Wanted: 80, Allowed: 20, AllowedBy: "spec.quota.requestsPerMinute", Replicas: 1, EffectiveInterval: 4 * time.Minute, IngestionLag: 30 * time.Second}
	b.FileUsage("default", usage)
	b.FileUsage("default", usage)
	if told != 1 {
		t.Errorf("told %d times that the interval is stretched, want once", told)
	}
	if s, _ := b.Standing(patient.Binding); s.Failure != nil {
		t.Errorf("a patient binding: %v", s.Failure)
	}
	s, _ := b.Standing(hasty.Binding)
	if s.Failure == nil || s.Failure.Reason != metric.RateLimited || !s.Served || !strings.Contains(s.Failure.Message, "may send 20 requests a minute (spec.quota.requestsPerMinute) and needs 80") {
		t.Errorf("a hasty binding: %+v", s.Failure)
	}
	b.clk.Step(maxAge + time.Second)
	b.wantReason(hasty.Claim, metric.RateLimited)
	usage.EffectiveInterval = time.Minute
	b.FileUsage("default", usage)
	b.wantReason(hasty.Claim, metric.Stale)
	if told != 2 {
		t.Errorf("told %d times, want twice", told)
	}
	b.FileUsage("gone", usage)
}
