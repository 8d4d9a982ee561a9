package registry_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// byService makes a set ask about the Services that are known when the answer is read.
func byService(d *query.Definition) { d.Question.View.ByService = true }

// TestAServiceThatWasNotAskedAboutIsPending: that nothing is known of it is not that there is nothing, so the value for no
// data is not for it.
func TestAServiceThatWasNotAskedAboutIsPending(t *testing.T) {
	b := newBoard(t)
	set := define("web", all(services, "tier=web"), byService, onNoData(0))
	b.Put(set)
	b.world.put(services, "old", labels.Set{"tier": "web"})
	b.found(set.Question, map[string]float64{"old": 7})
	b.wantValue(m(services, "old"), 7)

	b.world.put(services, "new", labels.Set{"tier": "web"})
	b.wantReason(m(services, "new"), metric.Pending)
	b.wantList(services, "", "old=7")

	nothing := query.Found{Failure: metric.Failf(metric.NoData, "nothing")}
	b.clk.Step(30 * time.Second)
	b.foundAs(set.Question, map[string]query.Found{"old": {Sample: b.sample(8, b.clk.Now())}, "new": nothing})
	b.wantValue(m(services, "new"), 0) // asked about, and nothing is there: as the binding says

	b.clk.Step(30 * time.Second)
	b.foundAs(set.Question, map[string]query.Found{"new": nothing}) // the other one was not selected at that moment
	b.wantReason(m(services, "old"), metric.Pending)
}

// TestWorkloadsThatAnAnswerDoesNotHoldHaveNoData is the other side: that answer is about all workloads there are.
func TestWorkloadsThatAnAnswerDoesNotHoldHaveNoData(t *testing.T) {
	b := newBoard(t)
	set := define("web", all(services, "tier=web"))
	b.Put(set)
	b.world.put(services, "new", labels.Set{"tier": "web"})
	b.found(set.Question, map[string]float64{"old": 7})
	b.wantReason(m(services, "new"), metric.NoData)
}

func TestASetStandsUntilItsFirstSampleExpires(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	set := define("web", all(pods, "app=web"))
	b.Put(set)
	oldest := b.clk.Now().Add(-30 * time.Second)
	b.foundAs(set.Question, map[string]query.Found{"a": {Sample: b.sample(1, b.clk.Now())}, "b": {Sample: b.sample(2, oldest)}})
	standing, _ := b.Standing(set.Binding)
	if want := oldest.Add(maxAge); !standing.Until.Equal(want) {
		t.Errorf("it stands until %s, want %s", standing.Until, want)
	}
}
