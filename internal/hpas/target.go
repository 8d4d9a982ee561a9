package hpas

import (
	"math"
	"math/bits"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	// tolerance is how far, in thousandths, a value may be off its target without an effect: the default of
	// kube-controller-manager's --horizontal-pod-autoscaler-tolerance.
	tolerance = 100
	// never is a limit that no value is above.
	never = math.MaxInt64
)

// target is what an HPA compares a value with. The zero target is none.
type target struct {
	quantity *resource.Quantity
	// perReplica: the value is of all replicas together.
	perReplica bool
}

// objectTarget looks at the type of a target, as the controller does (horizontal.go, computeStatusForObjectMetric).
func objectTarget(t *autoscalingv2.MetricTarget) target {
	switch t.Type {
	case autoscalingv2.ValueMetricType:
		return target{quantity: t.Value}
	case autoscalingv2.AverageValueMetricType:
		return target{quantity: t.AverageValue, perReplica: true}
	default:
		return target{}
	}
}

// externalTarget does not (horizontal.go, computeStatusForExternalMetric).
func externalTarget(t *autoscalingv2.MetricTarget) target {
	if t.AverageValue != nil {
		return target{quantity: t.AverageValue, perReplica: true}
	}
	return target{quantity: t.Value}
}

// above is the value, in thousandths, above which an HPA asks for more replicas than it has. From k8s.io/kubernetes 1.37,
// pkg/controller/podautoscaler/replica_calculator.go:
//
//   - Value (GetObjectMetricReplicas, GetExternalMetricReplicas): value / target is above 1 + tolerance. From then on
//     ceil(ready pods × value / target) is more than the ready pods;
//   - AverageValue (GetObjectPerPodMetricReplicas, GetExternalPerPodMetricReplicas): value / (target × replicas) is, and then
//     ceil(value / target) is more than the replicas;
//   - at 0 replicas (getUsageRatioReplicaCount) any value above 0 asks for at least one, whatever the tolerance.
//
// An HPA does not say how many of its pods are ready: while some are not, what a Value asks for may be fewer than there are, as it
// may with any value that is served.
//
// The replicas are the higher of status.currentReplicas and desiredReplicas, since a change of one may not show in the other yet.
// maxReplicas does not matter: the controller holds there. Before the controller has counted the replicas nothing is known.
func above(hpa *autoscalingv2.HorizontalPodAutoscaler, t target) int64 {
	if t.quantity == nil || t.quantity.Sign() <= 0 || !counted(hpa) {
		return never
	}
	replicas := max(hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas)
	switch {
	case replicas < 0:
		return never
	case replicas == 0:
		return 0
	case !t.perReplica:
		replicas = 1
	}
	whole := times(milli(t.quantity), int64(replicas), 1)
	return times(whole, 1000+max(tolerance, milli(toleranceOf(hpa))), 1000)
}

// counted tells whether the status says how many replicas there are: the controller could read the scale of its target.
func counted(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	for i := range hpa.Status.Conditions {
		if c := &hpa.Status.Conditions[i]; c.Type == autoscalingv2.AbleToScale {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// toleranceOf is that of scaling up; nil when the HPA does not say.
func toleranceOf(hpa *autoscalingv2.HorizontalPodAutoscaler) *resource.Quantity {
	if behavior := hpa.Spec.Behavior; behavior != nil && behavior.ScaleUp != nil {
		return behavior.ScaleUp.Tolerance
	}
	return nil
}

// largest is the largest quantity whose thousandths can be multiplied further.
const largest = math.MaxInt64/1000 - 1

// milli is a quantity in thousandths, rounded up; of none it is 0. What is too large is nearly never.
func milli(q *resource.Quantity) int64 {
	switch {
	case q == nil:
		return 0
	case q.CmpInt64(largest) > 0:
		return largest * 1000
	}
	return q.MilliValue()
}

// times is a × b / divisor, rounded up, and never when that is too large. None of them is negative.
func times(a, b, divisor int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high >= uint64(divisor) {
		return never
	}
	quotient, rest := bits.Div64(high, low, uint64(divisor))
	if rest > 0 && quotient < never {
		quotient++
	}
	return int64(min(quotient, never))
}
