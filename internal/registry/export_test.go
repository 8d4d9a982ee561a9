package registry

import "github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"

// Remembered is of how many objects something is known that a question about all has found.
func (r *Registry) Remembered(q query.Question) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.answers[q].objects)
}

// Rechecks is how many calls of Recheck are the turn of all sets.
const Rechecks = rechecks
