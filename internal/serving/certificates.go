package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// caKey is the key of the certificate authority in the Secret of the serving certificate.
const caKey = "ca.crt"

// checkPair is why a directory holds no certificate with its key; nil when it does.
func checkPair(dir string) error {
	_, err := tls.LoadX509KeyPair(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
	return err
}

// propagation is how long a replica goes on with a certificate of the old authority after it has seen that all APIServices trust
// the new one: until all kube-apiservers have seen it, too, which takes them milliseconds when they are well.
const propagation = 10 * time.Second

// patience is how often a replica looks whether the APIServices trust a new authority.
const patience = time.Second

// Trust tells whether clients trust an authority, which is PEM.
type Trust interface {
	Trusts(ctx context.Context, authority []byte) (bool, error)
}

// SecretFiles copies the serving certificate from its Secret into files, where the API server looks for it. A mounted Secret would
// arrive up to two minutes later, and not at all where the process is no pod.
//
// A certificate of a new authority waits until that is trusted, as long as the old certificate is valid.
type SecretFiles struct {
	// Secrets knows that Secret and no other.
	Secrets client.Reader
	Clock   clock.PassiveClock
	Dir     string
	Trust   Trust

	trusted struct { // the new authority, and since when it is known to be trusted
		authority []byte
		since     time.Time
	}
}

// SetupWithManager watches the Secret on every replica.
func (f *SecretFiles) SetupWithManager(mgr ctrl.Manager, secrets cache.Cache) error {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("the certificate directory: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("serving-certificate-files").
		WithOptions(controller.Options{NeedLeaderElection: new(bool)}).
		WatchesRawSource(watchSecret(secrets)).
		Complete(f)
}

// Reconcile writes the files when they differ from the Secret and may be shown.
func (f *SecretFiles) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := f.Secrets.Get(ctx, r.NamespacedName, &secret); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	cert, key, authority := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], secret.Data[caKey]
	if _, err := tls.X509KeyPair(cert, key); err != nil || len(authority) == 0 {
		return reconcile.Result{}, nil // not filled yet, or about to be replaced: the next event brings the rest
	}
	if f.changesAuthority(authority) {
		if wait, err := f.untilTrusted(ctx, authority); err != nil || wait > 0 {
			return reconcile.Result{RequeueAfter: wait}, err
		}
	}
	// The key goes first: whoever reads between the two sees a pair that does not match, and reads again.
	return reconcile.Result{}, errors.Join(
		replaceFile(filepath.Join(f.Dir, KeyFile), key, 0o600),
		replaceFile(filepath.Join(f.Dir, CertFile), cert, 0o644),
	)
}

// changesAuthority tells whether a valid certificate is shown which is not of this authority.
func (f *SecretFiles) changesAuthority(authority []byte) bool {
	shown, err := tls.LoadX509KeyPair(filepath.Join(f.Dir, CertFile), filepath.Join(f.Dir, KeyFile))
	if err != nil || f.Clock.Now().After(shown.Leaf.NotAfter) {
		return false
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	_, err = shown.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: f.Clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err != nil
}

// untilTrusted is how long to wait before the authority may have to be trusted by whoever reads; 0 when it is.
func (f *SecretFiles) untilTrusted(ctx context.Context, authority []byte) (time.Duration, error) {
	trusted, err := f.Trust.Trusts(ctx, authority)
	if err != nil || !trusted {
		f.trusted.authority = nil
		return patience, err
	}
	if now := f.Clock.Now(); !bytes.Equal(f.trusted.authority, authority) {
		f.trusted.authority, f.trusted.since = authority, now
	}
	return max(0, propagation-f.Clock.Since(f.trusted.since)), nil
}

// replaceFile writes a file as a whole or not at all. An equal file is left alone.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return fmt.Errorf("writing the serving certificate: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing the serving certificate: %w", err)
	}
	return nil
}
