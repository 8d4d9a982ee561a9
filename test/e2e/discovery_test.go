package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// What discovery lists while nothing is bound.
const (
	customPlaceholder   = "sysdigmetricbindings.autoscaling.sysdigmetrics.dev/nothing-bound-yet true"
	externalPlaceholder = "nothing-bound-yet true"
)

// TestDiscovery makes sure that discovery lists exactly what is bound, and a placeholder when nothing is. It does not run
// beside other tests, whose bindings would show.
func TestDiscovery(t *testing.T) {
	c := newScene(t, theStage, "discovery", "discovery")
	c.listed([]string{customPlaceholder}, []string{externalPlaceholder})

	c.deploy("web", 1, 10)
	service := c.bind("web", nil)
	c.listed([]string{"services/" + metricName + " true"}, []string{externalPlaceholder})
	deployment := c.bind("other", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Selector: &v1alpha1.ObjectSelector{}}
		s.MetricName = "other"
	})
	namespace := c.bind("third", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}
	})
	pods := c.bind("fourth", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{}}
	})
	external := c.bind("fifth", func(s *v1alpha1.SysdigMetricBindingSpec) { s.Target = nil })
	c.listed([]string{
		"services/" + metricName + " true", "deployments.apps/other true", "namespaces/" + metricName + " false", "pods/" + metricName + " true",
	}, []string{metricName + " true"})

	for _, b := range []*v1alpha1.SysdigMetricBinding{service, deployment, namespace, pods, external} {
		if err := c.stage.Client.Delete(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	c.listed([]string{customPlaceholder}, []string{externalPlaceholder})
	c.apiResources()
}

// TestDiscoveryOfManyBindings makes sure that discovery, in both of its forms, and OpenAPI are clean with no binding, with
// one and with 10,000 of them.
func TestDiscoveryOfManyBindings(t *testing.T) {
	t.Parallel()
	s, err := stage.Start(t.Context(), stage.Options{Flags: []string{"--max-bindings-per-namespace=20000"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cluster.Stop(context.Background()) })
	c := &scene{t: t, stage: s, namespace: "many", name: "many"} // without a Sysdig: nothing is read
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}})
	custom, external := []string{customPlaceholder}, []string{externalPlaceholder}
	c.clean(custom, external)

	c.bindMany(1, 1, "m")
	custom = []string{"services/m-0000 true"}
	c.clean(custom, external)

	began := time.Now()
	c.bindMany(5000, 2, "n")
	t.Logf("10,000 bindings were made in %s", time.Since(began))
	external = nil
	for i := range 5000 {
		custom = append(custom, fmt.Sprintf("services/n-%04d true", i))
		external = append(external, fmt.Sprintf("n-%04d true", i))
	}
	c.clean(custom, external)
	t.Logf("discovery was clean after %s", time.Since(began))
	if err := s.OperatorFailure(); err != nil {
		t.Error(err)
	}
}

// bindMany makes bindings of as many names: of a Service and, with two kinds, external metrics too.
func (c *scene) bindMany(names, kinds int, prefix string) {
	c.t.Helper()
	var group errgroup.Group
	group.SetLimit(8) // other tests share the machine
	for i := range names * kinds {
		group.Go(func() error {
			b := c.binding(fmt.Sprintf("%s-%04d-%d", prefix, i/kinds, i%kinds), nil)
			b.Spec.Target.Name, b.Spec.MetricName = "web", fmt.Sprintf("%s-%04d", prefix, i/kinds)
			if i%kinds == 1 {
				b.Spec.Target = nil
			}
			return c.stage.Client.Create(c.t.Context(), b)
		})
	}
	if err := group.Wait(); err != nil {
		c.t.Fatal(err)
	}
}

// clean expects both forms of discovery to list exactly this, and OpenAPI and kubectl to be content.
func (c *scene) clean(custom, external []string) {
	c.t.Helper()
	c.listed(custom, external)
	c.aggregated()
	c.apiResources()
	c.openAPI()
}

// groups are the versions of the APIs and what they should list.
func groups(custom, external []string) map[string][]string {
	return map[string][]string{
		"custom.metrics.k8s.io/v1beta1":   slices.Sorted(slices.Values(custom)),
		"custom.metrics.k8s.io/v1beta2":   slices.Sorted(slices.Values(custom)),
		"external.metrics.k8s.io/v1beta1": slices.Sorted(slices.Values(external)),
	}
}

// listed expects the discovery of each version to list exactly this: resource/metric and whether it is namespaced.
func (c *scene) listed(custom, external []string) {
	c.t.Helper()
	client := discovery.NewDiscoveryClientForConfigOrDie(c.stage.Cluster.AdminConfig())
	c.eventually("discovery", func(context.Context) error {
		for version, want := range groups(custom, external) {
			list, err := client.ServerResourcesForGroupVersion(version)
			if err != nil {
				return err
			}
			var got []string
			for _, r := range list.APIResources {
				got = append(got, fmt.Sprintf("%s %v", r.Name, r.Namespaced))
				if !slices.Equal(r.Verbs, metav1.Verbs{"get"}) {
					return fmt.Errorf("%s %s has the verbs %s", version, r.Name, r.Verbs)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("%s (-want +got):\n%.2000s", version, diff)
			}
		}
		return nil
	})
}

// aggregated expects the aggregated discovery to have our versions, none of them stale. It lists none of their metrics,
// which spares every client the download: the library announces metrics in the discovery of each version only.
func (c *scene) aggregated() {
	c.t.Helper()
	clientset := kubernetes.NewForConfigOrDie(c.stage.Cluster.AdminConfig())
	c.eventually("aggregated discovery", func(ctx context.Context) error {
		raw, err := clientset.RESTClient().Get().AbsPath("/apis").
			SetHeader("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").DoRaw(ctx)
		if err != nil {
			return err
		}
		var list apidiscovery.APIGroupDiscoveryList
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		missing := groups(nil, nil)
		for _, g := range list.Items {
			for _, v := range g.Versions {
				if v.Freshness != apidiscovery.DiscoveryFreshnessCurrent {
					return fmt.Errorf("%s/%s is %s", g.Name, v.Version, v.Freshness)
				}
				if _, ours := missing[g.Name+"/"+v.Version]; ours && len(v.Resources) > 0 {
					return fmt.Errorf("%s/%s lists %d resources", g.Name, v.Version, len(v.Resources))
				}
				delete(missing, g.Name+"/"+v.Version)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("it lacks %v", missing)
		}
		return nil
	})
}

// apiResources expects kubectl to be content with discovery.
func (c *scene) apiResources() {
	c.t.Helper()
	c.eventually("kubectl api-resources", func(ctx context.Context) error {
		out, err := c.stage.Cluster.Kubectl(ctx, "api-resources")
		if err != nil {
			err = fmt.Errorf("%w\n%.2000s", err, out)
		}
		return err
	})
}

// openAPI expects the OpenAPI documents of the API server to parse and to have our definitions.
func (c *scene) openAPI() {
	c.t.Helper()
	c.eventually("OpenAPI", func(ctx context.Context) error {
		v2, errV2 := parsed[spec.Swagger](ctx, c, "/openapi/v2")
		index, errV3 := parsed[struct {
			Paths map[string]struct{ ServerRelativeURL string }
		}](ctx, c, "/openapi/v3")
		if err := errors.Join(errV2, errV3); err != nil {
			return err
		}
		for path, definition := range map[string]string{
			"apis/custom.metrics.k8s.io/v1beta1":   "io.k8s.metrics.pkg.apis.custom_metrics.v1beta1.MetricValueList",
			"apis/custom.metrics.k8s.io/v1beta2":   "io.k8s.metrics.pkg.apis.custom_metrics.v1beta2.MetricValueList",
			"apis/external.metrics.k8s.io/v1beta1": "io.k8s.metrics.pkg.apis.external_metrics.v1beta1.ExternalMetricValueList",
		} {
			v3, err := parsed[spec3.OpenAPI](ctx, c, index.Paths[path].ServerRelativeURL)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			_, inV2 := v2.Definitions[definition]
			_, inV3 := v3.Components.Schemas[definition]
			if !inV2 || !inV3 {
				return fmt.Errorf("%s is in v2: %v, in v3: %v", definition, inV2, inV3)
			}
		}
		return nil
	})
}

// parsed reads a document.
func parsed[T any](ctx context.Context, c *scene, path string) (*T, error) {
	raw, err := c.raw(ctx, path)
	if err != nil {
		return nil, err
	}
	document := new(T)
	return document, json.Unmarshal(raw, document)
}
