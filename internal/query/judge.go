package query

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Bounds of what a raw query costs Sysdig.
const (
	// maxSelectors is how many different selectors a query may have: each costs one more time vector.
	maxSelectors = 10
	// maxReach is how far back a query may look: an HPA follows the load of minutes, and a day shows what is usual.
	maxReach = 24 * time.Hour
	// maxSteps is how often a subquery may be evaluated, those around it included. It is how many samples per series Sysdig takes
	// (Service Limits); a day by the minute has 1,440.
	maxSteps = 1500
	// maxPoints is how many points of each series a query may read: ten selectors of a day read 86,400.
	maxPoints = 100_000
	// maxLabelCalls is how many label_replace and label_join a query may have; dashboards have up to five.
	maxLabelCalls = 10
	// nameLength is how long a label's value is taken to be, as the longest name of a Kubernetes object.
	nameLength = 253
	// maxLabelLength is how long a value may become that label_replace or label_join writes: sixteen names.
	maxLabelLength = 4096
)

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

// judge looks at a query that was parsed: does it mean what it says, may it be asked, and what will it cost? The first thing that cannot be
// asked is its failure. What depends on the connection is left to the confiner.
type judge struct {
	patterns patterns
	// selectors are the different ones, as they are written.
	selectors map[string]bool
	names     []string // of their metrics
	// reach is how far back the query looks beyond its instant selectors: the longest of its ranges, with those of the subqueries
	// around it.
	reach   time.Duration
	points  int
	calls   int
	lengths map[string]int // of the labels that were written, by their names
	failure *metric.Failure
}

// around is what a part of a query has around it.
type around struct {
	depth, steps int
	reach        time.Duration
	// rising is a function that is about a counter which only rises, and window the range that it was given.
	rising string
	window time.Duration
}

func (j *judge) refuse(format string, args ...any) {
	if j.failure == nil {
		j.failure = rejectQuery(format, args...)
	}
}

// judge goes through a query. The scanner has bounded how deep that gets.
func (j *judge) judge(e parser.Node, in around) {
	if in.depth++; in.depth > maxNesting+1 {
		j.refuse("it nests more than %d deep; leave some brackets or operators out", maxNesting)
	}
	if j.failure != nil {
		return
	}
	switch e := e.(type) {
	case *parser.VectorSelector:
		j.selector(e, in, 1)
	case *parser.MatrixSelector:
		j.ranged(e, in)
	case *parser.SubqueryExpr:
		j.subquery(e, in)
	case *parser.Call:
		j.call(e, in)
	case *parser.AggregateExpr:
		if !slices.Contains(allowedAggregations(), e.Op) {
			j.refuse("%s is not allowed, because it picks series as nobody can foresee; use topk or bottomk", e.Op)
		}
		j.inside(e, in)
	default:
		j.inside(e, in)
	}
}

func (j *judge) inside(e parser.Node, in around) {
	for child := range parser.ChildrenIter(e) {
		j.judge(child, in)
	}
}

// selector counts the points that are read of a series.
func (j *judge) selector(s *parser.VectorSelector, in around, points int) {
	j.refuseShift(s, s.OriginalOffset, s.OriginalOffsetExpr, s.Timestamp, s.StartOrEnd)
	if s.Anchored || s.Smoothed {
		j.refuse("%s: anchored and smoothed are not allowed", s)
	}
	name := nameOf(s)
	if name == "" {
		j.refuse("%s: name one metric; a pattern of names cannot be dated", s)
	}
	if in.rising != "" && sysdigsOwn(name) && j.failure == nil {
		j.failure = refuseRising(in.rising, name, in.window)
	}
	j.names = append(j.names, name)
	if j.points += in.steps * points; j.points > maxPoints {
		j.refuse("it reads too many points of a series, at most %d points are allowed; shorten its ranges, or lengthen the steps of its subqueries", maxPoints)
	}
	if j.selectors[s.String()] = true; len(j.selectors) > maxSelectors {
		j.refuse("it has too many different selectors, at most %d are allowed; leave some out", maxSelectors)
	}
}

func (j *judge) ranged(e *parser.MatrixSelector, in around) {
	selector, ok := e.VectorSelector.(*parser.VectorSelector)
	if !ok || e.RangeExpr != nil {
		j.refuse("%s: write the range as a plain duration such as [1m]", e)
		return
	}
	in.window = max(in.window, e.Range)
	if j.look(&in, e.Range) {
		j.selector(selector, in, 1+int(e.Range/metric.Step))
	}
}

// subquery multiplies what is inside. Without a step Sysdig has one of its own, which is not known: it is taken for the shortest that
// makes sense.
func (j *judge) subquery(e *parser.SubqueryExpr, in around) {
	if e.RangeExpr != nil || e.StepExpr != nil {
		j.refuse("%s: write the range as a plain duration such as [5m:10s]", e)
	}
	j.refuseShift(e, e.OriginalOffset, e.OriginalOffsetExpr, e.Timestamp, e.StartOrEnd)
	step := e.Step
	if step <= 0 {
		step = metric.Step
	}
	in.window = max(in.window, e.Range)
	if !j.look(&in, e.Range) {
		return
	}
	in.steps *= 1 + int(e.Range/step) // no overflow: both are at most 1e8, a day in milliseconds
	if in.steps > maxSteps {
		j.refuse("its subqueries are evaluated too often, at most %d steps are allowed; write longer steps, such as [%s:1m]", maxSteps, model.Duration(e.Range))
	}
	j.judge(e.Expr, in)
}

// look goes back by a range, if that is not too far.
func (j *judge) look(in *around, span time.Duration) bool {
	if span > maxReach || in.reach+span > maxReach {
		j.refuse("its ranges look back too far, at most %.0fh are allowed; shorten them", maxReach.Hours())
		return false
	}
	in.reach += span
	j.reach = max(j.reach, in.reach)
	return true
}

func (j *judge) refuseShift(e parser.Expr, offset time.Duration, offsetExpr *parser.DurationExpr, at *int64, startOrEnd parser.ItemType) {
	if offset != 0 || offsetExpr != nil || at != nil || startOrEnd != 0 {
		j.refuse("%s: @ and offset are not allowed, because a value has to be of now", strings.TrimSpace(e.String()))
	}
}

func (j *judge) call(e *parser.Call, in around) {
	if !slices.Contains(allowedFunctions(), e.Func.Name) {
		j.refuseFunction(e.Func.Name)
	}
	if risingOnly(e.Func.Name) {
		in.rising, in.window = e.Func.Name, 0
	}
	j.inside(e, in)
	if j.failure == nil && (e.Func.Name == "label_replace" || e.Func.Name == "label_join") {
		j.label(e)
	}
}

// refuseFunction says what to do in the place of a function. Those that make a value out of nothing would turn missing data into a
// number; info reads series that no selector names.
func (j *judge) refuseFunction(name string) {
	switch name {
	case "vector", "absent", "absent_over_time", "time", "pi", "start", "end", "range", "step",
		"year", "month", "day_of_year", "day_of_month", "day_of_week", "days_in_month", "hour", "minute":
		j.refuse("%s() is not allowed, because it makes a value out of nothing and so hides that data is missing; leave it out, and say in spec.onNoData what to serve then", name)
	case "info":
		j.refuse("info() is not allowed, because it reads series that no selector names; join them with * on (…) group_left (…)")
	default:
		j.refuse("%s() is not allowed; use one of the functions that docs/sysdigmetricbinding.md lists", name)
	}
}

// label bounds what label_replace and label_join write. The labels that are inside have been written before.
func (j *judge) label(e *parser.Call) {
	if j.calls++; j.calls > maxLabelCalls {
		j.refuse("it has more label_replace() and label_join() than are allowed, at most %d", maxLabelCalls)
		return
	}
	texts := make([]string, len(e.Args))
	for i, arg := range e.Args[1:] {
		if literal, ok := unwrap(arg).(*parser.StringLiteral); ok {
			texts[i+1] = literal.Val
		}
	}
	length := 0
	if e.Func.Name == "label_replace" {
		length = len(texts[2]) + strings.Count(texts[2], "$")*j.lengthOf(texts[3])
		if failure := j.patterns.add(texts[4]); failure != nil {
			j.failure = failure
			return
		}
	} else {
		for _, source := range texts[3:] {
			length += len(texts[2]) + j.lengthOf(source)
		}
	}
	if length > maxLabelLength {
		j.refuse("%s() may make the label %s %d characters long, at most %d are allowed; write fewer references such as $1, and fewer labels", e.Func.Name, clip(texts[1]), length, maxLabelLength)
		return
	}
	j.lengths[texts[1]] = max(j.lengthOf(texts[1]), length)
}

func (j *judge) lengthOf(label string) int { return max(nameLength, j.lengths[label]) }

// nameOf is the name of a selector's metric; empty when it has none, or a pattern.
func nameOf(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			return m.Value
		}
	}
	return s.Name
}
