package provider

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// GetExternalMetric returns the items of an external metric of a namespace: one for each combination of the dimensions that
// the binding keeps apart. The HPA adds them up. A name that nobody claims in the namespace is 404, one without a fresh value
// 503 with the reason.
func (p *Provider) GetExternalMetric(_ context.Context, namespace string, series labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	claim := metric.ExternalClaim(namespace, info.Metric)
	_, sample, failure, known := p.board.Serve(claim, series)
	switch {
	case !known:
		p.metrics.read("NotFound")
		return nil, notFound(namespace, info.Metric)
	case failure != nil:
		p.metrics.read(string(failure.Reason))
		return nil, unavailable(failure, "%s of namespace %s", info.Metric, namespace)
	}
	p.metrics.served(sample.Age(p.clock.Now()))
	list := &external_metrics.ExternalMetricValueList{}
	for _, item := range itemsOf(sample) {
		list.Items = append(list.Items, external_metrics.ExternalMetricValue{
			MetricName:    info.Metric,
			MetricLabels:  item.Labels,
			Timestamp:     metav1.NewTime(sample.Time),
			WindowSeconds: seconds(sample.Window),
			Value:         *resource.NewMilliQuantity(item.Milli, resource.DecimalSI),
		})
	}
	return list, nil
}

// itemsOf are the items of an external metric. The value of onNoData is made of nothing and is one item.
func itemsOf(sample *metric.Sample) []metric.Series {
	if len(sample.Series) == 0 {
		return []metric.Series{{Milli: sample.Milli}}
	}
	return sample.Series
}

func notFound(namespace, name string) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "no SysdigMetricBinding in namespace "+namespace+" serves the external metric "+name)
}

// ListAllExternalMetrics is what discovery shows; see ListAllMetrics.
func (p *Provider) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	claims := p.board.Claims(metric.ExternalMetrics)
	if len(claims) == 0 {
		return []provider.ExternalMetricInfo{{Metric: nothingBound}}
	}
	infos := make([]provider.ExternalMetricInfo, len(claims))
	for i, claim := range claims {
		infos[i] = provider.ExternalMetricInfo{Metric: claim.Metric}
	}
	return infos
}
