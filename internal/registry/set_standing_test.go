package registry_test

import (
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

func TestOfPodsAStandingShowsTheMeanAndOfOtherSetsNothing(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b", "c", "silent")
	set := define("pods", all(pods, "app=web"))
	b.Put(set)
	b.foundAbout(set.Question, map[string]float64{"a": 1}, noon.Add(-30*time.Second))
	b.found(set.Question, map[string]float64{"a": 1, "b": 2, "c": 2.0015})
	standing, _ := b.Standing(set.Binding)
	if s := standing.Sample; s == nil || s.Milli != 1667 || !s.Time.Equal(noon) || s.Window != time.Minute { // 5002 / 3, as an HPA divides
		t.Errorf("got %+v", standing.Sample)
	}
	wantText(t, standing.Failure, "silent: Sysdig answered and holds nothing for silent")
	b.clk.Step(time.Minute)
	b.found(set.Question, map[string]float64{"b": 2, "c": 2})
	if standing, _ := b.Standing(set.Binding); !standing.Sample.Time.Equal(noon) {
		t.Errorf("the time is %s, want that of the oldest", standing.Sample.Time)
	}
	b.world.put(services, "web", nil)
	other := define("services", all(services, ""))
	b.Put(other)
	b.found(other.Question, map[string]float64{"web": 1})
	b.wantStanding(other, "1/1", "")
	if standing, _ := b.Standing(other.Binding); standing.Sample != nil {
		t.Errorf("of Services it shows %+v", standing.Sample)
	}
}

func TestStandingsOfSets(t *testing.T) {
	nan := query.Found{Failure: metric.Failf(metric.Implausible, "it is NaN")}
	tests := map[string]struct {
		edit    func(*query.Definition)
		do      func(*board, query.Question)
		objects string
		reason  metric.Reason
		text    string
	}{
		"all have a value": {do: func(b *board, q query.Question) { b.found(q, map[string]float64{"a": 1, "b": 2}) }, objects: "2/2"},
		"one is silent":    {do: func(b *board, q query.Question) { b.found(q, map[string]float64{"b": 2}) }, objects: "1/2", reason: metric.NoData, text: "a: Sysdig answered"},
		"one is no number": {do: func(b *board, q query.Question) {
			b.foundAs(q, map[string]query.Found{"a": {Sample: b.sample(1, noon)}, "b": nan})
		}, objects: "1/2", reason: metric.Implausible, text: "b: it is NaN"},
		"the last attempt failed": {do: func(b *board, q query.Question) {
			b.found(q, map[string]float64{"a": 1, "b": 2})
			b.fail(q, metric.Unavailable)
		}, objects: "2/2", reason: metric.Unavailable, text: "it failed"},
		"it is suspended": {edit: func(d *query.Definition) { d.Policy.Suspended = true },
			do: func(b *board, q query.Question) { b.found(q, map[string]float64{"a": 1, "b": 2}) }, objects: "0/2", reason: metric.Suspended},
		"it is refused":                {edit: refused(metric.Rejected), do: func(*board, query.Question) {}, objects: "0/0", reason: metric.Rejected},
		"its objects are being listed": {edit: refused(metric.Pending), do: func(*board, query.Question) {}, objects: "0/0", reason: metric.Pending},
		"there is no such object": {edit: all(pods, "app=none"),
			do: func(b *board, q query.Question) { b.found(q, map[string]float64{"a": 1}) }, objects: "0/0", reason: metric.NoData, text: `no Pod in namespace shop matches the selector "app=none"`},
		"there is no such object and nothing was asked": {edit: all(pods, "app=none"), do: func(*board, query.Question) {}, objects: "0/0", reason: metric.Pending},
		"there is no such object and Sysdig is away": {edit: all(pods, "app=none"),
			do: func(b *board, q query.Question) { b.fail(q, metric.Unavailable) }, objects: "0/0", reason: metric.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a", "b")
			d := define("web", all(pods, "app=web"))
			if test.edit != nil {
				test.edit(&d)
			}
			b.Put(d)
			test.do(b, d.Question)
			b.wantStanding(d, test.objects, test.reason)
			standing, _ := b.Standing(d.Binding)
			if test.text != "" {
				wantText(t, standing.Failure, test.text)
			}
		})
	}
}

func TestListenersAreToldOfChangesOfASet(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	d := define("web", all(pods, "app=web"))
	q := d.Question
	b.Put(d)
	b.wantTold("web")
	steps := []struct {
		name string
		do   func()
		told []string
	}{
		{"the first samples", func() { b.found(q, map[string]float64{"a": 1, "b": 2}) }, []string{"web"}},
		{"other values", func() { b.found(q, map[string]float64{"a": 2, "b": 3}) }, nil},
		{"one falls silent", func() { b.found(q, map[string]float64{"a": 2}) }, nil}, // the numbers are shown at the next look
		{"a pod comes", func() { b.pods("web", "c") }, nil},
		{"the whole attempt fails", func() { b.fail(q, metric.Unavailable) }, []string{"web"}},
		{"it fails again", func() { b.fail(q, metric.Unavailable) }, nil},
		{"all are too old now", func() { b.clk.Step(maxAge); b.fail(q, metric.Unavailable) }, []string{"web"}},
		{"it goes on", func() { b.clk.Step(maxAge); b.fail(q, metric.Unavailable) }, nil},
		{"it recovers", func() { b.found(q, map[string]float64{"a": 2}) }, []string{"web"}},
		{"a late round finds all too old and mends it", func() { b.clk.Step(2 * maxAge); b.found(q, map[string]float64{"a": 2}) }, []string{"web"}},
		{"a younger one wants the same", func() { b.Put(define("young", all(pods, "app=web"), created(time.Second))) }, []string{"young"}},
		{"both are answered", func() { b.found(q, map[string]float64{"a": 4}) }, nil},
		{"a young one wants one of them by name", func() { b.Put(define("named", of(pods, "a"), created(time.Second))) }, []string{"named"}},
		{"the old one goes", func() { b.Delete(d.Binding) }, []string{"named", "young"}}, // both lost to it
		{"the old one comes back", func() { b.Put(d) }, []string{"named", "web", "young"}},
		{"the name is answered", func() { b.answer(question("named"), 1) }, nil},
		{"it is edited and leaves the name", func() { b.Put(define("web", all(services, ""))) }, []string{"named", "web", "young"}},
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

func TestSetsAndExternalMetricsAreCountedByStanding(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	b.world.put(services, "web", labels.Set{})
	external := func(d *query.Definition) { d.Claim, d.Object = metric.ExternalClaim("shop", "m"), metric.Object{} }
	put := func(want map[metric.Reason]int, settled bool, d query.Definition) {
		t.Helper()
		b.Put(d)
		if got := b.Count(); !reflect.DeepEqual(got, want) || b.Settled() != settled {
			t.Errorf("after %s: got %v and settled %v, want %v and %v", d.Binding.Name, got, b.Settled(), want, settled)
		}
	}
	b.Put(define("pods", all(pods, "app=web")))
	b.found(define("pods", all(pods, "")).Question, map[string]float64{"a": 1})
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 1}, true, define("more", all(pods, ""), created(time.Second))) // the same question
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 2}, true, define("young", all(pods, "app=web"), created(2*time.Second)))
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 2, metric.Rejected: 1}, true, define("refused", all(services, ""), refused(metric.Rejected)))
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 2, metric.Pending: 1}, false, define("refused", all(services, ""), refused(metric.Pending)))
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 2, metric.Pending: 1}, false, define("refused", all(services, "")))
	b.found(define("", all(services, "")).Question, nil)
	put(map[metric.Reason]int{"": 1, metric.NameTaken: 2, metric.NoData: 1, metric.Pending: 1}, false, define("external", external))
	b.answer(question("external"), 1)
	put(map[metric.Reason]int{"": 2, metric.NameTaken: 2, metric.NoData: 1}, true, define("external", external))
	b.SetRoute(metric.ExternalMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	put(map[metric.Reason]int{"": 1, metric.NotRouted: 1, metric.NameTaken: 2, metric.NoData: 1}, true, define("external", external))
	if standing, _ := b.Standing(define("external").Binding); standing.NotRouted == nil || !standing.Served {
		t.Errorf("got %+v", standing)
	}
	if standing, _ := b.Standing(define("pods").Binding); standing.NotRouted != nil {
		t.Errorf("the custom API is routed, but got %v", standing.NotRouted)
	}
	if b.FileHealth("nobody", nil); !b.Settled() {
		t.Error("unsettled by a connection that nobody has")
	}
}
