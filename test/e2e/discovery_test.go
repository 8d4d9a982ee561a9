package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/discovery"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// TestDiscovery makes sure that discovery lists exactly what is bound, and a placeholder when nothing is. It does not run
// beside other tests, whose bindings would show.
func TestDiscovery(t *testing.T) {
	c := newScene(t, theStage, "discovery", "discovery")
	listed := func(want ...string) {
		t.Helper()
		client := discovery.NewDiscoveryClientForConfigOrDie(c.stage.Cluster.AdminConfig())
		slices.Sort(want)
		c.eventually(5*time.Second, "discovery", func(context.Context) error {
			for _, version := range []string{"v1beta1", "v1beta2"} {
				list, err := client.ServerResourcesForGroupVersion("custom.metrics.k8s.io/" + version)
				if err != nil {
					return err
				}
				var got []string
				for _, r := range list.APIResources {
					got = append(got, fmt.Sprintf("%s %v %s", r.Name, r.Namespaced, r.Verbs))
				}
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					return fmt.Errorf("%s (-want +got):\n%s", version, diff)
				}
			}
			return nil
		})
	}
	placeholder := "sysdigmetricbindings.autoscaling.sysdigmetrics.dev/nothing-bound-yet true [get]"
	listed(placeholder)

	c.deploy("web", 1, 10)
	service := c.bind("web", nil)
	listed("services/" + metricName + " true [get]")
	deployment := c.bind("other", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}
		s.MetricName = "other"
	})
	namespace := c.bind("third", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}
	})
	listed("services/"+metricName+" true [get]", "deployments.apps/other true [get]", "namespaces/"+metricName+" false [get]")

	for _, b := range []*v1alpha1.SysdigMetricBinding{service, deployment, namespace} {
		if err := c.stage.Client.Delete(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	listed(placeholder)
	if out, err := c.stage.Cluster.Kubectl(t.Context(), "api-resources"); err != nil {
		t.Errorf("kubectl api-resources: %v\n%s", err, out)
	}
}
