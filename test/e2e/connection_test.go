package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// TestAllowedNamespaces makes sure that a connection serves only the namespaces that it allows, from one moment to the next.
func TestAllowedNamespaces(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "allowed", "allowed")
	patch(c, &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: c.name}}, func(s *v1alpha1.SysdigConnection) {
		s.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
			From: v1alpha1.NamespacesFromSelector, Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"sysdig": "yes"}},
		}
	})
	c.deploy("web", 1, 10)
	c.bind("web", nil)
	c.eventuallyRefused(c.servicePath("web"), "Rejected")
	c.eventuallyReady("web", "Rejected")

	label := func(value string) {
		patch(c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, func(n *corev1.Namespace) {
			n.Labels = map[string]string{"sysdig": value}
		})
	}
	label("yes")
	c.eventuallyValue(c.servicePath("web"), 10)
	label("no")
	c.eventuallyRefused(c.servicePath("web"), "Rejected")
}

// TestToken makes sure that a missing Secret is named, and that a Secret is used as soon as it is there.
func TestToken(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "token", "token")
	host := strings.TrimPrefix(c.sysdig.URL, "https://")
	secret := stage.TokenSecret(c.name+"-token", token, host)
	if err := c.stage.Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c.deploy("web", 1, 10)
	c.bind("web", nil)
	c.eventuallyReady("web", "Unauthorized")
	c.eventuallyRefused(c.servicePath("web"), "Unauthorized")
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionFalse, "Missing", "Secret sysdig-metrics/"+c.name+"-token")
	asked := len(c.sysdig.Requests())

	// A Secret of that name elsewhere is nobody's.
	stranger := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: secret.Name}, StringData: map[string]string{"token": token}}
	c.create(stranger)
	// The operator looks for the token again when the connection changes, and still finds none.
	lookAgain := func() {
		t.Helper()
		connection := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: c.name}}
		patch(c, connection, func(s *v1alpha1.SysdigConnection) { s.Spec.Quota.RequestsPerMinute++ })
		c.eventually("the operator has looked again", func(ctx context.Context) error {
			want := connection.Generation
			if err := c.stage.Client.Get(ctx, client.ObjectKeyFromObject(connection), connection); err != nil {
				return err
			}
			is := meta.FindStatusCondition(connection.Status.Conditions, v1alpha1.ConditionCredentialReady)
			if is == nil || is.ObservedGeneration < want {
				return fmt.Errorf("it is %+v, want generation %d", is, want)
			}
			return nil
		})
	}
	lookAgain()
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionFalse, "Missing", "Secret sysdig-metrics/"+c.name+"-token")
	if err := c.refused(t.Context(), c.servicePath("web"), "Unauthorized"); err != nil {
		t.Errorf("a Secret of another namespace was read: %v", err)
	}

	// Nor is one that was not made to be sent to Sysdig, or not to this one.
	opaque := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: secret.Name}, StringData: map[string]string{"token": token}}
	c.create(opaque)
	lookAgain()
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionFalse, "Missing", "kubectl -n sysdig-metrics create secret generic "+secret.Name+" --type=sysdigmetrics.dev/token")
	if err := c.stage.Client.Delete(t.Context(), opaque); err != nil {
		t.Fatal(err)
	}
	c.create(stage.TokenSecret(secret.Name, token, "elsewhere.example.com"))
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionFalse, "HostNotListed", "sysdigmetrics.dev/hosts="+host)
	if n := len(c.sysdig.Requests()); n != asked {
		t.Errorf("%d requests were sent without a Secret that allows it", n-asked)
	}

	listed := func(hosts string) {
		patch(c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: secret.Name}}, func(s *corev1.Secret) {
			s.Annotations[v1alpha1.AnnotationHosts] = hosts
		})
	}
	listed("elsewhere.example.com, " + host)
	c.eventuallyValue(c.servicePath("web"), 10)
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionTrue, v1alpha1.ReasonValid, "")

	c.sysdig.RevokeToken(token)
	c.eventuallyConnection(v1alpha1.ConditionCredentialReady, metav1.ConditionFalse, "Expired", "put a new one into the Secret")
}

// TestTokenRotation puts a new token into the Secret again and again, while an HPA could read, and revokes the old one a moment
// after: no read fails, and Sysdig never sees a token that it refuses.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "rotation", "rotation")
	c.deploy("web", 1, 10)
	c.bind("web", served)
	path := c.servicePath("web")
	c.eventuallyValue(path, 10)
	old := token
	for i := range 4 {
		next := fmt.Sprintf("22222222-3333-4444-5555-%012d", i)
		c.sysdig.AddToken(next, nil)
		patch(c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: c.name + "-token"}}, func(s *corev1.Secret) {
			s.Data = map[string][]byte{"token": []byte(next)}
		})
		c.servedUntil("the new token is used", path, c.usedSince(next, time.Time{}))
		c.sysdig.RevokeToken(old)
		old = next
		c.servedUntil("the new token is used without the old one", path, c.usedSince(next, time.Now()))
	}
	used := map[string]int{}
	for _, r := range c.sysdig.Requests() {
		used[r.Token]++
		if r.Status == http.StatusUnauthorized {
			t.Errorf("%s at %s was sent with a token that is not valid any more", r.Path, r.At)
		}
	}
	if len(used) != 5 {
		t.Errorf("%d tokens were used, want each of the 5", len(used))
	}
}

// usedSince is met when the second question since a moment was asked with a token: what was under way with another one is over.
func (c *scene) usedSince(token string, since time.Time) func(context.Context) error {
	return func(context.Context) error {
		var first time.Time
		for _, r := range c.sysdig.Requests() {
			switch {
			case r.Token != sysdigtest.Fingerprint(token) || r.At.Before(since) || r.Answered.IsZero():
			case first.IsZero():
				first = r.At
			case r.At.Sub(first) > time.Second: // the next poll, not the same one
				return nil
			}
		}
		return fmt.Errorf("it was not asked twice with that token, but first at %v", first)
	}
}

// TestClusterName makes sure that a cluster's name that is wrong is told, with those that there are, and only where the connection is
// read.
func TestClusterName(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) {
		c := newScene("clustername")
		c.deployIdle("web", 1)
		b := c.bind("web", nil)
		c.eventuallyConnection(v1alpha1.ConditionClusterSeen, metav1.ConditionTrue, v1alpha1.ReasonSeen, "cluster e2e")
		rename := func(name string) {
			patch(c, &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: c.name}}, func(s *v1alpha1.SysdigConnection) { s.Spec.ClusterName = name })
		}
		rename("e2f")
		c.eventuallyConnection(v1alpha1.ConditionClusterSeen, metav1.ConditionFalse, v1alpha1.ReasonClusterUnknown, "of cluster e2f, but of e2e: correct spec.clusterName")
		c.eventuallyReady(b.Name, "Stale")
		rename("e2e")
		c.eventuallyConnection(v1alpha1.ConditionClusterSeen, metav1.ConditionTrue, v1alpha1.ReasonSeen, "cluster e2e")
	})
}

// TestEndpointInsideTheCluster leads a connection to the API server, by the address of its Service.
func TestEndpointInsideTheCluster(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "inside", "inside")
	var api corev1.Service
	if err := c.stage.Client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "kubernetes"}, &api); err != nil {
		t.Fatal(err)
	}
	patch(c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: c.name + "-token"}}, func(s *corev1.Secret) {
		s.Annotations[v1alpha1.AnnotationHosts] = api.Spec.ClusterIP
	})
	patch(c, &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: c.name}}, func(s *v1alpha1.SysdigConnection) {
		s.Spec.Endpoint.URL = "https://" + net.JoinHostPort(api.Spec.ClusterIP, "443")
	})
	c.deployIdle("web", 1)
	c.bind("web", nil)
	c.eventuallyConnection(v1alpha1.ConditionReady, metav1.ConditionFalse, "Unavailable", "--allow-endpoint-networks")
	c.eventuallyRefused(c.servicePath("web"), "Unavailable")
}

// eventuallyConnection waits until the connection has a condition.
func (c *scene) eventuallyConnection(condition string, status metav1.ConditionStatus, reason, text string) {
	c.t.Helper()
	c.eventually(condition, func(ctx context.Context) error {
		var s v1alpha1.SysdigConnection
		if err := c.stage.Client.Get(ctx, client.ObjectKey{Name: c.name}, &s); err != nil {
			return err
		}
		is := meta.FindStatusCondition(s.Status.Conditions, condition)
		if is == nil || is.Status != status || is.Reason != reason || !strings.Contains(is.Message, text) {
			return fmt.Errorf("it is %+v, want %s, %s and %q", is, status, reason, text)
		}
		return nil
	})
}

// TestKindsOfTargets binds what is no Service: other workloads by their labels, and any kind by where.
func TestKindsOfTargets(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "kinds", "kinds")
	c.deploy("web", 2, 100)
	where := []v1alpha1.LabelFilter{{Label: "kubernetes.workload.name", Operator: v1alpha1.FilterIn, Values: []string{"web"}}}
	for name, test := range map[string]struct {
		target v1alpha1.Target
		where  []v1alpha1.LabelFilter
		group  v1alpha1.GroupAggregation
		path   string
		value  float64
	}{
		"deployment": {v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, nil, v1alpha1.GroupAverage, "deployments.apps/web/", 50},
		"ingress":    {v1alpha1.Target{APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Name: "front"}, where, v1alpha1.GroupSum, "ingresses.networking.k8s.io/front/", 100},
		"namespace":  {v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}, nil, v1alpha1.GroupSum, "metrics/", 100},
	} {
		c.bind(name, func(s *v1alpha1.SysdigMetricBindingSpec) {
			s.Target, s.Source.Metric.Where, s.Source.Metric.GroupAggregation = &test.target, test.where, test.group
		})
		c.eventuallyValue("/apis/custom.metrics.k8s.io/v1beta2/namespaces/kinds/"+test.path+metricName, test.value)
	}
	c.bind("unknown", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target, s.Source.Metric.Where = &v1alpha1.Target{APIVersion: "example.com/v1", Kind: "Rocket", Name: "web"}, where
	})
	c.eventuallyReady("unknown", "Rejected")
}

// patch changes an object.
func patch[T client.Object](c *scene, object T, change func(T)) {
	c.t.Helper()
	if err := c.stage.Client.Get(c.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		c.t.Fatal(err)
	}
	before := object.DeepCopyObject().(client.Object)
	change(object)
	if err := c.stage.Client.Patch(c.t.Context(), object, client.MergeFrom(before)); err != nil {
		c.t.Fatal(err)
	}
}
