package query

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// This file knows what people write into raw queries that Sysdig's API does not understand, and says what to write instead.

// explain is what is wrong with a text that is no PromQL where that is known; nil where the parser knows best.
func explain(text string, inBraces bool) *metric.Failure {
	bare := withoutStrings(text)
	name := regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)+`).FindString(bare)
	switch failure := variable(bare); {
	case failure != nil:
		return failure
	case name == "":
		return nil
	case inBraces:
		return rejectQuery("PromQL knows no label %s: write %s", name, promQLLabel(name))
	default:
		return rejectQuery("PromQL knows no metric %s: write %s, or use source.metric, which takes both names", name, promQLName(name))
	}
}

// withoutStrings leaves out the strings and comments of a query.
func withoutStrings(text string) string {
	return regexp.MustCompile("\"(\\\\.|[^\"\\\\])*\"|'(\\\\.|[^'\\\\])*'|`[^`]*`|#[^\n]*").ReplaceAllString(text, "")
}

// variable refuses a text that holds a variable of dashboards.
func variable(text string) *metric.Failure {
	if !strings.Contains(text, "$") { // most texts
		return nil
	}
	name := regexp.MustCompile(`\$\{?([a-zA-Z_][a-zA-Z0-9_]*)`).FindStringSubmatch(text)
	if name == nil {
		return nil
	}
	const unknown = "$%s is a variable of dashboards, which Sysdig's API does not know; "
	switch {
	case name[1] == "__scope":
		return rejectQuery(unknown+"leave it out: the query is confined to the binding's namespace anyway", name[1])
	case strings.HasSuffix(name[1], "_sec"), strings.HasSuffix(name[1], "_s"):
		return rejectQuery(unknown+"write seconds in its place, such as 60", name[1])
	case strings.HasPrefix(name[1], "__"):
		return rejectQuery(unknown+"write a duration in its place, such as 1m", name[1])
	default:
		return rejectQuery(unknown+"write a value in its place, or leave the matcher out", name[1])
	}
}

// notVector says how to make an instant vector of something else.
func notVector(expr parser.Expr) *metric.Failure {
	advice := "use a function such as sum(rate(x[1m]))"
	switch e := unwrap(expr).(type) {
	case *parser.Call:
		if e.Func.Name == "scalar" && len(e.Args) == 1 {
			advice = fmt.Sprintf("leave out scalar() and write %s", e.Args[0])
		}
	case *parser.MatrixSelector, *parser.SubqueryExpr:
		advice = fmt.Sprintf("put a function around it, as in avg_over_time(%s)", e)
	}
	return rejectQuery("it yields a %s, but has to yield an instant vector: %s", expr.Type(), advice)
}

// native reports whether a metric is one of Sysdig's agents. Their counters hold the count of each interval, and their gauges a level:
// nothing rises for ever.
func native(metric string) bool {
	scope, ok := strings.CutPrefix(metric, "sysdig_")
	if !ok {
		return false
	}
	scope, _, _ = strings.Cut(scope, "_")
	switch scope {
	case "host", "container", "program", "connection":
		return true
	}
	return false
}

// checkRate refuses functions of counters that only rise around what never does.
func checkRate(call *parser.Call) *metric.Failure {
	switch call.Func.Name {
	case "rate", "irate", "increase", "resets":
	default:
		return nil
	}
	selector, window := rangedSelector(call)
	if selector == nil || !native(metricOf(selector)) {
		return nil
	}
	name, over := metricOf(selector), model.Duration(window)
	return rejectQuery("%s() does not go with %s: Sysdig's own counters hold the count of each interval and do not rise for ever; write sum_over_time(%s[%s]) / %d for a counter, or avg_over_time(%s[%s]) for a gauge",
		call.Func.Name, name, name, over, int64(window.Seconds()), name, over)
}

// rangedSelector is the selector whose points a function of ranges looks at, and its range; nil when it looks at something else.
func rangedSelector(call *parser.Call) (*parser.VectorSelector, time.Duration) {
	if len(call.Args) != 1 {
		return nil, 0
	}
	switch arg := unwrap(call.Args[0]).(type) {
	case *parser.MatrixSelector:
		selector, _ := unwrap(arg.VectorSelector).(*parser.VectorSelector)
		return selector, arg.Range
	case *parser.SubqueryExpr:
		selector, _ := unwrap(arg.Expr).(*parser.VectorSelector)
		return selector, arg.Range
	}
	return nil, 0
}

// metricOf is the name of the metric that a selector matches; empty when that is no single one.
func metricOf(s *parser.VectorSelector) string {
	if s.Name != "" {
		return s.Name
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			return m.Value
		}
	}
	return ""
}
