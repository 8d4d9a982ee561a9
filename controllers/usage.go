package controllers

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// askedBy is how many bindings a query names.
const askedBy = 3

// quotaCondition tells whether the quota carries the interval; nil before anything was asked.
func quotaCondition(c registry.Connection) *metav1.Condition {
	u := c.Usage
	if u.EffectiveInterval == 0 {
		return nil
	}
	within := &metav1.Condition{
		Type: v1alpha1.ConditionWithinQuota, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonWithinQuota,
		Message: fmt.Sprintf("%d requests a minute are wanted, %d allowed (%s)", u.Wanted, u.Allowed, u.AllowedBy),
	}
	if u.EffectiveInterval > c.Interval {
		within.Status, within.Reason = metav1.ConditionFalse, string(metric.RateLimited)
		within.Message += fmt.Sprintf(
			": every query is asked each %s in place of %s; raise the quota or spec.interval, or let bindings share queries (status.queries shows the most expensive)",
			short(u.EffectiveInterval), short(c.Interval))
	}
	return within
}

// clockCondition tells whether Sysdig's clock and ours agree; nil before Sysdig has told its time.
func clockCondition(u registry.Usage) *metav1.Condition {
	switch {
	case !u.ClockKnown:
		return nil
	case u.ClockSkew == 0:
		return &metav1.Condition{
			Type: v1alpha1.ConditionClockInStep, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonInStep,
			Message: "Sysdig's clock and the operator's agree",
		}
	}
	direction := "ahead of"
	if u.ClockSkew < 0 {
		direction = "behind"
	}
	return &metav1.Condition{
		Type: v1alpha1.ConditionClockInStep, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonClockSkew,
		Message: fmt.Sprintf(
			"Sysdig's clock is %s %s that of the operator's node; the operator corrects for it: it asks about Sysdig's time and turns what it gets into its own. Check NTP on the nodes of the cluster and, of Sysdig on premises, on its hosts",
			short(u.ClockSkew.Abs()), direction),
	}
}

// showUsage is what a connection costs, for its status.
func showUsage(u registry.Usage) *v1alpha1.RequestStatus {
	if u.EffectiveInterval == 0 {
		return nil
	}
	return &v1alpha1.RequestStatus{
		Wanted: int32(u.Wanted), Allowed: int32(u.Allowed), Used: int32(u.Used), Refused: int32(u.Refused), Replicas: int32(u.Replicas),
		EffectiveInterval: short(u.EffectiveInterval), IngestionLag: short(u.IngestionLag),
	}
}

// showQueries are the most expensive shapes and who needs them.
func showQueries(costs []registry.Cost, askers func(query.ShapeID, int) (int, []types.NamespacedName)) []v1alpha1.QueryStatus {
	var shown []v1alpha1.QueryStatus
	for _, cost := range costs {
		bindings, first := askers(cost.Shape, askedBy)
		if bindings == 0 {
			continue // it was asked when the figures were made, and is not any more
		}
		one := v1alpha1.QueryStatus{
			Name: shortened(cost.Shape.Value().String(), maxShownTarget), RequestsPerRound: int32(cost.Requests), Series: int32(cost.Rows), Bindings: int32(bindings), State: cost.State,
		}
		for _, binding := range first {
			one.AskedBy = append(one.AskedBy, binding.String())
		}
		shown = append(shown, one)
	}
	return shown
}

// short writes a duration as people do: 30s, 2m, 1m30s.
func short(d time.Duration) string {
	text := d.String()
	if whole, ok := strings.CutSuffix(text, "m0s"); ok {
		text = whole + "m"
	}
	if whole, ok := strings.CutSuffix(text, "h0m"); ok {
		text = whole + "h"
	}
	return text
}
