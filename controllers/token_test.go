package controllers

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// tokenSecret is a Secret whose data may be sent to hosts.
func tokenSecret(hosts string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{Type: v1alpha1.SecretTypeToken, Data: map[string][]byte{}}
	s.Annotations = map[string]string{v1alpha1.AnnotationHosts: hosts}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

// canary is a token that must not be seen.
const canary = "canary-token"

// TestATokenIsSentOnlyWhereItsSecretSaysSo takes the side of somebody who writes connections and owns no Secret.
func TestATokenIsSentOnlyWhereItsSecretSaysSo(t *testing.T) {
	const annotate = "kubectl -n sysdig-metrics annotate secret sysdig-api sysdigmetrics.dev/hosts="
	ofType := func(kind corev1.SecretType) *corev1.Secret {
		s := tokenSecret("app.sysdigcloud.com", map[string]string{"token": canary})
		s.Type = kind
		return s
	}
	listing := func(hosts string) *corev1.Secret { return tokenSecret(hosts, map[string]string{"token": canary}) }
	bare := listing("")
	bare.Annotations = nil
	sysdigAlone := []string{"app.sysdigcloud.com"}
	cloud := []string{"eu-de.monitoring.cloud.ibm.com", "iam.cloud.ibm.com"}
	for name, test := range map[string]struct {
		secret *corev1.Secret
		hosts  []string
		fault  sysdig.CredentialFault // empty when it may be sent
		says   string
	}{
		"a Secret that lists the host":       {listing("app.sysdigcloud.com"), sysdigAlone, "", ""},
		"one that lists more":                {listing("us2.app.sysdig.com, App.SysdigCloud.com.:443"), sysdigAlone, "", ""},
		"one for IBM Cloud":                  {listing("iam.cloud.ibm.com,eu-de.monitoring.cloud.ibm.com"), cloud, "", ""},
		"no Secret":                          {&corev1.Secret{}, sysdigAlone, sysdig.CredentialMissing, "there is no Secret sysdig-metrics/sysdig-api of type sysdigmetrics.dev/token"},
		"no Secret, and how to make it":      {&corev1.Secret{}, sysdigAlone, sysdig.CredentialMissing, "kubectl -n sysdig-metrics create secret generic sysdig-api --type=sysdigmetrics.dev/token --from-file=token=./token && " + annotate + "app.sysdigcloud.com"},
		"the Secret of somebody else":        {ofType(corev1.SecretTypeOpaque), sysdigAlone, sysdig.CredentialMissing, "the type of a Secret cannot be changed"},
		"a certificate with its key":         {ofType(corev1.SecretTypeTLS), sysdigAlone, sysdig.CredentialMissing, "there is no Secret"},
		"the token of a ServiceAccount":      {ofType(corev1.SecretTypeServiceAccountToken), sysdigAlone, sysdig.CredentialMissing, "there is no Secret"},
		"no annotation":                      {bare, sysdigAlone, sysdig.CredentialHostNotListed, annotate + "app.sysdigcloud.com"},
		"an annotation without a host":       {listing(" , "), sysdigAlone, sysdig.CredentialHostNotListed, annotate + "app.sysdigcloud.com"},
		"another host":                       {listing("us2.app.sysdig.com"), sysdigAlone, sysdig.CredentialHostNotListed, "does not list app.sysdigcloud.com"},
		"another port":                       {listing("app.sysdigcloud.com:8443"), sysdigAlone, sysdig.CredentialHostNotListed, "does not list app.sysdigcloud.com"},
		"the domain of the host":             {listing("sysdigcloud.com"), sysdigAlone, sysdig.CredentialHostNotListed, "does not list"},
		"a host that only begins like it":    {listing("app.sysdigcloud.com.example.org"), sysdigAlone, sysdig.CredentialHostNotListed, "does not list"},
		"a pattern":                          {listing("*.sysdigcloud.com"), sysdigAlone, sysdig.CredentialHostNotListed, "entry, number 1, that is no host"},
		"an address in place of a host":      {listing("https://app.sysdigcloud.com/"), sysdigAlone, sysdig.CredentialHostNotListed, "that is no host such as"},
		"the token in place of a host":       {listing("Bearer " + canary), sysdigAlone, sysdig.CredentialHostNotListed, "that is no host such as"},
		"more hosts than anybody has":        {listing(strings.Repeat("app.sysdigcloud.com,", 17)), sysdigAlone, sysdig.CredentialHostNotListed, "names more than 16 hosts"},
		"a list that is too long":            {listing("app.sysdigcloud.com" + strings.Repeat(" ", 4096)), sysdigAlone, sysdig.CredentialHostNotListed, "longer than 4096 bytes"},
		"Monitor without IAM":                {listing("eu-de.monitoring.cloud.ibm.com"), cloud, sysdig.CredentialHostNotListed, "does not list iam.cloud.ibm.com"},
		"IAM without Monitor":                {listing("iam.cloud.ibm.com"), cloud, sysdig.CredentialHostNotListed, annotate + "eu-de.monitoring.cloud.ibm.com,iam.cloud.ibm.com"},
		"a Secret without the key":           {tokenSecret("app.sysdigcloud.com", map[string]string{"other": canary}), sysdigAlone, sysdig.CredentialMissing, "no key token in Secret sysdig-metrics/sysdig-api"},
		"a key that is there, and elsewhere": {listing("evil.example.com"), []string{"evil.example.com", "app.sysdigcloud.com"}, sysdig.CredentialHostNotListed, "does not list app.sysdigcloud.com"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := tokenRef{"sysdig-metrics", v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"}}
			token, refused := tokenOf(test.secret, ref, test.hosts)
			if test.fault == "" {
				if refused != nil || token != canary {
					t.Errorf("got %q and %v", token, refused)
				}
				return
			}
			if token != "" || refused == nil {
				t.Fatalf("got %q and %v", token, refused)
			}
			if refused.Reason != metric.Unauthorized || sysdig.FaultOf(refused) != test.fault || !strings.Contains(refused.Message, test.says) || strings.Contains(refused.Message, canary) {
				t.Errorf("refused with %v (%s)", refused, sysdig.FaultOf(refused))
			}
		})
	}
}

// TestARunningClientForgetsATokenThatMayNoLongerBeSent takes away what a Secret allowed, while the connection is in use.
func TestARunningClientForgetsATokenThatMayNoLongerBeSent(t *testing.T) {
	const host = "us2.app.sysdig.com"
	well := tokenSecret(host, map[string]string{"token": "a"})
	c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Spec: v1alpha1.SysdigConnectionSpec{
		Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
		TokenSecretRef: v1alpha1.SecretKeyReference{Name: "sysdig-api", Key: "token"},
	}}
	for name, change := range map[string]func(*corev1.Secret){
		"the Secret is gone":         func(s *corev1.Secret) { *s = corev1.Secret{} },
		"its type is another":        func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"the host is listed no more": func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationHosts) },
		"the key is gone":            func(s *corev1.Secret) { delete(s.Data, "token") },
		"the token is a whole file":  func(s *corev1.Secret) { s.Data["token"] = []byte(strings.Repeat("a", 5000)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := &ConnectionReconciler{Namespace: "sysdig-metrics", UserAgent: "test"}
			running := r.compile(c, well)
			changed := well.DeepCopy()
			change(changed)
			if got := r.compile(c, changed); got.Source != nil || got.Refused == nil || sysdig.FaultOf(got.Refused) == "" {
				t.Errorf("compiled to %+v", got)
			}
			if _, err := running.Source.Query(t.Context(), "x", now); sysdig.FaultOf(err) == "" {
				t.Errorf("a round under way sends the token: %v", err)
			}
			if back := r.compile(c, well); back.Source != running.Source || back.Refused != nil {
				t.Errorf("when all is as before: %v", back.Refused)
			}
		})
	}
}
