package manifests_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Nothing that is granted by whichever way contains one of these verbs, but that replicas remove the leases of those that are gone.
func TestTheOperatorHasNoDangerousVerb(t *testing.T) {
	operator := clientOf(t, namespace, account)
	for _, name := range namespaces(t) {
		for resource, verbs := range rules(t, operator, name) {
			for _, verb := range []string{"*", "delete", "deletecollection", "escalate", "bind", "impersonate", "approve", "sign"} {
				if litter := verb == "delete" && resource == "leases.coordination.k8s.io" && name == namespace; verbs[verb] && !litter {
					t.Errorf("the operator may %s %s in %s", verb, resource, name)
				}
			}
		}
	}
}

func namespaces(t *testing.T) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}"))
}

func clientOf(t *testing.T, namespace, name string) kubernetes.Interface {
	t.Helper()
	path, err := testbed.ServiceAccountKubeconfig(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// allowed holds the verbs per resource, written as resource.group/name.
type allowed map[string]map[string]bool

// rules asks the API server what the client's user may do in a namespace.
func rules(t *testing.T, client kubernetes.Interface, namespace string) allowed {
	t.Helper()
	request := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete {
		t.Fatalf("the rules are incomplete: %s", review.Status.EvaluationError)
	}
	result := allowed{}
	for _, rule := range review.Status.ResourceRules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					result.add(resource, group, name, rule.Verbs)
				}
			}
		}
	}
	for _, rule := range review.Status.NonResourceRules {
		for _, path := range rule.NonResourceURLs {
			result.add(path, "", "", rule.Verbs)
		}
	}
	return result
}

func (a allowed) add(resource, group, name string, verbs []string) {
	if group != "" {
		resource += "." + group
	}
	if name != "" {
		resource += " " + name
	}
	if a[resource] == nil {
		a[resource] = map[string]bool{}
	}
	for _, verb := range verbs {
		a[resource][verb] = true
	}
}

// without removes what others may.
func without(a allowed, others ...allowed) allowed {
	result := allowed{}
	for resource, verbs := range a {
		for verb := range verbs {
			if !slices.ContainsFunc(others, func(o allowed) bool { return o[resource][verb] }) {
				result.add(resource, "", "", []string{verb})
			}
		}
	}
	return result
}

// user is whom a SubjectAccessReview is about.
type user struct {
	name   string
	groups []string
}

var operator = user{"system:serviceaccount:" + namespace + ":" + account, []string{
	"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated",
}}

// may asks the API server whether a user may do something. The resource may have a subresource: pods/exec.
func (u user) may(ctx context.Context, verb, group, resource, namespace, name string) (bool, error) {
	resource, subresource, _ := strings.Cut(resource, "/")
	review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: u.name, Groups: u.groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: verb, Group: group, Version: "*", Resource: resource, Subresource: subresource, Namespace: namespace, Name: name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
