package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// maxSelectors bounds how many selectors a raw query may hold: each costs one more time vector.
const maxSelectors = 10

// allowedFunctions are the PromQL functions of raw queries. What is left out, refuseFunction explains.
func allowedFunctions() []string {
	return []string{
		"abs", "avg_over_time", "ceil", "changes", "clamp", "clamp_max", "clamp_min", "count_over_time", "delta", "deriv",
		"exp", "floor", "histogram_avg", "histogram_count", "histogram_fraction",
		"histogram_quantile", "histogram_sum", "idelta", "increase", "irate", "label_join", "label_replace",
		"last_over_time", "ln", "log10", "log2", "max_over_time", "min_over_time", "predict_linear",
		"present_over_time", "quantile_over_time", "rate", "resets", "round", "scalar", "sgn", "sort", "sort_desc",
		"sqrt", "stddev_over_time", "stdvar_over_time", "sum_over_time", "timestamp",
	}
}

// allowedAggregations are the aggregations of raw queries. Those that pick series by a hash of all of their labels are left out.
func allowedAggregations() []parser.ItemType {
	return []parser.ItemType{
		parser.AVG, parser.BOTTOMK, parser.COUNT, parser.COUNT_VALUES, parser.GROUP, parser.MAX, parser.MIN, parser.QUANTILE, parser.STDDEV,
		parser.STDVAR, parser.SUM, parser.TOPK,
	}
}

// compileRaw confines a raw query on its syntax tree: every selector gets the binding's namespace and the connection's
// cluster, every instant selector looks back maxAge at most, and a time vector per selector tells how old its points are.
func compileRaw(b *v1alpha1.SysdigMetricBinding, scope Scope) (Shape, View, *metric.Failure) {
	source, target := b.Spec.Source.PromQL, b.Spec.Target
	if failure := checkObjectLabel(source.ObjectLabel, target); failure != nil {
		return Shape{}, View{}, failure
	}
	expr, reach, failure := parseRaw(source.Query)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	c := confiner{names: naming{Scope: scope}, maxAge: b.Spec.MaxAge.Duration}
	c.matchers = append(c.matchers, labels.MustNewMatcher(labels.MatchEqual, scope.Labels.Namespace, b.Namespace))
	if scope.Cluster != "" {
		c.matchers = append(c.matchers, labels.MustNewMatcher(labels.MatchEqual, scope.Labels.Cluster, scope.Cluster))
	}
	expr = c.rewrite(expr)
	switch {
	case c.failure != nil:
		return Shape{}, View{}, c.failure
	case len(c.selectors) == 0:
		return Shape{}, View{}, rejectQuery("it names no metric")
	case len(c.selectors) > maxSelectors:
		return Shape{}, View{}, rejectQuery("it has %d different selectors, at most %d are allowed", len(c.selectors), maxSelectors)
	}
	shape := Shape{Scope: scope, Grain: Raw, Window: reach, Selectors: len(c.selectors), ObjectLabel: string(source.ObjectLabel), Namespace: b.Namespace}
	view := View{Namespace: b.Namespace}
	taken := confined(scope.Labels)
	taken[string(source.ObjectLabel)] = "it is the objectLabel, which tells the objects apart"
	shape.Dimensions, view.Dimensions, failure = compileDimensions("spec.source.promQL.dimensions", source.Dimensions, naming{Scope: scope}, taken)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	// No series of the query's own may carry the mark of times.
	shape.PromQL = fmt.Sprintf(`label_replace(%s, "%s", "", "", "")`, expr, partLabel)
	for i, selector := range c.selectors {
		shape.PromQL += " or " + newestPoint(selector, strings.Join(shape.rowLabels(), ", "), strconv.Itoa(i))
	}
	switch {
	case source.ObjectLabel == "":
	case isNamespace(target):
		view.Object = b.Namespace
	default:
		view.Object = target.Name
	}
	return shape, view, nil
}

// parseRaw reads a raw query, within the bounds of its text and of what it costs, and tells the longest stretch of time that it looks
// back beyond its instant selectors.
func parseRaw(text string) (expr parser.Expr, reach time.Duration, failure *metric.Failure) {
	if failure := checkText(text); failure != nil {
		return nil, 0, failure
	}
	// What is experimental is parsed too, so that the refusal can say what to do in its place.
	expr, err := parser.NewParser(parser.Options{EnableExperimentalFunctions: true}).ParseExpr(text)
	if err != nil {
		return nil, 0, rejectQuery("%v", err)
	}
	if expr.Type() != parser.ValueTypeVector {
		return nil, 0, notVector(expr)
	}
	reach, failure = checkCost(expr)
	return expr, reach, failure
}

// checkObjectLabel refuses a label where there is no object, and none where there are many.
func checkObjectLabel(label v1alpha1.LabelName, target *v1alpha1.Target) *metric.Failure {
	switch {
	case target == nil && label != "":
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: an external metric has no object; keep labels apart with dimensions")
	case target != nil && target.Selector != nil && label == "":
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: set it to the label that holds the names of the objects that spec.target.selector matches")
	case label == partLabel:
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: %s is set by the operator; name another label", label)
	case label != "" && !groupable(string(label)):
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: PromQL cannot group by %s", label)
	}
	return nil
}

func rejectQuery(format string, args ...any) *metric.Failure {
	const longest = 400 // bytes: a query may have thousands, and a condition is read by people
	reason := fmt.Sprintf(format, args...)
	if len(reason) > longest {
		reason = strings.ToValidUTF8(reason[:longest], "") + "…"
	}
	return metric.Failf(metric.Rejected, "spec.source.promQL.query: %s", reason)
}

// confiner rewrites a syntax tree and remembers the selectors it met. The first thing it can't confine is its failure.
type confiner struct {
	names     naming
	matchers  []*labels.Matcher
	maxAge    time.Duration
	selectors []string
	failure   *metric.Failure
}

func (c *confiner) refuse(format string, args ...any) {
	if c.failure == nil {
		c.failure = rejectQuery(format, args...)
	}
}

// rewrite returns the confined expression. What it does not know it refuses, so that a newer syntax cannot slip through.
func (c *confiner) rewrite(e parser.Expr) parser.Expr {
	switch e := e.(type) {
	case *parser.NumberLiteral:
	case *parser.StringLiteral:
		if e.Val == partLabel { // label_replace could forge the time of a value
			c.refuse("the label %s is set by the operator", partLabel)
		}
	case *parser.VectorSelector:
		c.confine(e)
		return &parser.Call{
			Func: parser.Functions["last_over_time"],
			Args: parser.Expressions{&parser.MatrixSelector{VectorSelector: e, Range: c.maxAge}},
		}
	case *parser.MatrixSelector:
		c.ranged(e)
	case *parser.Call:
		c.call(e)
	case *parser.AggregateExpr:
		if !slices.Contains(allowedAggregations(), e.Op) {
			c.refuse("%s is not allowed, because it picks series as nobody can foresee; use topk or bottomk", e.Op)
		}
		e.Expr = c.rewrite(e.Expr)
		if e.Param != nil {
			e.Param = c.rewrite(e.Param)
		}
	case *parser.BinaryExpr:
		e.LHS, e.RHS = c.rewrite(e.LHS), c.rewrite(e.RHS)
	case *parser.ParenExpr:
		e.Expr = c.rewrite(e.Expr)
	case *parser.UnaryExpr:
		e.Expr = c.rewrite(e.Expr)
	case *parser.SubqueryExpr:
		c.subquery(e)
	default:
		c.refuse("%s cannot be confined to a namespace", e)
	}
	return e
}

// call rewrites the arguments of a function. timestamp() wants the selector itself, or it would tell the time of the
// question.
func (c *confiner) call(e *parser.Call) {
	if !slices.Contains(allowedFunctions(), e.Func.Name) {
		c.refuseFunction(e.Func.Name)
	}
	if failure := checkRate(e); failure != nil && c.failure == nil {
		c.failure = failure
	}
	for i, arg := range e.Args {
		selector, isSelector := unwrap(arg).(*parser.VectorSelector)
		if isSelector && e.Func.Name == "timestamp" {
			c.confine(selector)
			continue
		}
		e.Args[i] = c.rewrite(arg)
	}
}

// refuseFunction says what to do in the place of a function. Those that make a value out of nothing would turn missing data into a
// number; info reads series that no selector names.
func (c *confiner) refuseFunction(name string) {
	switch name {
	case "vector", "absent", "absent_over_time", "time", "pi", "start", "end", "range", "step",
		"year", "month", "day_of_year", "day_of_month", "day_of_week", "days_in_month", "hour", "minute":
		c.refuse("%s() is not allowed, because it makes a value out of nothing and so hides that data is missing; leave it out, and say in spec.onNoData what to serve then", name)
	case "info":
		c.refuse("info() is not allowed, because it reads series that no selector names; join them with * on (…) group_left (…)")
	default:
		c.refuse("%s() is not allowed; use one of the functions that docs/sysdigmetricbinding.md lists", name)
	}
}

func unwrap(e parser.Expr) parser.Expr {
	for {
		paren, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = paren.Expr
	}
}

func (c *confiner) ranged(e *parser.MatrixSelector) {
	selector, ok := e.VectorSelector.(*parser.VectorSelector)
	if !ok || e.RangeExpr != nil {
		c.refuse("%s: write the range as a plain duration such as [1m]", e)
		return
	}
	c.confine(selector)
}

func (c *confiner) subquery(e *parser.SubqueryExpr) {
	if e.RangeExpr != nil || e.StepExpr != nil {
		c.refuse("%s: write the range as a plain duration such as [5m:10s]", e)
	}
	c.refuseShift(e, e.OriginalOffset, e.OriginalOffsetExpr, e.Timestamp, e.StartOrEnd)
	e.Expr = c.rewrite(e.Expr)
}

func (c *confiner) confine(s *parser.VectorSelector) {
	c.refuseShift(s, s.OriginalOffset, s.OriginalOffsetExpr, s.Timestamp, s.StartOrEnd)
	if s.Anchored || s.Smoothed {
		c.refuse("%s: anchored and smoothed are not allowed", s)
	}
	if metricOf(s) == "" {
		c.refuse("%s: name one metric; a pattern of names cannot be dated", s)
	}
	s.LabelMatchers = append(c.others(s), c.matchers...)
	if text := s.String(); !slices.Contains(c.selectors, text) {
		c.selectors = append(c.selectors, text)
	}
}

// others are the matchers of a selector about other labels than those that confine it. A store never sees two matchers of such a
// label, of which it might heed one. One that leaves out what the binding sees would make the answer empty for ever.
func (c *confiner) others(s *parser.VectorSelector) (others []*labels.Matcher) {
	for _, m := range s.LabelMatchers {
		own := slices.IndexFunc(c.matchers, func(own *labels.Matcher) bool { return own.Name == c.names.label(m.Name) })
		switch {
		case own < 0:
			others = append(others, m)
		case !m.Matches(c.matchers[own].Value):
			c.refuse("%s: a binding sees series of %s only; leave out %s", s, c.matchers[own], m)
		}
	}
	return others
}

func (c *confiner) refuseShift(e parser.Expr, offset time.Duration, offsetExpr *parser.DurationExpr, at *int64, startOrEnd parser.ItemType) {
	if offset != 0 || offsetExpr != nil || at != nil || startOrEnd != 0 {
		c.refuse("%s: @ and offset are not allowed, because a value has to be of now", strings.TrimSpace(e.String()))
	}
}
