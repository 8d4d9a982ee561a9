package registry

import (
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Autoscalers tells what the HPAs of the cluster make of a value. It answers from memory and never calls back.
type Autoscalers interface {
	// Exceeds tells whether a value, in thousandths, makes every HPA scale up that reads the claim of an object of a kind; false
	// when none is known to.
	Exceeds(claim metric.Claim, kind string, milli int64) bool
}

// ServeBoundsTo lets lower bounds be served while these HPAs exceed their targets with them. Without, none is ever served.
func (r *Registry) ServeBoundsTo(autoscalers Autoscalers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.autoscalers = autoscalers
}

// bound is the lower bound of one object that may be served in place of a sample, or of the failure when the sample is nil; nil
// when there is none. It is one of all series together.
func (e *entry) bound(object string, series labels.Selector, served *metric.Sample, now time.Time) *metric.Sample {
	if e.refused() != nil || !whole(series) {
		return nil
	}
	return e.definition.Policy.Bound(e.reading(object), served, now)
}

// exceeds tells whether every HPA that reads a claim, of which the entry has a lower bound, scales up on it. HPAs change at any
// time, so it is asked at each read.
func (r *Registry) exceeds(e *entry, claim metric.Claim, bound *metric.Sample) bool {
	return r.autoscalers != nil && r.autoscalers.Exceeds(claim, e.definition.Object.Kind, bound.Milli)
}

// lift notes whether a lower bound is served as things are. A standing goes by that until the next answer: HPAs catch up with a
// bound, and exceed the next one again, at any time, and a condition must not flap with their replicas.
func (r *Registry) lift(e *entry, now time.Time) {
	e.lifted = false
	if e.definition.Claim.Set() || e.answer == nil || e.answer.reading.Floor == nil {
		return
	}
	sample, _ := e.judge("", nil, now)
	bound := e.bound("", nil, sample, now)
	e.lifted = bound != nil && r.exceeds(e, e.definition.Claim, bound)
}

// shown is what a standing says of an entry that is no set: what is served, or why nothing is. bounded tells that it is a lower
// bound, as it was served when the last answer came.
func (e *entry) shown(now time.Time) (sample *metric.Sample, failure *metric.Failure, bounded bool) {
	sample, failure = e.judge("", nil, now)
	if !e.lifted {
		return sample, failure, false
	}
	if bound := e.bound("", nil, sample, now); bound != nil {
		return bound, nil, true
	}
	return sample, failure, false
}
