package registry

import (
	"reflect"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Remembered is of how many objects something is known that a question about all has found.
func (r *Registry) Remembered(q query.Question) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.answers[q].objects)
}

// Rechecks is how many calls of Recheck are the turn of all sets.
const Rechecks = rechecks

// Held is how many of what the registry holds, by the names of its maps and lists; what is empty is left out.
func (r *Registry) Held() map[string]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	held := map[string]int{}
	of := reflect.ValueOf(r).Elem()
	for i := range of.NumField() {
		if field := of.Field(i); (field.Kind() == reflect.Map || field.Kind() == reflect.Slice) && field.Len() > 0 {
			held[of.Type().Field(i).Name] = field.Len()
		}
	}
	if len(r.away.bindings) > 0 {
		held["away"] = len(r.away.bindings)
	}
	return held
}

// Heights is of how many objects of a question heights are remembered.
func (r *Registry) Heights(q query.Question) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := 0
	for _, of := range r.answers[q].gap.highs {
		n += len(of.objects)
	}
	return n
}

// Bounds of what is remembered of objects.
const (
	MaxSilent  = maxSilent
	MaxHeights = maxHeights
)
