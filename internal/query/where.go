package query

import (
	"maps"
	"regexp"
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

// groupable tells whether PromQL can group by a label of this name. Unlike in matchers, it cannot be quoted there. The API server
// has bounded how long it is, but what is parsed must not depend on who else has looked.
func groupable(name string) bool {
	const longest = 128 // as LabelName in the API
	if len(name) > longest {
		return false
	}
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
	taken := confined(names.Labels)
	for i, f := range filters {
		name := names.label(f.Label)
		if why := taken[name]; why != "" {
			return "", metric.Failf(metric.Rejected, "spec.source.metric.where[%d].label: %s cannot be a filter: %s", i, f.Label, why)
		}
		in := f.Operator == v1alpha1.FilterIn
		if !names.AsksData() {
			matchers = append(matchers, ","+oneOf(name, f.Values, in))
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

// oneOf is a matcher of a label that is (or is not) one of the values. Values are matched literally, whatever they contain. Nothing
// is compiled here: Sysdig does that.
func oneOf(label string, values []string, in bool) string {
	m := promlabels.Matcher{Name: label, Type: promlabels.MatchNotEqual}
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if len(values) == 1 {
		m.Value = values[0]
		if in {
			m.Type = promlabels.MatchEqual
		}
		return m.String()
	}
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = regexp.QuoteMeta(value)
	}
	m.Type, m.Value = promlabels.MatchNotRegexp, strings.Join(quoted, "|")
	if in {
		m.Type = promlabels.MatchRegexp
	}
	return m.String()
}
