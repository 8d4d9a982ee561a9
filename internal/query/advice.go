package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// This file knows what people write into raw queries that Sysdig's API does not understand, and says what to write instead.

// Variables of dashboards: $name, ${name} and ${name:format}. In a text, names of classes ($Proxy12) and paths (/odata/$metadata) look
// like them: a value holds a variable when it begins with one, or has one in curly brackets or of Grafana's own, and a regular expression
// when it could match nothing otherwise.
func variable() *regexp.Regexp { return regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)`) }
func variableInValue() *regexp.Regexp {
	return regexp.MustCompile(`(?:^\$\{?|\$\{|\$(__))([a-zA-Z_]\w*)`)
}
func variableInPattern() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[^\\])\$\{?([a-zA-Z_]\w*)`)
}

// notFilledIn refuses the value of a matcher in which a variable is.
func notFilledIn(value string, variable func() *regexp.Regexp) *metric.Failure {
	if !strings.Contains(value, "$") {
		return nil
	}
	found := variable().FindStringSubmatch(value)
	if found == nil {
		return nil
	}
	return refuseVariable(strings.Join(found[1:], ""))
}

// refuseVariable says what to write in the place of a variable.
func refuseVariable(name string) *metric.Failure {
	advice := "write a value in its place, or leave the matcher out"
	switch {
	case name == "__scope":
		advice = "leave it out: the query is confined to the binding's namespace anyway"
	case strings.HasSuffix(name, "_sec"), strings.HasSuffix(name, "_s"):
		advice = "write seconds in its place, such as 60"
	case strings.HasPrefix(name, "__"):
		advice = "write a duration in its place, such as 1m"
	}
	return rejectQuery("$%s is a variable of dashboards, which Sysdig's API does not know; %s", clip(name), advice)
}

// explain is what is wrong at a place that is no PromQL where that is known; nil where the parser knows best. label tells whether a
// label is expected there.
func explain(text string, at int, label bool) *metric.Failure {
	const near = 100 // bytes: what is further behind is something else
	rest := text[at:min(len(text), at+near)]
	if found := variable().FindStringSubmatch(rest); found != nil {
		return refuseVariable(found[1])
	}
	start := 1 + strings.LastIndexFunc(text[:at], func(r rune) bool { return r != '_' && !isAlphanumeric(r) })
	name := regexp.MustCompile(`^[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)+`).FindString(text[start:])
	switch {
	case name == "":
		return nil
	case label:
		return rejectQuery("PromQL knows no label %s: write %s", clip(name), clip(promQLLabel(name)))
	default:
		return rejectQuery("PromQL knows no metric %s: write %s, or use source.metric, which takes both names", clip(name), clip(promQLName(name)))
	}
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// clip shortens a name that a message holds.
func clip(name string) string {
	const longest = 100 // bytes
	if len(name) > longest {
		return strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return name
}

// notVector says how to make an instant vector of something else.
func notVector(expr parser.Expr) *metric.Failure {
	advice := "use a function such as sum(rate(x[1m]))"
	if expr.Type() == parser.ValueTypeScalar {
		advice = "leave out scalar() and numbers alone, and write a query such as sum(x)"
	}
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

// sysdigsOwn tells whether a metric is one that Sysdig's agents make. Their counters hold the count of each interval, and their
// gauges a level: nothing rises for ever.
func sysdigsOwn(metric string) bool {
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

// risingOnly tells whether a function is about a counter that only rises, or differences of one.
func risingOnly(function string) bool {
	return slices.Contains([]string{"rate", "irate", "increase", "resets", "delta", "idelta"}, function)
}

// refuseRising says what to write in the place of a function of counters that only rise around a metric that never does.
func refuseRising(function, name string, window time.Duration) *metric.Failure {
	ranged := clip(name) + "[" + model.Duration(window).String() + "]"
	counter := "sum_over_time(" + ranged + ")"
	if function == "rate" || function == "irate" {
		counter += fmt.Sprintf(" / %d", max(int64(window.Seconds()), 1))
	}
	return rejectQuery("%s() does not go with %s: Sysdig's own counters hold the count of each interval and do not rise for ever; write %s for a counter, or avg_over_time(%s) for a gauge, whose slope is deriv(%s)",
		function, clip(name), counter, ranged, ranged)
}
