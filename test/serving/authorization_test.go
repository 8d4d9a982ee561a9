package serving_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	custom   = "custom.metrics.k8s.io"
	external = "external.metrics.k8s.io"

	// memory is how long the delegated authorizer remembers an answer.
	memory = 10 * time.Second

	objects = 400
	workers = 40
)

// object is the path of a metric of the i-th Service, or of the pods or the namespace around it, in either version.
func object(i int) string {
	version := []string{"v1beta1", "v1beta2"}[i%2]
	name := []string{fmt.Sprintf("services/web-%d/requests", i), "pods/%2A/requests-" + fmt.Sprint(i), fmt.Sprintf("metrics/requests-%d", i)}[i%3]
	return fmt.Sprintf("/apis/%s/%s/namespaces/team-%d/%s", custom, version, i%20, name)
}

// queue is the path of an external metric.
func queue(i int) string {
	return fmt.Sprintf("/apis/%s/v1beta1/namespaces/team-%d/queue-%d?labelSelector=shard%%3D%d", external, i%20, i, i)
}

// reader lets a user read all metrics of the cluster.
func reader(t *testing.T, user string) {
	t.Helper()
	grant(t, user, "", []rbacv1.PolicyRule{{APIGroups: []string{custom, external}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}})
}

// flood reads all objects and as many external metrics, many at once and over and over until that is enough, at least once, and
// returns how many were read.
func (s *server) flood(t *testing.T, user, what string, enough func() (bool, string)) (reads int64) {
	t.Helper()
	var read atomic.Int64
	var over atomic.Bool
	group, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		group.Go(func() error {
			for round := 0; round == 0 || !over.Load(); round++ {
				for i := w; i < objects; i += workers {
					if err := s.expect(ctx, user, http.StatusOK, object(i), queue(i)); err != nil {
						return err
					}
					read.Add(2)
				}
			}
			return nil
		})
	}
	defer func() {
		over.Store(true)
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		reads = read.Load()
	}()
	eventually(t, what, func() (bool, string) {
		is, last := enough()
		return is || ctx.Err() != nil, last
	})
	return 0
}

func (s *server) expect(ctx context.Context, user string, want int, paths ...string) error {
	for _, path := range paths {
		status, err := s.ask(ctx, user, path)
		if err != nil {
			return fmt.Errorf("%s reads %s: %w", user, path, err)
		}
		if status != want {
			return fmt.Errorf("%s reads %s: %d, want %d", user, path, status, want)
		}
	}
	return nil
}

// TestABroadReaderIsReviewedSixTimesAMinute: reviews that are never less than 10 s apart are 6 in any minute.
func TestABroadReaderIsReviewedSixTimesAMinute(t *testing.T) {
	t.Parallel()
	const user = "broad"
	reader(t, user)
	s := start(t, user)
	var groups map[string][]review
	reads := s.flood(t, user, "two reviews of each group", func() (bool, string) {
		groups = byGroup(audit.of(t, user))
		return len(groups[custom]) > 1 && len(groups[external]) > 1, fmt.Sprintf("%d custom, %d external", len(groups[custom]), len(groups[external]))
	})
	t.Logf("%d reads of %d objects and as many external metrics; reviews: %d custom, %d external", reads, objects, len(groups[custom]), len(groups[external]))
	for _, group := range []string{custom, external} {
		expectRemembered(t, group, groups[group])
	}
}

// TestWithoutBroadReadersReviewsGrowWithObjects is the control.
func TestWithoutBroadReadersReviewsGrowWithObjects(t *testing.T) {
	t.Parallel()
	const user = "unknown"
	reader(t, user)
	s := start(t)
	s.flood(t, user, "nothing more than one read of each", func() (bool, string) { return true, "" })
	for _, r := range audit.wait(t, user, 2*objects) {
		if r.broad() {
			t.Errorf("a broad review: %+v", r)
		}
	}
}

// TestARightThatIsTakenAwayEndsInTime reads another object each time, so that only the broad review can be remembered. Its answer
// lasts for as long as an answer is remembered: no other one came until the end of the right.
func TestARightThatIsTakenAwayEndsInTime(t *testing.T) {
	t.Parallel()
	const user = "former"
	reader(t, user)
	s := start(t, user)
	if status := s.read(t, user, object(0)); status != http.StatusOK {
		t.Fatalf("with the right: %d", status)
	}
	if err := client.RbacV1().ClusterRoleBindings().Delete(t.Context(), user, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitGranted(t, user, "", rbacv1.PolicyRule{APIGroups: []string{custom}, Resources: []string{"*"}, Verbs: []string{"get"}}, false)
	i, status := 0, http.StatusOK
	eventually(t, "the end of a right that was taken away", func() (bool, string) {
		i++
		status = s.read(t, user, object(i))
		return status != http.StatusOK, fmt.Sprintf("%d reads were answered", i)
	})
	var broad []review
	eventually(t, "a review of everything after the end", func() (bool, string) {
		broad = slices.DeleteFunc(audit.of(t, user), func(r review) bool { return !r.broad() })
		return len(broad) > 1, fmt.Sprint(broad)
	})
	if status != http.StatusForbidden || len(broad) != 2 {
		t.Errorf("%d reads were answered, and one was with %d; broad reviews: %+v; want one with the right and one without", i, status, broad)
	}
	for range 40 {
		i++
		if status := s.read(t, user, object(i)); status != http.StatusForbidden {
			t.Errorf("after the end: %d", status)
		}
	}
}

// TestEverybodyReadsJustWhatTheyMay holds for broad readers as for others, whose every object has a review.
func TestEverybodyReadsJustWhatTheyMay(t *testing.T) {
	t.Parallel()
	const group = "/apis/" + custom + "/v1beta2/namespaces/"
	const externals = "/apis/" + external + "/v1beta1/namespaces/"
	const web, other, elsewhere, pods, whole = group + "east/services/web/requests", group + "east/services/other/requests",
		group + "west/services/web/requests", group + "east/pods/%2A/requests", group + "east/metrics/requests"
	const east, west = externals + "east/queue", externals + "west/queue"
	all := []string{web, other, elsewhere, pods, whole, east, west}
	rule := func(group, resource string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names, Verbs: []string{"get", "list"}}
	}
	tests := []struct {
		name, namespace string
		rules           []rbacv1.PolicyRule
		may             []string
		broadly         int // reviews that stand for all others
	}{
		{"nothing", "", nil, nil, 0},
		{"everything", "", []rbacv1.PolicyRule{rule(custom, "*"), rule(external, "*")}, all, 2},
		{"everything-in-a-namespace", "east", []rbacv1.PolicyRule{rule(custom, "*"), rule(external, "*")}, []string{web, other, pods, whole, east}, 0},
		{"custom-metrics", "", []rbacv1.PolicyRule{rule(custom, "*")}, []string{web, other, elsewhere, pods, whole}, 1},
		{"external-metrics", "", []rbacv1.PolicyRule{rule(external, "*")}, []string{east, west}, 1},
		{"one-metric-of-services", "", []rbacv1.PolicyRule{rule(custom, "services/requests")}, []string{web, other, elsewhere}, 0},
		{"one-metric-of-everything", "", []rbacv1.PolicyRule{rule(custom, "*/requests")}, []string{web, other, elsewhere, pods}, 0},
		{"one-name", "", []rbacv1.PolicyRule{rule(custom, "*", "web")}, []string{web, elsewhere}, 0},
		{"another-verb", "", []rbacv1.PolicyRule{{APIGroups: []string{custom, external}, Resources: []string{"*"}, Verbs: []string{"watch"}}}, nil, 0},
		{"another-group", "", []rbacv1.PolicyRule{rule("metrics.k8s.io", "*")}, nil, 0},
	}
	for _, namespace := range []string{"east", "west"} {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if _, err := client.CoreV1().Namespaces().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var broadReaders []string
	for _, test := range tests {
		grant(t, "broad-"+test.name, test.namespace, test.rules)
		grant(t, "exact-"+test.name, test.namespace, test.rules)
		broadReaders = append(broadReaders, "broad-"+test.name)
	}
	s := start(t, broadReaders...)
	for _, test := range tests {
		for _, user := range []string{"broad-" + test.name, "exact-" + test.name} {
			for _, path := range all {
				want := http.StatusForbidden
				if slices.Contains(test.may, path) {
					want = http.StatusOK
				}
				if got := s.read(t, user, path); got != want {
					t.Errorf("%s reads %s: %d, want %d", user, path, got, want)
				}
			}
		}
		if reviews := audit.wait(t, "exact-"+test.name, len(all)); len(different(reviews)) != len(all) || slices.ContainsFunc(reviews, review.broad) {
			t.Errorf("%s, no broad reader: %+v, want a review of each of %d objects", test.name, reviews, len(all))
		}
		exact := len(all)
		if test.broadly > 0 {
			exact -= len(test.may)
		}
		if reviews := audit.wait(t, "broad-"+test.name, exact+2); len(different(reviews)) != exact+2 {
			t.Errorf("%s, a broad reader: %+v, want two broad reviews and %d of objects", test.name, reviews, exact)
		}
	}
}

// grant gives rights to a user, cluster-wide or in a namespace, and returns when the API server goes by them.
func grant(t *testing.T, user, namespace string, rules []rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: user}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	_, err := client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if namespace == "" {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{})
	} else {
		binding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		_, err = client.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		waitGranted(t, user, namespace, rule, true)
	}
}

// waitGranted waits until the API server gives one right of a rule, or does not any more; what was answered once is remembered.
func waitGranted(t *testing.T, user, namespace string, rule rbacv1.PolicyRule, want bool) {
	t.Helper()
	resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
	right := &authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: resource, Subresource: subresource,
		Name: strings.Join(rule.ResourceNames, ""),
	}
	eventually(t, fmt.Sprintf("%s may do %+v: %t", user, *right, want), func() (bool, string) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: right}}
		answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		return err == nil && answer.Status.Allowed == want, fmt.Sprint(err)
	})
}
