package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// shelf is an API server with one Secret, or none.
type shelf struct {
	client.Reader
	secret  *corev1.Secret
	refuse  error // the next update
	updates int
}

var secrets = schema.GroupResource{Resource: "secrets"}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if s.secret == nil {
		return apierrors.NewNotFound(secrets, key.Name)
	}
	s.secret.DeepCopyInto(into.(*corev1.Secret))
	return nil
}

func (s *shelf) Update(_ context.Context, o client.Object, _ ...client.UpdateOption) error {
	if err := s.refuse; err != nil {
		s.refuse = nil
		return err
	}
	s.secret = o.(*corev1.Secret).DeepCopy()
	s.updates++
	return nil
}

// workshop is an issuer with its Secret.
type workshop struct {
	*testing.T
	shelf  *shelf
	clock  *clocktesting.FakePassiveClock
	issuer *Issuer
	log    bytes.Buffer
}

func newWorkshop(t *testing.T, secret *corev1.Secret) *workshop {
	t.Helper()
	w := &workshop{T: t, shelf: &shelf{secret: secret}, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	w.issuer = &Issuer{
		Secrets: w.shelf, Writer: w.shelf, Clock: w.clock, Secret: types.NamespacedName{Namespace: "sysdig-metrics", Name: "sysdig-metrics-serving-cert"},
		Hosts: []string{"a.sysdig-metrics.svc", "a.sysdig-metrics.svc.cluster.local"},
	}
	return w
}

// work reconciles once and tells when it wants to again.
func (w *workshop) work() time.Duration {
	w.Helper()
	logged := log.IntoContext(w.Context(), funcr.New(func(_, args string) { w.log.WriteString(args + "\n") }, funcr.Options{}))
	result, err := w.issuer.Reconcile(logged, reconcile.Request{})
	if err != nil {
		w.Fatal(err)
	}
	return result.RequeueAfter
}

// issued is the certificate of the Secret, which has to be good for each name now and for the given time.
func (w *workshop) issued(life time.Duration) *x509.Certificate {
	w.Helper()
	pair, err := tls.X509KeyPair(w.shelf.secret.Data["tls.crt"], w.shelf.secret.Data["tls.key"])
	if err != nil {
		w.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.shelf.secret.Data["ca.crt"])
	for _, name := range w.issuer.Hosts {
		for _, at := range []time.Time{w.clock.Now().Add(-30 * time.Minute), w.clock.Now().Add(life)} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: at}); err != nil {
				w.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
	return pair.Leaf
}

// TestACertificateIsIssuedIntoTheSecretThatIsThere, and replaced before its end, with its authority when that is needed.
func TestACertificateIsIssuedIntoTheSecretThatIsThere(t *testing.T) {
	w := newWorkshop(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "platform"}}, Data: map[string][]byte{"more": []byte("x")}})
	if again := w.work(); again != lookEvery {
		t.Errorf("looks again after %s", again)
	}
	first := w.issued(364 * 24 * time.Hour)
	authority := w.shelf.secret.Data["ca.crt"]
	if want := []string{"ca.crt", "ca.key", "more", "tls.crt", "tls.key"}; !slices.Equal(slices.Sorted(maps.Keys(w.shelf.secret.Data)), want) || w.shelf.secret.Labels["team"] != "platform" {
		t.Errorf("the Secret holds %v", slices.Sorted(maps.Keys(w.shelf.secret.Data)))
	}
	w.clock.SetTime(w.clock.Now().Add(274 * 24 * time.Hour))
	if w.work(); w.shelf.updates != 1 {
		t.Error("a certificate is replaced 91 days before its end")
	}
	w.clock.SetTime(w.clock.Now().Add(2 * 24 * time.Hour))
	w.work()
	if second := w.issued(364 * 24 * time.Hour); second.Equal(first) || !bytes.Equal(w.shelf.secret.Data["ca.crt"], authority) {
		t.Error("a certificate that ends in 89 days is not replaced, or its authority is")
	}
	w.clock.SetTime(w.clock.Now().Add(9 * 365 * 24 * time.Hour))
	if w.work(); bytes.Equal(w.shelf.secret.Data["ca.crt"], authority) {
		t.Error("an authority that ends soon is not replaced")
	}
	w.issued(364 * 24 * time.Hour)
}

// TestWhatIsNoCertificateIsReplaced takes a Secret that was emptied, broken or filled by hand.
func TestWhatIsNoCertificateIsReplaced(t *testing.T) {
	whole := newWorkshop(t, &corev1.Secret{})
	whole.work()
	other := newWorkshop(t, &corev1.Secret{})
	other.work()
	for name, test := range map[string]struct {
		change    func(data map[string][]byte)
		authority bool // is replaced as well
	}{
		"all is gone":                  {func(data map[string][]byte) { clear(data) }, true},
		"the certificate is gone":      {func(data map[string][]byte) { delete(data, "tls.crt") }, false},
		"the key is another":           {func(data map[string][]byte) { data["tls.key"] = other.shelf.secret.Data["tls.key"] }, false},
		"the certificate is no PEM":    {func(data map[string][]byte) { data["tls.crt"] = []byte("nonsense") }, false},
		"another authority signed it":  {func(data map[string][]byte) { maps.Copy(data, certificateOf(other.shelf.secret.Data)) }, false},
		"the authority is gone":        {func(data map[string][]byte) { delete(data, "ca.crt") }, true},
		"the authority's key is gone":  {func(data map[string][]byte) { delete(data, "ca.key") }, true},
		"the authority's key is wrong": {func(data map[string][]byte) { data["ca.key"] = other.shelf.secret.Data["ca.key"] }, true},
		"the authority is no PEM":      {func(data map[string][]byte) { data["ca.crt"] = bytes.Repeat([]byte("-"), 1<<20) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := maps.Clone(whole.shelf.secret.Data)
			test.change(data)
			w := newWorkshop(t, &corev1.Secret{Data: data})
			w.work()
			w.issued(364 * 24 * time.Hour)
			if kept := bytes.Equal(w.shelf.secret.Data["ca.crt"], whole.shelf.secret.Data["ca.crt"]); kept == test.authority {
				t.Errorf("the authority is kept: %t", kept)
			}
			if w.work(); w.shelf.updates != 1 {
				t.Errorf("%d updates, want one", w.shelf.updates)
			}
		})
	}
}

func certificateOf(data map[string][]byte) map[string][]byte {
	return map[string][]byte{"tls.crt": data["tls.crt"], "tls.key": data["tls.key"]}
}

// TestASecretThatIsNotThereIsAskedFor, never made, and used when it comes.
func TestASecretThatIsNotThereIsAskedFor(t *testing.T) {
	w := newWorkshop(t, nil)
	again := w.work()
	for what, text := range map[string]string{"the log": w.log.String(), "the probe": w.issuer.Missing(t.Context()).Error()} {
		if !strings.Contains(text, "there is no Secret sysdig-metrics/sysdig-metrics-serving-cert") || !strings.Contains(text, "apply the operator's manifests again") {
			t.Errorf("%s says %q", what, text)
		}
	}
	if again != remindEvery || w.shelf.secret != nil {
		t.Errorf("looks again after %s, with %v", again, w.shelf.secret)
	}
	w.shelf.secret = &corev1.Secret{}
	w.work()
	w.issued(364 * 24 * time.Hour)
	if err := w.issuer.Missing(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTheSecondReplicaLeavesWhatTheFirstIssued, and whoever may not write says so.
func TestTheSecondReplicaLeavesWhatTheFirstIssued(t *testing.T) {
	w := newWorkshop(t, &corev1.Secret{})
	w.shelf.refuse = apierrors.NewConflict(secrets, "sysdig-metrics-serving-cert", errors.New("the object has been modified"))
	if w.work(); w.shelf.updates != 0 {
		t.Error("it has written in spite of the conflict")
	}
	w.shelf.refuse = apierrors.NewForbidden(secrets, "sysdig-metrics-serving-cert", errors.New("no right"))
	if _, err := w.issuer.Reconcile(t.Context(), reconcile.Request{}); err == nil || !strings.Contains(err.Error(), "writing the serving certificate") {
		t.Errorf("without the right to write: %v", err)
	}
}
