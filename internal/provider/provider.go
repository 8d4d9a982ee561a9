// Package provider answers custom.metrics.k8s.io from the registry: claims in, Kubernetes metric values out. It never
// waits for Sysdig.
package provider

import (
	"context"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/utils/clock"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Board is the part of the registry that reads need.
type Board interface {
	Serve(claim metric.Claim) (object metric.Object, sample *metric.Sample, failure *metric.Failure, known bool)
	Claims() []metric.Claim
}

// Provider serves a Board.
type Provider struct {
	board   Board
	clock   clock.PassiveClock
	metrics *Metrics
}

var _ provider.CustomMetricsProvider = (*Provider)(nil)

// New returns a provider.
func New(board Board, clock clock.PassiveClock, metrics *Metrics) *Provider {
	return &Provider{board: board, clock: clock, metrics: metrics}
}

// GetMetricByName returns the value of one object. A name that nobody claims is 404. A claimed name without a fresh value
// is 503 with the reason: the HPA then leaves the replicas alone.
func (p *Provider) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, selector labels.Selector) (*custom_metrics.MetricValue, error) {
	claim := claimOf(name, info)
	object, sample, failure, known := p.board.Serve(claim)
	// A namespace is served at root scope only. Below another namespace it would be authorized there: …/namespaces/mine/namespaces/yours/….
	known = known && claim.RootScoped() == (name.Namespace == "")
	switch {
	case !known:
		p.metrics.read("NotFound")
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	case failure != nil:
		p.metrics.read(string(failure.Reason))
		return nil, unavailable(claim, failure)
	case selector != nil && !selector.Empty():
		p.metrics.read("NotFound")
		return nil, provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, name.Name, selector)
	}
	p.metrics.served(sample.Age(p.clock.Now()))
	return value(object, info.Metric, sample), nil
}

// GetMetricBySelector serves no sets of objects: bindings name one object each.
func (p *Provider) GetMetricBySelector(_ context.Context, _ string, selector labels.Selector, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	p.metrics.read("NotFound")
	return nil, provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", selector)
}

// ListAllMetrics is what discovery shows: exactly what is bound. When nothing is, a placeholder stands in, because
// clients take a group without resources for a broken one.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo {
	claims := p.board.Claims()
	if len(claims) == 0 {
		return []provider.CustomMetricInfo{Placeholder()}
	}
	infos := make([]provider.CustomMetricInfo, len(claims))
	for i, claim := range claims {
		infos[i] = provider.CustomMetricInfo{GroupResource: claim.Resource, Metric: claim.Metric, Namespaced: !claim.RootScoped()}
	}
	return infos
}

// Placeholder is what discovery shows while nothing is bound.
func Placeholder() provider.CustomMetricInfo {
	return provider.CustomMetricInfo{
		GroupResource: schema.GroupResource{Group: "autoscaling.sysdigmetrics.dev", Resource: "sysdigmetricbindings"},
		Metric:        "nothing-bound-yet",
		Namespaced:    true,
	}
}

func claimOf(name types.NamespacedName, info provider.CustomMetricInfo) metric.Claim {
	claim := metric.Claim{Namespace: name.Namespace, Resource: info.GroupResource, Object: name.Name, Metric: info.Metric}
	if claim.RootScoped() {
		return metric.NamespaceClaim(name.Name, info.Metric)
	}
	return claim
}

// unavailable is the error that an HPA shows in its conditions.
func unavailable(claim metric.Claim, failure *metric.Failure) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusServiceUnavailable,
		Reason:  metav1.StatusReasonServiceUnavailable,
		Message: fmt.Sprintf("%s of %s %s: %s", claim.Metric, claim.Resource, claim.Object, failure.Error()),
	}}
}

func value(object metric.Object, name string, sample *metric.Sample) *custom_metrics.MetricValue {
	v := &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{
			APIVersion: object.APIVersion, Kind: object.Kind, Namespace: object.Namespace, Name: object.Name,
		},
		Metric:    custom_metrics.MetricIdentifier{Name: name},
		Timestamp: metav1.NewTime(sample.Time),
		Value:     *resource.NewMilliQuantity(sample.Milli, resource.DecimalSI),
	}
	if seconds := int64(sample.Window / time.Second); seconds > 0 {
		v.WindowSeconds = &seconds
	}
	return v
}
