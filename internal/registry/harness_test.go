package registry_test

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

const maxAge = 2 * time.Minute

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// board is a registry on a fake clock, with a listener that remembers what it was told.
type board struct {
	*registry.Registry
	t    *testing.T
	clk  *clocktesting.FakeClock
	told []string
}

func newBoard(t *testing.T) *board {
	t.Helper()
	clk := clocktesting.NewFakeClock(noon)
	b := &board{Registry: registry.New(clk), t: t, clk: clk}
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

// question is one of a shape of its own, named by its metric.
func question(name string) query.Question {
	return query.Question{Shape: query.Shape{Scope: query.Scope{Connection: "default"}, Metric: name}, Multiplier: 1}
}

// define is a binding that was created at noon, asks a question named like itself and claims the metric m of Service web.
func define(name string, change ...func(*query.Definition)) query.Definition {
	d := query.Definition{
		Binding: types.NamespacedName{Namespace: "shop", Name: name}, UID: types.UID("uid-" + name), Created: noon,
		Claim:    metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "services"}, Object: "web", Metric: "m"},
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
	sample, failure := metric.NewSample(value, at, b.clk.Now(), time.Minute)
	if failure != nil {
		b.t.Fatal(failure)
	}
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Sample: &sample, Asked: at, Attempted: b.clk.Now()}}})
}

func (b *board) fail(q query.Question, reason metric.Reason) {
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{Failure: metric.Failf(reason, "it failed"), Asked: b.clk.Now(), Attempted: b.clk.Now()}}})
}

func (b *board) wantValue(claim metric.Claim, want float64) {
	b.t.Helper()
	if _, sample, failure, known := b.Serve(claim); !known || failure != nil || sample.Value != want {
		b.t.Errorf("got %v, %v, %v; want %v", sample, failure, known, want)
	}
}

func (b *board) wantReason(claim metric.Claim, want metric.Reason) {
	b.t.Helper()
	if _, sample, failure, known := b.Serve(claim); !known || failure == nil || failure.Reason != want || sample != nil {
		b.t.Errorf("got %v, %v, %v; want %s", sample, failure, known, want)
	}
}

// connectionNamed is a connection whose questions have the scope of question.
func connectionNamed(name string) registry.Connection {
	return registry.Connection{Name: name, Interval: time.Minute, Heartbeat: query.Heartbeat{Scope: query.Scope{Connection: name}}}
}
