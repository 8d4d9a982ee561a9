package registry_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// model says what a registry should answer, by looking at everything each time.
type model struct {
	bindings map[string]query.Definition
	known    map[query.Question]*knowledge // of those that somebody asks
	world    *world
	now      time.Time
}

// knowledge is every outcome of a question.
type knowledge struct{ outcomes []query.Outcome }

func (m *model) put(d query.Definition) {
	m.bindings[d.Binding.Name] = d
	if d.Refused == nil && m.known[d.Question] == nil {
		m.known[d.Question] = &knowledge{}
	}
	m.forget()
}

func (m *model) remove(name string) {
	delete(m.bindings, name)
	m.forget()
}

func (m *model) forget() {
	maps.DeleteFunc(m.known, func(q query.Question, _ *knowledge) bool {
		for _, d := range m.bindings {
			if d.Refused == nil && d.Question == q {
				return false
			}
		}
		return true
	})
}

func (m *model) file(o query.Outcome) {
	if k := m.known[o.Question]; k != nil {
		k.outcomes = append(k.outcomes, o)
	}
}

// owner is the oldest binding of a claim's family that claims it.
func (m *model) owner(claim metric.Claim) (owner query.Definition, any bool) {
	for _, d := range m.bindings {
		if d.Claim.Family() != claim.Family() {
			continue
		}
		mine := d.Claim.Object == claim.Object
		if d.Claim.Set() {
			mine = m.world.Matches(claim.Resource, "shop", claim.Object, d.Selector)
		}
		if mine && (!any || younger(owner, d)) {
			owner, any = d, true
		}
	}
	return owner, any
}

func younger(a, b query.Definition) bool {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID)) > 0
}

// answer is what a binding answers about an object: a number, or a reason.
func (m *model) answer(d query.Definition, object string) string {
	if d.Refused != nil {
		return string(d.Refused.Reason)
	}
	outcomes := m.known[d.Question].outcomes
	switch {
	case d.Policy.Suspended:
		return string(metric.Suspended)
	case len(outcomes) == 0:
		return string(metric.Pending)
	}
	var newest *metric.Sample
	var last *metric.Failure
	for _, o := range outcomes {
		sample := o.Reading.Sample
		last = o.Reading.Failure
		if found, ok := o.Objects[object]; d.Question.View.All && last == nil {
			sample, last = found.Sample, found.Failure
			if !ok {
				last = metric.Failf(metric.NoData, "")
			}
		}
		if sample != nil && (newest == nil || sample.Time.After(newest.Time)) {
			newest = sample
		}
	}
	fresh := func(at time.Time) bool { return !m.now.After(at.Add(d.Policy.MaxAge)) }
	switch {
	case newest != nil && fresh(newest.Time):
		return fmt.Sprint(newest.Value)
	case last == nil:
		return string(metric.Stale)
	case last.Reason == metric.NoData && d.Policy.OnNoData != nil && fresh(outcomes[len(outcomes)-1].Reading.Attempted):
		return fmt.Sprint(d.Policy.OnNoData.Value)
	}
	return string(last.Reason)
}

func isNumber(answer string) bool { return answer[0] <= '9' }

func (m *model) serve(claim metric.Claim) string {
	if owner, any := m.owner(claim); any {
		return m.answer(owner, claim.Object)
	}
	// A set that is refused answers for objects that nobody claims: which there are may be unknown.
	var refused query.Definition
	for _, d := range m.bindings {
		if d.Refused != nil && d.Claim.Set() && d.Claim.Family() == claim.Family() && (refused.Refused == nil || younger(refused, d)) {
			refused = d
		}
	}
	if refused.Refused != nil {
		return string(refused.Refused.Reason)
	}
	return "unknown"
}

// list is what a read of all objects gives.
func (m *model) list(of metric.Claim, selector labels.Selector) string {
	candidates := map[string]bool{}
	any := false
	for _, d := range m.bindings {
		if d.Claim.Family() != of.Family() {
			continue
		}
		any = true
		if d.Claim.Set() {
			for _, name := range m.world.Select(of.Resource, "shop") {
				candidates[name] = true
			}
		} else {
			candidates[d.Claim.Object] = true
		}
	}
	if !any {
		return "unknown"
	}
	var items []string
	for _, name := range slices.Sorted(maps.Keys(candidates)) {
		claim := of
		claim.Object = name
		owner, any := m.owner(claim)
		if !any || !(selector.Empty() || m.world.Matches(of.Resource, "shop", name, selector)) {
			continue
		}
		if value := m.answer(owner, name); isNumber(value) {
			items = append(items, name+"="+value)
		}
	}
	if items == nil {
		return "failure"
	}
	return strings.Join(items, " ")
}

// standing is "fresh/matched winner" of a set, and "served winner" of others.
func (m *model) standing(d query.Definition) string {
	if !d.Claim.Set() {
		if owner, _ := m.owner(d.Claim); owner.Binding != d.Binding {
			return "false 0/0 " + owner.Binding.Name
		}
		return fmt.Sprintf("%v 0/0 ", isNumber(m.answer(d, d.Claim.Object)))
	}
	var taker query.Definition
	for _, other := range m.bindings {
		covers := other.Claim.Set() && (other.Claim.Selector == "" || other.Claim.Selector == d.Claim.Selector)
		if covers && other.Claim.Family() == d.Claim.Family() && younger(d, other) && (taker.Binding.Name == "" || younger(taker, other)) {
			taker = other
		}
	}
	if taker.Binding.Name != "" {
		return "false 0/0 " + taker.Binding.Name
	}
	fresh, matched, winner := 0, 0, ""
	if d.Refused == nil {
		for _, name := range m.world.Select(d.Claim.Resource, "shop", d.Selector) {
			claim := d.Claim
			claim.Object, claim.Selector = name, ""
			if owner, _ := m.owner(claim); owner.Binding != d.Binding {
				winner = owner.Binding.Name
				continue
			}
			matched++
			if isNumber(m.answer(d, name)) {
				fresh++
			}
		}
	}
	if matched > 0 {
		winner = ""
	}
	return fmt.Sprintf("%v %d/%d %s", fresh > 0, fresh, matched, winner)
}

// dice are what may happen.
type dice struct{ *rand.Rand }

func pick[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

func (d dice) resource() schema.GroupResource { return pick(d, pods, services) }
func (d dice) object() string                 { return fmt.Sprint("o", d.IntN(5)) }
func (d dice) selector() string {
	return pick(d, "", "", "app=a", "app=b", "app in (a,b)", "app!=a", "tier", "!tier", "app=none")
}

func (d dice) labels() labels.Set {
	set := labels.Set{"app": pick(d, "a", "b", "c")}
	if d.IntN(2) == 0 {
		set["tier"] = "x"
	}
	return set
}

// binding is one of a few names, ages and claims.
func (d dice) binding() query.Definition {
	edits := []func(*query.Definition){claiming(pick(d, "m", "m", "n")), created(time.Duration(d.IntN(4)) * time.Second)}
	resource := d.resource()
	switch d.IntN(5) {
	case 0, 1:
		edits = append(edits, all(resource, d.selector()))
		if d.IntN(3) == 0 {
			edits = append(edits, asking("another"))
		}
	case 2, 3:
		edits = append(edits, of(resource, d.object()), func(x *query.Definition) { x.Question = question(fmt.Sprint(d.IntN(3))) })
	default:
		edits = append(edits, func(x *query.Definition) {
			x.Claim, x.Question = metric.ExternalClaim("shop", x.Claim.Metric), question(fmt.Sprint(d.IntN(3)))
		})
	}
	switch d.IntN(12) {
	case 0:
		edits = append(edits, refused(pick(d, metric.Rejected, metric.Pending)))
	case 1:
		edits = append(edits, func(x *query.Definition) { x.Policy.Suspended = true })
	case 2, 3:
		edits = append(edits, onNoData(77))
	case 4:
		edits = append(edits, func(x *query.Definition) { x.Policy.MaxAge = 10 * time.Minute })
	}
	return define(fmt.Sprint("b", d.IntN(10)), edits...)
}

// outcome is one of a question that somebody may ask.
func (d dice) outcome(b *board) query.Outcome {
	now := b.clk.Now()
	reading := metric.Reading{Asked: now, Attempted: now}
	sample := func() *metric.Sample {
		return b.sample(float64(d.IntN(50)), now.Add(-time.Duration(d.IntN(90))*time.Second))
	}
	q := d.binding().Question
	failed := d.IntN(4) == 0
	if failed {
		reading.Failure = metric.Failf(pick(d, metric.Unavailable, metric.RateLimited), "it failed")
	}
	o := query.Outcome{Question: q, Reading: reading}
	switch {
	case failed:
	case !q.View.All && d.IntN(4) == 0:
		o.Reading.Failure = metric.Failf(metric.NoData, "nothing")
	case !q.View.All:
		o.Reading.Sample = sample()
	default:
		o.Objects = map[string]query.Found{}
		for range d.IntN(6) {
			if d.IntN(5) == 0 {
				o.Objects[d.object()] = query.Found{Failure: metric.Failf(metric.Implausible, "it is NaN")}
			} else {
				o.Objects[d.object()] = query.Found{Sample: sample()}
			}
		}
	}
	return o
}

// TestARegistryAnswersAsTheModelDoes lets anything happen in any order, compares after each step, and reads at the same time.
func TestARegistryAnswersAsTheModelDoes(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			b, d := newBoard(t), dice{rand.New(rand.NewPCG(seed, 7))}
			naive := &model{bindings: map[string]query.Definition{}, known: map[query.Question]*knowledge{}, world: b.world, now: noon}
			done := make(chan struct{})
			var readers sync.WaitGroup
			readers.Go(func() { b.readAll(dice{rand.New(rand.NewPCG(seed, 8))}, done) })
			for step := range 300 {
				b.step(naive, d)
				if b.compare(naive); t.Failed() {
					t.Fatalf("after step %d", step)
				}
			}
			close(done)
			readers.Wait()
		})
	}
}

// step does one thing to the registry and to the model.
func (b *board) step(naive *model, d dice) {
	switch d.IntN(10) {
	case 0, 1, 2:
		definition := d.binding()
		b.Put(definition)
		naive.put(definition)
	case 3:
		definition := d.binding()
		b.Delete(definition.Binding)
		naive.remove(definition.Binding.Name)
	case 4, 5, 6:
		o := d.outcome(b)
		b.File([]query.Outcome{o})
		naive.file(o)
	case 7:
		b.world.put(d.resource(), d.object(), d.labels())
	case 8:
		b.world.remove(d.resource(), d.object())
	case 9:
		b.clk.Step(time.Duration(d.IntN(60)) * time.Second)
		naive.now = b.clk.Now()
	}
}

// compare reads all that can be read.
func (b *board) compare(naive *model) {
	b.t.Helper()
	for _, name := range []string{"m", "n"} {
		for _, resource := range []schema.GroupResource{pods, services} {
			claim := metric.Claim{Namespace: "shop", Resource: resource, Metric: name}
			for _, selector := range []string{"", "app=a", "!tier", "app in (b,c)"} {
				items, failure, known := b.List(claim, parse(selector), nil)
				got := show(items, failure, known)
				if known && failure != nil {
					got = "failure"
				}
				if want := naive.list(claim, parse(selector)); got != want {
					b.t.Errorf("%s/*/%s?%s: got %q, want %q", resource, name, selector, got, want)
				}
			}
			for i := range 6 {
				claim.Object = fmt.Sprint("o", i)
				b.compareOne(naive, claim)
			}
		}
		b.compareOne(naive, metric.ExternalClaim("shop", name))
	}
	for _, d := range naive.bindings {
		s, _ := b.Standing(d.Binding)
		if got, want := fmt.Sprintf("%v %d/%d %s", s.Served, s.Fresh, s.Matched, s.Winner.Name), naive.standing(d); got != want {
			b.t.Errorf("%s stands %q, %v; want %q", d.Binding.Name, got, s.Failure, want)
		}
	}
}

func (b *board) compareOne(naive *model, claim metric.Claim) {
	b.t.Helper()
	got := "unknown"
	if _, sample, failure, known := b.Serve(claim, nil); known && failure != nil {
		got = string(failure.Reason)
	} else if known {
		got = fmt.Sprint(sample.Value)
	}
	if want := naive.serve(claim); got != want {
		b.t.Errorf("%+v: got %s, want %s", claim, got, want)
	}
}

// readAll reads until it is told to stop. The race detector looks on, and every read has exactly one result.
func (b *board) readAll(d dice, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		claim := d.binding().Claim
		items, failure, known := b.List(claim, parse(d.selector()), nil)
		if known == (len(items) == 0 && failure == nil) || failure != nil && len(items) > 0 {
			b.t.Errorf("got %v, %v, %v", items, failure, known)
		}
		if _, sample, failure, known := b.Serve(claim, nil); known != (sample != nil || failure != nil) || sample != nil && failure != nil {
			b.t.Errorf("got %v, %v, %v", sample, failure, known)
		}
		b.Standing(types.NamespacedName{Namespace: "shop", Name: fmt.Sprint("b", d.IntN(10))})
		b.Claims(metric.CustomMetrics)
		b.Count()
		b.Settled()
	}
}
