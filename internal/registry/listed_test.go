package registry_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// TestASetOfServicesStandsByItsAnswer: what was not asked about is Pending, but the set as a whole was asked.
func TestASetOfServicesStandsByItsAnswer(t *testing.T) {
	const noCount = metric.Reason("")
	for name, test := range map[string]struct {
		edits   []func(*query.Definition)
		tier    string
		do      func(*shop, query.Definition)
		objects string
		reason  metric.Reason // of the standing
		counted metric.Reason
	}{
		"nothing was asked yet":                  {tier: "web", do: func(*shop, query.Definition) {}, objects: "0/1", reason: metric.Pending, counted: metric.Pending},
		"there is no such Service":               {tier: "db", do: func(s *shop, d query.Definition) { s.round(d.Question) }, objects: "0/0", reason: metric.NoData, counted: metric.NoData},
		"there is none, and a value for no data": {edits: []func(*query.Definition){onNoData(3)}, tier: "db", do: func(s *shop, d query.Definition) { s.round(d.Question) }, objects: "0/0", reason: metric.NoData, counted: metric.NoData},
		"it is silent":                           {tier: "web", do: func(s *shop, d query.Definition) { s.round(d.Question) }, objects: "0/1", reason: metric.NoData, counted: metric.NoData},
		"it is silent, and has a value for that": {edits: []func(*query.Definition){onNoData(3)}, tier: "web", do: func(s *shop, d query.Definition) { s.round(d.Question) }, objects: "1/1", counted: noCount},
		"Sysdig is away":                         {tier: "web", do: func(s *shop, d query.Definition) { s.fail(d.Question, metric.Unavailable) }, objects: "0/1", reason: metric.Unavailable, counted: metric.Unavailable},
		"there is none, and Sysdig is away":      {tier: "db", do: func(s *shop, d query.Definition) { s.fail(d.Question, metric.Unavailable) }, objects: "0/0", reason: metric.Unavailable, counted: metric.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			set := perService("tier=web", test.edits...)
			s.Put(set)
			s.service("a", test.tier)
			test.do(s, set)
			s.wantStanding(set, test.objects, test.reason)
			s.wantCounted(map[metric.Reason]int{test.counted: 1})
		})
	}
}

// TestAnOutageIsNoReasonToForgetWhatWasAskedAbout: a Service that was silent is as unavailable as the others.
func TestAnOutageIsNoReasonToForgetWhatWasAskedAbout(t *testing.T) {
	s := newShop(t)
	set := perService("tier=web", onNoData(3))
	s.Put(set)
	s.service("silent", "web")
	s.round(set.Question)
	s.wantValue(m(services, "silent"), 3)
	s.clk.Step(30 * time.Second)
	s.fail(set.Question, metric.Unavailable)
	s.wantReason(m(services, "silent"), metric.Unavailable)
	s.round(set.Question)
	s.wantValue(m(services, "silent"), 3)
}

// TestListenersAreToldOfASetOfServices: the reason why nothing is served is not Pending for ever.
func TestListenersAreToldOfASetOfServices(t *testing.T) {
	s := newShop(t)
	set := perService("tier=web")
	s.Put(set)
	s.service("a", "web")
	s.told = nil
	s.round(set.Question)
	s.wantTold("set")
	s.fail(set.Question, metric.Unavailable)
	s.wantTold("set")
	s.values["a"] = 1
	s.round(set.Question)
	s.wantTold("set")
}

// TestASetIsCountedAsItStands is about sets of which nothing that was answered is served.
func TestASetIsCountedAsItStands(t *testing.T) {
	b := newBoard(t)
	b.world.put(services, "a", labels.Set{})
	set := define("set", all(services, ""), onNoData(3))
	b.Put(set)
	b.found(set.Question, nil)
	b.wantStanding(set, "1/1", "")
	b.wantCounted(map[metric.Reason]int{"": 1})

	b = newBoard(t)
	b.pods("web", "lost", "silent")
	set = define("set", all(pods, "app=web"))
	b.Put(set)
	b.Put(define("older", of(pods, "lost"), created(-time.Hour)))
	b.found(set.Question, map[string]float64{"lost": 1})
	b.wantStanding(set, "0/1", metric.NoData)
	b.wantCounted(map[metric.Reason]int{metric.NoData: 1, metric.Pending: 1})
}
