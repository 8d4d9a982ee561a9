// Package hpasim is a model of what the HPA controller computes: from readings of metrics to replicas. It follows
// k8s.io/kubernetes 1.37, pkg/controller/podautoscaler (horizontal.go and replica_calculator.go), for HPAs without spec.behavior, with
// pods that come and go at once. Resource metrics are left out, and so are pods that are Pending or being deleted.
package hpasim

import (
	"math"
	"slices"
	"time"
)

// Defaults of kube-controller-manager.
const (
	// Tolerance is --horizontal-pod-autoscaler-tolerance.
	Tolerance = 0.1
	// Window is --horizontal-pod-autoscaler-downscale-stabilization.
	Window = 5 * time.Minute
)

// Kind is how a metric is compared with its target.
type Kind int

// Kinds.
const (
	// Value is that of Object and External metrics of type Value.
	Value Kind = iota
	// AverageValue is that of Object and External metrics of type AverageValue.
	AverageValue
	// Pods is that of Pods metrics.
	Pods
)

// Metric is a metric of an HPA and its target in thousandths, which is above 0.
type Metric struct {
	Kind   Kind
	Target int64
}

// Reading is what a metric gives at one sync.
type Reading struct {
	// Milli is the value in thousandths; of Pods it is not looked at.
	Milli int64
	// Pods are the values, in thousandths, of the pods that have one. No more count than there are replicas; the others are missing.
	Pods []int64
	// Failed: the metric answers an error.
	Failed bool
}

// HPA is an autoscaler and the workload that it scales.
type HPA struct {
	Min, Max int32
	Metrics  []Metric
	// Replicas is what the workload has: its scale's spec and status.
	Replicas int32
	// Unready is how many of the pods run and are not ready. It matters for Value only.
	Unready int32

	recommended []recommendation // since the window began
	slept       bool             // the condition ScaledToZero
}

// recommendation is what one sync asked for before it was stabilized and limited.
type recommendation struct {
	at       time.Time
	replicas int32
}

// Sync is one look at the metrics, in their order, and changes Replicas to what it returns (reconcileAutoscaler). A sync in error
// changes nothing and leaves no recommendation.
func (h *HPA) Sync(now time.Time, readings []Reading) int32 {
	if h.recommended == nil { // recordInitialRecommendation
		h.recommended = []recommendation{{now, h.Replicas}}
	}
	switch {
	case h.Replicas == 0 && !h.wakes():
		return 0
	case h.Replicas > h.Max:
		return h.scale(h.Max)
	case h.Replicas != 0 && h.Replicas < h.Min:
		return h.scale(h.Min)
	}
	desired, ok := h.propose(readings)
	if !ok {
		return h.Replicas
	}
	return h.scale(h.limit(h.stabilize(now, desired)))
}

// wakes tells whether metrics are looked at although there is no replica (shouldComputeMetricsForZeroReplicas): the HPA has gone to
// zero itself.
func (h *HPA) wakes() bool { return h.slept && (h.Min != 0 || h.measuresFromOutside()) }

// measuresFromOutside tells whether there are Object or External metrics (hasObjectOrExternalMetrics).
func (h *HPA) measuresFromOutside() bool {
	return slices.ContainsFunc(h.Metrics, func(m Metric) bool { return m.Kind != Pods })
}

func (h *HPA) scale(to int32) int32 {
	if to != h.Replicas {
		h.slept = h.Replicas > 0 && to == 0 && h.Min == 0 && h.measuresFromOutside()
	}
	h.Replicas = to
	return to
}

// propose is the highest proposal of all metrics (computeReplicasForMetrics). It is not ok when all are in error, or any is and the
// others would scale down.
func (h *HPA) propose(readings []Reading) (desired int32, ok bool) {
	failed := 0
	for i, m := range h.Metrics {
		proposal, ok := h.proposal(m, readings[i])
		if !ok {
			failed++
			continue
		}
		desired = max(desired, proposal)
	}
	return desired, failed < len(h.Metrics) && (failed == 0 || desired >= h.Replicas)
}

func (h *HPA) proposal(m Metric, r Reading) (int32, bool) {
	switch {
	case r.Failed:
		return 0, false
	case m.Kind == Value:
		return h.byValue(float64(r.Milli) / float64(m.Target)), true
	case m.Kind == AverageValue:
		return h.byAverage(r.Milli, m.Target), true
	default:
		return h.byPods(r.Pods, m.Target)
	}
}

// byValue scales the ready pods (GetObjectMetricReplicas, GetExternalMetricReplicas, getUsageRatioReplicaCount).
func (h *HPA) byValue(ratio float64) int32 {
	switch {
	case h.Replicas == 0:
		return ceil(ratio)
	case within(ratio):
		return h.Replicas
	default:
		return ceil(ratio * float64(max(h.Replicas-h.Unready, 0)))
	}
}

// byAverage divides the value (GetObjectPerPodMetricReplicas, GetExternalPerPodMetricReplicas).
func (h *HPA) byAverage(milli, target int64) int32 {
	if within(float64(milli) / (float64(target) * float64(h.Replicas))) {
		return h.Replicas
	}
	return ceil(float64(milli) / float64(target))
}

// byPods averages the pods (GetMetricReplicas, calcPlainMetricReplicas). Pods without a value count as the target when those with
// one ask for fewer, and as 0 when they ask for more; if that turns the direction, nothing happens.
func (h *HPA) byPods(values []int64, target int64) (int32, bool) {
	values = values[:min(len(values), int(h.Replicas))]
	if len(values) == 0 {
		return 0, false
	}
	first := ratio(values, target)
	if len(values) == int(h.Replicas) {
		if within(first) {
			return h.Replicas, true
		}
		return ceil(first * float64(len(values))), true
	}
	filled := slices.Clone(values)
	for len(filled) < int(h.Replicas) && first != 1 {
		assumed := int64(0)
		if first < 1 {
			assumed = target
		}
		filled = append(filled, assumed)
	}
	second := ratio(filled, target)
	if within(second) || first < 1 && second > 1 || first > 1 && second < 1 {
		return h.Replicas, true
	}
	desired := ceil(second * float64(len(filled)))
	if second < 1 && desired > h.Replicas || second > 1 && desired < h.Replicas {
		return h.Replicas, true
	}
	return desired, true
}

// ratio is that of the mean, in whole thousandths, to the target (GetMetricUsageRatio).
func ratio(values []int64, target int64) float64 {
	var total int64
	for _, value := range values {
		total += value
	}
	return float64(total/int64(len(values))) / float64(target)
}

// within tells whether a ratio is too close to 1 to matter (Tolerances.isWithin).
func within(ratio float64) bool { return 1-Tolerance <= ratio && ratio <= 1+Tolerance }

// ceil is bounded: what the controller does with more than int32 differs from metric to metric.
func ceil(replicas float64) int32 {
	return int32(min(math.Ceil(replicas), math.MaxInt32))
}

// stabilize is the highest recommendation of the window, and records this one (stabilizeRecommendation).
func (h *HPA) stabilize(now time.Time, desired int32) int32 {
	begin := now.Add(-Window)
	h.recommended = slices.DeleteFunc(h.recommended, func(r recommendation) bool { return r.at.Before(begin) })
	h.recommended = append(h.recommended, recommendation{now, desired})
	for _, r := range h.recommended {
		desired = max(desired, r.replicas)
	}
	return desired
}

// limit keeps Min and Max, and lets replicas double at most, or grow to 4 (convertDesiredReplicasWithRules, calculateScaleUpLimit).
func (h *HPA) limit(desired int32) int32 {
	fastest := max(2*int64(h.Replicas), 4)
	switch {
	case desired < h.Min:
		return h.Min
	case int64(desired) > min(fastest, int64(h.Max)):
		return int32(min(fastest, int64(h.Max)))
	}
	return desired
}
