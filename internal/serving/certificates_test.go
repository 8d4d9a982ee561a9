package serving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// issuer makes certificates as the rotator does.
type issuer struct {
	t         *testing.T
	rotator   rotator.CertRotator
	authority *rotator.KeyPairArtifacts
	now       time.Time
}

func newIssuer(t *testing.T, now time.Time) *issuer {
	t.Helper()
	i := &issuer{t: t, now: now, rotator: rotator.CertRotator{CAName: "sysdig-metrics", DNSName: "localhost", ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}}
	i.renew()
	return i
}

func (i *issuer) renew() {
	i.t.Helper()
	var err error
	if i.authority, err = i.rotator.CreateCACert(i.now.Add(-time.Hour), i.now.Add(10*365*24*time.Hour)); err != nil {
		i.t.Fatal(err)
	}
}

// secret is the Secret with a new certificate.
func (i *issuer) secret() *corev1.Secret {
	i.t.Helper()
	cert, key, err := i.rotator.CreateCertPEM(i.authority, i.now.Add(-time.Hour), i.now.Add(365*24*time.Hour))
	if err != nil {
		i.t.Fatal(err)
	}
	return &corev1.Secret{Data: map[string][]byte{"ca.crt": i.authority.CertPEM, "tls.crt": cert, "tls.key": key}}
}

// held is a reader that has one Secret.
type held struct {
	client.Reader
	secret *corev1.Secret
}

func (h *held) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	h.secret.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

// trusts is what clients trust.
type trusts bool

func (t *trusts) Trusts(context.Context, []byte) (bool, error) { return bool(*t), nil }

func TestACertificateOfANewAuthorityWaitsUntilThatIsTrusted(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock, issued := clocktesting.NewFakeClock(now), newIssuer(t, now)
	secret, trusted := &held{secret: issued.secret()}, new(trusts)
	files := &SecretFiles{Secrets: secret, Clock: clock, Dir: t.TempDir(), Trust: trusted}
	pair := NewKeyPair(files.Dir)
	if _, err := pair.GetCertificate(nil); err == nil {
		t.Error("there is a certificate before there is one")
	}
	// look tells whether the certificate of the Secret is shown after one look.
	look := func() (shown bool, again time.Duration) {
		t.Helper()
		result, err := files.Reconcile(t.Context(), reconcile.Request{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := tls.X509KeyPair(secret.secret.Data["tls.crt"], secret.secret.Data["tls.key"])
		if err != nil {
			t.Fatal(err)
		}
		got, err := pair.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.Equal(want.Leaf), result.RequeueAfter
	}
	if shown, _ := look(); !shown {
		t.Error("the first certificate is not shown at once")
	}
	secret.secret = issued.secret()
	if shown, _ := look(); !shown {
		t.Error("a new certificate of the same authority is not shown at once")
	}
	issued.renew()
	secret.secret = issued.secret()
	if shown, again := look(); shown || again != patience {
		t.Errorf("of an authority that is not trusted: shown %t, looked at again after %s", shown, again)
	}
	*trusted = true
	if shown, again := look(); shown || again != propagation {
		t.Errorf("of one that has just been trusted: shown %t, looked at again after %s", shown, again)
	}
	clock.Step(propagation - time.Second)
	if shown, again := look(); shown || again != time.Second {
		t.Errorf("a second too early: shown %t, looked at again after %s", shown, again)
	}
	clock.Step(time.Second)
	if shown, _ := look(); !shown {
		t.Error("a certificate of a trusted authority is not shown")
	}
	*trusted = false
	issued.renew()
	secret.secret = issued.secret()
	clock.Step(366 * 24 * time.Hour)
	if shown, _ := look(); !shown {
		t.Error("a certificate that has ended is shown for want of trust in the next")
	}
}

func TestAHalfWrittenPairLeavesTheLastOne(t *testing.T) {
	now := time.Now()
	issued := newIssuer(t, now)
	dir := t.TempDir()
	write := func(secret *corev1.Secret, names ...string) {
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), secret.Data[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, second := issued.secret(), issued.secret()
	write(first, KeyFile, CertFile)
	pair := NewKeyPair(dir)
	before, err := pair.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	write(second, CertFile)
	if err := os.Chtimes(filepath.Join(dir, CertFile), now, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := pair.GetCertificate(nil); err != nil || !got.Leaf.Equal(before.Leaf) {
		t.Errorf("half of a pair: %v", err)
	}
	write(second, KeyFile)
	if got, err := pair.GetCertificate(nil); err != nil || got.Leaf.Equal(before.Leaf) {
		t.Errorf("the whole pair is not read: %v", err)
	}
}
