// Package provider answers custom.metrics.k8s.io and external.metrics.k8s.io from the registry: claims in, Kubernetes metric
// values out. It never waits for Sysdig.
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
	Serve(claim metric.Claim, series labels.Selector) (object metric.Object, sample *metric.Sample, failure *metric.Failure, known bool)
	List(of metric.Claim, objects, series labels.Selector) (items []metric.Item, failure *metric.Failure, known bool)
	Claims(api metric.API) []metric.Claim
}

// Provider serves a Board.
type Provider struct {
	board   Board
	clock   clock.PassiveClock
	metrics *Metrics
}

var _ provider.MetricsProvider = (*Provider)(nil)

// New returns a provider.
func New(board Board, clock clock.PassiveClock, metrics *Metrics) *Provider {
	return &Provider{board: board, clock: clock, metrics: metrics}
}

// GetMetricByName returns the value of one object. A name that nobody claims is 404. A claimed name without a fresh value
// is 503 with the reason: the HPA then leaves the replicas alone.
func (p *Provider) GetMetricByName(_ context.Context, name types.NamespacedName, info provider.CustomMetricInfo, series labels.Selector) (*custom_metrics.MetricValue, error) {
	claim := claimOf(name, info)
	object, sample, failure, known := p.board.Serve(claim, series)
	// A namespace is served at root scope only. Below another namespace it would be authorized there: …/namespaces/mine/namespaces/yours/….
	known = known && claim.RootScoped() == (name.Namespace == "")
	switch {
	case !known:
		p.metrics.read("NotFound")
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	case failure != nil:
		p.metrics.read(string(failure.Reason))
		return nil, unavailable(failure, "%s of %s %s", claim.Metric, claim.Resource, claim.Object)
	}
	p.metrics.served(sample.Age(p.clock.Now()))
	v := value(&object, object.Name, identify(info.Metric, series), sample, seconds(sample.Window))
	return &v, nil
}

// GetMetricBySelector returns the values of the objects of a kind that a selector matches; what an HPA asks for Pods
// metrics. An object without a fresh value is left out: the HPA then errs on the safe side. When none has one, it is 503 with
// the reason.
func (p *Provider) GetMetricBySelector(_ context.Context, namespace string, objects labels.Selector, info provider.CustomMetricInfo, series labels.Selector) (*custom_metrics.MetricValueList, error) {
	family := claimOf(types.NamespacedName{Namespace: namespace}, info)
	var items []metric.Item
	var failure *metric.Failure
	known := false
	if namespace != "" && !family.RootScoped() { // across namespaces there are no sets: a tenant sees its own
		items, failure, known = p.board.List(family, objects, series)
	}
	switch {
	case !known:
		p.metrics.read("NotFound")
		return nil, provider.NewMetricNotFoundForSelectorError(info.GroupResource, info.Metric, "*", objects)
	case failure != nil:
		p.metrics.read(string(failure.Reason))
		return nil, unavailable(failure, "%s of %s", info.Metric, info.GroupResource)
	}
	list := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, len(items))}
	id := identify(info.Metric, series)
	var oldest *metric.Sample
	var window *int64 // mostly one for all
	for i := range items {
		if i == 0 || items[i].Sample.Window != items[i-1].Sample.Window {
			window = seconds(items[i].Sample.Window)
		}
		list.Items[i] = value(items[i].Of, items[i].Name, id, items[i].Sample, window)
		if oldest == nil || items[i].Sample.Time.Before(oldest.Time) {
			oldest = items[i].Sample
		}
	}
	p.metrics.served(oldest.Age(p.clock.Now()))
	return list, nil
}

// ListAllMetrics is what discovery shows: exactly what is bound. When nothing is, a placeholder stands in, because
// clients take a group without resources for a broken one.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo {
	claims := p.board.Claims(metric.CustomMetrics)
	if len(claims) == 0 {
		return []provider.CustomMetricInfo{Placeholder()}
	}
	infos := make([]provider.CustomMetricInfo, len(claims))
	for i, claim := range claims {
		infos[i] = provider.CustomMetricInfo{GroupResource: claim.Resource, Metric: claim.Metric, Namespaced: !claim.RootScoped()}
	}
	return infos
}

// nothingBound is the name of a placeholder.
const nothingBound = "nothing-bound-yet"

// Placeholder is what discovery shows while nothing is bound.
func Placeholder() provider.CustomMetricInfo {
	return provider.CustomMetricInfo{
		GroupResource: schema.GroupResource{Group: "autoscaling.sysdigmetrics.dev", Resource: "sysdigmetricbindings"},
		Metric:        nothingBound,
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
func unavailable(failure *metric.Failure, format string, args ...any) error {
	return statusError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, fmt.Sprintf(format, args...)+": "+failure.Error())
}

func statusError(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}}
}

// identify is the name of a metric and which of its series were picked.
func identify(name string, series labels.Selector) custom_metrics.MetricIdentifier {
	id := custom_metrics.MetricIdentifier{Name: name}
	if series != nil && !series.Empty() {
		if selector, err := metav1.ParseToLabelSelector(series.String()); err == nil {
			id.Selector = selector
		}
	}
	return id
}

func value(object *metric.Object, name string, id custom_metrics.MetricIdentifier, sample *metric.Sample, window *int64) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{
			APIVersion: object.APIVersion, Kind: object.Kind, Namespace: object.Namespace, Name: name,
		},
		Metric:        id,
		Timestamp:     metav1.NewTime(sample.Time),
		WindowSeconds: window,
		Value:         *resource.NewMilliQuantity(sample.Milli, resource.DecimalSI),
	}
}

// seconds is a window as the API has it; nil when it is unknown.
func seconds(window time.Duration) *int64 {
	if whole := int64(window / time.Second); whole > 0 {
		return &whole
	}
	return nil
}
