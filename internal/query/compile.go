package query

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Target is what the API server knows of a binding's target.
type Target struct {
	// Resource of the target's kind.
	Resource schema.GroupResource
	// Selector of a Service, in canonical form; empty for other kinds.
	Selector string
}

// Compile turns a binding and its connection into a definition. A binding that cannot be asked yields a definition whose
// Refused says why and what to change; its claim then answers that, and the HPA leaves the replicas alone.
func Compile(b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection, target Target) Definition {
	d := Define(b, target.Resource)
	if d.Refused != nil {
		return d
	}
	question, failure := compileQuestion(b, c, target)
	if failure != nil {
		d.Refused = failure
		return d
	}
	d.Question = question
	d.Query = Plan([]Question{question})[0].PromQL
	if len(d.Query) > maxQueryLength {
		d.Refused = metric.Failf(metric.Rejected, "spec.source: the query has %d characters with what confines it, Sysdig takes at most %d; make it shorter", len(d.Query), maxQueryLength)
		d.Query = ""
	}
	return d
}

// Define compiles everything of a binding but its question: the claim, the object and the policy.
func Define(b *v1alpha1.SysdigMetricBinding, resource schema.GroupResource) Definition {
	d := Definition{
		Binding: types.NamespacedName{Namespace: b.Namespace, Name: b.Name},
		UID:     b.UID, Created: b.CreationTimestamp.Time, Generation: b.Generation,
		Claim: metric.Claim{Namespace: b.Namespace, Resource: resource, Object: b.Spec.Target.Name, Metric: b.ServedName()},
		Object: metric.Object{
			Kind: b.Spec.Target.Kind, APIVersion: b.Spec.Target.APIVersion,
			NamespacedName: types.NamespacedName{Namespace: b.Namespace, Name: b.Spec.Target.Name},
		},
		Policy: metric.Policy{MaxAge: b.Spec.MaxAge.Duration, Suspended: b.Spec.Suspend},
	}
	if isNamespace(b.Spec.Target) {
		d.Claim = metric.NamespaceClaim(b.Namespace, b.ServedName())
		d.Object.NamespacedName = types.NamespacedName{Name: b.Namespace}
	}
	d.Policy.OnNoData, d.Refused = compileNoData(b.Spec.OnNoData)
	return d
}

func isNamespace(t v1alpha1.Target) bool { return t.APIVersion == "v1" && t.Kind == "Namespace" }

func compileNoData(o v1alpha1.OnNoData) (*metric.Sample, *metric.Failure) {
	if o.Action != v1alpha1.NoDataValue {
		return nil, nil
	}
	value, failure := number("spec.onNoData.value", o.Value)
	if failure != nil {
		return nil, failure
	}
	milli, failure := metric.Milli(value)
	if failure != nil {
		return nil, metric.Failf(metric.Rejected, "spec.onNoData.value: %s", failure.Message)
	}
	return &metric.Sample{Value: value, Milli: milli}, nil
}

func number(field string, d v1alpha1.Decimal) (float64, *metric.Failure) {
	value, err := strconv.ParseFloat(string(d), 64)
	if err != nil {
		return 0, metric.Failf(metric.Rejected, "%s: %q is not a decimal number", field, d)
	}
	return value, nil
}

func compileQuestion(b *v1alpha1.SysdigMetricBinding, c *v1alpha1.SysdigConnection, target Target) (Question, *metric.Failure) {
	if need := c.Spec.Interval.Duration + c.Spec.IngestionLag.Duration + gridStep; b.Spec.MaxAge.Duration < need {
		return Question{}, metric.Failf(metric.Rejected,
			"spec.maxAge: %s is shorter than the interval and the ingestionLag of connection %s plus one 10s point, so every sample would be too old; set it to %s or more",
			b.Spec.MaxAge.Duration, c.Name, need)
	}
	multiplier, failure := number("spec.multiplier", b.Spec.Multiplier)
	if failure != nil {
		return Question{}, failure
	}
	scope := ScopeOf(c)
	var shape Shape
	var view View
	if b.Spec.Source.PromQL != nil {
		shape, view, failure = compileRaw(b, scope)
	} else {
		shape, view, failure = compileTyped(b, scope, target)
	}
	if failure != nil {
		return Question{}, failure
	}
	return Question{Shape: shape, View: view, Multiplier: multiplier}, nil
}

// ScopeOf compiles what all questions of a connection have in common.
func ScopeOf(c *v1alpha1.SysdigConnection) Scope {
	names := c.Spec.LabelNames
	return Scope{
		Connection: c.Name,
		Endpoint:   fmt.Sprint(c.Spec.Endpoint.URL, c.Spec.Endpoint.Region, c.Spec.Endpoint.PrometheusPath, c.Spec.Endpoint.Headers),
		Cluster:    c.Spec.ClusterName,
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
	where, failure := compileWhere(m.Where, scope.Labels)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	shape := Shape{
		Scope: scope, Metric: promQLName(m.Name), Time: m.TimeAggregation, Cumulative: m.CounterType == v1alpha1.CounterCumulative,
		Group: m.GroupAggregation, Window: m.Window.Duration, Where: where,
	}
	view := View{Namespace: b.Namespace}
	t := b.Spec.Target
	switch {
	case t.APIVersion == "apps/v1" && slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, t.Kind):
		shape.Grain, view.Workload, view.WorkloadType = ByWorkload, t.Name, strings.ToLower(t.Kind)
	case t.APIVersion == "v1" && t.Kind == "Service":
		if target.Selector == "" {
			return Shape{}, View{}, metric.Failf(metric.Rejected,
				"spec.target: Service %s has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL", t.Name)
		}
		shape.Grain, shape.Group, view.Selector, view.Group = ByPod, "", target.Selector, m.GroupAggregation
	case t.APIVersion == "v1" && t.Kind == "Pod":
		shape.Grain, shape.Group, view.Pod, view.Group = ByPod, "", t.Name, m.GroupAggregation
	case isNamespace(t) || len(m.Where) > 0:
		shape.Grain = ByNamespace
	default:
		return Shape{}, View{}, metric.Failf(metric.Rejected,
			"spec.source.metric: Sysdig has no label for %s; add where to say which series describe it, or use source.promQL", t.Kind)
	}
	return shape, view, nil
}

// compileWhere writes label filters in canonical order, so that equal filters make equal shapes.
func compileWhere(filters []v1alpha1.LabelFilter, names Labels) (string, *metric.Failure) {
	matchers := make([]string, 0, len(filters))
	for i, f := range filters {
		name := names.labelName(f.Label)
		if name == names.Namespace || name == names.Cluster {
			return "", metric.Failf(metric.Rejected,
				"spec.source.metric.where[%d].label: %s is set by the operator: a binding sees its own namespace in the connection's cluster", i, f.Label)
		}
		matchers = append(matchers, ","+oneOf(name, f.Values, f.Operator == v1alpha1.FilterIn).String())
	}
	slices.Sort(matchers)
	return strings.Join(slices.Compact(matchers), ""), nil
}

// oneOf matches a label that is (or is not) one of the values. Values are matched literally, whatever they contain.
func oneOf(label string, values []string, in bool) *labels.Matcher {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if len(values) == 1 {
		kind := labels.MatchNotEqual
		if in {
			kind = labels.MatchEqual
		}
		return labels.MustNewMatcher(kind, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quoteRegexp(value)
	}
	kind := labels.MatchNotRegexp
	if in {
		kind = labels.MatchRegexp
	}
	return labels.MustNewMatcher(kind, label, strings.Join(quoted, "|"))
}
