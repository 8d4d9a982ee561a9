package e2e_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tolerance is the relative change that an HPA ignores.
const tolerance = 0.1

// The formulas of the HPA, as the documentation of Kubernetes has them
// (https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details), for pods that are
// all ready.

// byValue is what targets of type Value ask for, of Object and External metrics alike.
func byValue(value, target float64, replicas int32) int32 {
	ratio := value / target
	if ignored(ratio) {
		return replicas
	}
	return int32(math.Ceil(ratio * float64(replicas)))
}

// byAverage is what targets of type AverageValue ask for, of Object and External metrics alike.
func byAverage(total, target float64, replicas int32) int32 {
	if replicas > 0 && ignored(total/(target*float64(replicas))) {
		return replicas
	}
	return int32(math.Ceil(total / target))
}

// byPods is what Pods metrics ask for. A silent pod counts as the target when the HPA shrinks and as 0 when it grows; when
// that turns the direction, the HPA stays.
func byPods(values []float64, silent int, target float64) int32 {
	replicas := float64(len(values) + silent)
	var sum float64
	for _, v := range values {
		sum += v
	}
	ratio := sum / float64(len(values)) / target
	if silent > 0 {
		shrinks := ratio < 1
		if shrinks {
			sum += float64(silent) * target
		}
		ratio = sum / replicas / target
		if shrinks != (ratio < 1) {
			return int32(replicas)
		}
	}
	if ignored(ratio) {
		return int32(replicas)
	}
	return int32(math.Ceil(ratio * replicas))
}

func ignored(ratio float64) bool { return math.Abs(ratio-1) <= tolerance }

// within keeps a proposal within minReplicas and maxReplicas.
func within(lowest, proposal, highest int32) int32 { return max(lowest, min(proposal, highest)) }

// shares are what each of some pods has of a total.
func shares(total float64, pods int32) []float64 {
	all := make([]float64, pods)
	for i := range all {
		all[i] = total / float64(pods)
	}
	return all
}

func value(v string) autoscalingv2.MetricTarget {
	q := resource.MustParse(v)
	return autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &q}
}

func average(v string) autoscalingv2.MetricTarget {
	q := resource.MustParse(v)
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &q}
}

func objectMetric(service, metric string, target autoscalingv2.MetricTarget, selector *metav1.LabelSelector) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: service},
		Metric:          autoscalingv2.MetricIdentifier{Name: metric, Selector: selector},
		Target:          target,
	}}
}

func podsMetric(metric string, target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: metric}, Target: target,
	}}
}

func externalMetric(metric string, target autoscalingv2.MetricTarget, selector *metav1.LabelSelector) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: metric, Selector: selector}, Target: target,
	}}
}

// behavior lets an HPA do what its formula says without limits, once it has said so for up or down seconds. A value per pod
// needs both longer than it takes a new pod to show: interval, ingestion lag and the distance between two points.
func behavior(up, down int32) *autoscalingv2.HorizontalPodAutoscalerBehavior {
	unlimited := []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1000, PeriodSeconds: 1}}
	return &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp:   &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &up, Policies: unlimited},
		ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: &down, Policies: unlimited},
	}
}

// autoscale makes an HPA for a Deployment of the same name.
func (c *scene) autoscale(name string, lowest, highest int32, behavior *autoscalingv2.HorizontalPodAutoscalerBehavior, metrics ...autoscalingv2.MetricSpec) {
	c.t.Helper()
	c.create(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    &lowest, MaxReplicas: highest, Behavior: behavior, Metrics: metrics,
		},
	})
}

// condition is one of an HPA; nil while it has none of the type.
func (c *scene) condition(ctx context.Context, name string, kind autoscalingv2.HorizontalPodAutoscalerConditionType) (*autoscalingv2.HorizontalPodAutoscalerCondition, error) {
	var h autoscalingv2.HorizontalPodAutoscaler
	if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &h); err != nil {
		return nil, err
	}
	for _, condition := range h.Status.Conditions {
		if condition.Type == kind {
			return &condition, nil
		}
	}
	return nil, nil
}

// eventuallyCondition waits until an HPA has a condition with a reason.
func (c *scene) eventuallyCondition(name string, kind autoscalingv2.HorizontalPodAutoscalerConditionType, reason string) {
	c.t.Helper()
	c.eventually("condition of the HPA "+name, func(ctx context.Context) error {
		got, err := c.condition(ctx, name, kind)
		if err == nil && (got == nil || got.Reason != reason) {
			err = fmt.Errorf("%s is %+v, want %s", kind, got, reason)
		}
		return err
	})
}

// moves waits until the replicas are what they should be and makes sure that they go there in one step and stay.
func (c *scene) moves(name string, from, to int32) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("replicas of %s go from %d to %d", name, from, to), func(context.Context) error {
		got := c.replicas(name)
		if got != from && got != to {
			c.t.Fatalf("%s has %d replicas on the way from %d to %d", name, got, from, to)
		}
		if got != to {
			return fmt.Errorf("%d replicas", got)
		}
		return nil
	})
	c.stays(name, to)
}

// looked waits until the HPA controller has looked at the HPA of a Deployment after this moment: it notes which spec it saw last.
// The controller of Kubernetes 1.32 notes nothing.
func (c *scene) looked(deployment string) {
	c.t.Helper()
	if *oldest {
		return
	}
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := c.stage.Client.List(c.t.Context(), &list, client.InNamespace(c.namespace)); err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(h autoscalingv2.HorizontalPodAutoscaler) bool { return h.Spec.ScaleTargetRef.Name == deployment })
	if i < 0 {
		c.t.Fatalf("there is no HPA for %s", deployment)
	}
	h := &list.Items[i]
	patch(c, h, func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MaxReplicas++ }) // which no replicas get to
	written := h.Generation
	c.eventually("a look at the HPA "+h.Name, func(ctx context.Context) error {
		if err := c.stage.Client.Get(ctx, client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		if seen := ptr.Deref(h.Status.ObservedGeneration, 0); seen < written {
			return fmt.Errorf("it has seen generation %d, not %d", seen, written)
		}
		return nil
	})
}

// stays makes sure that two and more looks of the HPA leave the replicas alone.
func (c *scene) stays(name string, replicas int32) {
	c.t.Helper()
	c.alwaysReplicas(12*time.Second, name, replicas, replicas)
}
