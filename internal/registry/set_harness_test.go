package registry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

func parse(text string) labels.Selector {
	s, err := labels.Parse(text)
	if err != nil {
		panic(err)
	}
	return s
}

// all makes a binding describe all objects of a resource that a selector matches, and ask one question about all pods or all
// Services whatever the selector is.
func all(resource schema.GroupResource, selector string) func(*query.Definition) {
	return func(d *query.Definition) {
		d.Selector = parse(selector)
		d.Claim.Resource, d.Claim.Object, d.Claim.Selector = resource, "", d.Selector.String()
		d.Object.Kind, d.Object.Name = map[string]string{"pods": "Pod", "services": "Service"}[resource.Resource], ""
		d.Question = question("all " + resource.Resource)
		d.Question.View.All = true
	}
}

// of makes a binding describe one object.
func of(resource schema.GroupResource, name string) func(*query.Definition) {
	return func(d *query.Definition) { d.Claim.Resource, d.Claim.Object, d.Object.Name = resource, name, name }
}

func onNoData(value float64) func(*query.Definition) {
	return func(d *query.Definition) {
		d.Policy.OnNoData = &metric.Sample{Value: value, Milli: int64(value * 1000)}
	}
}

func refused(reason metric.Reason) func(*query.Definition) {
	return func(d *query.Definition) {
		d.Refused, d.Question = metric.Failf(reason, "it is refused"), query.Question{}
	}
}

// m is the claim of the metric m of one object, or with an empty name that of all.
func m(resource schema.GroupResource, object string) metric.Claim {
	return metric.Claim{Namespace: "shop", Resource: resource, Object: object, Metric: "m"}
}

// pods makes pods with the label app.
func (b *board) pods(app string, names ...string) {
	for _, name := range names {
		b.world.put(pods, name, labels.Set{"app": app})
	}
}

// found files what Sysdig found of each object, of points of now.
func (b *board) found(q query.Question, values map[string]float64) {
	b.t.Helper()
	b.foundAbout(q, values, b.clk.Now())
}

func (b *board) foundAbout(q query.Question, values map[string]float64, at time.Time) {
	b.t.Helper()
	objects := map[string]query.Found{}
	for name, value := range values {
		objects[name] = query.Found{Sample: b.sample(value, at)}
	}
	b.foundAs(q, objects)
}

func (b *board) foundAs(q query.Question, objects map[string]query.Found) {
	b.File([]query.Outcome{{Question: q, Objects: objects, Reading: metric.Reading{Asked: b.clk.Now(), Attempted: b.clk.Now()}}})
}

// show is a list in one line: its items, or why there are none.
func show(items []metric.Item, failure *metric.Failure, known bool) string {
	if !known {
		return "unknown"
	}
	if failure != nil {
		return string(failure.Reason)
	}
	var parts []string
	for _, item := range items {
		parts = append(parts, fmt.Sprintf("%s=%v", item.Name, item.Sample.Value))
	}
	return strings.Join(parts, " ")
}

// wantList expects what a read of all objects gives: "a=1 b=2", a reason, or "unknown".
func (b *board) wantList(resource schema.GroupResource, selector, want string) {
	b.t.Helper()
	items, failure, known := b.List(m(resource, ""), parse(selector), nil)
	if got := show(items, failure, known); got != want {
		b.t.Errorf("%s with %q: got %s, want %s; %v", resource, selector, got, want, failure)
	}
	if known && failure == nil && len(items) == 0 {
		b.t.Error("an empty list is no answer")
	}
}

func (b *board) wantUnknown(claim metric.Claim) {
	b.t.Helper()
	if _, sample, failure, known := b.Serve(claim, nil); known {
		b.t.Errorf("got %v, %v; want nobody to claim it", sample, failure)
	}
}

// wantStanding expects how a binding stands: "4/5", and the reason if there is one.
func (b *board) wantStanding(d query.Definition, objects string, reason metric.Reason) {
	b.t.Helper()
	s, known := b.Standing(d.Binding)
	if !known {
		b.t.Fatalf("%s is unknown", d.Binding.Name)
	}
	var got metric.Reason
	if s.Failure != nil {
		got = s.Failure.Reason
	}
	if counts := fmt.Sprintf("%d/%d", s.Fresh, s.Matched); counts != objects || got != reason || s.Served != (s.Fresh > 0) {
		b.t.Errorf("%s stands at %s, served %v, %v; want %s and %q", d.Binding.Name, counts, s.Served, s.Failure, objects, reason)
	}
}

func wantText(t *testing.T, failure *metric.Failure, text string) {
	t.Helper()
	if failure == nil || !strings.Contains(failure.Message, text) {
		t.Errorf("got %v, want %q", failure, text)
	}
}
