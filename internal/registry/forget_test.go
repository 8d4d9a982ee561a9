package registry_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// closing is a source that counts how often it was closed.
type closing struct {
	registry.Source
	closed *int
}

func (c closing) Close() { *c.closed++ }

// ofConnection makes a binding ask a connection.
func ofConnection(name string) func(*query.Definition) {
	return func(d *query.Definition) {
		reshape(d, func(s *query.Shape) { s.Scope.Connection = name })
	}
}

// TestNothingIsHeldOfWhatIsGone: connections and bindings come and go, in either order, with all that happens in between.
func TestNothingIsHeldOfWhatIsGone(t *testing.T) {
	b := newBoard(t)
	fresh := b.Held()
	closed := 0
	for i := range 100 {
		name := fmt.Sprint("connection-", i)
		c := connectionNamed(name)
		c.QueriesPerNamespace, c.AnomalyLimits = 2, registry.AnomalyLimits{Bindings: 1, Share: 0.5, Hold: time.Hour}
		c.Source = closing{closed: &closed}
		b.PutConnection(c)
		b.FileCatalogue(c, registry.Catalogue{Metrics: []string{"other"}})
		var definitions []query.Definition
		for j := range 4 { // two of which are over the quota
			definitions = append(definitions, define(fmt.Sprint("b-", j), claiming(fmt.Sprint("m-", i, j)), ofConnection(name)))
		}
		definitions = append(definitions,
			define("set", all(pods, "app=web"), ofConnection(name)), define("refused", refused(metric.Rejected)),
			query.Definition{Binding: types.NamespacedName{Namespace: "shop", Name: "away"}, UID: "away", Refused: metric.Failf(metric.Rejected, "too many")},
		)
		for _, d := range definitions {
			b.Put(d)
		}
		b.answer(definitions[0].Question, 7)
		b.FileHealth(name, nil)
		b.FileUsage(name, registry.Usage{EffectiveInterval: time.Hour})
		b.clk.Step(time.Minute)
		b.answer(definitions[0].Question, 0) // is held back
		b.fail(definitions[1].Question, metric.NoData)
		b.FileHealth(name, nil)
		if i%2 == 0 {
			b.DeleteConnection(name)
		}
		for _, d := range definitions {
			b.Delete(d.Binding)
		}
		if i%2 == 1 {
			b.DeleteConnection(name)
		}
	}
	b.Recheck()
	if got := b.Held(); !maps.Equal(got, fresh) {
		t.Errorf("%v are held when all is gone, %v at the start", got, fresh)
	}
	if closed != 100 {
		t.Errorf("%d clients were closed", closed)
	}
}

// TestABindingThatIsTurnedAwayIsHeldByItsReasonOnly, and is back when it is put.
func TestABindingThatIsTurnedAwayIsHeldByItsReasonOnly(t *testing.T) {
	b := newBoard(t)
	d := define("web")
	b.PutConnection(connectionNamed("default"))
	b.Put(d)
	b.answer(d.Question, 7)
	why := metric.Failf(metric.Rejected, "there are too many")
	b.told = nil
	b.Put(query.Definition{Binding: d.Binding, UID: d.UID, Created: d.Created, Generation: 3, Refused: why})
	b.wantTold("web")
	if held := b.Held(); held["away"] != 1 || held["entries"]+held["answers"]+held["families"]+held["order"]+held["demands"] != 0 {
		t.Errorf("held are %v", held)
	}
	if _, _, _, known := b.Serve(d.Claim, nil); known {
		t.Error("its claim is answered")
	}
	s, known := b.Standing(d.Binding)
	if !known || s.Definition.Generation != 3 || s.Definition.UID != d.UID || s.Failure != why || s.Definition.Refused != why || s.Served {
		t.Errorf("it stands as %+v", s)
	}
	b.told = nil
	if b.TellAll(); len(b.told) != 1 || !b.Known(d.Binding) || !b.Settled() || b.Count()[metric.Rejected] != 1 {
		t.Errorf("told of %q, known %t, settled %t, counted %v", b.told, b.Known(d.Binding), b.Settled(), b.Count())
	}
	b.Put(d)
	b.wantReason(d.Claim, metric.Pending)
	if held := b.Held(); held["away"] != 0 || b.Count()[metric.Rejected] != 0 {
		t.Errorf("held are %v", held)
	}
}

// litter files an answer about all pods with many that no answer before had, and one that was silent since the first.
func (b *board) litter(q query.Question, round, many int) {
	objects := map[string]query.Found{}
	for i := range many {
		objects[fmt.Sprintf("pod-%d-%d", round, i)] = query.Found{Sample: b.sample(7, b.clk.Now())}
	}
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Asked: b.clk.Now(), Attempted: b.clk.Now()}, Objects: objects}})
	b.FileHealth("default", nil)
}

// TestObjectsThatComeAndGoAreBounded: who reports series may call them otherwise in each answer.
func TestObjectsThatComeAndGoAreBounded(t *testing.T) {
	b := newBoard(t)
	b.PutConnection(connectionNamed("default"))
	d := define("set", all(pods, ""), onNoData(0))
	b.Put(d)
	const many, rounds = 4000, 30
	for i := range many {
		b.pods("web", fmt.Sprintf("pod-%d-%d", rounds-5, i))
	}
	for round := range rounds {
		b.litter(d.Question, round, many)
		b.clk.Step(10 * time.Second)
	}
	if got := b.Remembered(d.Question); got > many+registry.MaxSilent {
		t.Errorf("%d objects are remembered", got)
	}
	if got := b.Heights(d.Question); got > 2*registry.MaxHeights {
		t.Errorf("heights of %d objects are remembered", got)
	}
	// Whatever is forgotten, nothing is taken for no load.
	answers := map[string]int{}
	for i := range many {
		_, sample, failure, _ := b.Serve(m(pods, fmt.Sprintf("pod-%d-%d", rounds-5, i)), nil)
		if failure != nil {
			answers[string(failure.Reason)]++
		} else {
			answers[fmt.Sprint(sample.Value)]++
		}
	}
	if answers["7"] == 0 || answers["Truncated"] == 0 || answers["7"]+answers["Truncated"] != many {
		t.Errorf("pods that are silent for 50 s answer %v, want their last value, or that it was lost", answers)
	}
}
