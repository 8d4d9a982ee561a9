package registry_test

import (
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

const maxAge = 2 * time.Minute

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

var (
	services = schema.GroupResource{Resource: "services"}
	pods     = schema.GroupResource{Resource: "pods"}
)

// world is a registry.Objects of namespace shop, of what the test says. It is safe for concurrent use.
type world struct {
	mu      sync.RWMutex
	objects map[schema.GroupResource]map[string]labels.Set
}

func newWorld() *world {
	return &world{objects: map[schema.GroupResource]map[string]labels.Set{}}
}

// put makes an object or gives it other labels.
func (w *world) put(resource schema.GroupResource, name string, set labels.Set) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects[resource] == nil {
		w.objects[resource] = map[string]labels.Set{}
	}
	w.objects[resource][name] = set
}

func (w *world) remove(resource schema.GroupResource, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.objects[resource], name)
}

func (w *world) Matches(resource schema.GroupResource, namespace, name string, selector labels.Selector) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	set, ok := w.objects[resource][name]
	return ok && namespace == "shop" && selector.Matches(set)
}

func (w *world) Select(resource schema.GroupResource, namespace string, selectors ...labels.Selector) []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if namespace != "shop" {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(w.objects[resource])) {
		if !slices.ContainsFunc(selectors, func(s labels.Selector) bool { return !s.Matches(w.objects[resource][name]) }) {
			names = append(names, name)
		}
	}
	return names
}

// board is a registry on a fake clock and in a world of its own, with a listener that remembers what it was told.
type board struct {
	*registry.Registry
	t     testing.TB
	clk   *clocktesting.FakeClock
	world *world
	told  []string
	// vague makes samples none that can only be too low.
	vague bool
}

func newBoard(t testing.TB) *board {
	t.Helper()
	clk, world := clocktesting.NewFakeClock(noon), newWorld()
	b := &board{Registry: registry.New(clk, world), t: t, clk: clk, world: world}
	b.Listen(func(key types.NamespacedName) { b.told = append(b.told, key.Name) })
	return b
}

// wantTold expects what the listener was told since the last call, in any order.
func (b *board) wantTold(want ...string) {
	b.t.Helper()
	slices.Sort(b.told)
	if !slices.Equal(b.told, want) {
		b.t.Errorf("told of %q, want %q", b.told, want)
	}
	b.told = nil
}

// open takes numbers as they are.
var open = metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1)}

// question is one of a shape of its own, named by its metric.
func question(name string) query.Question {
	return query.Question{Shape: query.Shape{Scope: query.Scope{Connection: "default"}, Metric: name}.ID(), Measure: open}
}

// reshape edits the shape of a definition's question.
func reshape(d *query.Definition, edit func(*query.Shape)) {
	shape := d.Question.Shape.Value()
	edit(&shape)
	d.Question.Shape = shape.ID()
}

// reshaped is a change of define.
func reshaped(edit func(*query.Shape)) func(*query.Definition) {
	return func(d *query.Definition) { reshape(d, edit) }
}

// define is a binding that was created at noon, asks a question named like itself and claims the metric m of Service web.
func define(name string, change ...func(*query.Definition)) query.Definition {
	d := query.Definition{
		Binding: types.NamespacedName{Namespace: "shop", Name: name}, UID: types.UID("uid-" + name), Created: noon,
		Claim:    metric.Claim{Namespace: "shop", Resource: services, Object: "web", Metric: "m"},
		Object:   metric.Object{Kind: "Service", APIVersion: "v1", NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}},
		Policy:   metric.Policy{MaxAge: maxAge},
		Question: question(name),
	}
	for _, edit := range change {
		edit(&d)
	}
	return d
}

func claiming(name string) func(*query.Definition) {
	return func(d *query.Definition) { d.Claim.Metric = name }
}

func created(after time.Duration) func(*query.Definition) {
	return func(d *query.Definition) { d.Created = noon.Add(after) }
}

// answer files a value whose newest point is of now.
func (b *board) answer(q query.Question, value float64) { b.answerAbout(q, value, b.clk.Now()) }

func (b *board) answerAbout(q query.Question, value float64, at time.Time) {
	b.t.Helper()
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Sample: b.sample(value, at), Asked: at, Attempted: b.clk.Now()}}})
}

// sample is one whose newest point is of a time, and that was received now.
func (b *board) sample(value float64, at time.Time) *metric.Sample {
	b.t.Helper()
	sample, failure := metric.NewSample(open, []metric.Series{{Raw: value}}, false, at, b.clk.Now(), time.Minute)
	if failure != nil {
		b.t.Fatal(failure)
	}
	sample.Least = !b.vague
	return sample
}

func (b *board) fail(q query.Question, reason metric.Reason) {
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Failure: metric.Failf(reason, "it failed"), Asked: b.clk.Now(), Attempted: b.clk.Now()}}})
}

func (b *board) wantValue(claim metric.Claim, want float64) {
	b.t.Helper()
	if _, sample, failure, known := b.Serve(claim, nil); !known || failure != nil || sample.Value != want {
		b.t.Errorf("got %v, %v, %v; want %v", sample, failure, known, want)
	}
}

func (b *board) wantReason(claim metric.Claim, want metric.Reason) {
	b.t.Helper()
	if _, sample, failure, known := b.Serve(claim, nil); !known || failure == nil || failure.Reason != want || sample != nil {
		b.t.Errorf("got %v, %v, %v; want %s", sample, failure, known, want)
	}
}

// connectionNamed is a connection whose questions have the scope of question.
func connectionNamed(name string) registry.Connection {
	return registry.Connection{Name: name, Interval: time.Minute, Heartbeat: query.Heartbeat{Scope: query.Scope{Connection: name}}}
}
