package registry

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// SetRoute notes whether HPAs that ask an API group reach this operator: nil, or why not. A change is told to the
// listeners of the API group's bindings.
func (r *Registry) SetRoute(api metric.API, notRouted *metric.Failure) {
	r.mu.Lock()
	same := sameRoute(r.routes[api], notRouted)
	r.routes[api] = notRouted
	var keys []types.NamespacedName
	for key, e := range r.entries {
		if !same && e.definition.Claim.API() == api {
			keys = append(keys, key)
		}
	}
	r.mu.Unlock()
	r.tell(keys)
}

// sameRoute tells whether nobody could see a difference.
func sameRoute(a, b *metric.Failure) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// Routed tells whether HPAs that ask an API group reach this operator; false until it is known.
func (r *Registry) Routed(api metric.API) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	notRouted, known := r.routes[api]
	return known && notRouted == nil
}
