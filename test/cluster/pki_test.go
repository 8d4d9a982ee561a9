package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func parse(t *testing.T, pair keyPair) *x509.Certificate {
	t.Helper()
	loaded, err := tls.X509KeyPair(pair.cert, pair.key)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Leaf
}

func TestAuthorityIssuesVerifiableCertificates(t *testing.T) {
	now := time.Date(2031, 5, 4, 3, 2, 1, 0, time.UTC)
	ca, err := newAuthority("ca", now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority("other", now)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.serving("server", []string{"svc.ns.svc"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.client("jane", "developers", "testers")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	verify := func(pair keyPair, name string, at time.Time, usage x509.ExtKeyUsage) error {
		_, err := parse(t, pair).Verify(x509.VerifyOptions{
			DNSName: name, Roots: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
		})
		return err
	}

	for _, name := range []string{"localhost", "127.0.0.1", "svc.ns.svc"} {
		if err := verify(serving, name, now, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("serving certificate as %s: %v", name, err)
		}
	}
	if err := verify(client, "", now.Add(23*time.Hour), x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("client certificate after 23 h: %v", err)
	}
	if err := verify(client, "", now, x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("a client certificate passes for a server's")
	}
	if err := verify(serving, "example.com", now, x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("a serving certificate passes for another host")
	}
	var invalid x509.CertificateInvalidError
	if err := verify(serving, "localhost", now.Add(25*time.Hour), x509.ExtKeyUsageServerAuth); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("serving certificate after 25 h: %v, want expired", err)
	}
	if err := parse(t, client).CheckSignatureFrom(other.cert); err == nil {
		t.Error("another authority's certificate verifies the signature")
	}
	subject := parse(t, client).Subject
	if subject.CommonName != "jane" || !slices.Equal(slices.Sorted(slices.Values(subject.Organization)), []string{"developers", "testers"}) {
		t.Errorf("client subject is %s", subject)
	}
}

func TestNewPKIKeepsKeysPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	p, err := newPKI(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca", "front-proxy-ca", "kube-apiserver", "component", "front-proxy", "service-account"} {
		info, err := os.Stat(p.keyFile(name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", p.keyFile(name), info.Mode().Perm())
		}
	}
	for _, name := range []string{"ca", "front-proxy-ca", "kube-apiserver", "component", "front-proxy"} {
		if _, err := tls.LoadX509KeyPair(p.certFile(name), p.keyFile(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
