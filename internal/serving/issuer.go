package serving

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	// authorityKey is the key of the authority's private key in the Secret.
	authorityKey = "ca.key"
	// authorityName is the name of the authority, and of its organization.
	authorityName = "sysdig-metrics"

	// authorityLife and certificateLife are how long what is issued is valid, from an hour before on, for clocks that are behind.
	authorityLife, certificateLife, backdated = 10 * 365 * 24 * time.Hour, 365 * 24 * time.Hour, time.Hour
	// renewal is how long before its end something is replaced.
	renewal = 90 * 24 * time.Hour
	// lookEvery is how often somebody looks for what is about to end, and remindEvery how often the log says that there is no Secret.
	lookEvery, remindEvery = 12 * time.Hour, time.Minute
)

// Writer updates an object.
type Writer interface {
	Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error
}

// Issuer keeps a serving certificate in a Secret, with an authority that it makes for it. The Secret comes with the manifests, which hold
// it without data: to make it would take the right to make every Secret of the namespace, and with that tokens of every ServiceAccount.
type Issuer struct {
	// Secrets knows the Secret, Writer updates it.
	Secrets client.Reader
	Writer  Writer
	Clock   clock.PassiveClock
	Secret  types.NamespacedName
	// Hosts are the names that the certificate is for.
	Hosts []string
}

// SetupWithManager watches the Secret on every replica: whoever is second finds the work done.
func (i *Issuer) SetupWithManager(mgr ctrl.Manager, secrets cache.Cache) error {
	// A Secret that is not there brings no event.
	start := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(reconcile.Request{NamespacedName: i.Secret})
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("serving-certificate").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		WatchesRawSource(watchSecret(secrets)).
		WatchesRawSource(start).
		Complete(i)
}

// watchSecret watches what a cache knows of Secrets.
func watchSecret(secrets cache.Cache) source.Source {
	return source.Kind(secrets, &corev1.Secret{}, &handler.TypedEnqueueRequestForObject[*corev1.Secret]{})
}

// Reconcile issues what is missing or about to end.
func (i *Issuer) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	switch err := i.Secrets.Get(ctx, i.Secret, &secret); {
	case apierrors.IsNotFound(err):
		log.FromContext(ctx).Error(i.absent(), "no certificate can be issued")
		return reconcile.Result{RequeueAfter: remindEvery}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading the Secret of the serving certificate: %w", err)
	}
	data, err := i.issue(secret.Data)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("issuing the serving certificate: %w", err)
	}
	if data == nil {
		return reconcile.Result{RequeueAfter: lookEvery}, nil
	}
	secret.Data = data
	switch err := i.Writer.Update(ctx, &secret); {
	case apierrors.IsConflict(err): // another replica was first: the next event brings what it has issued
		return reconcile.Result{RequeueAfter: remindEvery}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("writing the serving certificate: %w", err)
	}
	log.FromContext(ctx).Info("issued a serving certificate")
	return reconcile.Result{RequeueAfter: lookEvery}, nil
}

// Missing is why no certificate can be issued; nil when nothing is known to be in the way.
func (i *Issuer) Missing(ctx context.Context) error {
	if err := i.Secrets.Get(ctx, i.Secret, &corev1.Secret{}); apierrors.IsNotFound(err) {
		return i.absent()
	}
	return nil
}

func (i *Issuer) absent() error {
	return fmt.Errorf("there is no Secret %s for the serving certificate; apply the operator's manifests again, or helm upgrade: they hold it, and the certificate is issued at once", i.Secret)
}

// issue is what the Secret should hold; nil when that is what it holds.
func (i *Issuer) issue(held map[string][]byte) (map[string][]byte, error) {
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	maker := &rotator.CertRotator{
		CAName: authorityName, CAOrganization: authorityName, DNSName: i.Hosts[0], ExtraDNSNames: i.Hosts[1:], ExtKeyUsages: &usages,
	}
	now := i.Clock.Now()
	begin, soon := now.Add(-backdated), now.Add(renewal)
	authority, err := authorityOf(held, soon)
	switch {
	case err != nil:
		if authority, err = maker.CreateCACert(begin, now.Add(authorityLife)); err != nil {
			return nil, err
		}
	case i.covers(held, soon, &usages):
		return nil, nil
	}
	certificate, key, err := maker.CreateCertPEM(authority, begin, now.Add(certificateLife))
	if err != nil {
		return nil, err
	}
	issued := map[string][]byte{}
	maps.Copy(issued, held)
	maps.Copy(issued, map[string][]byte{
		caKey: authority.CertPEM, authorityKey: authority.KeyPEM, corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key,
	})
	return issued, nil
}

// covers tells whether the certificate is valid for our name until a time.
func (i *Issuer) covers(held map[string][]byte, until time.Time, usages *[]x509.ExtKeyUsage) bool {
	valid, err := rotator.ValidCert(held[caKey], held[corev1.TLSCertKey], held[corev1.TLSPrivateKeyKey], i.Hosts[0], usages, until)
	return err == nil && valid
}

// authorityOf is the authority that a Secret holds, if it is valid until a time.
func authorityOf(held map[string][]byte, until time.Time) (*rotator.KeyPairArtifacts, error) {
	cert, key := held[caKey], held[authorityKey]
	if _, err := rotator.ValidCert(cert, cert, key, authorityName, nil, until); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	private, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the authority has a key of another kind")
	}
	return &rotator.KeyPairArtifacts{Cert: pair.Leaf, Key: private, CertPEM: cert, KeyPEM: key}, nil
}
