package registry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func names(questions []query.Question) []string {
	all := []string{}
	for _, q := range questions {
		all = append(all, q.Shape.Value().Metric)
	}
	slices.Sort(all)
	return all
}

func questionsOf(w registry.Wanted) (all []query.Question) {
	for _, asked := range w.Shapes {
		all = append(all, asked.Questions...)
	}
	return all
}

func unansweredOf(w registry.Wanted) (all []query.Question) {
	for _, asked := range w.Shapes {
		all = append(all, asked.Unanswered...)
	}
	return all
}

func TestWantedListsEachQuestionOnce(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("second"))
	b.PutConnection(connectionNamed("default"))
	same := func(d *query.Definition) { d.Question = question("same") }
	for _, d := range []query.Definition{
		define("a", same), define("b", same, claiming("b")), define("c", claiming("c")),
		define("d", claiming("d"), reshaped(func(s *query.Shape) { s.Scope.Connection = "second" })),
		define("e", claiming("e"), reshaped(func(s *query.Shape) { s.Scope.Connection = "nowhere" })),
	} {
		b.Put(d)
	}
	b.answer(question("c"), 1)
	wanted := b.Wanted()
	if len(wanted) != 2 || wanted[0].Connection.Name != "default" || wanted[1].Connection.Name != "second" {
		t.Fatalf("got %+v", wanted)
	}
	if got := names(questionsOf(wanted[0])); !slices.Equal(got, []string{"c", "same"}) {
		t.Errorf("questions %q", got)
	}
	if got := names(unansweredOf(wanted[0])); !slices.Equal(got, []string{"same"}) {
		t.Errorf("unanswered %q", got)
	}
	b.DeleteConnection("default")
	if wanted := b.Wanted(); len(wanted) != 1 || wanted[0].Connection.Name != "second" {
		t.Errorf("got %+v", wanted)
	}
}

func TestANewBindingKnowsWhatOthersWereAnswered(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("default"))
	b.Put(define("a"))
	b.answer(question("a"), 7)
	late := define("b", claiming("b"), func(d *query.Definition) { d.Question = question("a") })
	b.Put(late)
	b.wantValue(late.Claim, 7)
	if wanted := b.Wanted(); len(unansweredOf(wanted[0])) != 0 || len(questionsOf(wanted[0])) != 1 {
		t.Errorf("got %+v", wanted)
	}
}

func TestTheHealthOfAConnectionIsToldWhenItChanges(t *testing.T) {
	b := newBoard(t)
	var told int
	b.ListenConnections(func(string) { told++ })
	down, limited := metric.Failf(metric.Unavailable, "down"), metric.Failf(metric.RateLimited, "slow")
	b.FileHealth("default", nil) // of a connection that is gone
	b.PutConnection(connectionNamed("default"))
	for i, step := range []struct {
		health *metric.Failure
		told   int
	}{{nil, 1}, {nil, 0}, {down, 1}, {metric.Failf(metric.Unavailable, "down too"), 0}, {limited, 1}, {nil, 1}} {
		told = 0
		b.clk.Step(time.Second)
		b.FileHealth("default", step.health)
		if told != step.told {
			t.Errorf("step %d: told %d times, want %d", i, told, step.told)
		}
	}
	b.FileHealth("default", down)
	b.PutConnection(connectionNamed("default"))
	if c, ok := b.Connection("default"); !ok || c.Health != down || !c.Attempted.Equal(b.clk.Now()) || c.Interval != time.Minute {
		t.Errorf("an edit forgot how the last round ended: %+v", c)
	}
	told = 0
	b.TellAll()
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

func TestWhoWaitsIsWokenOnceByMany(t *testing.T) {
	b := newBoard(t)
	woken := func() bool {
		select {
		case <-b.Wake():
			return true
		default:
			return false
		}
	}
	b.Put(define("a"))
	b.Put(define("b"))
	b.PutConnection(connectionNamed("default"))
	if !woken() || woken() {
		t.Error("want exactly one token")
	}
	b.answer(question("a"), 1)
	if woken() {
		t.Error("an answer is nothing to ask")
	}
}
