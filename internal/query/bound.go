package query

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Bounds of raw queries, checked on the text before it is parsed. The parser compiles every regular expression that it meets, and
// walks the tree again and again, so that a text of some kilobytes could cost gigabytes or seconds.
const (
	// maxRawQuery is the length of a query in bytes, as in the API (SysdigMetricBinding, spec.source.promQL.query).
	maxRawQuery = 8192
	// maxTokens is how many words, signs and texts a query may have. A matcher has four, with its comma: ten selectors of twenty
	// matchers each stay below it. It bounds the nodes of the tree, too.
	maxTokens = 1000
	// maxNesting is how deep brackets and operators may nest. Dashboards nest up to some ten brackets; a + b + c nests once for each
	// operator, and ten selectors, of which each is named thrice, have 29.
	maxNesting = 40
)

// scanner reads a query as the parser does, word by word, and bounds what it will cost. It keeps nothing but counts, so it costs
// as much as the text is long.
type scanner struct {
	text   string
	tokens int
	// levels are the open brackets, outermost first, each with the operators met in it so far; depth is the sum of both. The depth of
	// the tree is no more: each node on the way to a leaf has a bracket or an operator of its own.
	levels []int
	depth  int
	// braces tells whether matchers are being read, labels whether a list of labels is: by (…), on (…).
	braces, labels bool
	// last is the token before this one, comments left out.
	last     parser.ItemType
	patterns patterns
	// regexps are the regular expressions of matchers, in order, and blank is the text with others in their place that match a
	// text of the same length and cost nothing. Nothing but confinement looks at them here.
	regexps []string
	blank   strings.Builder
	copied  int
}

// scan bounds a query. The failure is why it will not be parsed.
func scan(text string) (*scanner, *metric.Failure) {
	if len(text) > maxRawQuery {
		return nil, rejectQuery("it has %d bytes, at most %d are allowed; make it shorter", len(text), maxRawQuery)
	}
	s := &scanner{text: text, levels: []int{0}}
	lexer := parser.Lex(text)
	for {
		var token parser.Item
		lexer.NextItem(&token)
		switch token.Typ {
		case parser.ERROR: // the parser stops here, too, and says it by itself unless we know better
			if failure := explain(text, int(token.Pos), s.braces || s.labels); failure != nil {
				return nil, failure
			}
			return s.finish(), nil
		case parser.EOF:
			return s.finish(), nil
		case parser.COMMENT:
			continue
		}
		if failure := s.next(token); failure != nil {
			return nil, failure
		}
		s.last = token.Typ
	}
}

func (s *scanner) finish() *scanner {
	s.blank.WriteString(s.text[s.copied:])
	return s
}

// next takes in one token.
func (s *scanner) next(token parser.Item) *metric.Failure {
	if s.tokens++; s.tokens > maxTokens {
		return rejectQuery("it has too many words and signs, at most %d are allowed; make it shorter", maxTokens)
	}
	s.nest(token.Typ)
	if s.depth > maxNesting {
		return rejectQuery("brackets and operators may nest at most %d deep, and in a + b + c each operator counts; nest it less, or put parts of a long sum into brackets", maxNesting)
	}
	switch token.Typ {
	case parser.STRING:
		return s.literal(token)
	case parser.IDENTIFIER:
		if token.Val == partLabel {
			return markIsOurs()
		}
	}
	return nil
}

// markIsOurs refuses the label that marks times: with it, an old value could look fresh.
func markIsOurs() *metric.Failure {
	return rejectQuery("the label %s is set by the operator: it marks the times of values; leave it out", partLabel)
}

// nest keeps count of how deep the tree gets. Arguments of a function lie beside each other.
func (s *scanner) nest(token parser.ItemType) {
	top := len(s.levels) - 1
	switch {
	case token == parser.LEFT_PAREN:
		s.labels = isLabelList(s.last)
		s.levels = append(s.levels, 0)
		s.depth++
	case token == parser.RIGHT_PAREN && top > 0:
		s.labels = false
		s.depth -= 1 + s.levels[top]
		s.levels = s.levels[:top]
	case token == parser.LEFT_BRACE:
		s.braces = true
	case token == parser.RIGHT_BRACE:
		s.braces = false
	case token == parser.COMMA && top > 0 && !s.braces:
		s.depth -= s.levels[top]
		s.levels[top] = 0
	case token.IsOperator() && !s.braces && !s.labels, token == parser.LEFT_BRACKET:
		s.levels[top]++
		s.depth++
	}
}

// isLabelList tells whether a bracket behind a keyword holds labels.
func isLabelList(keyword parser.ItemType) bool {
	switch keyword {
	case parser.BY, parser.WITHOUT, parser.ON, parser.IGNORING, parser.GROUP_LEFT, parser.GROUP_RIGHT:
		return true
	}
	return false
}

// literal takes in a text. That of a matcher may be a regular expression, which is bounded and taken out, or a variable that nobody
// has filled in.
func (s *scanner) literal(token parser.Item) *metric.Failure {
	text, err := strutil.Unquote(token.Val)
	if err != nil {
		return rejectQuery("%.40s is no text: %v", token.Val, err)
	}
	if text == partLabel {
		return markIsOurs()
	}
	switch s.last {
	case parser.EQL, parser.NEQ:
		return notFilledIn(text, variableInValue)
	case parser.EQL_REGEX, parser.NEQ_REGEX:
		if failure := notFilledIn(text, variableInPattern); failure != nil {
			return failure
		}
		if failure := s.patterns.add(text); failure != nil {
			return failure
		}
		s.takeOut(token, text)
	}
	return nil
}

// takeOut puts another text in the place of a regular expression. Positions stay what they are.
func (s *scanner) takeOut(token parser.Item, pattern string) {
	s.regexps = append(s.regexps, pattern)
	start, end := int(token.Pos)+1, int(token.Pos)+len(token.Val)-1
	s.blank.WriteString(s.text[s.copied:start])
	s.blank.WriteString(strings.Repeat("x", end-start))
	s.copied = end
}
