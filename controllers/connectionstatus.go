package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// Health tells how connections stand.
type Health interface {
	Connection(name string) (registry.Connection, bool)
	// Askers counts the bindings that need a shape and names the first of them.
	Askers(shape query.ShapeID, limit int) (bindings int, first []types.NamespacedName)
}

// ConnectionStatusReconciler shows in a connection's status how its last round ended.
type ConnectionStatusReconciler struct {
	Client   client.Client
	Clock    clock.PassiveClock
	Health   Health
	Leader   Leader
	Events   events.EventRecorder
	Notifier *Notifier
	Writes   *Budget

	// refreshed is when newer figures or words alone were last written. Only Reconcile touches it, which has one worker.
	refreshed map[string]time.Time
}

// +kubebuilder:rbac:groups=autoscaling.sysdigmetrics.dev,resources=sysdigconnections/status,verbs=patch

// SetupWithManager runs the controller on every replica; those that do not lead write nothing.
func (r *ConnectionStatusReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("connection-status").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&v1alpha1.SysdigConnection{}, builder.WithPredicates(predicate.Or(specChanged(), shownChanged()))).
		WatchesRawSource(r.Notifier).
		Complete(r)
}

// Reconcile brings one status up to date.
func (r *ConnectionStatusReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if !r.Leader.Leads() {
		return reconcile.Result{}, nil
	}
	var c v1alpha1.SysdigConnection
	if err := r.Client.Get(ctx, request.NamespacedName, &c); err != nil {
		delete(r.refreshed, request.Name)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	known, ok := r.Health.Connection(c.Name)
	if !ok || known.Generation < c.Generation {
		return reconcile.Result{}, nil // the connection's own reconciler will put it and tell us
	}
	before := c.DeepCopy()
	c.Status.ObservedGeneration = c.Generation
	for _, condition := range connectionConditions(known) {
		condition.Message = shortened(condition.Message, maxMessage)
		condition.ObservedGeneration, condition.LastTransitionTime = c.Generation, metav1.NewTime(r.Clock.Now())
		meta.SetStatusCondition(&c.Status.Conditions, condition)
	}
	c.Status.Requests, c.Status.Queries = showUsage(known.Usage), showQueries(known.Usage.Dearest, r.Health.Askers)
	if equality.Semantic.DeepEqual(before.Status, c.Status) {
		return reconcile.Result{RequeueAfter: refresh}, nil
	}
	if changed(before.Status.Conditions, c.Status.Conditions) {
		if err := r.Writes.Wait(ctx); err != nil {
			return reconcile.Result{}, err
		}
	} else if !r.mayRefresh(c.Name) {
		return reconcile.Result{RequeueAfter: refresh}, nil
	}
	if err := r.Client.Status().Patch(ctx, &c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return retryConflict(client.IgnoreNotFound(err))
	}
	r.send(&c, before.Status.Conditions, failureOf(known))
	return reconcile.Result{RequeueAfter: refresh}, nil
}

// mayRefresh takes a write of newer figures or words, one per refresh and connection if there is room.
func (r *ConnectionStatusReconciler) mayRefresh(name string) bool {
	now := r.Clock.Now()
	if now.Sub(r.refreshed[name]) < refresh || !r.Writes.Spare(Figures) {
		return false
	}
	if r.refreshed == nil {
		r.refreshed = map[string]time.Time{}
	}
	r.refreshed[name] = now
	return true
}

// changed tells whether somebody who watches would see another standing, not just other words.
func changed(before, after []metav1.Condition) bool {
	return len(before) != len(after) || slices.ContainsFunc(after, func(is metav1.Condition) bool {
		was := meta.FindStatusCondition(before, is.Type)
		return was == nil || was.Status != is.Status || was.Reason != is.Reason || was.ObservedGeneration != is.ObservedGeneration
	})
}

// connectionConditions turns what is known of a connection into conditions.
func connectionConditions(c registry.Connection) []metav1.Condition {
	conditions := reachability(c)
	for _, condition := range []*metav1.Condition{credentialCondition(c), quotaCondition(c), plausibility(c), clockCondition(c.Usage), clusterCondition(c)} {
		if condition != nil {
			conditions = append(conditions, *condition)
		}
	}
	return conditions
}

// plausibility tells whether what Sysdig says is believed; nil before anything was asked.
func plausibility(c registry.Connection) *metav1.Condition {
	if c.Attempted.IsZero() {
		return nil
	}
	plausible := &metav1.Condition{
		Type: v1alpha1.ConditionPlausible, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPlausible,
		Message: "what Sysdig says is believed",
	}
	if n := c.Anomaly; n != nil {
		plausible.Status, plausible.Reason = metav1.ConditionFalse, string(metric.Implausible)
		plausible.Message = fmt.Sprintf(
			"the values of %d of %d bindings vanished or became 0 together at %s, which looks like a failure of the monitoring: these bindings answer errors, and HPAs leave the replicas alone; if it stays so, it is believed from %s on (spec.massAnomaly)",
			n.Fallen, n.Fallen+n.Standing, n.Since.UTC().Format(time.TimeOnly), n.Until.UTC().Format(time.TimeOnly))
	}
	return plausible
}

// failureOf is why a connection is not ready; nil when it is, or was not tried.
func failureOf(c registry.Connection) *metric.Failure {
	if c.Refused != nil {
		return c.Refused
	}
	return c.Health
}

// reachability is Accepted and Ready.
func reachability(c registry.Connection) []metav1.Condition {
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, Message: "the spec and its Secret are usable"}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected, Message: "Sysdig answered the last round"}
	failure := failureOf(c)
	switch {
	case c.Refused != nil:
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, string(c.Refused.Reason), c.Refused.Full()
	case c.Attempted.IsZero():
		ready.Status, ready.Reason, ready.Message = metav1.ConditionUnknown, string(metric.Pending), "no binding has asked anything yet"
		return []metav1.Condition{accepted, ready}
	}
	if failure != nil {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, string(failure.Reason), failure.Full()
	}
	return []metav1.Condition{accepted, ready}
}

// send tells of a connection that works or does not any more, of a quota that has begun or ceased to stretch the interval, and of
// values that are not believed or are again, and of clocks that have got out of step or back. Events of what has no namespace are in the
// namespace default, where tenants may read them: they say no more of a failure than bindings do.
func (r *ConnectionStatusReconciler) send(c *v1alpha1.SysdigConnection, before []metav1.Condition, failure *metric.Failure) {
	for _, event := range []struct{ condition, action string }{
		{v1alpha1.ConditionReady, "Connect"}, {v1alpha1.ConditionWithinQuota, "Ask"}, {v1alpha1.ConditionPlausible, "Believe"},
		{v1alpha1.ConditionClockInStep, "CompareClocks"},
	} {
		was, is := meta.FindStatusCondition(before, event.condition), meta.FindStatusCondition(c.Status.Conditions, event.condition)
		switch {
		case is == nil, is.Status == metav1.ConditionUnknown, was != nil && was.Status == is.Status && was.Reason == is.Reason:
			continue
		case was == nil && event.condition != v1alpha1.ConditionReady && is.Status == metav1.ConditionTrue:
			continue // as expected
		}
		kind, message := corev1.EventTypeNormal, is.Message
		if is.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeWarning
		}
		if event.condition == v1alpha1.ConditionReady && failure != nil {
			message = failure.Message
		}
		r.Events.Eventf(c, nil, kind, is.Reason, event.action, "%s", shortened(message, maxMessage))
	}
}
