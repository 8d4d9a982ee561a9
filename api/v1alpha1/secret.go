package v1alpha1

import corev1 "k8s.io/api/core/v1"

const (
	// SecretTypeToken is the type of the Secrets that connections may name. The operator does not see those of other types.
	SecretTypeToken corev1.SecretType = "sysdigmetrics.dev/token" //nolint:gosec // a type, no credential

	// AnnotationHosts of a Secret lists the hosts that its token may be sent to, separated by commas: exact names or addresses, with a
	// port if it is not 443. With IAM both IBM Cloud's IAM and Monitor have to be in it.
	AnnotationHosts = "sysdigmetrics.dev/hosts"
)
