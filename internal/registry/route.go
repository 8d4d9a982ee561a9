package registry

import (
	"maps"
	"slices"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// SetRoute notes whether HPAs that ask an API group reach this operator: nil, or why not. A change is told to the
// listeners of every binding.
func (r *Registry) SetRoute(api metric.API, notRouted *metric.Failure) {
	r.mu.Lock()
	same := sameRoute(r.routes[api], notRouted)
	r.routes[api] = notRouted
	keys := slices.Collect(maps.Keys(r.entries))
	r.mu.Unlock()
	if !same {
		r.tell(keys)
	}
}

// sameRoute tells whether nobody could see a difference.
func sameRoute(a, b *metric.Failure) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// Route is why HPAs that ask an API group do not reach this operator; nil when they do, and until it is known.
func (r *Registry) Route(api metric.API) *metric.Failure {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.routes[api]
}
