package e2e_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// TestAllowedNamespaces makes sure that a connection serves only the namespaces that it allows, from one moment to the next.
func TestAllowedNamespaces(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "allowed", "allowed")
	patch(c, &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: c.name}}, func(s *v1alpha1.SysdigConnection) {
		s.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{
			From: v1alpha1.NamespacesFromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"sysdig": "yes"}},
		}
	})
	c.deploy("web", 1, 10)
	c.bind("web", nil)
	c.eventuallyRefused(10*time.Second, c.servicePath("web"), "Rejected")
	c.eventuallyReady(10*time.Second, "web", "Rejected")

	label := func(value string) {
		patch(c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, func(n *corev1.Namespace) {
			n.Labels = map[string]string{"sysdig": value}
		})
	}
	label("yes")
	c.eventuallyValue(20*time.Second, c.servicePath("web"), 10)
	label("no")
	c.eventuallyRefused(5*time.Second, c.servicePath("web"), "Rejected")
}

// TestToken makes sure that a missing Secret is named, and that a Secret is used as soon as it is there.
func TestToken(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "token", "token")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: c.name + "-token"}}
	if err := c.stage.Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c.deploy("web", 1, 10)
	c.bind("web", nil)
	c.eventuallyReady(20*time.Second, "web", "Unauthorized")
	c.eventuallyRefused(time.Second, c.servicePath("web"), "Unauthorized")

	secret.ResourceVersion, secret.UID = "", ""
	secret.StringData = map[string]string{"token": token}
	c.create(secret)
	c.eventuallyValue(15*time.Second, c.servicePath("web"), 10)
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
		c.eventuallyValue(20*time.Second, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/kinds/"+test.path+metricName, test.value)
	}
	c.bind("unknown", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target, s.Source.Metric.Where = &v1alpha1.Target{APIVersion: "example.com/v1", Kind: "Rocket", Name: "web"}, where
	})
	c.eventuallyReady(10*time.Second, "unknown", "Rejected")
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
