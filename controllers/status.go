package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// Standings tells how bindings stand.
type Standings interface {
	Standing(types.NamespacedName) (registry.Standing, bool)
}

// Leader tells whether this replica may write status. Every replica serves; one writes.
type Leader interface {
	Leads() bool
}

// StatusReconciler shows in a binding's status how it stands.
type StatusReconciler struct {
	Client    client.Client
	Clock     clock.PassiveClock
	Standings Standings
	Leader    Leader
	Events    events.EventRecorder
	Notifier  *Notifier
	Writes    *Budget
}

// +kubebuilder:rbac:groups=autoscaling.sysdigmetrics.dev,resources=sysdigmetricbindings/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager runs the controller on every replica; those that do not lead write nothing.
func (r *StatusReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("binding-status").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&v1alpha1.SysdigMetricBinding{}, builder.WithPredicates(predicate.Or(specChanged(), shownChanged()))).
		WatchesRawSource(r.Notifier).
		Complete(r)
}

// shownChanged lets through objects that show another standing than before, whoever wrote that. What came in between our own
// write and its way back into the cache was compared with the status before it, and may have looked like what is shown already.
func shownChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return changed(shown(e.ObjectOld), shown(e.ObjectNew))
	}}
}

// shown is how an object of ours says that it stands.
func shown(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *v1alpha1.SysdigMetricBinding:
		return o.Status.Conditions
	case *v1alpha1.SysdigConnection:
		return o.Status.Conditions
	default:
		return nil
	}
}

// Reconcile writes a status whose standing has changed, in its turn, and other news than figures if there is room. Newer
// figures are left to Refresh: after a restart, or after a change of the leader, every binding comes by here.
func (r *StatusReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	d, err := r.draft(ctx, request.NamespacedName)
	switch {
	case err != nil || d == nil:
		return reconcile.Result{}, err
	case d.urgent:
		if err := r.Writes.Wait(ctx); err != nil {
			return reconcile.Result{}, err
		}
	case d.onlyFigures() || !r.Writes.Spare(Telling):
		return reconcile.Result{}, nil
	}
	return retryConflict(r.write(ctx, d))
}

// Refresh writes whatever is newer in a status if there is room. A change of standing takes its turn in the queue.
func (r *StatusReconciler) Refresh(ctx context.Context, binding types.NamespacedName) error {
	d, err := r.draft(ctx, binding)
	switch {
	case err != nil || d == nil:
		return err
	case d.urgent:
		r.Notifier.Notify(binding)
		return nil
	case !r.Writes.Spare(Figures):
		return nil
	}
	_, err = retryConflict(r.write(ctx, d))
	return err
}

// draft is the status of a binding as it is and as it should be.
type draft struct {
	// before and binding have no spec: a patch is computed from all that they hold, and the API server answers with the rest.
	before, binding *v1alpha1.SysdigMetricBinding
	// urgent: somebody who watches would see another standing.
	urgent bool
}

// onlyFigures tells whether only what was observed is newer.
func (d *draft) onlyFigures() bool {
	status := d.binding.Status
	status.Observed = d.before.Status.Observed
	return equality.Semantic.DeepEqual(status, d.before.Status)
}

// draft drafts a status. It is nil when there is nothing to write, or not by us.
func (r *StatusReconciler) draft(ctx context.Context, binding types.NamespacedName) (*draft, error) {
	if !r.Leader.Leads() {
		return nil, nil
	}
	var b v1alpha1.SysdigMetricBinding
	if err := r.Client.Get(ctx, binding, &b); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	standing, known := r.Standings.Standing(binding)
	if !known || standing.Definition.UID != b.UID || standing.Definition.Generation < b.Generation {
		return nil, nil // the binding's own reconciler will put it and tell us
	}
	status, urgent := decideStatus(&b, standing, r.Clock.Now())
	recall(&b.Status, &status)
	if equality.Semantic.DeepEqual(status, b.Status) {
		return nil, nil
	}
	return &draft{before: statusOf(&b, b.Status), binding: statusOf(&b, status), urgent: urgent}, nil
}

// statusOf is a binding with nothing but a status and what a patch of it needs.
func statusOf(b *v1alpha1.SysdigMetricBinding, status v1alpha1.SysdigMetricBindingStatus) *v1alpha1.SysdigMetricBinding {
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.Name, UID: b.UID, ResourceVersion: b.ResourceVersion}, Status: status,
	}
}

// write writes a draft and tells of it.
func (r *StatusReconciler) write(ctx context.Context, d *draft) error {
	// The optimistic lock keeps a cache that lags behind our own last write from writing, and telling, it all again.
	patch := client.MergeFromWithOptions(d.before, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, d.binding, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.send(d.binding, d.before.Status.Conditions)
	return nil
}

// retryConflict comes back soon when the object has changed under us, without an error in the log.
func retryConflict(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{}, err
}

// decideStatus is what the status should be. urgent: somebody who watches would see another standing, not just a newer
// value or text.
func decideStatus(b *v1alpha1.SysdigMetricBinding, s registry.Standing, now time.Time) (status v1alpha1.SysdigMetricBindingStatus, urgent bool) {
	status = *b.Status.DeepCopy()
	status.ObservedGeneration = b.Generation
	status.MetricName = b.ServedName()
	status.Target = shortened(describe(&s.Definition), maxShownTarget)
	status.Objects = ""
	if s.Definition.Claim.Set() && s.Definition.Refused == nil {
		status.Objects = fmt.Sprintf("%d/%d", s.Fresh, s.Matched)
	}
	status.MetricPath = shortened(s.Definition.Claim.Path("v1beta2"), maxShown)
	status.Query = shortened(s.Definition.Query(), maxShown)
	if b.Status.ObservedGeneration != b.Generation {
		status.Observed = nil // it may be that of another target
	}
	if s.Sample != nil {
		status.Observed = observed(s.Sample, status.Observed)
	}
	for _, c := range conditionsOf(s) {
		c.Message = shortened(c.Message, maxMessage)
		c.ObservedGeneration, c.LastTransitionTime = b.Generation, metav1.NewTime(now.Truncate(time.Second))
		old := meta.FindStatusCondition(status.Conditions, c.Type)
		same := old != nil && old.Status == c.Status && old.Reason == c.Reason && old.ObservedGeneration == c.ObservedGeneration
		if c.Type == v1alpha1.ConditionAccepted { // whose the name is, is in the message
			same = same && old.Message == c.Message
		}
		urgent = urgent || !same
		meta.SetStatusCondition(&status.Conditions, c)
	}
	return status, urgent
}

// Bounds of what a status and an Event say, in bytes. Texts of users flow into them, and a status is an object that everybody lists.
const (
	// maxShown is how much of a query or a path a status shows: what confines a query makes a long one many times as long.
	maxShown = 2048
	// maxShownTarget is how much of a target, or of the name of a query, is shown: selectors and filters may be long.
	maxShownTarget = 512
	// maxMessage is how long a message is. The API server refuses an Event whose note is longer (events.k8s.io/v1).
	maxMessage = 1024
)

// shortened is a text of which longest bytes are shown at most, and says how long it is.
func shortened(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	mark := fmt.Sprintf("… (shortened: all of it has %d bytes)", len(text))
	return strings.ToValidUTF8(text[:longest-len(mark)], "") + mark
}

// observed is what a status shows of a sample, after another one. That a value was measured once outlasts those that are assumed.
func observed(s *metric.Sample, before *v1alpha1.Observed) *v1alpha1.Observed {
	is := &v1alpha1.Observed{
		Value: resource.NewMilliQuantity(s.Milli, resource.DecimalSI).String(), Time: metav1.NewTime(s.Time.Truncate(time.Second)), Assumed: s.Assumed,
	}
	switch {
	case !s.Assumed || before == nil:
	case before.Assumed:
		is.Measured = before.Measured
	default:
		is.Measured = &before.Time
	}
	return is
}

// describe is what a binding's values describe: Service/flask, Pod[app=flask], external.
func describe(d *query.Definition) string {
	switch {
	case d.Claim == (metric.Claim{}): // it was turned away
		return ""
	case d.Claim.External:
		return "external"
	case d.Claim.Set():
		return d.Object.Kind + "[" + d.Claim.Selector + "]"
	default:
		return d.Object.Kind + "/" + d.Object.Name
	}
}

// conditionsOf turns a standing into Accepted and Ready.
func conditionsOf(s registry.Standing) []metav1.Condition {
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, Message: "the binding is asked and served"}
	if refused := s.Definition.Refused; refused != nil {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, string(refused.Reason), refused.Message
	} else if s.Winner.Name != "" {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, string(s.Failure.Reason), s.Failure.Message
	}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonServing, Message: "a fresh value is served"}
	switch {
	case !s.Served:
		ready.Status, ready.Reason = metav1.ConditionFalse, string(s.Failure.Reason)
		ready.Message = s.Failure.Message + "; reads answer an error, so HPAs leave the replicas alone"
	case s.NotRouted != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, string(s.NotRouted.Reason), s.NotRouted.Message
	case s.Definition.Claim.Set():
		ready.Message = fmt.Sprintf("%d of %d objects have a fresh value", s.Fresh, s.Matched)
		if s.Failure != nil {
			ready.Message += "; " + s.Failure.Error()
		}
	case s.Bounded:
		ready.Message = "a lower bound is served while every HPA that reads it scales up on it, and an error otherwise: " + s.Failure.Error()
	case s.Failure != nil && s.Failure.Reason == metric.NoData && s.Definition.Policy.OnNoData != nil:
		ready.Message = "Sysdig holds no data; the value of spec.onNoData follows when the last sample is older than maxAge"
	case s.Failure != nil:
		ready.Message = fmt.Sprintf("the last sample is served until %s, but the newest attempt failed: %s", s.Until.UTC().Format(time.TimeOnly), s.Failure.Error())
	}
	return []metav1.Condition{accepted, ready}
}

// send tells of a change of standing, after the status was written. Pending is on the way to somewhere: no Event.
func (r *StatusReconciler) send(b *v1alpha1.SysdigMetricBinding, before []metav1.Condition) {
	was, is := meta.FindStatusCondition(before, v1alpha1.ConditionReady), meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	if is.Reason == string(metric.Pending) || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return
	}
	kind := corev1.EventTypeNormal
	if is.Status != metav1.ConditionTrue && is.Reason != string(metric.Suspended) {
		kind = corev1.EventTypeWarning
	}
	note := fmt.Sprintf("%s of %s: %s", b.Status.MetricName, b.Status.Target, is.Message)
	r.Events.Eventf(b, nil, kind, is.Reason, "Serve", "%s", shortened(note, maxMessage))
}
