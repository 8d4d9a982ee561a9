package registry

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// away holds the bindings that were turned away: nothing but what their status shows. It has a lock of its own, which no read of a
// value takes.
type away struct {
	mu       sync.RWMutex
	bindings map[types.NamespacedName]turnedAway
}

// turnedAway is a binding that claims nothing and asks nothing.
type turnedAway struct {
	uid        types.UID
	generation int64
	why        *metric.Failure
}

// put adds a binding.
func (a *away) put(d *query.Definition) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bindings[d.Binding] = turnedAway{d.UID, d.Generation, d.Refused}
}

func (a *away) remove(binding types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.bindings, binding)
}

func (a *away) has(binding types.NamespacedName) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	_, has := a.bindings[binding]
	return has
}

// standing is that of a binding.
func (a *away) standing(binding types.NamespacedName) (s Standing, known bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	one, known := a.bindings[binding]
	if !known {
		return Standing{}, false
	}
	return Standing{
		Definition: query.Definition{Binding: binding, UID: one.uid, Generation: one.generation, Refused: one.why}, Failure: one.why,
	}, true
}

func (a *away) keys() []types.NamespacedName {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Collect(maps.Keys(a.bindings))
}

// count adds bindings to counts by reason.
func (a *away) count(into map[metric.Reason]int) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, one := range a.bindings {
		into[one.why.Reason]++
	}
}

// turnAway holds a binding that claims nothing and asks nothing, and drops what was held of it before.
func (r *Registry) turnAway(d *query.Definition) {
	r.away.put(d)
	r.mu.RLock()
	entered := r.entries[d.Binding] != nil
	r.mu.RUnlock()
	if entered {
		r.leave(d.Binding)
	}
	r.tell([]types.NamespacedName{d.Binding})
}
