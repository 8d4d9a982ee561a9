package query

import (
	"maps"
	"slices"
	"strings"

	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// dimensionsOf compiles the dimensions of a typed source.
func dimensionsOf(m *v1alpha1.MetricSource, target *v1alpha1.Target, names naming) (of, as dimensions, failure *metric.Failure) {
	l := names.Labels
	taken := confined(l)
	taken[l.Pod] = "the pods are reduced by groupAggregation; for a value per pod use target kind Pod with a selector"
	if target != nil {
		taken[l.Workload] = "the target says which workload the value describes; bind each workload, or all by selector"
		taken[l.WorkloadType] = taken[l.Workload]
	}
	return compileDimensions("spec.source.metric.dimensions", m.Dimensions, names, taken)
}

// confined are the labels that confine every query, and why a binding leaves them alone.
func confined(l Labels) map[string]string {
	const why = "it is set by the operator: a binding sees its own namespace in the connection's cluster"
	return map[string]string{l.Namespace: why, l.Cluster: why, partLabel: "it is set by the operator: it marks the times of values"}
}

// compileDimensions returns the labels to keep apart, in canonical order so that equal ones make equal shapes, and the names
// under which they are served. taken are labels that cannot be kept apart, and why.
func compileDimensions(field string, wanted []v1alpha1.Dimension, names naming, taken map[string]string) (of, as dimensions, failure *metric.Failure) {
	if len(wanted) > maxDimensions {
		return of, as, metric.Failf(metric.Rejected, "%s: at most %d labels can be kept apart", field, maxDimensions)
	}
	named := map[string]string{}
	for i, dimension := range wanted {
		name := names.label(string(dimension))
		if why := taken[name]; why != "" {
			return of, as, metric.Failf(metric.Rejected, "%s[%d]: %s cannot be kept apart: %s", field, i, dimension, why)
		}
		if !names.AsksData() && !groupable(name) {
			return of, as, metric.Failf(metric.Rejected, "%s[%d]: PromQL cannot group by %s", field, i, name)
		}
		if other, ok := named[name]; ok {
			return of, as, metric.Failf(metric.Rejected, "%s[%d]: %s and %s are the same label", field, i, other, dimension)
		}
		named[name] = string(dimension)
	}
	for i, name := range slices.Sorted(maps.Keys(named)) {
		of[i], as[i] = name, named[name]
	}
	return of, as, nil
}

// groupable tells whether PromQL can group by a label of this name. Unlike in matchers, it cannot be quoted there.
func groupable(name string) bool {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr("sum by (" + name + ") (x)")
	sum, ok := expr.(*parser.AggregateExpr)
	return err == nil && ok && slices.Equal(sum.Grouping, []string{name})
}

// compileWhere writes label filters in canonical order, so that equal filters make equal shapes.
func compileWhere(filters []v1alpha1.LabelFilter, names naming) (string, *metric.Failure) {
	matchers := make([]string, 0, len(filters))
	separator := "" // PromQL's matchers carry their comma
	if names.AsksData() {
		separator = " and "
	}
	for i, f := range filters {
		name := names.label(f.Label)
		if name == names.Labels.Namespace || name == names.Labels.Cluster {
			return "", metric.Failf(metric.Rejected,
				"spec.source.metric.where[%d].label: %s is set by the operator: a binding sees its own namespace in the connection's cluster", i, f.Label)
		}
		in := f.Operator == v1alpha1.FilterIn
		if !names.AsksData() {
			matchers = append(matchers, ","+oneOf(name, f.Values, in).String())
			continue
		}
		clause, failure := compileClause(name, f.Values, in)
		if failure != nil {
			return "", metric.Failf(metric.Rejected, "spec.source.metric.where[%d]: %s", i, failure.Message)
		}
		matchers = append(matchers, clause)
	}
	slices.Sort(matchers)
	return strings.Join(slices.Compact(matchers), separator), nil
}

// compileClause writes one filter of the data API.
func compileClause(label string, values []string, in bool) (string, *metric.Failure) {
	if slices.Contains(values, "") {
		return "", metric.Failf(metric.Rejected, "the connection has api Data, whose filters cannot ask for a label that is missing")
	}
	clause, err := sysdig.Filter([]sysdig.Clause{{Label: label, Values: values, Not: !in}})
	if err != nil {
		return "", metric.Failf(metric.Rejected, "%s", err)
	}
	return clause, nil
}

// oneOf matches a label that is (or is not) one of the values. Values are matched literally, whatever they contain.
func oneOf(label string, values []string, in bool) *promlabels.Matcher {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if len(values) == 1 {
		kind := promlabels.MatchNotEqual
		if in {
			kind = promlabels.MatchEqual
		}
		return promlabels.MustNewMatcher(kind, label, values[0])
	}
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quoteRegexp(value)
	}
	kind := promlabels.MatchNotRegexp
	if in {
		kind = promlabels.MatchRegexp
	}
	return promlabels.MustNewMatcher(kind, label, strings.Join(quoted, "|"))
}
