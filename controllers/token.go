package controllers

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// tokenRef is the key of a Secret that a connection names, in the operator's namespace.
type tokenRef struct {
	namespace string
	v1alpha1.SecretKeyReference
}

// tokenOf is the token of a connection that leads to these hosts, or why it may not be used. Whoever writes connections chooses the
// Secret and the hosts, so it is the Secret that has to agree: by its type, and by listing each of the hosts. secret is empty when there
// is none.
func tokenOf(secret *corev1.Secret, ref tokenRef, hosts []string) (string, *metric.Failure) {
	if secret.Type != v1alpha1.SecretTypeToken {
		return "", ref.refuse(sysdig.CredentialMissing, "there is no Secret %s of type %s; make it (the type of a Secret cannot be changed: delete one that has another): %s && %s",
			ref, v1alpha1.SecretTypeToken, ref.create(), ref.annotate(hosts))
	}
	listed, err := sysdig.ParseHosts(secret.Annotations[v1alpha1.AnnotationHosts])
	if err != nil {
		return "", ref.refuse(sysdig.CredentialHostNotListed, "annotation %s of Secret %s %s; write it anew: %s",
			v1alpha1.AnnotationHosts, ref, err, ref.annotate(hosts))
	}
	for _, host := range hosts {
		if !slices.Contains(listed, host) {
			return "", ref.refuse(sysdig.CredentialHostNotListed, "Secret %s does not list %s in its annotation %s, so its token is not sent there; if it belongs there, list it, beside the hosts of other connections: %s",
				ref, host, v1alpha1.AnnotationHosts, ref.annotate(hosts))
		}
	}
	token, ok := secret.Data[ref.Key]
	if !ok {
		return "", ref.refuse(sysdig.CredentialMissing, "there is no key %s in Secret %s; make it, and it is used at once", ref.Key, ref)
	}
	return string(token), nil
}

// digestOf changes with everything of a Secret that tokenOf looks at, and with nothing else: white space around the token is not sent.
func digestOf(secret *corev1.Secret, key string) [sha256.Size]byte {
	token, ok := secret.Data[key]
	text := fmt.Appendf(nil, "%q %q %t ", secret.Type, secret.Annotations[v1alpha1.AnnotationHosts], ok)
	of := fingerprint(token)
	return sha256.Sum256(append(text, of[:]...))
}

func (r tokenRef) refuse(fault sysdig.CredentialFault, format string, args ...any) *metric.Failure {
	f := metric.Failf(metric.Unauthorized, "spec.tokenSecretRef: "+format, args...)
	f.Err = &sysdig.CredentialError{Fault: fault}
	return f
}

// String implements fmt.Stringer.
func (r tokenRef) String() string { return r.namespace + "/" + r.Name }

// create is the command that makes the Secret.
func (r tokenRef) create() string {
	return fmt.Sprintf("kubectl -n %s create secret generic %s --type=%s --from-file=%s=./token", r.namespace, r.Name, v1alpha1.SecretTypeToken, r.Key)
}

// annotate is the command that lists hosts.
func (r tokenRef) annotate(hosts []string) string {
	return fmt.Sprintf("kubectl -n %s annotate secret %s %s=%s --overwrite", r.namespace, r.Name, v1alpha1.AnnotationHosts, strings.Join(hosts, ","))
}
