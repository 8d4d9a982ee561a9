package serving_test

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// counted is a provider that counts the reads that reach it, by object and metric.
type counted struct {
	provider.MetricsProvider
	mu    sync.Mutex
	reads map[string]int
}

func (c *counted) note(read string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[read]++
}

// of is how often something was read.
func (c *counted) of(read string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[read]
}

func (c *counted) GetMetricByName(
	ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, selector labels.Selector,
) (*custom_metrics.MetricValue, error) {
	c.note(name.Name + " " + info.Metric)
	return c.MetricsProvider.GetMetricByName(ctx, name, info, selector)
}

func (c *counted) GetMetricBySelector(
	ctx context.Context, namespace string, objects labels.Selector, info provider.CustomMetricInfo, selector labels.Selector,
) (*custom_metrics.MetricValueList, error) {
	c.note("* " + info.Metric)
	return c.MetricsProvider.GetMetricBySelector(ctx, namespace, objects, info, selector)
}

func (c *counted) GetExternalMetric(
	ctx context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo,
) (*external_metrics.ExternalMetricValueList, error) {
	c.note(info.Metric)
	return c.MetricsProvider.GetExternalMetric(ctx, namespace, selector, info)
}
