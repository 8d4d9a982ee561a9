package query_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
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
// same shape as for benign names, and its matchers match the texts and nothing else. Names of labels that PromQL cannot
// write are refused.
func FuzzQuoting(f *testing.F) {
	for i, text := range hostile {
		next := hostile[(i+1)%len(hostile)]
		f.Add(text, "shop", "c1", "a", "b", "net.http.method", "app")
		f.Add(next, text, text+"x", text, next, text, text)
	}
	for _, label := range []string{"inf", "NaN", "without", "by", "a) (x) or sum by (b", "a, kube_pod_name", "a #", "kubernetes.pod_name", "sysdig.metrics.part", "__name__"} {
		f.Add("web", "shop", "c1", "a", "b", label, "example.com/"+label)
	}
	f.Fuzz(func(t *testing.T, object, namespace, cluster, one, two, dimension, key string) {
		fuzzDimension(t, namespace, cluster, dimension)
		fuzzSelector(t, namespace, cluster, key, one)
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
			got, benign := build(object, namespace, cluster, one, two).Query(), build("o", "n", "c", "v", "w").Query()
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
		for _, matchers := range selectors(parse(t, d.Query())) {
			if !confined(matchers, "kube_namespace_name", namespace) || !confined(matchers, "kube_cluster_name", cluster) {
				t.Fatalf("not confined: %s", d.Query())
			}
		}
	})
}

// fuzzDimension keeps any label apart: it is refused, or it is one more label of each grouping and changes nothing else.
func fuzzDimension(t *testing.T, namespace, cluster, dimension string) {
	if !utf8.ValidString(namespace+cluster+dimension) || cluster == "" || namespace == "" {
		return
	}
	inCluster := connection(func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = cluster })
	for _, about := range []edit{external, target("apps/v1", "Deployment", "web"), every("v1", "Pod", nil), both(external, raw("x / y", "")), both(every("v1", "Service", nil), raw("x", "app"))} {
		apart := func(name string) query.Definition {
			return query.Compile(binding(about, in(namespace), dimensions("a_a", v1alpha1.Dimension(name))), inCluster, query.Target{})
		}
		got, benign := apart(dimension), apart("benign_name")
		if got.Refused != nil {
			if got.Refused.Reason != metric.Rejected || !strings.Contains(got.Refused.Message, ".dimensions[1]: ") || got.Query() != "" {
				t.Fatalf("%+v", got)
			}
			continue
		}
		mine := got.Question.Shape.Value().Dimensions[0]
		if mine == "a_a" {
			mine = got.Question.Shape.Value().Dimensions[1]
		}
		for i, grouping := range groupings(parse(t, got.Query())) {
			if want := groupings(parse(t, benign.Query()))[i]; len(grouping) != len(want) || slices.Contains(want, "benign_name") != slices.Contains(grouping, mine) {
				t.Fatalf("%q changed %v to %v in %s", dimension, want, grouping, got.Query())
			}
		}
		if got, want := ungrouped(t, got.Query()), ungrouped(t, benign.Query()); got != want {
			t.Fatalf("%q changed the query to\n%s\nfrom\n%s", dimension, got, want)
		}
		for _, matchers := range selectors(parse(t, got.Query())) {
			if !confined(matchers, "kube_namespace_name", namespace) || !confined(matchers, "kube_cluster_name", cluster) {
				t.Fatalf("not confined: %s", got.Query())
			}
		}
	}
}

// groupings are the labels that each aggregation of a query groups by.
func groupings(expr parser.Expr) [][]string {
	var all [][]string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			all = append(all, a.Grouping)
		}
		return nil
	})
	return all
}

// ungrouped prints a query without the labels that it groups by.
func ungrouped(t *testing.T, promQL string) string {
	t.Helper()
	expr := parse(t, promQL)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			a.Grouping = nil
		}
		return nil
	})
	return expr.String()
}

// fuzzSelector selects objects by any label: it is refused, or no text of it reaches the query, and the claim says it in a
// form that means the same.
func fuzzSelector(t *testing.T, namespace, cluster, key, text string) {
	if !utf8.ValidString(namespace+cluster) || cluster == "" || namespace == "" {
		return
	}
	inCluster := connection(func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = cluster })
	for _, kind := range [][2]string{{"v1", "Pod"}, {"v1", "Service"}, {"apps/v1", "Deployment"}} {
		got := query.Compile(binding(in(namespace), every(kind[0], kind[1], map[string]string{key: text})), inCluster, query.Target{})
		if got.Refused != nil {
			if !strings.HasPrefix(got.Refused.Message, "spec.target.selector: ") || !got.Claim.Set() || got.Selector.Matches(apilabels.Set{key: text}) {
				t.Fatalf("%+v", got)
			}
			continue
		}
		if benign := compile(t, binding(in(namespace), every(kind[0], kind[1], nil)), inCluster); got.Query() != benign.Query() {
			t.Fatalf("the selector changed the query to\n%s\nfrom\n%s", got.Query(), benign.Query())
		}
		if !got.Selector.Matches(apilabels.Set{key: text}) || got.Selector.Matches(apilabels.Set{key: text + "x"}) {
			t.Fatalf("%s does not match %q=%q alone", got.Selector, key, text)
		}
		again, err := apilabels.Parse(got.Claim.Selector)
		if err != nil || again.String() != got.Selector.String() {
			t.Fatalf("%s is no form of %s: %v", got.Claim.Selector, got.Selector, err)
		}
	}
}

// FuzzConfine: whatever is accepted is confined in each of its selectors, cannot look into another time, and is
// understood by Sysdig.
func FuzzConfine(f *testing.F) {
	for _, c := range accepted {
		f.Add(c.query, "", "")
		f.Add(c.query, "kube_workload_name", "queue")
	}
	for _, c := range refused {
		f.Add(c.query, "kube_workload_name", "")
	}
	for _, label := range append([]string{"inf", "a) (x) or vector(0", partLabel, "kube_namespace_name"}, hostile...) {
		f.Add(`sum(x)`, label, "")
		f.Add(`sum(x)`, "", label)
	}
	functions := []string{"vector", "absent", "absent_over_time", "time", "info", "hour", "minute", "month", "year", "day_of_week", "pi", "start", "end"}
	f.Fuzz(func(t *testing.T, text, objectLabel, dimension string) {
		b := binding(raw(text, objectLabel))
		if dimension != "" {
			dimensions(v1alpha1.Dimension(dimension))(b)
		}
		d := query.Compile(b, connection(), query.Target{})
		if d.Refused != nil {
			if !strings.Contains(d.Refused.Message, "spec.source.promQL.") || d.Query() != "" {
				t.Fatalf("%+v", d)
			}
			return
		}
		expr := parse(t, d.Query())
		if expr.Type() != parser.ValueTypeVector {
			t.Fatalf("%s is a %s", d.Query(), expr.Type())
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.VectorSelector:
				if !confined(n.LabelMatchers, "kube_namespace_name", "shop") || !confined(n.LabelMatchers, "kube_cluster_name", "c1") {
					t.Fatalf("%s is not confined in %s", n, d.Query())
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
		again := query.Compile(b, connection(), query.Target{})
		if again.Question != d.Question {
			t.Fatalf("compiled twice: %s and %s", d.Query(), again.Query())
		}
	})
}
