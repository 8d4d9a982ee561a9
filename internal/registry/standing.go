package registry

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Standing is how a binding stands: what a status shows.
type Standing struct {
	Definition query.Definition
	// Winner is the binding that serves this one's claim, when it is not this one.
	Winner types.NamespacedName
	// Sample is what is served now; nil when nothing is.
	Sample *metric.Sample
	// Failure is why nothing is served; when something is, why the last attempt failed all the same.
	Failure *metric.Failure
	// Until is when the standing may change without a new answer; zero when it won't.
	Until time.Time
}

// outline is what a standing is to somebody who watches: two with the same outline differ in values only.
type outline struct {
	served bool
	reason metric.Reason // empty when all is well
	winner types.NamespacedName
}

func (s Standing) outline() outline {
	o := outline{served: s.Sample != nil, winner: s.Winner}
	if s.Failure != nil {
		o.reason = s.Failure.Reason
	}
	return o
}

// Standing returns how a binding stands now. known is false for a binding that was never put.
func (r *Registry) Standing(binding types.NamespacedName) (standing Standing, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.entries[binding]
	if e == nil {
		return Standing{}, false
	}
	return r.standing(e, r.clock.Now()), true
}

func (r *Registry) standing(e *entry, now time.Time) Standing {
	s := Standing{Definition: e.definition}
	if owners := r.claims[e.definition.Claim]; len(owners) > 0 && owners[0] != e {
		winner := owners[0]
		s.Winner = winner.definition.Binding
		s.Failure = metric.Failf(metric.NameTaken,
			"the older binding %s serves %s for this object; rename one of them with spec.metricName", winner.definition.Binding.Name, e.definition.Claim.Metric)
		return s
	}
	s.Sample, s.Failure = e.judge(now)
	if s.Sample != nil {
		s.Failure = e.reading.Failure
		s.Until = e.definition.Policy.Until(e.reading, now)
	}
	return s
}

// Count is how many bindings have each standing: the reason, or empty for those that are served.
func (r *Registry) Count() map[metric.Reason]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.clock.Now()
	counts := map[metric.Reason]int{}
	for _, e := range r.entries {
		standing := r.standing(e, now)
		if standing.Sample != nil {
			counts[""]++
			continue
		}
		counts[standing.Failure.Reason]++
	}
	return counts
}

// Settled tells whether every binding had one attempt, or cannot be asked.
func (r *Registry) Settled() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.entries {
		if e.definition.Refused == nil && e.reading.Attempted.IsZero() {
			return false
		}
	}
	return true
}
