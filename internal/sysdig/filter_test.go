package sysdig_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

func TestFilter(t *testing.T) {
	one := func(label string, not bool, values ...string) []sysdig.Clause {
		return []sysdig.Clause{{Label: label, Values: values, Not: not}}
	}
	tests := map[string]struct {
		clauses []sysdig.Clause
		want    string
	}{
		"nothing":                  {nil, ""},
		"one value":                {one("a.b", false, "x"), `a.b = "x"`},
		"not one value":            {one("a.b", true, "x"), `a.b != "x"`},
		"some values":              {one("a.b", false, "x", "y"), `a.b in ("x","y")`},
		"not some values":          {one("a.b", true, "x", "y"), `not a.b in ("x","y")`},
		"values in another order":  {one("a.b", false, "y", "x"), `a.b in ("x","y")`},
		"the same value twice":     {one("a.b", false, "x", "x"), `a.b = "x"`},
		"an empty value":           {one("a.b", true, ""), `a.b != ""`},
		"the words of the grammar": {one("a.b", false, `x and c.d = y) or (not`), `a.b = "x and c.d = y) or (not"`},
		"other alphabets":          {one("a.b", false, "é\u00a0→"), "a.b = \"é\u00a0→\""},
		"a label of PromQL":        {one("kube_pod_name", false, "x"), `kube_pod_name = "x"`},
		"a label of a node":        {one("kubernetes.node.label.beta.kubernetes.io/os", false, "x"), `kubernetes.node.label.beta.kubernetes.io/os = "x"`},
		"a label with a dash":      {one("kubernetes.pod.label.k8s-app", false, "x"), `kubernetes.pod.label.k8s-app = "x"`},
		"all have to hold": {
			[]sysdig.Clause{{Label: "kubernetes.cluster.name", Values: []string{"c1"}}, {Label: "kubernetes.namespace.name", Values: []string{"web", "shop"}}},
			`kubernetes.cluster.name = "c1" and kubernetes.namespace.name in ("shop","web")`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			given := fmt.Sprint(test.clauses)
			if got, err := sysdig.Filter(test.clauses); err != nil || got != test.want {
				t.Errorf("got %s, %v; want %s", got, err, test.want)
			}
			if fmt.Sprint(test.clauses) != given {
				t.Errorf("the clauses became %v", test.clauses)
			}
		})
	}
}

func TestWhatAFilterCannotHoldIsRefused(t *testing.T) {
	for _, value := range []string{`"`, `'`, `\`, "a\nb", "\x00", "\x7f", "\u0085", "\xff", `x" or a.b != "x`} {
		for _, values := range [][]string{{value}, {"x", value}} {
			got, err := sysdig.Filter([]sysdig.Clause{{Label: "a", Values: []string{"x"}}, {Label: "a.b", Values: values}})
			if err == nil || got != "" || !strings.Contains(err.Error(), "a.b") || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("%q: got %s, %v", values, got, err)
			}
		}
	}
	for _, label := range []string{
		"", ".", "a.", ".a", "a..b", "a b", `a"`, "a=b", "a\n", "(a", "a)", "a,b", "1a", "-a", "é", "not", "AND", "in", "null", "contains", "a or b",
	} {
		if got, err := sysdig.Filter([]sysdig.Clause{{Label: label, Values: []string{"x"}}}); err == nil || got != "" {
			t.Errorf("label %q: got %s, %v", label, got, err)
		}
	}
	for _, not := range []bool{false, true} {
		if got, err := sysdig.Filter([]sysdig.Clause{{Label: "a.b", Not: not}}); err == nil || got != "" || !strings.Contains(err.Error(), "a.b") {
			t.Errorf("no values: got %s, %v", got, err)
		}
	}
}

// filterReader reads the grammar of filters: what a server that knows it would understand.
type filterReader struct {
	rest string
	err  error
}

func (r *filterReader) take(text string) bool {
	rest, ok := strings.CutPrefix(r.rest, text)
	r.rest = rest
	return ok
}

func (r *filterReader) need(text string) {
	if r.err == nil && !r.take(text) {
		r.err = fmt.Errorf("no %q before %q", text, r.rest)
	}
}

// until reads up to any of the characters.
func (r *filterReader) until(characters string) string {
	end := strings.IndexAny(r.rest, characters)
	if end < 0 {
		r.err = fmt.Errorf("none of %q in %q", characters, r.rest)
		return ""
	}
	text := r.rest[:end]
	r.rest = r.rest[end:]
	return text
}

func (r *filterReader) value() string {
	r.need(`"`)
	text := r.until(`"\`)
	r.need(`"`)
	return text
}

func (r *filterReader) clause() sysdig.Clause {
	var c sysdig.Clause
	c.Not = r.take("not ")
	c.Label = r.until(` "(),='\`)
	switch {
	case r.take(" in ("):
		c.Values = []string{r.value()}
		for r.err == nil && r.take(",") {
			c.Values = append(c.Values, r.value())
		}
		r.need(")")
	case r.take(" = "):
		c.Values = []string{r.value()}
	case !c.Not && r.take(" != "):
		c.Not, c.Values = true, []string{r.value()}
	default:
		r.err = fmt.Errorf("no operator before %q", r.rest)
	}
	return c
}

func readFilter(text string) ([]sysdig.Clause, error) {
	r := filterReader{rest: text}
	clauses := []sysdig.Clause{r.clause()}
	for r.err == nil && r.rest != "" {
		r.need(" and ")
		clauses = append(clauses, r.clause())
	}
	return clauses, r.err
}

// FuzzFilter: whatever is written reads back as the clauses that were meant.
func FuzzFilter(f *testing.F) {
	f.Add("kubernetes.namespace.name", "shop", "web", false, "kube_pod_name", "a", true)
	for _, text := range []string{`"`, `\`, `\"`, `x" and b = "y`, `","`, ") or a in (", " = ", "not", "not a", "a.b", "\n", "\x00", "\xff", "é\u2028", ""} {
		f.Add("a.b", text, "x", true, "c", text, false)
		f.Add(text, "x", text, false, text, "y", true)
	}
	f.Fuzz(func(t *testing.T, label, one, two string, not bool, next, three string, nextNot bool) {
		given := []sysdig.Clause{{Label: label, Values: []string{one, two}, Not: not}, {Label: next, Values: []string{three}, Not: nextNot}}
		written, err := sysdig.Filter(given)
		if err != nil {
			if written != "" {
				t.Fatalf("an error and %q", written)
			}
			return
		}
		got, err := readFilter(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		slices.Sort(given[0].Values)
		given[0].Values = slices.Compact(given[0].Values)
		if !reflect.DeepEqual(got, given) {
			t.Fatalf("%s: read %+v, want %+v", written, got, given)
		}
		given[0].Values = []string{two, one}
		if again, err := sysdig.Filter(given); err != nil || again != written {
			t.Fatalf("%s in another order is %s, %v", written, again, err)
		}
	})
}
