package controllers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// caKey is the key of the certificate authority in the Secret of the serving certificate.
const caKey = "ca.crt"

// ownAPIServices are the names of the APIServices that our manifests hold.
func ownAPIServices() []string {
	return []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"}
}

// APIServiceReconciler keeps the caBundle of our own APIServices in step with the certificate authority of the serving
// certificate. An authority that is replaced stays in the bundle for a while, until no replica shows a certificate of it. An
// APIService that points to somebody else's Service is never written.
type APIServiceReconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
	// Service is our own Service.
	Service types.NamespacedName
	// Secrets knows the Secret that holds the serving certificate and its authority, and no other.
	Secrets client.Reader
	Secret  types.NamespacedName
}

// What only who issues certificates may write is in config/rbac/certificate_roles.yaml, apart, since cert-manager takes its place.
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=list;watch

// SetupWithManager watches the APIServices and the Secret on every replica: a patch that changes nothing is not sent.
func (r *APIServiceReconciler) SetupWithManager(mgr ctrl.Manager, secrets cache.Cache) error {
	named := predicate.NewPredicateFuncs(func(o client.Object) bool { return slices.Contains(ownAPIServices(), o.GetName()) })
	return ctrl.NewControllerManagedBy(mgr).
		Named("apiservice").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		For(&apiregistrationv1.APIService{}, builder.WithPredicates(named)).
		WatchesRawSource(source.Kind(secrets, &corev1.Secret{}, handler.TypedEnqueueRequestsFromMapFunc(all))).
		Complete(r)
}

func all(context.Context, *corev1.Secret) (requests []reconcile.Request) {
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
	if err := r.Secrets.Get(ctx, r.Secret, &secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	wanted, until := bundle(secret.Data[caKey], service.Spec.CABundle, r.Clock.Now())
	again := reconcile.Result{}
	if !until.IsZero() {
		again.RequeueAfter = until.Sub(r.Clock.Now())
	}
	if len(wanted) == 0 || bytes.Equal(wanted, service.Spec.CABundle) {
		return again, nil
	}
	before := service.DeepCopy()
	service.Spec.CABundle = wanted
	// The optimistic lock makes sure that it is still ours.
	if err := r.Client.Patch(ctx, &service, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing the caBundle: %w", err)
	}
	return again, nil
}

// Trusts tells whether all APIServices that are ours trust an authority, so that certificates of it may be shown.
func (r *APIServiceReconciler) Trusts(ctx context.Context, authority []byte) (bool, error) {
	for _, name := range ownAPIServices() {
		var service apiregistrationv1.APIService
		if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, &service); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("reading the caBundle: %w", err)
		}
		if pointsTo(&service, r.Service) && !bytes.Contains(service.Spec.CABundle, bytes.TrimSpace(authority)) {
			return false, nil
		}
	}
	return true, nil
}

const (
	// overlap is how long after the beginning of an authority the ones before it are trusted, too. The issuer dates an authority
	// back by an hour, so it is one hour; replicas change within a minute.
	overlap = 2 * time.Hour
	// maxAuthorities bounds the bundle, should somebody replace the authority over and over.
	maxAuthorities = 8
)

// bundle is the authority that is in force, and after it those of the present bundle that were before it, until the time that is
// returned; zero when there are none. It is empty when there is no authority.
func bundle(authority, present []byte, now time.Time) (wanted []byte, until time.Time) {
	block, _ := pem.Decode(authority)
	if block == nil {
		return nil, time.Time{}
	}
	current, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, time.Time{}
	}
	kept := 0
	if end := current.NotBefore.Add(overlap); now.Before(end) {
		for b, rest := pem.Decode(present); b != nil; b, rest = pem.Decode(rest) {
			older, err := x509.ParseCertificate(b.Bytes)
			if err != nil || older.Equal(current) || now.After(older.NotAfter) {
				continue
			}
			if kept++; kept < maxAuthorities {
				wanted, until = append(wanted, pem.EncodeToMemory(b)...), end
			}
		}
	}
	return append(pem.EncodeToMemory(block), wanted...), until
}
