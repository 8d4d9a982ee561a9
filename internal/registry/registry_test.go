package registry_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func TestWhatAnEditDoesToTheSample(t *testing.T) {
	tests := map[string]struct {
		edit func(*query.Definition)
		kept bool
	}{
		"nothing is edited":         {func(*query.Definition) {}, true},
		"the name is edited":        {claiming("other"), true},
		"maxAge is edited":          {func(d *query.Definition) { d.Policy.MaxAge = time.Hour }, true},
		"the generation grows":      {func(d *query.Definition) { d.Generation++ }, true},
		"the metric is edited":      {reshaped(func(s *query.Shape) { s.Metric = "other" }), false},
		"the window is edited":      {reshaped(func(s *query.Shape) { s.Window = time.Hour }), false},
		"the multiplier is edited":  {func(d *query.Definition) { d.Question.Measure.Multiplier = 1000 }, false},
		"the target is edited":      {func(d *query.Definition) { d.Question.View.Workload = "other" }, false},
		"the account is edited":     {reshaped(func(s *query.Shape) { s.Scope.Endpoint = "other" }), false},
		"the bounds are edited":     {func(d *query.Definition) { d.Question.Measure.Max = 100 }, false},
		"dimensions are edited":     {func(d *query.Definition) { d.Question.View.Dimensions[0] = "method" }, false},
		"it is another binding now": {func(d *query.Definition) { d.UID = "another" }, true}, // samples are the question's
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			old := define("a")
			b.Put(old)
			b.wantReason(old.Claim, metric.Pending)
			b.answer(old.Question, 7)
			b.wantValue(old.Claim, 7)
			edited := define("a", test.edit)
			b.Put(edited)
			if test.kept {
				b.wantValue(edited.Claim, 7)
				return
			}
			b.wantReason(edited.Claim, metric.Pending)
			if edited.Question != old.Question {
				b.answer(old.Question, 8) // too late: nobody asks that any more
				b.wantReason(edited.Claim, metric.Pending)
			}
			b.answer(edited.Question, 9)
			b.wantValue(edited.Claim, 9)
		})
	}
}

func TestABindingThatIsRefusedAnswersWhyAndStartsOverWhenMended(t *testing.T) {
	b := newBoard(t)
	good := define("a")
	b.Put(good)
	b.answer(good.Question, 7)
	b.Put(define("a", func(d *query.Definition) {
		d.Refused, d.Question = metric.Failf(metric.Rejected, "wrong"), query.Question{}
	}))
	b.wantReason(good.Claim, metric.Rejected)
	if wanted := b.Wanted(); len(wanted) != 0 { // there is no connection either
		t.Errorf("wanted %+v", wanted)
	}
	if !b.Settled() {
		t.Error("a binding that cannot be asked is waited for")
	}
	b.Put(good)
	b.wantReason(good.Claim, metric.Pending)
}

func TestASuspendedBindingIsAskedAndNotServed(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("default"))
	asleep := define("a", func(d *query.Definition) { d.Policy.Suspended = true })
	b.Put(asleep)
	if wanted := b.Wanted(); len(wanted) != 1 || len(unansweredOf(wanted[0])) != 1 {
		t.Errorf("wanted %+v", wanted)
	}
	b.answer(asleep.Question, 7)
	b.wantReason(asleep.Claim, metric.Suspended)
	b.Put(define("a"))
	b.wantValue(asleep.Claim, 7)
}

func TestTheOldestBindingServesAName(t *testing.T) {
	b := newBoard(t)
	young, old, twin := define("a", created(time.Second)), define("b"), define("c")
	for i, d := range []query.Definition{young, twin, old} { // the UID decides between old and twin
		b.Put(d)
		b.answer(d.Question, float64(i))
	}
	b.wantValue(old.Claim, 2)
	for _, loser := range []query.Definition{young, twin} {
		standing, known := b.Standing(loser.Binding)
		if !known || standing.Winner != old.Binding || standing.Failure.Reason != metric.NameTaken || standing.Sample != nil || standing.Served {
			t.Errorf("%s stands %+v", loser.Binding, standing)
		}
	}
	b.told = nil
	b.Delete(old.Binding)
	b.wantValue(twin.Claim, 1)
	b.wantTold("a", "c") // another one serves: a's standing names it
	b.Delete(twin.Binding)
	b.wantValue(young.Claim, 0)
	b.wantTold("a")
	b.Put(old)
	b.wantReason(old.Claim, metric.Pending)
	b.wantTold("a", "b")
	b.Delete(old.Binding)
	b.Delete(old.Binding)
	b.Delete(young.Binding)
	if _, _, _, known := b.Serve(old.Claim, nil); known || len(b.Claims(metric.CustomMetrics)) != 0 {
		t.Error("a claim that nobody makes is known")
	}
	if _, known := b.Standing(old.Binding); known {
		t.Error("a binding that is gone is known")
	}
}

func TestABindingThatLeavesANameLetsTheNextOneServe(t *testing.T) {
	b := newBoard(t)
	first, next := define("a"), define("b", created(time.Second))
	b.Put(first)
	b.Put(next)
	b.answer(next.Question, 7)
	b.told = nil
	b.Put(define("a", claiming("other")))
	b.wantValue(next.Claim, 7)
	b.wantTold("a", "b")
}

func TestAnAnswerWhoseNewestPointDidNotAdvanceIsNoNewSample(t *testing.T) {
	b := newBoard(t)
	d := define("a")
	b.Put(d)
	b.answerAbout(d.Question, 60, noon)
	for range 4 { // the window slides on over the same points and empties
		b.clk.Step(30 * time.Second)
		b.answerAbout(d.Question, 10, noon)
		b.wantValue(d.Claim, 60)
	}
	b.answerAbout(d.Question, 5, noon.Add(-time.Second))
	b.wantValue(d.Claim, 60)
	b.clk.Step(time.Second)
	b.wantReason(d.Claim, metric.Stale)
	b.answerAbout(d.Question, 50, noon.Add(time.Second))
	b.wantValue(d.Claim, 50)
}

func TestAClockThatIsSetBackDoesNotKeepAnOldSample(t *testing.T) {
	b := newBoard(t)
	d := define("a")
	b.clk.SetTime(noon.Add(time.Hour))
	b.Put(d)
	b.answer(d.Question, 7)
	b.clk.SetTime(noon)
	b.answer(d.Question, 8)
	b.wantValue(d.Claim, 8)
	b.clk.SetTime(noon.Add(time.Hour))
	b.answer(d.Question, 9)
	b.clk.SetTime(noon)
	b.fail(d.Question, metric.Unavailable)
	b.wantReason(d.Claim, metric.Unavailable)
}

func TestListenersAreToldOfChangesOfStandingOnly(t *testing.T) {
	b := newBoard(t)
	d := define("a")
	b.Put(d)
	b.wantTold("a")
	steps := []struct {
		name string
		do   func()
		told []string
	}{
		{"the first sample", func() { b.answer(d.Question, 1) }, []string{"a"}},
		{"another value", func() { b.answer(d.Question, 2) }, nil},
		{"a failure while the sample is fresh", func() { b.fail(d.Question, metric.Unavailable) }, []string{"a"}},
		{"the same failure", func() { b.fail(d.Question, metric.Unavailable) }, nil},
		{"another failure", func() { b.fail(d.Question, metric.RateLimited) }, []string{"a"}},
		{"the sample is too old now", func() { b.clk.Step(maxAge); b.fail(d.Question, metric.RateLimited) }, []string{"a"}},
		{"the failure goes on", func() { b.clk.Step(maxAge); b.fail(d.Question, metric.RateLimited) }, nil},
		{"it recovers", func() { b.answer(d.Question, 3) }, []string{"a"}},
		{"an edit that keeps the sample", func() { b.Put(d) }, []string{"a"}},
		{"another value after the edit", func() { b.answer(d.Question, 4) }, nil},
		{"a late round finds it stale and mends it", func() { b.clk.Step(2 * maxAge); b.answer(d.Question, 5) }, []string{"a"}},
		{"a question that nobody asks", func() { b.answer(question("b"), 5) }, nil},
		{"a younger one wants the name", func() { b.Put(define("b", created(time.Second))) }, []string{"b"}},
		{"the younger one is answered", func() { b.answer(question("b"), 5) }, nil},
		{"the younger one gives up", func() { b.Delete(types.NamespacedName{Namespace: "shop", Name: "b"}) }, nil},
		{"a new leader asks for all", b.TellAll, []string{"a"}},
	}
	for _, step := range steps {
		b.clk.Step(10 * time.Second)
		step.do()
		t.Run(step.name, func(t *testing.T) {
			b.t = t
			b.wantTold(step.told...)
		})
	}
}

func TestClaimsAreSortedAndUnique(t *testing.T) {
	b := newBoard(t)
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	for i, claim := range []metric.Claim{
		{Namespace: "b", Resource: services, Object: "web", Metric: "z"}, {Namespace: "a", Resource: services, Object: "web", Metric: "z"},
		{Namespace: "a", Resource: services, Object: "api", Metric: "a"}, {Namespace: "a", Resource: deployments, Object: "web", Metric: "z"},
		metric.NamespaceClaim("a", "z"), metric.NamespaceClaim("b", "z"),
		{Namespace: "a", Resource: services, Selector: "app=web", Metric: "z"}, {Namespace: "a", Resource: services, Metric: "b"},
		metric.ExternalClaim("a", "z"), metric.ExternalClaim("b", "z"), metric.ExternalClaim("a", "queue"),
	} {
		b.Put(define(fmt.Sprint(i), func(d *query.Definition) { d.Claim, d.Selector = claim, labels.Everything() }))
	}
	want := []metric.Claim{
		{Resource: schema.GroupResource{Resource: "namespaces"}, Metric: "z"},
		{Resource: services, Metric: "a"}, {Resource: services, Metric: "b"}, {Resource: services, Metric: "z"},
		{Resource: deployments, Metric: "z"},
	}
	if got := b.Claims(metric.CustomMetrics); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want = []metric.Claim{{Metric: "queue", External: true}, {Metric: "z", External: true}}
	if got := b.Claims(metric.ExternalMetrics); !reflect.DeepEqual(got, want) {
		t.Errorf("external: got %+v, want %+v", got, want)
	}
}

func TestBindingsAreCountedByStanding(t *testing.T) {
	b := newBoard(t)
	for _, d := range []query.Definition{define("a"), define("b", created(1)), define("c", claiming("c")), define("d", claiming("d"))} {
		b.Put(d)
	}
	b.answer(question("a"), 1)
	b.fail(question("c"), metric.NoData)
	if b.Settled() {
		t.Error("settled, although two were never asked")
	}
	want := map[metric.Reason]int{"": 1, metric.NameTaken: 1, metric.NoData: 1, metric.Pending: 1}
	if got := b.Count(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	b.fail(question("b"), metric.NoData)
	b.fail(question("d"), metric.NoData)
	if !b.Settled() {
		t.Error("not settled, although all were asked")
	}
	if got := testutil.CollectAndCount(registry.NewCollector(b.Registry), "sysdig_metrics_bindings"); got != 1+len(metric.Reasons()) {
		t.Errorf("%d series, want one for each standing", got)
	}
}

// TestManyHands edits, files and reads at the same time. The race detector looks on; in the end the books are right.
func TestManyHands(t *testing.T) {
	clk := clocktesting.NewFakeClock(noon)
	r := registry.New(clk, newWorld())
	r.PutConnection(connectionNamed("default"))
	r.Listen(func(key types.NamespacedName) { r.Standing(key) })
	r.ListenConnections(func(name string) { r.Connection(name) })
	b := &board{Registry: r, t: t, clk: clk}
	var hands sync.WaitGroup
	for hand := range 8 {
		hands.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(hand), 1))
			for range 400 {
				d := define(fmt.Sprint(dice.IntN(20)), claiming(fmt.Sprint(dice.IntN(5))), created(time.Duration(dice.IntN(3))))
				d.Question = question(fmt.Sprint(dice.IntN(4)))
				switch dice.IntN(8) {
				case 0:
					r.Delete(d.Binding)
				case 1, 2:
					r.Put(d)
				case 3:
					b.answer(d.Question, 1)
				case 4:
					b.fail(d.Question, metric.Unavailable)
				case 5:
					r.Serve(d.Claim, nil)
					r.Claims(metric.CustomMetrics)
					r.Wanted()
				case 6:
					r.Count()
					r.TellAll()
					r.FileHealth("default", nil)
				case 7:
					clk.Step(time.Second)
					r.PutConnection(connectionNamed("default"))
				}
			}
		})
	}
	hands.Wait()
	for i := range 20 {
		r.Delete(types.NamespacedName{Namespace: "shop", Name: fmt.Sprint(i)})
	}
	if claims, asked, count := r.Claims(metric.CustomMetrics), r.Wanted()[0].Shapes, r.Count(); len(claims)+len(asked)+len(count) != 0 {
		t.Errorf("left over: %v, %v, %v", claims, asked, count)
	}
}

func TestTheSameListKeepsItsNumber(t *testing.T) {
	b := newBoard(t)
	b.Put(define("a"))
	number := b.Listed()
	b.Put(define("a"))
	edited := b.Listed()
	again := define("b", created(1), func(d *query.Definition) { d.Claim.Namespace = "another" })
	b.Put(again)
	b.Delete(again.Binding)
	if got := b.Listed(); edited != number || got != number || number == 0 {
		t.Errorf("the list is numbered %d; after an edit of the binding %d, and when its name was claimed in another namespace, too, %d", number, edited, got)
	}
}
