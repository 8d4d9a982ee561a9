package sysdig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clause confines a label to some values, or to all but those.
type Clause struct {
	Label  string
	Values []string
	Not    bool
}

// filterLabel is a label in the spelling of either API: kubernetes.node.label.beta.kubernetes.io/os, kube_pod_name.
var filterLabel = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_/-]*(\.[A-Za-z0-9_/-]+)*$`)

// filterWord is a word of the grammar, which is no label.
var filterWord = regexp.MustCompile(`(?i)^(and|or|not|in|is|contains|starts|with|null|true|false)$`)

// Filter writes clauses, all of which have to hold, as a filter of the data API; none is an empty filter. Equal clauses are
// equal text whatever the order of their values. The error names what cannot be written.
func Filter(clauses []Clause) (string, error) {
	parts := make([]string, len(clauses))
	for i, c := range clauses {
		var err error
		if parts[i], err = c.write(); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, " and "), nil
}

func (c Clause) write() (string, error) {
	if !filterLabel.MatchString(c.Label) || filterWord.MatchString(c.Label) {
		return "", fmt.Errorf("%q is no label that a filter of the data API can hold", clean(c.Label, verbatim))
	}
	values := slices.Compact(slices.Sorted(slices.Values(c.Values)))
	for i, value := range values {
		if !quotable(value) {
			return "", fmt.Errorf("the value %q of label %s holds a quote, a backslash or a control character, which a filter of the data API cannot", clean(value, verbatim), c.Label)
		}
		values[i] = `"` + value + `"`
	}
	switch {
	case len(values) == 0:
		return "", fmt.Errorf("label %s is confined to no value", c.Label)
	case len(values) > 1 && c.Not:
		return fmt.Sprintf("not %s in (%s)", c.Label, strings.Join(values, ",")), nil
	case len(values) > 1:
		return fmt.Sprintf("%s in (%s)", c.Label, strings.Join(values, ",")), nil
	case c.Not:
		return c.Label + " != " + values[0], nil
	default:
		return c.Label + " = " + values[0], nil
	}
}

// verbatim is for texts of users, which hold no secrets.
func verbatim(text string) string { return text }

// quotable tells whether a value means itself between double quotes. Whether and how one is escaped there nobody has
// published, and what is escaped wrongly would ask another question.
func quotable(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool { return r == '"' || r == '\'' || r == '\\' || unicode.IsControl(r) })
}
