package registry_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// known are the metrics of connection "default".
var known = []string{"cpu.cores.used", "memory.bytes.used", "net.error.count", "net.http.error.count", "net.http.request.count", "net.http.request.time"}

// list has the connection "default" and what it has.
func (b *board) list(names ...string) {
	b.PutConnection(connectionNamed("default"))
	b.FileCatalogue(connectionNamed("default"), registry.Catalogue{Metrics: names})
}

// foundEach files what was found of each object.
func (b *board) foundEach(q query.Question, objects map[string]query.Found) {
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Asked: b.clk.Now(), Attempted: b.clk.Now()}, Objects: objects}})
}

func noData() query.Found { return query.Found{Failure: metric.Failf(metric.NoData, "nothing")} }

// assumed answers 0 when there is no data.
func assumed(d *query.Definition) { d.Policy.OnNoData = &metric.Sample{} }

func TestAMetricThatDoesNotExistIsRejectedAndNamesTheNearest(t *testing.T) {
	b := newBoard(t)
	b.list(known...)
	d := define("net.http.request.cuont", assumed)
	b.Put(d)
	b.fail(d.Question, metric.NoData)
	_, sample, failure, _ := b.Serve(d.Claim, nil)
	const want = "spec.source.metric.name: Sysdig has no metric net.http.request.cuont; the nearest are net.http.request.count, net.http.request.time, net.http.error.count"
	if sample != nil || failure == nil || failure.Reason != metric.Rejected || failure.Message != want {
		t.Errorf("got %v, %v; want %s", sample, failure, want)
	}
}

// lister is one that a connection has; nobody calls it.
type lister struct{ registry.Lister }

// TestWhatIsNotKnownIsNotAssumed has names be asked for one by one, with a list and without.
func TestWhatIsNotKnownIsNotAssumed(t *testing.T) {
	raw := func(d *query.Definition) {
		reshape(d, func(s *query.Shape) { s.Grain, s.Named = query.Raw, "cpu.cores.used\nweb" })
	}
	tell := func(names, found []string, told bool) func(*board) {
		return func(b *board) { b.FileNames(connectionNamed("default"), names, found, told) }
	}
	list := func(names ...string) func(*board) {
		return func(b *board) { b.FileCatalogue(connectionNamed("default"), registry.Catalogue{Metrics: names}) }
	}
	for name, test := range map[string]struct {
		edits  []func(*query.Definition)
		before []func(*board)
		want   metric.Reason
	}{
		"nothing is known":                   {nil, nil, metric.Pending},
		"nobody assumes anything":            {[]func(*query.Definition){func(d *query.Definition) { d.Policy.OnNoData = nil }}, nil, metric.NoData},
		"the list is not complete":           {nil, []func(*board){list()}, metric.Pending},
		"it is not there":                    {nil, []func(*board){tell([]string{"web"}, nil, true)}, metric.Rejected},
		"it is there":                        {nil, []func(*board){tell([]string{"web"}, []string{"web"}, true)}, ""},
		"Sysdig did not say":                 {nil, []func(*board){tell([]string{"web"}, nil, false)}, metric.Pending},
		"Sysdig does not say any more":       {nil, []func(*board){tell([]string{"web"}, nil, true), tell([]string{"web"}, nil, false)}, metric.Pending},
		"it appeared after the list":         {nil, []func(*board){list(known...), tell([]string{"web"}, []string{"web"}, true)}, ""},
		"the next list does not have it":     {nil, []func(*board){tell([]string{"web"}, []string{"web"}, true), list(known...)}, metric.Rejected},
		"a list that is not complete":        {nil, []func(*board){tell([]string{"web"}, []string{"web"}, true), list()}, ""},
		"PromQL, one of two names is listed": {[]func(*query.Definition){raw}, []func(*board){list(known...)}, metric.Rejected},
		"PromQL, one of two is known":        {[]func(*query.Definition){raw}, []func(*board){tell([]string{"web"}, []string{"web"}, true)}, metric.Pending},
		"PromQL, both are known":             {[]func(*query.Definition){raw}, []func(*board){list(known...), tell([]string{"web"}, []string{"web"}, true)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			c := connectionNamed("default")
			c.Lister = lister{}
			b.PutConnection(c)
			d := define("web", append([]func(*query.Definition){assumed}, test.edits...)...)
			b.Put(d)
			for _, before := range test.before {
				before(b)
			}
			b.fail(d.Question, metric.NoData)
			b.FileHealth("default", nil)
			if test.want == "" {
				b.wantValue(d.Claim, 0)
			} else {
				b.wantReason(d.Claim, test.want)
			}
			if missing := b.Missing("default"); (len(missing) == 0) != (test.want == "") {
				t.Errorf("%q are to be asked for", missing)
			}
		})
	}
}

// TestWhatWasAskedForLongestAgoGoesFirst also after more names than are remembered.
func TestWhatWasAskedForLongestAgoGoesFirst(t *testing.T) {
	b := newBoard(t)
	b.list(known...)
	for _, name := range []string{"a", "b", "c"} {
		d := define(name, claiming(name))
		b.Put(d)
		b.fail(d.Question, metric.NoData)
	}
	for i, want := range [][]string{{"a", "b", "c"}, {"b", "c", "a"}, {"c", "a", "b"}, {"a", "b", "c"}} {
		got := b.Missing("default")
		if !slices.Equal(got, want) {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
		b.clk.Step(time.Second)
		b.FileNames(connectionNamed("default"), got[:1], nil, true)
	}
	for i := range 2000 {
		b.FileNames(connectionNamed("default"), []string{fmt.Sprint("gone-", i)}, nil, true)
	}
	if got := b.Missing("default"); !slices.Equal(got, []string{"b", "c", "a"}) {
		t.Errorf("got %q", got)
	}
}

func TestFewMetricsAreAllNamed(t *testing.T) {
	b := newBoard(t)
	b.list("cpu.cores.used", "uptime")
	d := define("uptimes")
	b.Put(d)
	b.fail(d.Question, metric.NoData)
	if _, _, failure, _ := b.Serve(d.Claim, nil); failure == nil || !strings.HasSuffix(failure.Message, "the nearest are uptime, cpu.cores.used") {
		t.Errorf("got %v", failure)
	}
}

// TestWhatIsNotRejectedIsAnsweredByOnNoData has an unknown metric each time but the last, which is the control.
func TestWhatIsNotRejectedIsAnsweredByOnNoData(t *testing.T) {
	for name, test := range map[string]struct {
		edit  func(*query.Definition)
		names []string
		// before happens before there is no data.
		before func(*board, query.Definition)
		want   metric.Reason
	}{
		"it had a value once": {names: known, before: func(b *board, d query.Definition) {
			b.answer(d.Question, 5)
			b.clk.Step(time.Hour)
		}},
		"its status shows a value": {names: known, edit: func(d *query.Definition) {
			d.Observed = &metric.Sample{Value: 5, Milli: 5000, Time: noon.Add(-time.Hour), Received: noon.Add(-time.Hour)}
		}},
		"it is known":          {names: slices.Sorted(slices.Values(append([]string{"web"}, known...)))},
		"it is raw PromQL":     {names: known, edit: func(d *query.Definition) { reshape(d, func(s *query.Shape) { s.Grain = query.Raw }) }},
		"there is no list":     {},
		"another connection's": {names: known, edit: func(d *query.Definition) { reshape(d, func(s *query.Shape) { s.Scope.Connection = "other" }) }},
		"the list is of an older account": {names: known, before: func(b *board, _ query.Definition) {
			c := connectionNamed("default")
			c.Heartbeat.Scope.Endpoint = "another"
			b.PutConnection(c)
			b.FileCatalogue(connectionNamed("default"), registry.Catalogue{Metrics: known}) // it was under way meanwhile
		}},
		"the connection has gone": {names: known, before: func(b *board, _ query.Definition) { b.DeleteConnection("default") }},
		"control":                 {names: known, want: metric.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			d := define("web", assumed)
			if test.edit != nil {
				test.edit(&d)
			}
			b.PutConnection(connectionNamed("default"))
			b.Put(d)
			if test.names != nil {
				b.list(test.names...)
			}
			if test.before != nil {
				test.before(b, d)
			}
			b.fail(d.Question, metric.NoData)
			b.FileHealth("default", nil)
			if test.want == "" {
				b.wantValue(d.Claim, 0)
			} else {
				b.wantReason(d.Claim, test.want)
			}
		})
	}
}

func TestOtherFailuresSayNothingOfTheName(t *testing.T) {
	b := newBoard(t)
	b.list(known...)
	d := define("web")
	b.Put(d)
	for _, reason := range []metric.Reason{metric.Stale, metric.Unavailable, metric.Partial, metric.Truncated, metric.RateLimited, metric.Implausible} {
		b.fail(d.Question, reason)
		b.wantReason(d.Claim, reason)
	}
}

// TestASetOfAMetricThatDoesNotExistIsRejected: of Services it is known that they are there, also when they have nothing.
func TestASetOfAMetricThatDoesNotExistIsRejected(t *testing.T) {
	sample := func(b *board) query.Found { return query.Found{Sample: b.sample(5, b.clk.Now())} }
	for name, test := range map[string]struct {
		found []func(*board) map[string]query.Found
		want  metric.Reason
	}{
		"without objects":         {[]func(*board) map[string]query.Found{func(*board) map[string]query.Found { return map[string]query.Found{} }}, metric.Rejected},
		"of objects without data": {[]func(*board) map[string]query.Found{func(*board) map[string]query.Found { return map[string]query.Found{"web": noData()} }}, metric.Rejected},
		"of which one has stopped": {[]func(*board) map[string]query.Found{func(*board) map[string]query.Found {
			return map[string]query.Found{"web": noData(), "api": {Failure: metric.Failf(metric.Stale, "old")}}
		}}, metric.NoData},
		"which had a value once": {[]func(*board) map[string]query.Found{
			func(b *board) map[string]query.Found { return map[string]query.Found{"api": sample(b)} },
			func(*board) map[string]query.Found { return map[string]query.Found{"web": noData()} },
		}, metric.NoData},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.list(known...)
			b.world.put(services, "web", nil)
			b.world.put(services, "api", nil)
			d := define("set", all(services, ""))
			b.Put(d)
			for _, found := range test.found {
				b.foundEach(d.Question, found(b))
				b.FileHealth("default", nil)
				b.clk.Step(time.Hour)
			}
			claim := d.Claim
			claim.Selector, claim.Object = "", "web"
			b.wantReason(claim, test.want)
		})
	}
}

// TestALongListIsSearchedOnce files the same wrong name again and again, against as many names as are ever listed. To compare
// two names of this length allocates, and that is counted.
func TestALongListIsSearchedOnce(t *testing.T) {
	const names, bindings, rounds = 200_000, 20, 20
	b := newBoard(t)
	long := make([]string, names)
	for i := range long {
		long[i] = fmt.Sprintf("some_exporter_with_a_name_%06d_total", i)
	}
	b.list(long...)
	var wrong []query.Outcome
	for i := range bindings {
		d := define("some_exporter_without_a_name_total", claiming(fmt.Sprint("m-", i)))
		d.Binding.Name = fmt.Sprint("wrong-", i)
		d.Question.View.Workload = d.Binding.Name
		b.Put(d)
		wrong = append(wrong, query.Outcome{Question: d.Question, Reading: metric.Reading{Failure: metric.Failf(metric.NoData, "nothing"), Attempted: b.clk.Now()}})
	}
	file := func() { b.File(slices.Clone(wrong)) }
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	file()
	runtime.ReadMemStats(&after)
	first, others := after.Mallocs-before.Mallocs, testing.AllocsPerRun(rounds, file)
	if first < names {
		t.Errorf("the first round makes %d allocations: to search the list cannot be told from not to", first)
	}
	if others > names/100 {
		t.Errorf("the first round makes %d allocations, each of %d others %v", first, rounds, others)
	}
}
