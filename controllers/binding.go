package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// Definitions is where compiled bindings go.
type Definitions interface {
	Put(query.Definition)
	Delete(types.NamespacedName)
	// CatalogueOf is what is known of a connection's Sysdig.
	CatalogueOf(connection string) registry.Catalogue
}

// Kinds watches the kinds of targets.
type Kinds interface {
	// Want watches a kind on behalf of a binding, in place of the one that it wanted before. synced tells whether its objects
	// are known; refused says why they cannot be.
	Want(ctx context.Context, binding types.NamespacedName, kind schema.GroupVersionKind, resource schema.GroupResource) (synced bool, refused *metric.Failure, err error)
	// Release ends what a binding wants.
	Release(binding types.NamespacedName)
}

const (
	// recheck is how often a binding is looked at again whose target or connection cannot be used, and one with a label that only Sysdig
	// can translate: nobody tells us when the CRD of a target is installed, or when the operator may list its kind.
	recheck = time.Minute
	// soon is when a binding whose objects are being listed is looked at again.
	soon = time.Second
)

// byConnection indexes bindings by the connection they name.
const byConnection = "spec.connectionRef.name"

// BindingReconciler keeps the registry's definitions in step with the SysdigMetricBindings.
type BindingReconciler struct {
	Client      client.Reader
	Mapper      meta.RESTMapper
	Definitions Definitions
	Kinds       Kinds
	Clock       clock.PassiveClock
	// Live reads bindings whose long texts the cache does not hold.
	Live client.Reader
	// MaxPerNamespace is how many bindings of a namespace are served, the oldest; 0 for all.
	MaxPerNamespace int

	// Only Reconcile touches these, which has one worker.
	lookup *kindLookup
	// compiled is what the definition of each binding that is in the registry was compiled from. What is refused for its own text was
	// compiled from that alone.
	compiled map[types.NamespacedName]sources
	places   places
	// again looks once more at bindings whose place has changed.
	again Notifier
}

// sources are what a definition is compiled from. From equal ones comes an equal one.
type sources struct {
	binding, connection      types.UID
	generation, connectionAs int64
	resource                 schema.GroupResource
	selector                 string
}

// own are the sources without the connection.
func (s sources) own() sources {
	s.connection, s.connectionAs = "", 0
	return s
}

// +kubebuilder:rbac:groups=autoscaling.sysdigmetrics.dev,resources=sysdigmetricbindings,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=services;namespaces;pods,verbs=list;watch
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets,verbs=list;watch

// SetupWithManager watches bindings and what they depend on, on every replica.
func (r *BindingReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.SysdigMetricBinding{}, byConnection, func(o client.Object) []string {
		return []string{o.(*v1alpha1.SysdigMetricBinding).Spec.ConnectionRef.Name}
	})
	if err != nil {
		return fmt.Errorf("indexing bindings by connection: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("binding").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&v1alpha1.SysdigMetricBinding{}, builder.WithPredicates(specChanged())).
		Watches(&v1alpha1.SysdigConnection{}, handler.EnqueueRequestsFromMapFunc(r.ofConnection), builder.WithPredicates(specChanged())).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.ofService), builder.WithPredicates(selectorChanged())).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(&r.again).
		Complete(r)
}

// specChanged lets through objects that appear, go, have another spec, or were deleted and made again unseen.
func specChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetUID() != e.ObjectNew.GetUID()
	}})
}

// selectorChanged lets through Services that appear, go, or select other pods.
func selectorChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Service)
		after, ok2 := e.ObjectNew.(*corev1.Service)
		return !ok || !ok2 || !labels.Equals(before.Spec.Selector, after.Spec.Selector)
	}}
}

func (r *BindingReconciler) ofConnection(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, func(*v1alpha1.SysdigMetricBinding) bool { return true }, client.MatchingFields{byConnection: o.GetName()})
}

func (r *BindingReconciler) ofService(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, func(b *v1alpha1.SysdigMetricBinding) bool {
		t := b.Spec.Target
		return t != nil && isService(t) && t.Name == o.GetName()
	}, client.InNamespace(o.GetNamespace()))
}

func (r *BindingReconciler) ofNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return r.list(ctx, func(*v1alpha1.SysdigMetricBinding) bool { return true }, client.InNamespace(o.GetName()))
}

func (r *BindingReconciler) list(ctx context.Context, wanted func(*v1alpha1.SysdigMetricBinding) bool, options ...client.ListOption) []reconcile.Request {
	var list v1alpha1.SysdigMetricBindingList
	if err := r.Client.List(ctx, &list, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing bindings failed")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if wanted(&list.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// Reconcile puts one binding into the registry.
func (r *BindingReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var b v1alpha1.SysdigMetricBinding
	if err := r.Client.Get(ctx, request.NamespacedName, &b); err != nil {
		if apierrors.IsNotFound(err) {
			r.Definitions.Delete(request.NamespacedName)
			r.Kinds.Release(request.NamespacedName)
			delete(r.compiled, request.NamespacedName)
			r.lookAgain(r.places.leave(request.NamespacedName))
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading the binding: %w", err)
	}
	full, err := r.place(ctx, &b)
	if err != nil {
		return reconcile.Result{}, err
	}
	if full != nil {
		r.turnAway(&b, full)
		return reconcile.Result{}, nil
	}
	target, refused, err := r.target(ctx, &b)
	if err != nil {
		return reconcile.Result{}, err
	}
	var connection *v1alpha1.SysdigConnection
	if refused == nil {
		if connection, refused, err = r.connection(ctx, &b); err != nil {
			return reconcile.Result{}, err
		}
	}
	if refused != nil {
		return r.refuse(ctx, &b, target, refused)
	}
	return r.define(ctx, &b, connection, target)
}

// place is why a binding has no place among those of its namespace that are served; nil when it has one. What it costs does not
// depend on how many there are, but for the first time.
func (r *BindingReconciler) place(ctx context.Context, b *v1alpha1.SysdigMetricBinding) (*metric.Failure, error) {
	if r.MaxPerNamespace == 0 {
		return nil, nil
	}
	if r.places.bound = r.MaxPerNamespace; r.places.of(b.Namespace) == nil {
		var list v1alpha1.SysdigMetricBindingList
		// They are read only, and copies of many bindings would be what decides how much memory is needed.
		if err := r.Client.List(ctx, &list, client.InNamespace(b.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the bindings of the namespace: %w", err)
		}
		r.places.fill(b.Namespace, list.Items)
	}
	refused, moved := r.places.take(b)
	r.lookAgain(moved)
	return refused, nil
}

func (r *BindingReconciler) lookAgain(bindings []types.NamespacedName) {
	for _, binding := range bindings {
		r.again.Notify(binding)
	}
}

// restore reads the texts of a binding that are too long for the cache. One that is gone, or another one by now, has an event on its
// way.
func (r *BindingReconciler) restore(ctx context.Context, b *v1alpha1.SysdigMetricBinding) error {
	if !isCut(b) {
		return nil
	}
	var list v1alpha1.SysdigMetricBindingList
	if err := r.Live.List(ctx, &list, client.InNamespace(b.Namespace), client.MatchingFields{"metadata.name": b.Name}); err != nil {
		return fmt.Errorf("reading the long texts of the binding: %w", err)
	}
	if len(list.Items) != 1 || list.Items[0].UID != b.UID {
		return errors.New("the binding has just been deleted")
	}
	list.Items[0].DeepCopyInto(b)
	return nil
}

// turnAway holds nothing of a binding without a place but why.
func (r *BindingReconciler) turnAway(b *v1alpha1.SysdigMetricBinding, why *metric.Failure) {
	key := client.ObjectKeyFromObject(b)
	r.Kinds.Release(key)
	delete(r.compiled, key)
	r.Definitions.Put(query.TurnAway(b, why))
}

// refuse puts a binding whose target or connection cannot be used, and requeues it: no event says that a CRD was installed or a right given.
func (r *BindingReconciler) refuse(ctx context.Context, b *v1alpha1.SysdigMetricBinding, target query.Target, why *metric.Failure) (reconcile.Result, error) {
	delete(r.compiled, client.ObjectKeyFromObject(b))
	if err := r.restore(ctx, b); err != nil {
		return reconcile.Result{}, err
	}
	definition := query.Define(b, target.Resource)
	definition.Refused, definition.Final = why, false
	r.Definitions.Put(definition)
	if why.Reason == metric.Pending {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{RequeueAfter: recheck}, nil
}

// define compiles a binding, unless that was done from the same sources before: events of others cost a refused binding nothing. What
// Compile refuses stays so until one of the sources changes, and each of them has events.
func (r *BindingReconciler) define(ctx context.Context, b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection, target query.Target) (reconcile.Result, error) {
	from := sources{
		binding: b.UID, generation: b.Generation, connection: c.UID, connectionAs: c.Generation, resource: target.Resource, selector: target.Selector,
	}
	key := client.ObjectKeyFromObject(b)
	if was, ok := r.compiled[key]; ok && (was == from || was == from.own()) {
		return reconcile.Result{}, nil
	}
	if err := r.restore(ctx, b); err != nil {
		return reconcile.Result{}, err
	}
	told := r.Definitions.CatalogueOf(c.Name)
	target.Metrics, target.Labels = told.Metrics, told.Labels
	definition := query.Compile(b, c, target)
	r.Definitions.Put(definition)
	switch {
	case definition.Final:
		from = from.own()
	case query.Untold(b, c.Spec.API): // Sysdig may not have told the name yet
		delete(r.compiled, key)
		return reconcile.Result{RequeueAfter: recheck}, nil
	}
	if r.compiled == nil {
		r.compiled = map[types.NamespacedName]sources{}
	}
	r.compiled[key] = from
	return reconcile.Result{}, nil
}

// target finds the resource of the target's kind, has it watched for a selector and, for a Service by name, finds which pods
// that selects.
func (r *BindingReconciler) target(ctx context.Context, b *v1alpha1.SysdigMetricBinding) (query.Target, *metric.Failure, error) {
	t := b.Spec.Target
	if t == nil {
		r.Kinds.Release(client.ObjectKeyFromObject(b))
		return query.Target{}, nil, nil
	}
	mapping, refused, err := r.kind(b.Namespace, t)
	if err != nil {
		return query.Target{}, nil, err
	}
	var target query.Target
	if mapping != nil {
		target.Resource = mapping.Resource.GroupResource()
	}
	if refused != nil || t.Selector == nil {
		r.Kinds.Release(client.ObjectKeyFromObject(b)) // one object by name is served whether or not its kind is known
	}
	switch {
	case refused != nil:
		return target, refused, nil
	case t.Selector != nil:
		refused, err = r.watch(ctx, b, mapping)
	case isService(t):
		target.Selector, refused, err = r.selectorOf(ctx, b)
	}
	return target, refused, err
}

// kind looks up the target's kind. The mapping of one that cannot be a target is there too, to claim its name.
func (r *BindingReconciler) kind(namespace string, t *v1alpha1.Target) (*meta.RESTMapping, *metric.Failure, error) {
	gv, err := schema.ParseGroupVersion(t.APIVersion)
	if err != nil {
		return nil, metric.Failf(metric.Rejected, "spec.target.apiVersion: %q is no API version", t.APIVersion), nil
	}
	if r.lookup == nil {
		r.lookup = newKindLookup(r.Mapper, r.Clock)
	}
	mapping, refused, err := r.lookup.find(namespace, gv.WithKind(t.Kind))
	if mapping == nil {
		return nil, refused, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace && mapping.Resource.GroupResource().String() != "namespaces" {
		return mapping, metric.Failf(metric.Rejected, "spec.target: %s is cluster-scoped; a binding describes objects of its own namespace", t.Kind), nil
	}
	return mapping, nil, nil
}

// watch has the target's kind watched, because which objects a selector matches has to be known at every read.
func (r *BindingReconciler) watch(ctx context.Context, b *v1alpha1.SysdigMetricBinding, mapping *meta.RESTMapping) (*metric.Failure, error) {
	synced, refused, err := r.Kinds.Want(ctx, client.ObjectKeyFromObject(b), mapping.GroupVersionKind, mapping.Resource.GroupResource())
	switch {
	case err != nil:
		return nil, fmt.Errorf("watching the kind of the target: %w", err)
	case refused == nil && !synced:
		return metric.Failf(metric.Pending, "the objects of kind %s are being listed", b.Spec.Target.Kind), nil
	}
	return refused, nil
}

// selectorOf reads which pods the Service of the target's name selects.
func (r *BindingReconciler) selectorOf(ctx context.Context, b *v1alpha1.SysdigMetricBinding) (string, *metric.Failure, error) {
	name := b.Spec.Target.Name
	var service corev1.Service
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: b.Namespace, Name: name}, &service); err != nil {
		if apierrors.IsNotFound(err) {
			return "", metric.Failf(metric.Rejected, "spec.target: there is no Service %s in namespace %s; create it or correct the name", name, b.Namespace), nil
		}
		return "", nil, fmt.Errorf("reading the Service: %w", err)
	}
	return labels.Set(service.Spec.Selector).String(), nil, nil
}

func isService(t *v1alpha1.Target) bool { return t.APIVersion == "v1" && t.Kind == "Service" }

// connection finds the connection that the binding's namespace may use. One that it may not use looks like one that is not there: whoever
// may write bindings could find out otherwise which there are.
func (r *BindingReconciler) connection(ctx context.Context, b *v1alpha1.SysdigMetricBinding) (*v1alpha1.SysdigConnection, *metric.Failure, error) {
	name := b.Spec.ConnectionRef.Name
	refused := metric.Failf(metric.Rejected, "spec.connectionRef.name: namespace %s has no SysdigConnection %s to use; correct the name, or ask the platform team to allow it to this namespace", b.Namespace, name)
	var c v1alpha1.SysdigConnection
	if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, &c); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, refused, nil
		}
		return nil, nil, fmt.Errorf("reading the connection: %w", err)
	}
	if c.Spec.AllowedNamespaces.From != v1alpha1.NamespacesFromSelector {
		return &c, nil, nil
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, types.NamespacedName{Name: b.Namespace}, &namespace); err != nil {
		return nil, nil, fmt.Errorf("reading the namespace: %w", err)
	}
	selector, err := metav1.LabelSelectorAsSelector(c.Spec.AllowedNamespaces.Selector.LabelSelector())
	if err != nil || !labelled.Of(&namespace).Selects(selector) {
		return nil, refused, nil
	}
	return &c, nil, nil
}
