package query

import (
	"cmp"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// rawQuery is a query of a binding that may be asked: what can be said of it without its connection.
type rawQuery struct {
	expr parser.Expr
	// reach is how far back it looks beyond its instant selectors.
	reach time.Duration
}

// parseRaw parses a query that is bounded. The failure depends on the query alone.
func parseRaw(text string) (*rawQuery, *metric.Failure) {
	scanned, failure := scan(text)
	if failure != nil {
		return nil, failure
	}
	// What is experimental is parsed too, so that the refusal can say what to do in its place.
	expr, err := parser.NewParser(parser.Options{EnableExperimentalFunctions: true}).ParseExpr(scanned.blank.String())
	if err != nil {
		return nil, rejectQuery("%v", err)
	}
	if failure := putBack(expr, scanned.regexps); failure != nil {
		return nil, failure
	}
	if expr.Type() != parser.ValueTypeVector {
		return nil, notVector(expr)
	}
	j := judge{patterns: scanned.patterns, lengths: map[string]int{}, selectors: map[string]bool{}}
	j.judge(expr, around{steps: 1})
	if len(j.selectors) == 0 {
		j.refuse("it names no metric")
	}
	return &rawQuery{expr: expr, reach: j.reach}, j.failure
}

// putBack puts the regular expressions back that were taken out, in the order of the text. They are not compiled.
func putBack(expr parser.Expr, regexps []string) *metric.Failure {
	var selectors []*parser.VectorSelector
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			selectors = append(selectors, s)
		}
		return nil
	})
	slices.SortFunc(selectors, func(a, b *parser.VectorSelector) int { return cmp.Compare(a.PosRange.Start, b.PosRange.Start) })
	var matchers []**labels.Matcher
	for _, s := range selectors {
		for i, m := range s.LabelMatchers {
			if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
				matchers = append(matchers, &s.LabelMatchers[i])
			}
		}
	}
	if len(matchers) != len(regexps) { // no syntax does that, but a newer one might
		return rejectQuery("its regular expressions cannot be told apart; write matchers such as a=~\"b.*\" in curly brackets only")
	}
	for i, m := range matchers {
		*m = &labels.Matcher{Type: (*m).Type, Name: (*m).Name, Value: regexps[i]}
	}
	return nil
}

// compileRaw confines a raw query on its syntax tree: every selector gets the binding's namespace and the connection's
// cluster, every instant selector looks back maxAge at most, and a time vector per selector tells how old its points are.
func compileRaw(b *v1alpha1.SysdigMetricBinding, scope Scope, query *rawQuery) (Shape, View, *metric.Failure) {
	source, target := b.Spec.Source.PromQL, b.Spec.Target
	c := confiner{names: naming{Scope: scope}, maxAge: b.Spec.MaxAge.Duration}
	c.matchers = append(c.matchers, labels.MustNewMatcher(labels.MatchEqual, scope.Labels.Namespace, b.Namespace))
	if scope.Cluster != "" {
		c.matchers = append(c.matchers, labels.MustNewMatcher(labels.MatchEqual, scope.Labels.Cluster, scope.Cluster))
	}
	expr := c.rewrite(query.expr)
	if c.failure != nil {
		return Shape{}, View{}, c.failure
	}
	shape := Shape{Scope: scope, Grain: Raw, Window: query.reach, Selectors: len(c.selectors), Filters: c.filters, Named: strings.Join(c.metrics, "\n"), ObjectLabel: string(source.ObjectLabel), Namespace: b.Namespace}
	view := View{Namespace: b.Namespace}
	var failure *metric.Failure
	taken := confined(scope.Labels)
	taken[string(source.ObjectLabel)] = "it is the objectLabel, which tells the objects apart"
	shape.Dimensions, view.Dimensions, failure = compileDimensions("spec.source.promQL.dimensions", source.Dimensions, naming{Scope: scope}, taken)
	if failure != nil {
		return Shape{}, View{}, failure
	}
	// No series of the query's own may carry the mark of times.
	shape.PromQL = mark(expr.String(), "")
	row := strings.Join(shape.rowLabels(), ", ")
	for i, selector := range c.selectors {
		shape.PromQL += " or " + newestPoint(selector, row, strconv.Itoa(i))
	}
	for i, pair := range c.ranges {
		shape.PromQL += " or " + fewPoints(pair.selector, row, fewPart+strconv.Itoa(i), pair.window, pair.need)
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

// checkObjectLabel refuses a label where there is no object, and none where there are many.
func checkObjectLabel(label v1alpha1.LabelName, target *v1alpha1.Target) *metric.Failure {
	switch {
	case target == nil && label != "":
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: an external metric has no object; keep labels apart with dimensions")
	case target != nil && target.Selector != nil && label == "":
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: set it to the label that holds the names of the objects that spec.target.selector matches")
	case label == partLabel:
		return metric.Failf(metric.Rejected, "spec.source.promQL.objectLabel: the label %s is set by the operator; choose another", label)
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

// confiner rewrites a syntax tree that was judged, and remembers the selectors it met. The first thing it can't confine is its
// failure.
type confiner struct {
	names     naming
	matchers  []*labels.Matcher
	maxAge    time.Duration
	selectors []string
	// metrics are the names that selectors match.
	metrics []string
	// length is that of the leaves of the tree, as they will be asked.
	length int
	// ranges are those that may hold too few points, and filters says that the query may leave out rows of which there are points.
	ranges  []ranged
	filters bool
	failure *metric.Failure
}

// ranged is a range of a selector, and how many points its function needs.
type ranged struct {
	selector string
	window   time.Duration
	need     int
}

func (c *confiner) refuse(format string, args ...any) {
	if c.failure == nil {
		c.failure = rejectQuery(format, args...)
	}
}

// rewrite returns the confined expression. What it does not know it refuses, so that a newer syntax cannot slip through.
func (c *confiner) rewrite(e parser.Expr) parser.Expr {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		c.leaf(e.String())
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
		e.Expr = c.rewrite(e.Expr)
		if e.Param != nil {
			e.Param = c.rewrite(e.Param)
		}
	case *parser.BinaryExpr:
		c.filters = c.filters || leavesOut(e)
		e.LHS, e.RHS = c.rewrite(e.LHS), c.rewrite(e.RHS)
	case *parser.ParenExpr:
		e.Expr = c.rewrite(e.Expr)
	case *parser.UnaryExpr:
		e.Expr = c.rewrite(e.Expr)
	case *parser.SubqueryExpr:
		e.Expr = c.rewrite(e.Expr)
	default:
		c.refuse("%s cannot be confined to a namespace", e)
	}
	return e
}

// leaf refuses a query that would be too long to ask before it is written out: that copies a text once for each level of the tree.
func (c *confiner) leaf(text string) {
	if c.length += len(text); c.length > maxQueryLength {
		c.refuse("with what confines it, it has more than the %d characters that Sysdig takes; make it shorter", maxQueryLength)
	}
}

// call rewrites the arguments of a function. timestamp() wants the selector itself, or it would tell the time of the
// question.
func (c *confiner) call(e *parser.Call) {
	for i, arg := range e.Args {
		selector, isSelector := unwrap(arg).(*parser.VectorSelector)
		if isSelector && e.Func.Name == "timestamp" {
			c.confine(selector)
			continue
		}
		e.Args[i] = c.rewrite(arg)
	}
	c.needs(e)
}

// needs notes the range of a function that makes nothing of a single point, and a short one of any function.
func (c *confiner) needs(e *parser.Call) {
	need := 1
	if slices.Contains([]string{"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"}, e.Func.Name) {
		need = 2
	}
	for _, arg := range e.Args {
		matrix, ok := unwrap(arg).(*parser.MatrixSelector)
		if !ok || need == 1 && matrix.Range >= shortWindow {
			continue
		}
		if one := (ranged{matrix.VectorSelector.String(), matrix.Range, need}); !slices.Contains(c.ranges, one) {
			c.ranges = append(c.ranges, one)
		}
	}
}

// leavesOut tells whether an operator may leave out series that it has: a comparison does, and what finds no match on the other side.
func leavesOut(e *parser.BinaryExpr) bool {
	return e.Op.IsComparisonOperator() && !e.ReturnBool || e.LHS.Type() == parser.ValueTypeVector && e.RHS.Type() == parser.ValueTypeVector
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
	if !ok {
		c.refuse("%s cannot be confined to a namespace", e)
		return
	}
	c.confine(selector)
}

func (c *confiner) confine(s *parser.VectorSelector) {
	if c.failure != nil {
		return
	}
	s.LabelMatchers = append(c.others(s), c.matchers...)
	text := s.String()
	c.leaf(text)
	if name := nameOf(s); !slices.Contains(c.metrics, name) {
		c.metrics = append(c.metrics, name)
	}
	if !slices.Contains(c.selectors, text) {
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
		case !matches(m, c.matchers[own].Value):
			c.refuse("%s: a binding sees series of %s only; leave out %s", s, c.matchers[own], m)
		}
	}
	return others
}

// matches tells whether a matcher matches a value. Its regular expression is bounded and was never compiled.
func matches(m *labels.Matcher, value string) bool {
	if m.Type == labels.MatchEqual || m.Type == labels.MatchNotEqual {
		return (m.Value == value) == (m.Type == labels.MatchEqual)
	}
	tree, err := syntax.Parse(m.Value, syntax.Perl|syntax.DotNL)
	if err != nil {
		return false
	}
	re, err := regexp.Compile("^(?:" + withoutGroups(tree).String() + ")$")
	return err == nil && re.MatchString(value) == (m.Type == labels.MatchRegexp)
}

// withoutGroups is an expression that matches the same and captures nothing. Package regexp gives each of the threads that it keeps
// between matches room for all groups of any expression that it has matched.
func withoutGroups(re *syntax.Regexp) *syntax.Regexp {
	for i, sub := range re.Sub {
		re.Sub[i] = withoutGroups(sub)
	}
	if re.Op == syntax.OpCapture {
		return re.Sub[0]
	}
	return re
}
