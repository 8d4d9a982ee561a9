package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Target is what the API server knows of a binding's target, and Sysdig of its labels.
type Target struct {
	// Resource of the target's kind; empty without a target.
	Resource schema.GroupResource
	// Selector of the Service with the target's name, in canonical form; empty for other targets. Compile puts that of a set
	// here.
	Selector string
	// Metrics are the names of all metrics, sorted, in the notation of the connection's API, and Labels the data API's labels by their
	// PromQL names, as Sysdig tells them. It may not have told any.
	Metrics []string
	Labels  map[string]string
}

// Compile turns a binding and its connection into a definition. A binding that cannot be asked yields a definition whose
// Refused says why and what to change; its claim then answers that, and the HPA leaves the replicas alone.
func Compile(b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection, target Target) Definition {
	d := Define(b, target.Resource)
	if d.Refused != nil {
		return d
	}
	if d.Claim.Set() {
		target.Selector = d.Claim.Selector
	}
	said, failure := compileOwn(b)
	if failure != nil {
		d.Refused, d.Final = failure, true
		return d
	}
	question, failure := compileQuestion(b, c, target, said)
	if failure != nil {
		d.Refused = failure
		return d
	}
	if length := len(question.alone()); length > maxQueryLength {
		d.Refused = metric.Failf(metric.Rejected, "spec.source: the query has %d characters with what confines it, Sysdig takes at most %d; make it shorter", length, maxQueryLength)
		return d
	}
	d.Question = question
	return d
}

// Define compiles everything of a binding but its question: the claim, the object and the policy.
func Define(b *v1alpha1.SysdigMetricBinding, resource schema.GroupResource) Definition {
	d := Definition{
		Binding: types.NamespacedName{Namespace: b.Namespace, Name: b.Name},
		UID:     b.UID, Created: b.CreationTimestamp.Time, Generation: b.Generation,
		Policy: metric.Policy{MaxAge: b.Spec.MaxAge.Duration, Suspended: b.Spec.Suspend},
	}
	d.Observed = observed(b)
	var selected, noData *metric.Failure
	d.Claim, d.Object, d.Selector, selected = claim(b, resource)
	d.Policy.OnNoData, noData = compileNoData(b.Spec.OnNoData, d.Claim.External)
	if d.Policy.OnNoData != nil && d.Claim.Set() && b.Spec.Target.Kind == "Pod" {
		noData = metric.Failf(metric.Rejected, "spec.onNoData: Value does not go with Pods metrics: a silent pod is left out, and a number for it would be a guess")
	}
	d.Refused = cmp.Or(selected, noData)
	d.Final = d.Refused != nil
	return d
}

// TurnAway is the definition of a binding that is not compiled: it claims nothing and asks nothing.
func TurnAway(b *v1alpha1.SysdigMetricBinding, why *metric.Failure) Definition {
	return Definition{
		Binding: types.NamespacedName{Namespace: b.Namespace, Name: b.Name},
		UID:     b.UID, Created: b.CreationTimestamp.Time, Generation: b.Generation, Refused: why,
	}
}

// observed is what the status of a binding shows, which another process may have written. Of a value that was assumed it is no more than
// that one was measured before, if it was.
func observed(b *v1alpha1.SysdigMetricBinding) *metric.Sample {
	o := b.Status.Observed
	if o == nil || b.Status.ObservedGeneration != b.Generation {
		return nil
	}
	if o.Assumed {
		if o.Measured == nil {
			return nil
		}
		return &metric.Sample{Time: o.Measured.Time, Received: o.Measured.Time, Assumed: true}
	}
	value, err := resource.ParseQuantity(o.Value)
	if err != nil {
		return nil
	}
	return &metric.Sample{Value: value.AsApproximateFloat64(), Milli: value.MilliValue(), Time: o.Time.Time, Received: o.Time.Time}
}

// claim is the name under which the value of a binding is served, and what it describes. A selector that cannot be used
// matches nothing.
func claim(b *v1alpha1.SysdigMetricBinding, resource schema.GroupResource) (metric.Claim, metric.Object, labels.Selector, *metric.Failure) {
	t := b.Spec.Target
	if t == nil {
		return metric.ExternalClaim(b.Namespace, b.ServedName()), metric.Object{}, nil, nil
	}
	object := metric.Object{Kind: t.Kind, APIVersion: t.APIVersion, NamespacedName: types.NamespacedName{Namespace: b.Namespace, Name: t.Name}}
	if isNamespace(t) {
		object.NamespacedName = types.NamespacedName{Name: b.Namespace}
		return metric.NamespaceClaim(b.Namespace, b.ServedName()), object, nil, nil
	}
	c := metric.Claim{Namespace: b.Namespace, Resource: resource, Object: t.Name, Metric: b.ServedName()}
	if t.Selector == nil && t.Name == "" {
		c.Selector = "!"
		return c, object, labels.Nothing(), metric.Failf(metric.Rejected, "spec.target: set name or selector")
	}
	if t.Selector == nil {
		return c, object, nil, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(t.Selector.LabelSelector())
	if err != nil {
		c.Selector = "!" // no selector has this form; an empty one would claim every object
		return c, object, labels.Nothing(), metric.Failf(metric.Rejected, "spec.target.selector: %v", err)
	}
	if c.Selector = selector.String(); len(c.Selector) > maxSelector {
		failure := metric.Failf(metric.Rejected, "spec.target.selector: it has %d bytes, %d are allowed; use fewer values", len(c.Selector), maxSelector)
		c.Selector = "!"
		return c, object, labels.Nothing(), failure
	}
	return c, object, selector, nil
}

// maxSelector is how many bytes the selector of a set has at most, in canonical form: as many as of an object's labels are looked at.
const maxSelector = 4096

func isNamespace(t *v1alpha1.Target) bool {
	return t != nil && t.APIVersion == "v1" && t.Kind == "Namespace"
}

func compileNoData(o v1alpha1.OnNoData, external bool) (*metric.Sample, *metric.Failure) {
	if o.Action != v1alpha1.NoDataValue {
		return nil, nil
	}
	value, failure := number("spec.onNoData.value", o.Value)
	if failure != nil {
		return nil, failure
	}
	assumed, milli, failure := metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1), External: external}.Number(value)
	if failure != nil {
		return nil, metric.Failf(metric.Rejected, "spec.onNoData.value: %s", failure.Message)
	}
	return &metric.Sample{Value: assumed, Milli: milli}, nil
}

func number(field string, d v1alpha1.Decimal) (float64, *metric.Failure) {
	value, err := strconv.ParseFloat(string(d), 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, metric.Failf(metric.Rejected, "%s: %q is not a decimal number", field, d)
	}
	return value, nil
}

// own is what a binding says by itself, whatever its connection and its target are.
type own struct {
	measure metric.Measure
	query   *rawQuery // nil for a typed source
}

// compileOwn compiles that. Only an edit of the binding mends a failure.
func compileOwn(b *v1alpha1.SysdigMetricBinding) (said own, failure *metric.Failure) {
	if said.measure, failure = compileMeasure(b); failure != nil {
		return said, failure
	}
	switch source := b.Spec.Source; {
	case source.PromQL != nil:
		if failure = checkObjectLabel(source.PromQL.ObjectLabel, b.Spec.Target); failure == nil {
			said.query, failure = parseRaw(source.PromQL.Query)
		}
	case !metricName(source.Metric.Name):
		failure = metric.Failf(metric.Rejected, "spec.source.metric.name: must be a metric name such as net.http.request.count; a query goes into source.promQL")
	}
	return said, failure
}

func compileQuestion(b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection, target Target, said own) (Question, *metric.Failure) {
	if need := c.Spec.Interval.Duration + c.Spec.IngestionLag.Duration + metric.Step; b.Spec.MaxAge.Duration < need {
		return Question{}, metric.Failf(metric.Rejected,
			"spec.maxAge: %s is shorter than the interval and the ingestionLag of connection %s plus one 10s point, so every sample would be too old; set it to %s or more",
			b.Spec.MaxAge.Duration, c.Name, need)
	}
	scope := ScopeOf(c)
	var shape Shape
	var view View
	var failure *metric.Failure
	if failure := cmp.Or(scope.Check(), unknownTo(scope.API, b)); failure != nil {
		return Question{}, failure
	}
	if said.query != nil {
		shape, view, failure = compileRaw(b, scope, said.query)
	} else {
		shape, view, failure = compileTyped(b, scope, target)
	}
	if failure != nil {
		return Question{}, failure
	}
	view.All = b.Spec.Target != nil && b.Spec.Target.Selector != nil
	return Question{Shape: shape.ID(), View: view, Measure: said.measure}, nil
}

func compileMeasure(b *v1alpha1.SysdigMetricBinding) (metric.Measure, *metric.Failure) {
	m := metric.Measure{Min: math.Inf(-1), Max: math.Inf(1), External: b.Spec.Target == nil}
	if b.Spec.Source.Metric != nil {
		m.Group = metric.Aggregation(b.Spec.Source.Metric.GroupAggregation)
	}
	var failure *metric.Failure
	if m.Multiplier, failure = number("spec.multiplier", b.Spec.Multiplier); failure != nil {
		return m, failure
	}
	if bounds := b.Spec.Bounds; bounds != nil {
		if bounds.Min != "" {
			if m.Min, failure = number("spec.bounds.min", bounds.Min); failure != nil {
				return m, failure
			}
		}
		if bounds.Max != "" {
			if m.Max, failure = number("spec.bounds.max", bounds.Max); failure != nil {
				return m, failure
			}
		}
	}
	return m, nil
}

// unknownTo refuses what an API cannot answer.
func unknownTo(api v1alpha1.API, b *v1alpha1.SysdigMetricBinding) *metric.Failure {
	switch m := b.Spec.Source.Metric; {
	case api != v1alpha1.APIData:
		return nil
	case m == nil:
		return metric.Failf(metric.Rejected, "spec.source.promQL: the connection has api Data, which takes no PromQL; use source.metric, or a connection with api Prometheus")
	case m.CounterType == v1alpha1.CounterCumulative:
		return metric.Failf(metric.Rejected, "spec.source.metric.counterType: the connection has api Data, which cannot tell the resets of a Cumulative counter; use a connection with api Prometheus")
	}
	return nil
}

// ScopeOf compiles what all questions of a connection have in common.
func ScopeOf(c *v1alpha1.SysdigConnection) Scope {
	scope := promQLScope(c)
	if c.Spec.API == v1alpha1.APIData {
		scope.API, scope.RateFrom = v1alpha1.APIData, c.Spec.DataAPI.RateFrom
		l := &scope.Labels
		for _, name := range []*string{&l.Cluster, &l.Namespace, &l.WorkloadType, &l.Workload, &l.Pod} {
			*name = dataLabel(*name)
		}
	}
	return scope
}

// AsksData tells whether the data API is asked.
func (s Scope) AsksData() bool { return s.API == v1alpha1.APIData }

// Check is why nothing of a connection can be asked; nil when it can.
func (s Scope) Check() *metric.Failure {
	l := s.Labels
	if slices.Contains([]string{l.Cluster, l.Namespace, l.WorkloadType, l.Workload, l.Pod}, partLabel) {
		return metric.Failf(metric.Rejected, "spec.labelNames of connection %s: the label %s is set by the operator: it marks the times of values; write the label of the store", s.Connection, partLabel)
	}
	if !s.AsksData() {
		return nil
	}
	if _, err := sysdig.Filter(s.clauses(nil)); err != nil {
		return metric.Failf(metric.Rejected, "spec.clusterName of connection %s: %s", s.Connection, err)
	}
	return nil
}

func promQLScope(c *v1alpha1.SysdigConnection) Scope {
	names := c.Spec.LabelNames
	return Scope{
		Connection: c.Name,
		Endpoint:   fmt.Sprint(c.Spec.Endpoint.URL, c.Spec.Endpoint.Region, c.Spec.Endpoint.PrometheusPath, c.Spec.Endpoint.Headers),
		Cluster:    c.Spec.ClusterName,
		API:        v1alpha1.APIPrometheus,
		Labels: Labels{
			Cluster:      cmp.Or(string(names.Cluster), "kube_cluster_name"),
			Namespace:    cmp.Or(string(names.Namespace), "kube_namespace_name"),
			WorkloadType: cmp.Or(string(names.WorkloadType), "kube_workload_type"),
			Workload:     cmp.Or(string(names.Workload), "kube_workload_name"),
			Pod:          cmp.Or(string(names.Pod), "kube_pod_name"),
		},
	}
}

func compileTyped(b *v1alpha1.SysdigMetricBinding, scope Scope, target Target) (Shape, View, *metric.Failure) {
	m := b.Spec.Source.Metric
	names := naming{scope, target.Metrics, target.Labels}
	where, failure := compileWhere(m.Where, names)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	if failure := absentFrom(scope.API, "spec.source.metric.name", m.Name); failure != nil {
		return Shape{}, View{}, failure
	}
	name, source := names.metric(m.Name)
	shape := Shape{
		Scope: scope, Metric: name, Source: source, Time: m.TimeAggregation, Cumulative: m.CounterType == v1alpha1.CounterCumulative,
		Group: metric.Aggregation(m.GroupAggregation), Window: m.Window.Duration, Where: where,
	}
	view := View{Namespace: b.Namespace}
	shape.Dimensions, view.Dimensions, failure = dimensionsOf(m, b.Spec.Target, names)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	if len(m.Dimensions) > 0 && b.Spec.Target != nil {
		shape.Group = "" // which series of a pod are summed is known at the read, and the pods are reduced after that
	}
	failure = aim(&shape, &view, b.Spec.Target, target.Selector, len(m.Where) > 0)
	return shape, view, failure
}

// metricName tells whether a text is a name in either spelling. The API server has checked it, but a name is written into queries as it
// is, and what confines them must not depend on who else has looked.
func metricName(text string) bool {
	return model.LegacyValidation.IsValidMetricName(strings.ReplaceAll(text, ".", "_"))
}

// aim sets the grain of a typed shape and which of its rows describe the target. selector is Target.Selector.
func aim(shape *Shape, view *View, t *v1alpha1.Target, selector string, where bool) *metric.Failure {
	switch {
	case t == nil, isNamespace(t):
		shape.Grain = ByNamespace
	case t.APIVersion == "apps/v1" && slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, t.Kind):
		shape.Grain, view.Workload, view.WorkloadType = ByWorkload, t.Name, strings.ToLower(t.Kind)
	case t.APIVersion == "v1" && t.Kind == "Service":
		return aimAtService(shape, view, t, selector)
	case t.APIVersion == "v1" && t.Kind == "Pod":
		shape.Grain, shape.Group, view.Pod, view.Selector = ByPod, "", t.Name, selector
	case where && t.Selector == nil:
		shape.Grain = ByNamespace
	case t.Selector != nil:
		return metric.Failf(metric.Rejected,
			"spec.target.selector: Sysdig has no label that tells one %s from another; use source.promQL with objectLabel", t.Kind)
	default:
		return metric.Failf(metric.Rejected,
			"spec.source.metric: Sysdig has no label for %s; add where to say which series describe it, or use source.promQL", t.Kind)
	}
	return nil
}

// aimAtService is aim for Services. The data API has a label for them; of the other, they are the pods that they select.
func aimAtService(shape *Shape, view *View, t *v1alpha1.Target, selector string) *metric.Failure {
	view.ByService, view.Selector = true, selector
	switch {
	case shape.Scope.AsksData():
		shape.Grain, view.Service = ByService, t.Name
	case t.Selector == nil && selector == "":
		return withoutSelector(t.Name)
	default:
		shape.Grain, shape.Group = ByPod, ""
	}
	return nil
}

func withoutSelector(service string) *metric.Failure {
	return metric.Failf(metric.Rejected,
		"spec.target: Service %s has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL", service)
}
