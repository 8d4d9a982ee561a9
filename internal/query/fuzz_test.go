package query_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// hostile names try to end a string, a selector, a query, or an expression.
var hostile = []string{
	"web", `"`, `\`, `\"`, "`", `"} or vector(0) or x{a="`, `web"}[5m]) or up{a="`, "a\nb", "\x00", "$1", ".*", "a|b", "(", "[", "{{.}}", `\Q`, `\E`, "é\u2028", "#", "",
}

// shapeOf prints a query with the values of its matchers left out.
func shapeOf(t *testing.T, promQL string) string {
	t.Helper()
	expr := parse(t, promQL)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			s.LabelMatchers = slices.Clone(s.LabelMatchers)
			for i, m := range s.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					s.LabelMatchers[i] = labels.MustNewMatcher(m.Type, m.Name, "")
				}
			}
		}
		return nil
	})
	return expr.String()
}

// FuzzQuoting puts any text into all names that a binding and its connection hold. No text can change a query: it has the
// same shape as for benign names, and its matchers match the texts and nothing else.
func FuzzQuoting(f *testing.F) {
	for i, text := range hostile {
		next := hostile[(i+1)%len(hostile)]
		f.Add(text, "shop", "c1", "a", "b")
		f.Add(next, text, text+"x", text, next)
	}
	f.Fuzz(func(t *testing.T, object, namespace, cluster, one, two string) {
		for _, text := range []string{object, namespace, cluster, one, two} {
			if !utf8.ValidString(text) {
				t.Skip() // the API server stores no such text
			}
		}
		if cluster == "" || object == "" || namespace == "" || one == two {
			t.Skip()
		}
		kinds := map[string]edit{
			"kube_workload_name": target("apps/v1", "Deployment", object), "kube_pod_name": target("v1", "Pod", object), "": target("v1", "Service", object),
		}
		for label, kind := range kinds {
			build := func(object, namespace, cluster, one, two string) query.Definition {
				b := binding(kind, where("x", v1alpha1.FilterIn, one, two), where("y", v1alpha1.FilterNotIn, one))
				b.Namespace, b.Spec.Target.Name = namespace, object
				d := query.Compile(b, connection(func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = cluster }), query.Target{Selector: one + "=" + two})
				if d.Refused != nil {
					t.Fatal(d.Refused)
				}
				return d
			}
			got, benign := build(object, namespace, cluster, one, two).Query, build("o", "n", "c", "v", "w").Query
			if got, want := shapeOf(t, got), shapeOf(t, benign); got != want {
				t.Fatalf("the names changed the query to\n%s\nfrom\n%s", got, want)
			}
			for _, matchers := range selectors(parse(t, got)) {
				if !confined(matchers, "kube_namespace_name", namespace) || !confined(matchers, "kube_cluster_name", cluster) || (label != "" && !confined(matchers, label, object)) {
					t.Fatalf("not confined: %s", got)
				}
				for _, m := range matchers {
					if m.Name == "x" && (!m.Matches(one) || !m.Matches(two) || m.Matches(one+two+"?") || m.Matches("?"+one+two)) {
						t.Fatalf("%s does not match %q and %q alone", m, one, two)
					}
					if m.Name == "y" && (m.Matches(one) || !m.Matches(one+"?")) {
						t.Fatalf("%s does not exclude %q alone", m, one)
					}
				}
			}
		}
		// Raw queries hold the namespace and the cluster.
		b := binding(raw("sum(x)", ""))
		b.Namespace = namespace
		d := compile(t, b, connection(func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = cluster }))
		for _, matchers := range selectors(parse(t, d.Query)) {
			if !confined(matchers, "kube_namespace_name", namespace) || !confined(matchers, "kube_cluster_name", cluster) {
				t.Fatalf("not confined: %s", d.Query)
			}
		}
	})
}

// FuzzConfine: whatever is accepted is confined in each of its selectors, cannot look into another time, and is
// understood by Sysdig.
func FuzzConfine(f *testing.F) {
	for _, c := range accepted {
		f.Add(c.query, "")
	}
	for _, c := range refused {
		f.Add(c.query, "kube_workload_name")
	}
	functions := []string{"vector", "absent", "absent_over_time", "time", "info", "hour", "minute", "month", "year", "day_of_week", "pi", "start", "end"}
	f.Fuzz(func(t *testing.T, text, objectLabel string) {
		if objectLabel != "" {
			objectLabel = "kube_workload_name"
		}
		d := query.Compile(binding(raw(text, objectLabel)), connection(), query.Target{})
		if d.Refused != nil {
			if !strings.Contains(d.Refused.Message, "spec.source.promQL.query: ") || d.Query != "" {
				t.Fatalf("%+v", d)
			}
			return
		}
		expr := parse(t, d.Query)
		if expr.Type() != parser.ValueTypeVector {
			t.Fatalf("%s is a %s", d.Query, expr.Type())
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.VectorSelector:
				if !confined(n.LabelMatchers, "kube_namespace_name", "shop") || !confined(n.LabelMatchers, "kube_cluster_name", "c1") {
					t.Fatalf("%s is not confined in %s", n, d.Query)
				}
				if n.OriginalOffset != 0 || n.Timestamp != nil || n.StartOrEnd != 0 || n.OriginalOffsetExpr != nil {
					t.Fatalf("%s looks into another time", n)
				}
			case *parser.SubqueryExpr:
				if n.OriginalOffset != 0 || n.Timestamp != nil || n.StartOrEnd != 0 || n.OriginalOffsetExpr != nil {
					t.Fatalf("%s looks into another time", n)
				}
			case *parser.Call:
				if slices.Contains(functions, n.Func.Name) {
					t.Fatalf("%s makes a value out of nothing", n)
				}
			}
			return nil
		})
		again := query.Compile(binding(raw(text, objectLabel)), connection(), query.Target{})
		if again.Question != d.Question {
			t.Fatalf("compiled twice: %s and %s", d.Query, again.Query)
		}
	})
}
