package app

import (
	"context"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/external_metrics"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/defaults"
)

// noExternalMetrics knows no external metric, and shows the placeholder that keeps discovery clean.
type noExternalMetrics struct {
	defaults.DefaultExternalMetricsProvider
}

func (noExternalMetrics) GetExternalMetric(_ context.Context, namespace string, _ labels.Selector, info cmprovider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return nil, cmprovider.NewMetricNotFoundError(external_metrics.Resource("externalmetrics"), info.Metric+" in "+namespace)
}
