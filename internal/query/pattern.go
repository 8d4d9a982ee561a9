package query

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Bounds of regular expressions. The parser of PromQL compiles them, and lists the texts that one matches when they are few.
const (
	// maxRegexpBytes bounds one regular expression, and with it the memory that judging it takes. It is enough for 60 names of pods.
	maxRegexpBytes = 2048
	// maxRegexpSize bounds the programs of all regular expressions of a query together, in instructions and ranges of characters. To
	// compile one takes some hundred bytes.
	maxRegexpSize = 8192
	// maxListed is how many texts Prometheus lists of what one matches (maxSetMatches in model/labels); with more it lists none.
	maxListed = 256
	// maxListedBytes bounds what the lists of all regular expressions of a query copy: each part of an expression copies the texts so far.
	maxListedBytes = 256 << 10
	// maxFolded bounds how many characters the classes of an expression with (?i) have together. Prometheus looks for the other cases of
	// each one again, in about 10 ns, and a class such as [^a] has over a million.
	maxFolded = 10 << 20
	// maxUnicodeClasses is how many classes such as \pL one may have. Each takes some KB before its size is known; maxRegexpSize has
	// room for fewer that are large.
	maxUnicodeClasses = 64
)

// patterns are the regular expressions of a query, by what they cost together.
type patterns struct{ size, listed int }

// add adds a regular expression to the others, or says why it is not compiled.
func (p *patterns) add(pattern string) *metric.Failure {
	const tooExpensive = "its regular expressions are too expensive: "
	const foldedMuch = "a regular expression has (?i) and large classes of characters; leave (?i) out, and write both cases, as in [éÉ]"
	large := rejectQuery(tooExpensive+"they compile to more than %d instructions; repeat less than in a{0,999}, and use no large classes of characters", maxRegexpSize)
	switch {
	case len(pattern) > maxRegexpBytes:
		return rejectQuery("a regular expression has %d bytes, at most %d are allowed; match a common prefix, as in web-.*", len(pattern), maxRegexpBytes)
	case strings.Count(pattern, `\p`)+strings.Count(pattern, `\P`) > maxUnicodeClasses:
		return large
	case folds(pattern) && hasLargeRanges(pattern):
		return rejectQuery(foldedMuch)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl|syntax.DotNL) // as Prometheus does
	if err != nil {
		return nil // the parser says so
	}
	if folds(pattern) && classified(tree) > maxFolded {
		return rejectQuery(foldedMuch)
	}
	if p.size += regexpSize(tree); p.size > maxRegexpSize {
		return large
	}
	if p.listed += list(tree, 0).bytes; p.listed > maxListedBytes {
		return rejectQuery(tooExpensive + "they have too many parts, each of which is combined with the others; write fewer, as in web-.*")
	}
	return nil
}

// folds reports whether a regular expression disregards case somewhere.
func folds(pattern string) bool {
	return regexp.MustCompile(`\(\?[a-zA-Z]*i`).MatchString(pattern)
}

// hasLargeRanges reports whether there may be ranges of characters beyond ASCII. To fold these takes long while it is parsed.
func hasLargeRanges(pattern string) bool {
	beyondASCII := strings.ContainsFunc(pattern, func(r rune) bool { return r > 0x7f }) || strings.Contains(pattern, `\x{`)
	return beyondASCII && strings.Contains(pattern, "[")
}

// classified is how many characters all classes of an expression have together.
func classified(tree *syntax.Regexp) (characters int) {
	if tree.Op == syntax.OpCharClass {
		characters = classSize(tree.Rune)
	}
	for _, sub := range tree.Sub {
		characters += classified(sub)
	}
	return characters
}

// classSize is how many characters are in the ranges of a class.
func classSize(ranges []rune) (characters int) {
	for i := 0; i+1 < len(ranges); i += 2 {
		characters += int(ranges[i+1]-ranges[i]) + 1
	}
	return characters
}

// regexpSize is about how many instructions and ranges of characters the program of a regular expression has. Repeats are not unrolled
// to find that out. It is never more than one beyond maxRegexpSize.
func regexpSize(tree *syntax.Regexp) int {
	size := 1
	if tree.Op == syntax.OpLiteral {
		size = len(tree.Rune)
	}
	if tree.Op == syntax.OpCharClass {
		size += len(tree.Rune) / 2
	}
	if tree.Op == syntax.OpCapture {
		size += 3 // two instructions, and what is kept for each
	}
	for _, sub := range tree.Sub {
		size = min(size+regexpSize(sub), maxRegexpSize+1)
	}
	if tree.Op == syntax.OpRepeat {
		size *= max(tree.Min, tree.Max, 1) // at most 1,000, as the syntax has it
	}
	return min(size, maxRegexpSize+1)
}

// textHeader is what a text takes in a list beside its own bytes: a string of Go, in a list that grows.
const textHeader = 32

// listing is what Prometheus does to list the texts that an expression matches behind a text.
type listing struct {
	// texts is how many there are, and 0 when they are not listed.
	texts int
	// length is that of the longest, and bytes what was copied, also when they are not listed in the end.
	length, bytes int
}

// list goes through an expression as findSetMatches of Prometheus' model/labels does, without the texts. length is that of the text in
// front of it.
func list(tree *syntax.Regexp, length int) listing {
	switch tree.Op { //nolint:exhaustive // what else there is, is not listed
	case syntax.OpEmptyMatch:
		return listing{texts: 1, length: length, bytes: textHeader}
	case syntax.OpLiteral:
		length += len(string(tree.Rune))
		return listing{texts: 1, length: length, bytes: textHeader + length}
	case syntax.OpCharClass:
		return listClass(tree.Rune, length)
	case syntax.OpCapture:
		return list(tree.Sub[0], length)
	case syntax.OpConcat:
		return listConcat(tree.Sub, length)
	case syntax.OpAlternate:
		return listAlternate(tree.Sub, length)
	}
	return listing{}
}

func listClass(ranges []rune, length int) listing {
	texts := classSize(ranges)
	if texts > maxListed {
		return listing{}
	}
	if len(ranges) > 0 {
		length += len(string(ranges[len(ranges)-1])) // the last is the longest
	}
	return listing{texts: texts, length: length, bytes: texts * (textHeader + length)}
}

func listConcat(parts []*syntax.Regexp, length int) listing {
	all := listing{texts: 1, length: length}
	for _, part := range parts {
		of := list(part, all.length) // for each text so far
		all.bytes += all.texts * of.bytes
		if all.texts, all.length = all.texts*of.texts, of.length; all.texts == 0 || all.texts > maxListed {
			return listing{bytes: all.bytes}
		}
	}
	return all
}

func listAlternate(parts []*syntax.Regexp, length int) listing {
	var all listing
	for _, part := range parts {
		of := list(part, length)
		all.bytes += of.bytes
		all.length = max(all.length, of.length)
		if all.texts += of.texts; of.texts == 0 || all.texts > maxListed {
			return listing{bytes: all.bytes}
		}
	}
	return all
}
