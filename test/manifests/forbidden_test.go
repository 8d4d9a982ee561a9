package manifests_test

import (
	"strings"
	"testing"
)

// access is a set of requests: every verb on every resource.
type access struct {
	name      string
	verbs     string
	group     string
	resources string
	namespace string
	object    string
}

const (
	reads   = "get list watch"
	writes  = "create update patch delete deletecollection"
	changes = "update patch delete deletecollection"
	custom  = "custom.metrics.k8s.io"

	external = "external.metrics.k8s.io"
)

// check asks for each request.
func (u user) check(t *testing.T, want bool, table []access) {
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			for verb := range strings.FieldsSeq(test.verbs) {
				for resource := range strings.FieldsSeq(test.resources) {
					got, err := u.may(t.Context(), verb, test.group, resource, test.namespace, test.object)
					if err != nil {
						t.Fatal(err)
					}
					if got != want {
						t.Errorf("%s: %s %s is allowed: %t, want %t", u.name, verb, resource, got, want)
					}
				}
			}
		})
	}
}

func TestTheOperatorMay(t *testing.T) {
	operator.check(t, true, []access{
		{name: "read the token's Secret", verbs: "list watch", resources: "secrets", namespace: namespace},
		{name: "replace its certificate", verbs: "list watch update", resources: "secrets", namespace: namespace, object: "sysdig-metrics-serving-cert"},
		{name: "write the status of its kinds", verbs: "patch", group: group, resources: "sysdigmetricbindings/status sysdigconnections/status", namespace: "default", object: "any"},
		{name: "write the caBundle of v1beta1", verbs: "patch", group: "apiregistration.k8s.io", resources: "apiservices", object: "v1beta1.custom.metrics.k8s.io"},
		{name: "write the caBundle of v1beta2", verbs: "patch", group: "apiregistration.k8s.io", resources: "apiservices", object: "v1beta2.custom.metrics.k8s.io"},
		{name: "write the caBundle of external metrics", verbs: "patch", group: "apiregistration.k8s.io", resources: "apiservices", object: "v1beta1.external.metrics.k8s.io"},
		{name: "ask who a caller is and what it may", verbs: "create", group: "authorization.k8s.io", resources: "subjectaccessreviews"},
		{name: "keep the leases of its replicas", verbs: reads + " create update delete", group: "coordination.k8s.io", resources: "leases", namespace: namespace},
		{name: "watch workloads", verbs: "list watch", group: "apps", resources: "deployments statefulsets daemonsets"},
		{name: "watch autoscalers", verbs: "list watch", group: "autoscaling", resources: "horizontalpodautoscalers"},
		{name: "ask what it may do itself", verbs: "create", group: "authorization.k8s.io", resources: "selfsubjectaccessreviews"},
		{name: "read the front proxy's authority", verbs: reads, resources: "configmaps", namespace: "kube-system", object: "extension-apiserver-authentication"},
	})
}

func TestTheOperatorMayNot(t *testing.T) {
	operator.check(t, false, []access{
		{name: "read Secrets of other namespaces", verbs: reads, resources: "secrets", namespace: "default"},
		{name: "read Secrets of kube-system", verbs: reads, resources: "secrets", namespace: "kube-system"},
		{name: "read Secrets of the cluster", verbs: reads, resources: "secrets"},
		{name: "write Secrets of other namespaces", verbs: writes, resources: "secrets", namespace: "default"},
		{name: "write Secrets of kube-system", verbs: writes, resources: "secrets", namespace: "kube-system"},
		{name: "make Secrets, and with them tokens", verbs: "create", resources: "secrets", namespace: namespace},
		{name: "make the Secret of its certificate", verbs: "create", resources: "secrets", namespace: namespace, object: "sysdig-metrics-serving-cert"},
		{name: "write the token's Secret", verbs: writes, resources: "secrets", namespace: namespace, object: "sysdig-api"},
		{name: "write every Secret of its namespace", verbs: writes, resources: "secrets", namespace: namespace},
		{name: "remove its certificate", verbs: "patch delete deletecollection", resources: "secrets", namespace: namespace, object: "sysdig-metrics-serving-cert"},
		{name: "write bindings and connections", verbs: writes, group: group, resources: "sysdigmetricbindings sysdigconnections", namespace: "default"},
		{name: "write bindings and connections next to it", verbs: writes, group: group, resources: "sysdigmetricbindings sysdigconnections", namespace: namespace},
		{name: "write autoscalers", verbs: writes, group: "autoscaling", resources: "horizontalpodautoscalers horizontalpodautoscalers/status", namespace: "default"},
		{name: "read replica sets", verbs: reads, group: "apps", resources: "replicasets", namespace: "default"},
		{name: "read kinds that no administrator granted", verbs: reads, group: "example.com", resources: "queues"},
		{name: "write workloads", verbs: writes, group: "apps", resources: "deployments statefulsets daemonsets replicasets", namespace: "default"},
		{name: "scale workloads", verbs: "get update patch", group: "apps", resources: "deployments/scale statefulsets/scale replicasets/scale", namespace: "default"},
		{name: "write its own Deployment", verbs: writes, group: "apps", resources: "deployments", namespace: namespace, object: account},
		{name: "write pods, services and namespaces", verbs: writes, resources: "pods services namespaces", namespace: "default"},
		{name: "write pods and services next to it", verbs: writes, resources: "pods services", namespace: namespace},
		{name: "enter pods or read their logs", verbs: "get create", resources: "pods/exec pods/attach pods/portforward pods/proxy pods/log pods/ephemeralcontainers", namespace: "default"},
		{name: "reach services through the API server", verbs: "get create", resources: "services/proxy", namespace: "default"},
		{name: "read or write ConfigMaps", verbs: reads + " " + writes, resources: "configmaps", namespace: namespace},
		{name: "change the front proxy's authority", verbs: changes, resources: "configmaps", namespace: "kube-system", object: "extension-apiserver-authentication"},
		{name: "patch the API for resource metrics", verbs: writes, group: "apiregistration.k8s.io", resources: "apiservices", object: "v1beta1.metrics.k8s.io"},
		{name: "patch another version of external metrics", verbs: writes, group: "apiregistration.k8s.io", resources: "apiservices", object: "v1.external.metrics.k8s.io"},
		{name: "replace or remove its own APIService of external metrics", verbs: "create update delete", group: "apiregistration.k8s.io", resources: "apiservices apiservices/status", object: "v1beta1.external.metrics.k8s.io"},
		{name: "patch every APIService", verbs: writes, group: "apiregistration.k8s.io", resources: "apiservices"},
		{name: "replace or remove its own APIService", verbs: "create update delete", group: "apiregistration.k8s.io", resources: "apiservices apiservices/status", object: "v1beta2.custom.metrics.k8s.io"},
		{name: "touch roles", verbs: reads + " " + writes + " escalate bind", group: "rbac.authorization.k8s.io", resources: "roles clusterroles rolebindings clusterrolebindings", namespace: namespace},
		{name: "impersonate", verbs: "impersonate", resources: "users groups serviceaccounts", namespace: namespace},
		{name: "issue tokens", verbs: "create", resources: "serviceaccounts/token", namespace: namespace, object: account},
		{name: "take part in elections elsewhere", verbs: reads + " " + writes, group: "coordination.k8s.io", resources: "leases", namespace: "kube-system"},
		{name: "patch leases or remove all at once", verbs: "patch deletecollection", group: "coordination.k8s.io", resources: "leases", namespace: namespace},
		{name: "write kinds", verbs: writes, group: "apiextensions.k8s.io", resources: "customresourcedefinitions"},
		{name: "write webhooks", verbs: writes, group: "admissionregistration.k8s.io", resources: "validatingwebhookconfigurations mutatingwebhookconfigurations"},
		{name: "remove events", verbs: "update delete deletecollection", group: "events.k8s.io", resources: "events", namespace: "default"},
		{name: "read metrics through the API server", verbs: reads, group: custom, resources: "services/requests metrics/requests", namespace: "default"},
		{name: "read external metrics through the API server", verbs: reads, group: external, resources: "queue-depth", namespace: "default"},
	})
}
