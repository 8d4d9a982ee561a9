package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// methods are the shares that the scenes of this file have of their requests.
var methods = map[string]float64{"GET": 0.625, "POST": 0.25, "PUT": 0.125}

// TestDimensions has one binding for several HPAs, each on a part of the requests: the replicas are those of the formula for
// that part.
func TestDimensions(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "dimensions", "dimensions")
	c.deployIdle("web", 2)
	web := c.attachMethods("web", 2, 800, methods)
	c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Source.Metric.GroupAggregation, s.Source.Metric.Window.Duration = v1alpha1.GroupSum, sysdigtest.Interval
		s.Source.Metric.Dimensions = []v1alpha1.Dimension{"net.http.method"}
	})
	path := c.servicePath("web")
	c.eventuallyValue(path, 800)
	c.eventuallyValue(path+"?metricLabelSelector=net.http.method%3DGET", 500)
	c.eventuallyValue(path+"?metricLabelSelector=net.http.method+notin+(GET)", 300)
	c.eventuallyRefused(path+"?metricLabelSelector=net.http.method%3DHEAD", "NoData")
	c.eventuallyRefused(path+"?metricLabelSelector=path%3Dx", "Rejected")
	c.eventually("the refusal names the label", func(ctx context.Context) error {
		if _, err := c.read(ctx, path+"?metricLabelSelector=path%3Dx"); !strings.Contains(err.Error(), "path") || !strings.Contains(err.Error(), "net.http.method") {
			return err
		}
		return nil
	})

	parts := map[string]struct {
		share    float64
		selector *metav1.LabelSelector
	}{
		"all":     {1, nil},
		"readers": {0.625, &metav1.LabelSelector{MatchLabels: map[string]string{"net.http.method": "GET"}}},
		"writers": {0.375, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "net.http.method", Operator: metav1.LabelSelectorOpIn, Values: []string{"POST", "PUT"}},
		}}},
		"others": {0.25, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "net.http.method", Operator: metav1.LabelSelectorOpExists},
			{Key: "net.http.method", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"GET", "PUT"}},
		}}},
	}
	for name, part := range parts {
		c.deployIdle(name, 1)
		c.autoscale(name, 1, 20, behavior(0, 0), objectMetric("web", metricName, average("100"), part.selector))
	}
	replicas := map[string]int32{"all": 1, "readers": 1, "writers": 1, "others": 1}
	for _, rps := range []float64{800, 1500, 300} {
		web.setRPS(rps)
		c.eventually(fmt.Sprintf("replicas for %v requests per second", rps), func(context.Context) error {
			for name, part := range parts {
				if got, want := c.replicas(name), byAverage(part.share*rps, 100, replicas[name]); got != want {
					return fmt.Errorf("%s has %d, want %d", name, got, want)
				}
			}
			return nil
		})
		for name := range parts {
			replicas[name] = c.replicas(name)
		}
		c.always(12*time.Second, "the replicas stay", func() error {
			for name, want := range replicas {
				if got := c.replicas(name); got != want {
					return fmt.Errorf("%s has %d, want %d", name, got, want)
				}
			}
			return nil
		})
	}
}

// TestItems keeps the series of an external metric apart, and names the label when there are several where one is needed.
func TestItems(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "items", "items")
	c.deployIdle("web", 2)
	c.attachMethods("web", 2, 80, methods)
	c.bind("requests", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target, s.MetricName, s.Source.Metric.GroupAggregation = nil, "requests", v1alpha1.GroupSum
		s.Source.Metric.Dimensions = []v1alpha1.Dimension{"net.http.method"}
	})
	const query = "sum by (net_http_method) (sum_over_time(sysdig_container_net_http_request_count[20s]) / 20)"
	c.bind("queried", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target, s.MetricName = nil, "queried"
		s.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: query, Dimensions: []v1alpha1.Dimension{"net_http_method"}}}
	})
	c.bind("several", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target.Name, s.MetricName = "web", "several"
		s.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: query}}
	})
	all := map[string]float64{"GET": 50, "POST": 20, "PUT": 10}
	c.eventuallySeries(c.external("requests"), "net.http.method", all)
	c.eventuallySeries(c.external("queried"), "net_http_method", all)
	c.eventuallySeries(c.external("requests")+"?labelSelector=net.http.method+in+(POST,PUT)", "net.http.method", map[string]float64{"POST": 20, "PUT": 10})
	c.eventuallySeries(c.external("queried")+"?labelSelector=net_http_method!%3DGET", "net_http_method", map[string]float64{"POST": 20, "PUT": 10})
	c.eventuallyRefused(c.external("queried")+"?labelSelector=net.http.method%3DGET", "Rejected")
	c.eventually("the sum of the items", c.shown("requests", "80"))

	path := c.custom("services/web", "several")
	c.eventuallyRefused(path, "Implausible")
	if _, err := c.read(t.Context(), path); !strings.Contains(err.Error(), "net_http_method") {
		t.Errorf("the label in the way is not named: %v", err)
	}
}
