package sysdigtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// entity is what the classic API measures: one series of the store.
type entity struct{ selected }

// label returns the value of a label of the store; empty when it does not apply.
func (e entity) label(name string) string {
	if name == LabelService {
		return e.service
	}
	return e.lset.Get(name)
}

// clause is one comparison of a filter. No values compare with null.
type clause struct {
	label  string
	op     string
	values []string
	not    bool
}

func (c clause) holds(e entity) bool {
	have := e.label(c.label)
	var holds bool
	switch c.op {
	case "=", "in":
		holds = have == "" && c.values == nil || have != "" && slices.Contains(c.values, have)
	case "contains":
		holds = strings.Contains(have, c.values[0])
	case "starts with":
		holds = strings.HasPrefix(have, c.values[0])
	}
	return holds != c.not
}

// filter is alternatives of clauses that all have to hold; without any it lets everything pass.
type filter [][]clause

func (f filter) holds(e entity) bool {
	return len(f) == 0 || slices.ContainsFunc(f, func(all []clause) bool {
		return !slices.ContainsFunc(all, func(c clause) bool { return !c.holds(e) })
	})
}

// rename replaces the labels by what the store calls them.
func (f filter) rename(to func(id string) (string, *answer)) *answer {
	for _, all := range f {
		for i := range all {
			label, refusal := to(all[i].label)
			if refusal != nil {
				return refusal
			}
			all[i].label = label
		}
	}
	return nil
}

// filterSyntax says what a filter may hold.
type filterSyntax struct{ or, unquoted bool }

// parse reads a filter. Labels stay as they are written.
func (y filterSyntax) parse(text string) (filter, error) {
	tokens, err := lex(text)
	if err != nil || len(tokens) == 0 {
		return nil, err
	}
	p := &filterParser{tokens: tokens, syntax: y}
	f := filter{nil}
	for {
		c, err := p.clause()
		if err != nil {
			return nil, err
		}
		f[len(f)-1] = append(f[len(f)-1], c)
		switch next := p.next(); {
		case next == token{}:
			return f, nil
		case next.is("and"):
		case next.is("or") && y.or:
			f = append(f, nil)
		default:
			return nil, fmt.Errorf("unexpected %q after a clause", next.text)
		}
	}
}

// token is a word, a sign, or a quoted value of a filter; the zero token is the end.
type token struct {
	text   string
	quoted bool
}

func (t token) is(word string) bool { return t == token{text: word} }

const filterSigns = "=!()[],"

func lex(text string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(text); {
		switch ch := text[i]; {
		case strings.IndexByte(" \t\n", ch) >= 0:
			i++
		case ch == '"' || ch == '\'':
			value, length, ok := unquoted(text[i:])
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
			tokens = append(tokens, token{value, true})
			i += length
		case strings.HasPrefix(text[i:], "!="):
			tokens = append(tokens, token{text: "!="})
			i += 2
		case strings.IndexByte(filterSigns, ch) >= 0:
			tokens = append(tokens, token{text: string(ch)})
			i++
		default:
			length := strings.IndexAny(text[i:], filterSigns+" \t\n\"'")
			if length < 0 {
				length = len(text) - i
			}
			tokens = append(tokens, token{text: text[i : i+length]})
			i += length
		}
	}
	return tokens, nil
}

// unquoted reads a quoted value at the start of the text, with a backslash before quotes and backslashes, and returns how
// much of the text it took.
func unquoted(text string) (value string, length int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == text[0]:
			return b.String(), i + 1, true
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b.WriteByte(text[i])
	}
	return "", 0, false
}

type filterParser struct {
	tokens []token
	at     int
	syntax filterSyntax
}

// next returns the next token and moves on.
func (p *filterParser) next() token {
	if p.at >= len(p.tokens) {
		return token{}
	}
	p.at++
	return p.tokens[p.at-1]
}

func (p *filterParser) clause() (clause, error) {
	var c clause
	label := p.next()
	if label.is("not") {
		c.not = true
		label = p.next()
	}
	if label.quoted || label.text == "" || strings.ContainsAny(label.text, filterSigns) {
		return c, fmt.Errorf("%q is no label", label.text)
	}
	c.label = label.text
	op := p.next()
	if op.quoted {
		return c, fmt.Errorf("%q is no operator", op.text)
	}
	c.op = op.text
	var err error
	switch c.op {
	case "=", "!=":
		c.not = c.not != (c.op == "!=")
		c.op = "="
		if p.at < len(p.tokens) && p.tokens[p.at].is("null") {
			p.at++
			return c, nil
		}
		c.values, err = p.value()
	case "in":
		c.values, err = p.list()
	case "starts":
		if !p.next().is("with") {
			return c, errors.New("starts lacks with")
		}
		c.op = "starts with"
		c.values, err = p.value()
	case "contains":
		c.values, err = p.value()
	default:
		err = fmt.Errorf("%q is no operator", op.text)
	}
	return c, err
}

// list reads values in parentheses.
func (p *filterParser) list() ([]string, error) {
	if !p.next().is("(") {
		return nil, errors.New("in lacks its parenthesis")
	}
	var all []string
	for {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		all = append(all, value...)
		switch next := p.next(); {
		case next.is(")"):
			return all, nil
		case !next.is(","):
			return nil, errors.New("a parenthesis is not closed")
		}
	}
}

// value reads one value, as a list of it.
func (p *filterParser) value() ([]string, error) {
	t := p.next()
	switch {
	case t.quoted:
	case t.text == "" || strings.ContainsAny(t.text, filterSigns):
		return nil, errors.New("a value is missing")
	case !p.syntax.unquoted:
		return nil, fmt.Errorf("the value %s is not quoted", t.text)
	}
	return []string{t.text}, nil
}
