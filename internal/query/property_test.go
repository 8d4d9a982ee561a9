package query_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

const (
	// towns times sets are the binding sets that are compared; every wired-th town answers over HTTP.
	towns, sets, wired = 100, 30, 8
	// propertySeed plus the number of a town is the seed of its dice.
	propertySeed = 20310301
)

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: 5 * time.Minute, LookbackDelta: lookback, Parser: parser.NewParser(parser.Options{})})
}

// TestAskedTogetherIsAskedAlone is the property of the merged plan: in random sets of bindings, each has the outcome that it has
// when it is asked alone. There is one exception: when the answer to a merged request is incomplete, all of its questions are
// Truncated, though one may have a value alone.
func TestAskedTogetherIsAskedAlone(t *testing.T) {
	engine, seen := newEngine(), &tally{counts: map[string]int{}}
	t.Run("towns", func(t *testing.T) {
		for n := range uint64(towns) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				w := newTown(t, propertySeed+n, engine, n%wired == 0)
				for set := range sets {
					if seen.failed.Load() {
						t.Skip("another town failed")
					}
					tr := w.trial(t)
					if found := tr.differences(mutant{}, seen.note); len(found) > 0 {
						seen.failed.Store(true)
						t.Fatalf("seed %d, set %d: %s", propertySeed+n, set, tr.smallest().describe())
					}
					seen.add("set")
					if n%wired == 0 {
						seen.add("set over the wire")
					}
				}
			})
		}
	})
	seen.report(t)
}

// TestAWrongMergeIsNoticed is the control: each of these mistakes in a merged plan makes a difference.
func TestAWrongMergeIsNoticed(t *testing.T) {
	const towns = 6
	engine, found := newEngine(), &tally{counts: map[string]int{}}
	t.Run("towns", func(t *testing.T) {
		for n := range uint64(towns) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				w := newTown(t, propertySeed+n, engine, false)
				for range sets {
					tr := w.trial(t)
					alone := tr.alone()
					for name, wrong := range mutants() {
						if len(tr.compare(alone, wrong, ignore)) > 0 {
							found.add(name)
						}
					}
				}
			})
		}
	})
	for name := range mutants() {
		t.Run(name, func(t *testing.T) {
			t.Logf("%d of %d sets differ", found.counts[name], towns*sets)
			if found.counts[name] < 5 {
				t.Errorf("only %d of %d sets differ", found.counts[name], towns*sets)
			}
		})
	}
}

// answered is an outcome, and the request that it comes from. Beside is a whole answer while others are incomplete.
type answered struct {
	query.Outcome
	request            query.Request
	incomplete, beside bool
}

// trial is one set of questions and which of the keys are halved.
type trial struct {
	*town
	asked  []query.Question
	halved func(query.Key) bool
}

func (w *town) trial(t *testing.T) trial {
	trouble := ""
	if w.dice.IntN(5) == 0 {
		trouble = w.pick("bank", "tail")
	}
	w.troubled(trouble)
	return trial{town: w, asked: w.questions(t), halved: w.halves()}
}

// difference is a question whose outcomes together and alone are not what they have to be to each other.
type difference struct {
	question        query.Question
	together, alone answered
	why             string
}

// differences compares all questions of a trial and tells note of each that is as it has to be.
func (tr trial) differences(wrong mutant, note func(together, alone answered)) []difference {
	return tr.compare(tr.alone(), wrong, note)
}

// alone are the outcomes of all questions of a trial, each asked by itself.
func (tr trial) alone() map[query.Question][]answered {
	alone := map[query.Question][]answered{}
	for _, q := range tr.asked {
		alone[q] = tr.outcomes(query.Plan([]query.Question{q}, query.Whole), mutant{})[q]
	}
	return alone
}

// compare is differences with what is known of the outcomes alone.
func (tr trial) compare(alone map[query.Question][]answered, wrong mutant, note func(together, alone answered)) []difference {
	together := tr.outcomes(query.Plan(slices.Clone(tr.asked), tr.halved), wrong)
	var found []difference
	for _, q := range tr.asked {
		one, other := together[q], alone[q]
		if len(one) != 1 || len(other) != 1 {
			found = append(found, difference{question: q, why: fmt.Sprintf("answered %d times together and %d times alone", len(one), len(other))})
			continue
		}
		if why := relate(one[0], other[0]); why != "" {
			found = append(found, difference{q, one[0], other[0], why})
			continue
		}
		note(one[0], other[0])
	}
	return found
}

// outcomes asks requests, of which a mutant spoils the query or the answer.
func (tr trial) outcomes(requests []query.Request, wrong mutant) map[query.Question][]answered {
	outcomes := map[query.Question][]answered{}
	for _, r := range requests {
		answer, incomplete := tr.answer(r.PromQL)
		if wrong.promQL != nil {
			answer, _ = tr.answer(wrong.promQL(r))
		}
		if wrong.answer != nil {
			answer = wrong.answer(answer)
		}
		for _, o := range r.Read(answer, tr.heard(r, requests), tr.cluster()) {
			outcomes[o.Question] = append(outcomes[o.Question], answered{o, r, incomplete, tr.trouble != "" && !incomplete})
		}
	}
	return outcomes
}

// relate is what two outcomes must be to each other: Truncated without any number when the answer to the merged request is
// incomplete, whatever there is alone, and otherwise equal. It returns what is not so.
func relate(together, alone answered) string {
	if !together.request.Has(together.Question) {
		return "it is in a part that does not have its namespace"
	}
	if !together.incomplete {
		return differ(together.Outcome, alone.Outcome, exact)
	}
	if r := together.Reading; r.Sample != nil || together.Objects != nil || reason(r.Failure) != metric.Truncated {
		return "the answer is incomplete and was read"
	}
	return ""
}

// exact is how far values may differ, as a part of them, for sums in another order.
const exact = 1e-12

// differ tells how two outcomes of a question differ: values by more than a part of them, and everything else at all.
func differ(one, two query.Outcome, by float64) string {
	switch {
	case one.Question != two.Question, !one.Reading.Asked.Equal(two.Reading.Asked), !one.Reading.Attempted.Equal(two.Reading.Attempted):
		return "the questions or the attempts differ"
	case (one.Objects == nil) != (two.Objects == nil), !slices.Equal(slices.Sorted(maps.Keys(one.Objects)), slices.Sorted(maps.Keys(two.Objects))):
		return "the objects differ"
	}
	for name := range one.Objects {
		if why := differFound(one.Objects[name], two.Objects[name], by); why != "" {
			return fmt.Sprintf("%s: %s", name, why)
		}
	}
	return differFound(found(one.Reading), found(two.Reading), by)
}

func differFound(one, two query.Found, by float64) string {
	if reason(one.Failure) != reason(two.Failure) {
		return "the reasons differ"
	}
	if why := differSample(one.Floor, two.Floor, by); why != "" {
		return "of the floors, " + why
	}
	return differSample(one.Sample, two.Sample, by)
}

func differSample(a, b *metric.Sample, by float64) string {
	switch {
	case (a == nil) != (b == nil):
		return "the samples differ"
	case a == nil:
		return ""
	case !nearly(a.Value, b.Value, by), by == exact && a.Milli != b.Milli:
		return "the values differ"
	case !a.Time.Equal(b.Time), !a.Newest.Equal(b.Newest), !a.Received.Equal(b.Received), a.Window != b.Window:
		return "the times differ"
	case a.Least != b.Least:
		return "one is a lower bound"
	case reason(a.Whole) != reason(b.Whole):
		return "the reasons of the whole differ"
	case !slices.EqualFunc(a.Series, b.Series, func(one, two metric.Series) bool { return equalSeries(one, two, by) }):
		return "the series differ"
	}
	return ""
}

func equalSeries(a, b metric.Series, by float64) bool {
	return maps.Equal(a.Labels, b.Labels) && a.Pod == b.Pod && nearly(a.Raw, b.Raw, by) && a.Time.Equal(b.Time) && (by != exact || a.Milli == b.Milli)
}

// nearly allows for sums in another order.
func nearly(a, b, by float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= by*max(math.Abs(a), math.Abs(b))
}

func reason(f *metric.Failure) metric.Reason {
	if f == nil {
		return ""
	}
	return f.Reason
}

func ignore(_, _ answered) {}

// smallest leaves out every question without which there still is a difference.
func (tr trial) smallest() trial {
	for i := 0; i < len(tr.asked); {
		fewer := tr
		fewer.asked = slices.Delete(slices.Clone(tr.asked), i, i+1)
		if len(fewer.differences(mutant{}, ignore)) > 0 {
			tr = fewer
		} else {
			i++
		}
	}
	return tr
}

// describe tells of the first difference.
func (tr trial) describe() string {
	d := tr.differences(mutant{}, ignore)[0]
	text := fmt.Sprintf("%s; answers about %q are incomplete; these questions are enough:", d.why, tr.trouble)
	for _, q := range tr.asked {
		text += fmt.Sprintf("\n  %s: %+v %+v", q.Shape.Value(), q.View, q.Measure)
	}
	return text + fmt.Sprintf("\nof %+v\ntogether %s\n  %s\nalone %s\n  %s",
		d.question.View, d.together.request.PromQL, show(d.together.Outcome), d.alone.request.PromQL, show(d.alone.Outcome))
}

// mutant is a mistake of a merged plan: a wrong query of a request, or a wrong reading of its answer.
type mutant struct {
	promQL func(query.Request) string
	answer func(sysdig.Answer) sysdig.Answer
}

func mutants() map[string]mutant {
	isTime := func(s sysdig.Series) bool { return s.Labels[partLabel] != "" }
	isValue := func(s sysdig.Series) bool { return !isTime(s) }
	return map[string]mutant{
		"the value of a neighbour is read":                {answer: func(a sysdig.Answer) sysdig.Answer { return shifted(a, isValue) }},
		"the time of a neighbour is read":                 {answer: func(a sysdig.Answer) sysdig.Answer { return shifted(a, isTime) }},
		"rows do not tell kinds of workloads apart":       {answer: func(a sysdig.Answer) sysdig.Answer { return without(a, "kube_workload_type") }},
		"rows do not tell namespaces apart":               {answer: func(a sysdig.Answer) sysdig.Answer { return without(a, "kube_namespace_name") }},
		"rows do not tell values of a dimension apart":    {answer: func(a sysdig.Answer) sysdig.Answer { return without(a, "code") }},
		"a value is off by the smallest difference":       {answer: func(a sysdig.Answer) sysdig.Answer { return changed(a, isValue, 1+1e-11) }},
		"a time is off by a millisecond":                  {answer: func(a sysdig.Answer) sysdig.Answer { return earlierBy(a, isTime, 0.001) }},
		"a part loses a namespace":                        {promQL: withoutNamespace},
		"a request names the objects of some alone":       {promQL: withNames},
		"a request is confined to the first object alone": {promQL: func(r query.Request) string { return planned(r.Questions[:1]) }},
		"an incomplete answer is read":                    {answer: trusted},
	}
}

// planned is the query of a request about fewer questions of one shape.
func planned(questions []query.Question) string { return query.Plan(questions, query.Whole)[0].PromQL }

// filtered is the query about those questions of a request that are kept.
func filtered(r query.Request, keep func(query.Question) bool) string {
	kept := slices.DeleteFunc(slices.Clone(r.Questions), func(q query.Question) bool { return !keep(q) })
	if len(kept) == 0 {
		return r.PromQL
	}
	return planned(kept)
}

func withoutNamespace(r query.Request) string {
	return filtered(r, func(q query.Question) bool { return q.View.Namespace != r.Questions[0].View.Namespace })
}

func withNames(r query.Request) string {
	return filtered(r, func(q query.Question) bool { return q.View.Workload != "" || q.View.Pod != "" })
}

// edited is an answer of which a copy of each series was changed.
func edited(a sysdig.Answer, change func(i int, s *sysdig.Series)) sysdig.Answer {
	a.Series = slices.Clone(a.Series)
	for i := range a.Series {
		change(i, &a.Series[i])
	}
	return a
}

// shifted gives each of some series the value of the one before.
func shifted(a sysdig.Answer, which func(sysdig.Series) bool) sysdig.Answer {
	last := -1
	return edited(a, func(i int, s *sysdig.Series) {
		if which(*s) {
			if last >= 0 {
				s.Value = a.Series[last].Value
			}
			last = i
		}
	})
}

// without gives each value that of the first series that differs from it in one label alone.
func without(a sysdig.Answer, label string) sysdig.Answer {
	first := map[string]float64{}
	return edited(a, func(_ int, s *sysdig.Series) {
		var rest strings.Builder
		for name, value := range inOrder(s.Labels) {
			if name != label {
				rest.WriteString(name + "=" + value + "\n")
			}
		}
		key := rest.String()
		if _, ok := first[key]; !ok {
			first[key] = s.Value
		}
		s.Value = first[key]
	})
}

func changed(a sysdig.Answer, which func(sysdig.Series) bool, factor float64) sysdig.Answer {
	return edited(a, func(_ int, s *sysdig.Series) {
		if which(*s) {
			s.Value *= factor
		}
	})
}

func earlierBy(a sysdig.Answer, which func(sysdig.Series) bool, seconds float64) sysdig.Answer {
	return edited(a, func(_ int, s *sysdig.Series) {
		if which(*s) {
			s.Value -= seconds
		}
	})
}

// trusted is an answer that does not look incomplete.
func trusted(a sysdig.Answer) sysdig.Answer {
	return sysdig.Answer{Series: slices.DeleteFunc(slices.Clone(a.Series), func(s sysdig.Series) bool { return s.Labels["kube_pod_name"] == crowdPod })}
}

// tally counts how often each kind of outcome occurred. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	failed atomic.Bool
}

// least is how often each kind has to occur for the comparison to say something.
func least() map[string]int {
	return map[string]int{
		"set over the wire": 300, "question": 10_000, "merged": 8_000, "halved": 1_000, "halved twice or more": 300,
		"value": 3_000, "NoData": 1_000, "Partial": 300, "floor": 100, "Stale": 100, "Implausible": 300, "Rejected": 100, "Truncated": 300,
		"several series in a row": 100, "set with objects": 500, "set without objects": 100, "external items": 100, "dimensions": 300, "raw": 1_000,
		"Truncated together, a value alone": 100, "Truncated by a cap": 80, "a value beside trouble": 100,
	}
}

func (c *tally) add(kinds ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range kinds {
		c.counts[kind]++
	}
}

func (c *tally) note(together, alone answered) {
	kinds := []string{"question"}
	when := func(kind string, is bool) {
		if is {
			kinds = append(kinds, kind)
		}
	}
	depth := depthOf(together.request, together.Question)
	when("merged", len(together.request.Questions) > 1)
	when("halved", depth > 0)
	when("halved twice or more", depth > 1)
	when("raw", together.request.Shape.Value().Grain == query.Raw)
	when("set with objects", len(alone.Objects) > 0)
	when("set without objects", alone.Objects != nil && len(alone.Objects) == 0)
	all := append(slices.Collect(maps.Values(alone.Objects)), found(alone.Reading))
	value := false
	for _, one := range all {
		when(string(reason(one.Failure)), one.Failure != nil)
		when("floor", one.Floor != nil)
		when("several series in a row", one.Failure != nil && strings.Contains(one.Failure.Message, "where one is needed"))
		if one.Sample == nil {
			continue
		}
		value = true
		when("external items", alone.Question.Measure.External && len(one.Sample.Series) > 1)
		when("dimensions", len(alone.Question.Dimensions()) > 0)
	}
	when("value", value)
	when("Truncated together, a value alone", together.incomplete && value)
	when("Truncated by a cap", together.incomplete && strings.Contains(together.Reading.Failure.Error(), "rows"))
	when("a value beside trouble", together.beside && value && depth > 0)
	c.add(kinds...)
}

// depthOf is how often the shape of a request was halved on the way to a question.
func depthOf(r query.Request, q query.Question) int {
	key := query.Key{Shape: r.Shape}
	depth := 0
	for ; key != r.Key && r.Has(q); depth++ {
		halves := key.Halves()
		key = halves[0]
		if !key.Has(q) {
			key = halves[1]
		}
	}
	return depth
}

// report expects each kind often enough, when all towns were asked.
func (c *tally) report(t *testing.T) {
	t.Helper()
	if c.counts["set"] < towns*sets {
		t.Logf("%d of %d sets were compared", c.counts["set"], towns*sets)
		return
	}
	for kind, want := range inOrder(least()) {
		t.Logf("%6d %s", c.counts[kind], kind)
		if c.counts[kind] < want {
			t.Errorf("only %d of kind %q: the comparison says little", c.counts[kind], kind)
		}
	}
}
