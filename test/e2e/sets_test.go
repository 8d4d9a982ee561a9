package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// TestServicesBySelector has one binding for all Services with a label: each has its own value, and they come and go
// without an edit.
func TestServicesBySelector(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "services", "services")
	c.deploy("web-a", 1, 10)
	c.deploy("web-b", 2, 40)
	c.deploy("db", 1, 5)
	c.label("web-a", map[string]string{"tier": "web"})
	c.label("web-b", map[string]string{"tier": "web", "zone": "b"})
	c.bind("requests-of-services", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Service", Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"tier": "web"}}}
		s.MetricName, s.Source.Metric.GroupAggregation = "requests", v1alpha1.GroupSum
	})
	list := c.custom("services/*", "requests")
	c.eventuallyObjects(list, map[string]float64{"web-a": 10, "web-b": 40})
	c.eventuallyObjects(list+"?labelSelector=zone%3Db", map[string]float64{"web-b": 40})
	c.eventuallyRefused(list+"?labelSelector=zone%3Dc", "NoData")
	c.eventuallyValue(c.custom("services/web-b", "requests"), 40)
	c.eventuallyGone(c.custom("services/db", "requests"))
	c.eventuallyGone(c.custom("services/nobody", "requests"))

	c.deploy("web-c", 1, 7)
	c.label("web-c", map[string]string{"tier": "web"})
	c.eventuallyObjects(list, map[string]float64{"web-a": 10, "web-b": 40, "web-c": 7})
	c.label("web-a", nil)
	c.eventuallyGone(c.custom("services/web-a", "requests"))
	c.eventuallyObjects(list, map[string]float64{"web-b": 40, "web-c": 7})

	c.eventually("the status", c.objects("requests-of-services", "2/2"))
	b := c.eventuallyReady("requests-of-services", v1alpha1.ReasonServing)
	if b.Status.Target != "Service[tier=web]" {
		t.Errorf("it shows the target %s", b.Status.Target)
	}
	c.eventuallyObjects(b.Status.MetricPath, map[string]float64{"web-b": 40, "web-c": 7})
}

// TestDeploymentsBySelector selects all Deployments of the namespace.
func TestDeploymentsBySelector(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "deployments", "deployments")
	c.deploy("a", 1, 10)
	c.deploy("b", 2, 40)
	c.deployIdle("idle", 1)
	c.bind("all", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Selector: &v1alpha1.ObjectSelector{}}
	})
	c.eventuallyObjects(c.custom("deployments.apps/*", metricName), map[string]float64{"a": 10, "b": 20})
	c.eventuallyValue(c.custom("deployments.apps/b", metricName), 20)
	c.eventuallyRefused(c.custom("deployments.apps/idle", metricName), "NoData")
	c.eventually("the status", c.objects("all", "2/3"))
}

// TestKindsOfTheCluster selects objects of a custom kind, which the operator may not list before an administrator lets it.
func TestKindsOfTheCluster(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "ferries", "ferries")
	c.apply("ferries.yaml")
	kind := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Ferry"}
	c.eventually("the new kind", func(ctx context.Context) error {
		_, err := c.stage.Client.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
		return err
	})
	for name, labels := range map[string]map[string]string{"anna": {"stage": "one"}, "berta": nil, "clara": {"stage": "one"}} {
		ferry := &unstructured.Unstructured{}
		ferry.SetGroupVersionKind(kind)
		ferry.SetNamespace(c.namespace)
		ferry.SetName(name)
		ferry.SetLabels(labels)
		c.create(ferry)
	}
	c.feed(func() []sysdigtest.Point {
		return []sysdigtest.Point{
			{Labels: c.series("ferry_fuel", "probe-0", "ferry", "anna"), Value: 50},
			{Labels: c.series("ferry_fuel", "probe-0", "ferry", "berta"), Value: 60},
		}
	})
	c.bind("fuel", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "example.com/v1", Kind: "Ferry", Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"stage": "one"}}}
		s.MetricName = "fuel"
		s.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: "sum by (ferry) (ferry_fuel)", ObjectLabel: "ferry"}}
	})
	refused := c.eventuallyReady("fuel", "Rejected")
	accepted := meta.FindStatusCondition(refused.Status.Conditions, v1alpha1.ConditionAccepted)
	if accepted == nil || !strings.Contains(accepted.Message, "aggregate-to-operator") || !strings.Contains(accepted.Message, "ferries.example.com") {
		t.Errorf("Accepted is %+v, without the resource and the cure", accepted)
	}
	c.eventuallyRefused(c.custom("ferries.example.com/*", "fuel"), "Rejected")
	c.eventuallyRefused(c.custom("ferries.example.com/anna", "fuel"), "Rejected")

	c.apply("ferries-grant.yaml")
	c.eventuallyObjects(c.custom("ferries.example.com/*", "fuel"), map[string]float64{"anna": 50})
	c.eventuallyValue(c.custom("ferries.example.com/anna", "fuel"), 50)
	c.eventuallyGone(c.custom("ferries.example.com/berta", "fuel"))
	c.eventuallyRefused(c.custom("ferries.example.com/clara", "fuel"), "NoData")
	c.eventually("the status", c.objects("fuel", "1/2"))
}

// TestNameTaken lets bindings by name and by selector claim the same object: the oldest serves, and when it goes the next
// one takes over without a gap.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "taken", "taken")
	c.deploy("web", 1, 10)
	c.deploy("db", 1, 5)
	bind := func(name, service string, multiplier v1alpha1.Decimal) *v1alpha1.SysdigMetricBinding {
		b := c.bind(name, func(s *v1alpha1.SysdigMetricBindingSpec) {
			s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: service}
			if service == "" {
				s.Target.Selector = &v1alpha1.ObjectSelector{}
			}
			s.Multiplier, s.MetricName, s.MaxAge.Duration = multiplier, name, lasting
		})
		// What it asks is answered under a name of its own before it claims that of the others: a hand-over is without a gap
		// to whom has an answer.
		c.eventuallyReady(name, v1alpha1.ReasonServing)
		patch(c, b, func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MetricName = metricName })
		c.eventually("the status of "+name, func(ctx context.Context) error { return c.observed(ctx, b) })
		c.nextSecond(b.CreationTimestamp.Time)
		return b
	}
	oldest := bind("oldest", "web", "1")
	all := bind("all", "", "10")
	bind("youngest", "web", "100")
	list := c.custom("services/*", metricName)
	c.eventuallyObjects(list, map[string]float64{"web": 10, "db": 50})
	c.eventuallyReady("all", v1alpha1.ReasonServing)
	c.eventuallyTaken("youngest", "oldest")

	c.takesOver(oldest, map[string]float64{"web": 100, "db": 50})
	c.eventuallyTaken("youngest", "all")
	c.takesOver(all, map[string]float64{"web": 1000})
	c.eventuallyReady("youngest", v1alpha1.ReasonServing)
}

// nextSecond waits until the creation of the next object has another time.
func (c *scene) nextSecond(created time.Time) {
	c.t.Helper()
	c.eventually("the next second", func(context.Context) error {
		if time.Since(created) < 1100*time.Millisecond {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// eventuallyTaken waits until a binding says which other one has its name.
func (c *scene) eventuallyTaken(name, winner string) {
	c.t.Helper()
	c.eventually(name+" loses to "+winner, func(ctx context.Context) error {
		var b v1alpha1.SysdigMetricBinding
		if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &b); err != nil {
			return err
		}
		accepted := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionAccepted)
		if accepted == nil || accepted.Reason != "NameTaken" || !strings.Contains(accepted.Message, winner) {
			return fmt.Errorf("Accepted is %+v", accepted)
		}
		return nil
	})
}

// takesOver deletes a binding and makes sure that the Service web has a value at each moment until the list is what the
// others make of it.
func (c *scene) takesOver(gone *v1alpha1.SysdigMetricBinding, want map[string]float64) {
	c.t.Helper()
	if err := c.stage.Client.Delete(c.t.Context(), gone); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the next one serves", func(ctx context.Context) error {
		for range 20 {
			got, err := c.read(ctx, c.servicePath("web"))
			if err != nil {
				c.t.Fatalf("a gap: %v", err)
			}
			if float64(got.Value.MilliValue())/1000 == want["web"] {
				return nil
			}
		}
		return fmt.Errorf("still the old one")
	})
	c.eventuallyObjects(c.custom("services/*", metricName), want)
}

// TestRootScope makes sure that of what is not in a namespace only namespaces have metrics, each for those who may read it.
func TestRootScope(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "root", "root")
	c.deploy("web", 2, 40)
	other := newScene(t, theStage, "root-other", "root-other")
	other.deploy("web", 1, 30)
	for _, c := range []*scene{c, other} {
		c.bind("namespace", func(s *v1alpha1.SysdigMetricBindingSpec) {
			s.Target, s.Source.Metric.GroupAggregation = &v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}, v1alpha1.GroupSum
		})
		c.bind("web", nil)
	}
	c.eventuallyValue(c.custom("metrics", metricName), 40)
	other.eventuallyValue(other.custom("metrics", metricName), 30)
	const root = "/apis/custom.metrics.k8s.io/v1beta2/"
	for _, path := range []string{"nodes/*/", "nodes/node-1/", "services/*/", "services/web/", "persistentvolumes/*/", "namespaces/root/namespaces/root-other/", "namespaces/root/namespaces/*/"} {
		c.eventuallyGone(root + path + metricName)
	}

	c.mayRead("alice", "root")
	for path, allowed := range map[string]bool{
		c.custom("services/web", metricName):     true,
		c.custom("services/*", metricName):       true,
		c.custom("metrics", metricName):          true,
		other.custom("services/web", metricName): false,
		other.custom("services/*", metricName):   false,
		other.custom("metrics", metricName):      false,
		root + "services/*/" + metricName:        false,
		root + "nodes/*/" + metricName:           false,
	} {
		c.eventually("alice reads "+path, func(ctx context.Context) error {
			err := c.readAs(ctx, "alice", path)
			if allowed != (err == nil) || err != nil && !apierrors.IsForbidden(err) {
				return fmt.Errorf("got %w, allowed is %v", err, allowed)
			}
			return nil
		})
	}
}

// mayRead lets a user read all custom metrics of a namespace.
func (c *scene) mayRead(user, namespace string) {
	c.t.Helper()
	c.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "metrics"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"custom.metrics.k8s.io"}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}},
	})
	c.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "metrics"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "metrics"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
}

func (c *scene) readAs(ctx context.Context, user, path string) error {
	config := c.stage.Cluster.AdminConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = clientset.RESTClient().Get().RequestURI(path).DoRaw(ctx)
	return err
}

// label gives a Service labels in place of those that it has.
func (c *scene) label(service string, labels map[string]string) {
	c.t.Helper()
	patch(c, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: service}}, func(s *corev1.Service) {
		s.Labels = labels
	})
}

// apply applies a file of testdata.
func (c *scene) apply(file string) {
	c.t.Helper()
	if _, err := c.stage.Cluster.Kubectl(c.t.Context(), "apply", "--server-side", "-f", filepath.Join("testdata", file)); err != nil {
		c.t.Fatal(err)
	}
}
