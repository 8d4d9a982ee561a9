package query

import (
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Bounds of the text of a raw query. They hold before anything parses it: the parser compiles regular expressions while it reads, and
// whatever walks or prints its tree recurses as deep as the tree is.
const (
	// maxQueryBytes is the bound of spec.source.promQL.query in the CRD, which counts characters.
	maxQueryBytes = 8192
	// maxTokens is several times that of the longest queries of dashboards, which have some hundred.
	maxTokens = 2000
	// maxOpen is how many parentheses, braces and brackets may be open at a time.
	maxOpen = 40
	// maxOperators bounds the depth of a tree beside parentheses: a + b + c is as deep as it has operators, and so are - - x and
	// x[5m:][5m:].
	maxOperators = 60
)

// checkText is why the text of a query may not even be parsed; nil when it may. What is no PromQL at all, the parser explains.
func checkText(text string) *metric.Failure {
	if len(text) > maxQueryBytes {
		return rejectQuery("it has %d bytes, at most %d are allowed; make it shorter", len(text), maxQueryBytes)
	}
	var t tokens
	var item parser.Item
	for lexer := parser.Lex(text); ; {
		lexer.NextItem(&item)
		switch item.Typ {
		case parser.EOF:
			return nil
		case parser.ERROR:
			return explain(text, t.braces > 0)
		case parser.COMMENT:
			continue
		}
		if failure := t.count(item); failure != nil {
			return failure
		}
	}
}

// tokens counts the tokens of a query.
type tokens struct {
	all, open, operators int
	// patterns are the regular expressions.
	patterns patterns
	// braces is how many of them are open. Inside are matchers, whose operators nest nothing.
	braces int
	// pattern says that the next string is a regular expression.
	pattern bool
}

// count takes one more token into account.
func (t *tokens) count(item parser.Item) *metric.Failure {
	t.all++
	switch item.Typ {
	case parser.LEFT_BRACE:
		t.braces++
		t.open++
	case parser.RIGHT_BRACE:
		t.braces--
		t.open--
	case parser.LEFT_BRACKET: // a subquery of a subquery
		t.operators++
		t.open++
	case parser.LEFT_PAREN:
		t.open++
	case parser.RIGHT_PAREN, parser.RIGHT_BRACKET:
		t.open--
	case parser.EQL_REGEX, parser.NEQ_REGEX:
		t.pattern = true
	case parser.STRING:
		return t.text(item.Val)
	default:
		if t.braces == 0 && item.Typ.IsOperator() {
			t.operators++
		}
	}
	switch {
	case t.all > maxTokens:
		return rejectQuery("it has more than %d words and signs; make it shorter", maxTokens)
	case t.open > maxOpen:
		return rejectQuery("more than %d parentheses are open at a time; nest it less", maxOpen)
	case t.operators > maxOperators:
		return rejectQuery("it has more than %d operators and ranges; make it shorter", maxOperators)
	}
	return nil
}

// text takes a string into account, in its quotes.
func (t *tokens) text(quoted string) *metric.Failure {
	if t.braces == 0 {
		return nil
	}
	if failure := variable(quoted); failure != nil {
		return failure
	}
	if !t.pattern {
		return nil
	}
	t.pattern = false
	pattern, err := strutil.Unquote(quoted)
	if err != nil { // the parser says so
		return nil
	}
	return t.patterns.add(pattern)
}

// Bounds of what a query makes Sysdig compute and return.
const (
	// maxReach is how far back ranges and subqueries look, all that are in each other together. An HPA acts on minutes.
	maxReach = 24 * time.Hour
	// maxSteps is how often subqueries evaluate what is in them. Sysdig returns at most 1,500 points of a series.
	maxSteps = 1500
	// maxRelabels is how many label_replace and label_join a query may have, and maxGrowth by how much those that are in each other may
	// lengthen a label: by the references of a replacement ("$1$1") and the labels that are joined.
	maxRelabels = 10
	maxGrowth   = 16
	// maxLabelText bounds what a replacement or a separator adds to a label, in bytes.
	maxLabelText = 128
	// maxSelectorUses is how often selectors may stand in a query. Each grows by what confines it.
	maxSelectorUses = 40
)

// cost is what an expression makes Sysdig compute.
type cost struct {
	reach     time.Duration
	steps     int64
	growth    int
	relabels  *int
	selectors *int
}

// checkCost is the longest stretch of time that an expression looks back beyond its instant selectors, or why it is too expensive.
func checkCost(expr parser.Expr) (reach time.Duration, failure *metric.Failure) {
	c := cost{steps: 1, growth: 1, relabels: new(int), selectors: new(int)}
	return c.of(expr)
}

// of looks at a node. c is what is around it.
func (c cost) of(node parser.Node) (reach time.Duration, failure *metric.Failure) {
	switch n := node.(type) {
	case *parser.VectorSelector:
		*c.selectors++
	case *parser.MatrixSelector:
		c.reach += min(n.Range, maxReach+1)
	case *parser.SubqueryExpr:
		c.reach += min(n.Range, maxReach+1)
		c.steps *= max(int64(min(n.Range, maxReach+1)/stepOf(n)), 1)
	case *parser.Call:
		if failure := c.relabel(n); failure != nil {
			return 0, failure
		}
	}
	switch {
	case c.reach > maxReach:
		return 0, rejectQuery("its ranges look back more than %dh; shorten them", maxReach/time.Hour)
	case c.steps > maxSteps:
		return 0, rejectQuery("its subqueries take more than %d steps; shorten the range or lengthen the step, as in [1h:1m]", maxSteps)
	case c.growth > maxGrowth:
		return 0, rejectQuery("label_replace and label_join in each other make labels more than %d times as long; use fewer references such as $1", maxGrowth)
	case *c.relabels > maxRelabels:
		return 0, rejectQuery("it has more than %d label_replace and label_join; use fewer", maxRelabels)
	case *c.selectors > maxSelectorUses:
		return 0, rejectQuery("it has more than %d selectors; use fewer", maxSelectorUses)
	}
	reach = c.reach
	for child := range parser.ChildrenIter(node) {
		below, failure := c.of(child)
		if failure != nil {
			return 0, failure
		}
		reach = max(reach, below)
	}
	return reach, nil
}

// stepOf is the step of a subquery. Without one it is that of Sysdig, which nobody knows: the least that is likely.
func stepOf(s *parser.SubqueryExpr) time.Duration {
	if s.Step <= 0 {
		return metric.Step
	}
	return s.Step
}

// relabel takes a function of labels into account.
func (c *cost) relabel(call *parser.Call) *metric.Failure {
	var texts []string
	for _, arg := range call.Args {
		if s, ok := unwrap(arg).(*parser.StringLiteral); ok {
			texts = append(texts, s.Val)
		}
	}
	switch {
	case call.Func.Name == "label_replace" && len(texts) == 4: // label, replacement, source, pattern
		*c.relabels++
		c.growth *= max(references(texts[1]), 1)
		if failure := new(patterns).add(texts[3]); failure != nil {
			return failure
		}
		return checkLabelText(texts[1])
	case call.Func.Name == "label_join" && len(texts) >= 2: // label, separator, sources
		*c.relabels++
		c.growth = min(c.growth*max(len(texts)-2, 1), maxGrowth+1)
		return checkLabelText(texts[1])
	}
	return nil
}

// references counts what a replacement takes from the source, in the syntax of Go's regular expressions.
func references(replacement string) int {
	count := 0
	for i := 0; i < len(replacement); i++ {
		if replacement[i] != '$' {
			continue
		}
		if i+1 < len(replacement) && replacement[i+1] == '$' {
			i++
			continue
		}
		count++
	}
	return min(count, maxGrowth+1)
}

func checkLabelText(text string) *metric.Failure {
	if len(text) > maxLabelText {
		return rejectQuery("a text in label_replace or label_join has %d bytes, at most %d are allowed", len(text), maxLabelText)
	}
	return nil
}
