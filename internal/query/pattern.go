package query

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Bounds of the regular expressions of a query, all together.
const (
	// maxProgram is how many instructions they may have when they are compiled. A letter is one, so a query that is all letters stays
	// below it; an instruction costs Sysdig some 500 bytes, and again for each selector of the confined query.
	maxProgram = maxRawQuery
	// maxUnicodeClasses is how many classes such as \pL they may have: each of them holds up to 700 ranges of letters, already when
	// it is read.
	maxUnicodeClasses = 8
)

// patterns are the regular expressions of a query.
type patterns struct {
	program, classes int
}

// add takes in one regular expression. It never compiles any: repeats are counted, not written out.
func (p *patterns) add(pattern string) *metric.Failure {
	p.classes += unicodeClasses(pattern)
	switch {
	case p.classes > maxUnicodeClasses:
		return rejectQuery("its regular expressions have too many large classes such as \\pL, at most %d are allowed; write .* or [a-z]", maxUnicodeClasses)
	case foldsCase(pattern) && isWide(pattern):
		return rejectQuery("the regular expression %q has classes of letters beyond ASCII without regard to case; leave (?i) out and write both cases, such as [Éé]", clip(pattern))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl|syntax.DotNL)
	if err != nil {
		return rejectQuery("the regular expression %q: %.100s", clip(pattern), err)
	}
	p.program += instructions(parsed)
	if p.program > maxProgram {
		return rejectQuery("its regular expressions are too large, at most %d instructions are allowed; repeat less than in a{0,999}, and use no large classes of characters", maxProgram)
	}
	return nil
}

// instructions is about how many instructions an expression compiles to. The parser bounds repeats of repeats by 1,000, and how
// deep expressions nest.
func instructions(re *syntax.Regexp) int {
	within := 0
	for _, sub := range re.Sub {
		within = min(within+instructions(sub), maxProgram+1)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass: // pairs of first and last rune
		return 1 + len(re.Rune)/2
	case syntax.OpConcat:
		return within
	case syntax.OpAlternate:
		return within + len(re.Sub) - 1
	case syntax.OpCapture:
		return within + 2
	case syntax.OpRepeat:
		return (within + 1) * max(re.Min+1, re.Max)
	default:
		return within + 1
	}
}

// unicodeClasses counts classes of Unicode.
func unicodeClasses(pattern string) int {
	return strings.Count(pattern, `\p`) + strings.Count(pattern, `\P`)
}

// foldsCase tells whether a pattern may have the flag i anywhere.
func foldsCase(pattern string) bool {
	for _, group := range strings.Split(pattern, "(?")[1:] {
		flags := strings.TrimLeft(group, "-sUm")
		if strings.HasPrefix(flags, "i") {
			return true
		}
	}
	return false
}

// isWide tells whether a pattern may have classes of letters beyond ASCII. Folding one of those takes milliseconds.
func isWide(pattern string) bool {
	if !strings.Contains(pattern, "[") {
		return false
	}
	for i, r := range pattern {
		if r >= utf8.RuneSelf || r == '\\' && i+1 < len(pattern) && strings.ContainsRune("x01234567", rune(pattern[i+1])) {
			return true
		}
	}
	return false
}
