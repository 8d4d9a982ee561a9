package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// caKey is the key of the certificate authority in the Secret of the serving certificate.
const caKey = "ca.crt"

// ownAPIServices are the names of the APIServices that our manifests hold.
func ownAPIServices() []string {
	return []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"}
}

// APIServiceReconciler keeps the caBundle of our own APIServices in step with the certificate authority of the serving
// certificate. An APIService that points to somebody else's Service is never written.
type APIServiceReconciler struct {
	Client client.Client
	// Service is our own Service.
	Service types.NamespacedName
	// Secret holds the serving certificate and its authority.
	Secret types.NamespacedName
}

// What only who issues certificates may write is in config/rbac/certificate_roles.yaml, apart, since cert-manager takes its place.
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=list;watch

// SetupWithManager watches the APIServices and the Secret on every replica: a patch that changes nothing is not sent.
func (r *APIServiceReconciler) SetupWithManager(mgr ctrl.Manager) error {
	named := predicate.NewPredicateFuncs(func(o client.Object) bool { return slices.Contains(ownAPIServices(), o.GetName()) })
	own := predicate.NewPredicateFuncs(func(o client.Object) bool { return client.ObjectKeyFromObject(o) == r.Secret })
	return ctrl.NewControllerManagedBy(mgr).
		Named("apiservice").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&apiregistrationv1.APIService{}, builder.WithPredicates(named)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(all), builder.WithPredicates(own)).
		Complete(r)
}

func all(context.Context, client.Object) (requests []reconcile.Request) {
	for _, name := range ownAPIServices() {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return requests
}

// Reconcile brings one caBundle up to date.
func (r *APIServiceReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var service apiregistrationv1.APIService
	if err := r.Client.Get(ctx, request.NamespacedName, &service); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !pointsTo(&service, r.Service) {
		return reconcile.Result{}, nil // another adapter's: RouteReconciler tells of it
	}
	var secret corev1.Secret
	if err := r.Client.Get(ctx, r.Secret, &secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	authority := secret.Data[caKey]
	if len(authority) == 0 || bytes.Equal(authority, service.Spec.CABundle) {
		return reconcile.Result{}, nil
	}
	before := service.DeepCopy()
	service.Spec.CABundle = authority
	// The optimistic lock makes sure that it is still ours.
	if err := r.Client.Patch(ctx, &service, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing the caBundle: %w", err)
	}
	return reconcile.Result{}, nil
}
