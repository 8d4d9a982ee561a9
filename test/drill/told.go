package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// lookEvery is how often the statuses are looked at.
const lookEvery = time.Second

// words are what the conditions of a group's connection and of its first binding say.
type words struct {
	standing            string // types, statuses and reasons
	connection, binding string // as kubectl describe shows them
}

// told is what the operator said of each incident, by the name of its group.
type told struct {
	mu sync.Mutex
	// usual is what was said when the incident began, first when something else was said, and last what was said at its end.
	usual map[string]words
	first map[string]time.Time
	last  map[string]words
}

func newTold() *told {
	return &told{usual: map[string]words{}, first: map[string]time.Time{}, last: map[string]words{}}
}

// listen looks at all groups until the context ends. An error is told once it has lasted: the API server may be busy.
func (t *told) listen(ctx context.Context, s *stage.Stage, groups []*group) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		said, err := hear(ctx, s.Client)
		if err != nil {
			continue // the next look is soon
		}
		for _, g := range groups {
			t.note(g, said[g.name], time.Now())
		}
	}
}

// hear reads all connections and the first binding of each group.
func hear(ctx context.Context, c client.Client) (map[string]words, error) {
	var connections v1alpha1.SysdigConnectionList
	if err := c.List(ctx, &connections); err != nil {
		return nil, err
	}
	var bindings v1alpha1.SysdigMetricBindingList
	if err := c.List(ctx, &bindings, client.MatchingLabels{ours: first}); err != nil {
		return nil, err
	}
	said := map[string]words{}
	for _, o := range connections.Items {
		w := words{}
		for _, condition := range o.Status.Conditions {
			w.standing += fmt.Sprintf("%s=%s %s; ", condition.Type, condition.Status, condition.Reason)
			if condition.Status != "True" || condition.Type == v1alpha1.ConditionReady {
				w.connection += fmt.Sprintf("%s %s: %s. ", condition.Type, condition.Reason, condition.Message)
			}
		}
		said[o.Name] = w
	}
	for _, o := range bindings.Items {
		w := said[o.Namespace]
		if ready := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			w.standing += fmt.Sprintf("%s %s", ready.Status, ready.Reason)
			w.binding = ready.Reason + ": " + ready.Message
		}
		said[o.Namespace] = w
	}
	return said, nil
}

// note compares what is said with what was said before the incident.
func (t *told) note(g *group, said words, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := g.noted()
	switch {
	case m.began.IsZero():
		t.usual[g.name] = said
	case !m.ended.IsZero() && now.After(m.ended):
	case said.standing != t.usual[g.name].standing || degraded(said):
		if _, before := t.first[g.name]; !before {
			t.first[g.name] = now
		}
		t.last[g.name] = said
	}
}

// degraded tells whether a binding is served, but says that something is wrong.
func degraded(w words) bool { return strings.Contains(w.binding, "failed") }

// of is how long after its beginning an incident was told of, and in which words at the end.
func (t *told) of(g *group) (after time.Duration, said words, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.first[g.name]
	return at.Sub(g.noted().began), t.last[g.name], ok
}
