package query_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// town of tenants: namespace shop of cluster c1 is the tenant that asks, and everything else belongs to others. Two towns differ in
// what is the others', and in nothing else.
type tenants struct{ here, there *sysdigStage }

func newTenants(t testing.TB) tenants {
	t.Helper()
	both := tenants{here: newSysdig(t), there: newSysdig(t)}
	for _, town := range []*sysdigStage{both.here, both.there} {
		ownSeries(town)
	}
	othersSeries(both.here, 1)
	othersSeries(both.there, 7)
	// What only one of the towns has: its absence must not be seen either.
	both.here.series("flip", "c1", "bank", "vault", "vault-0", 1, 0)
	both.there.series("flop", "c1", "bank", "vault", "vault-0", 1, 0)
	both.there.series("x", "c1", "mint", "press", "press-0", 31, 0)
	both.there.series("x", "c1", "bank", "web", "web-2", 57, 0)
	return both
}

// ownSeries are those of the tenant.
func ownSeries(s *sysdigStage) {
	s.series("x", "c1", "shop", "web", "web-0", 1, 0)
	s.series("x", "c1", "shop", "api", "api-0", 3, 0)
	s.series("y", "c1", "shop", "web", "web-0", 2, 0)
	s.series("y", "c1", "shop", "api", "api-0", 4, 0)
	s.series("utf8.metric", "c1", "shop", "web", "web-0", 5, 0)
	s.series(sysdigtest.MetricUp, "c1", "shop", "web", "web-0", 1, 0)
	// In one order: an error about series that are not unique names the first two.
	for i, le := range []string{"1", "5", "+Inf"} {
		s.labelled("took_bucket", "c1", "shop", float64(2+3*i), "le", le)
	}
}

// othersSeries are those of other namespaces and clusters, of none, and of such as are called almost alike.
func othersSeries(s *sysdigStage, factor float64) {
	for _, name := range []string{"x", "y", "gone", "utf8.metric", "target_info", sysdigtest.MetricUp} {
		s.series(name, "c1", "bank", "vault", "web-0", 100*factor, 0)
		s.series(name, "c2", "shop", "web", "web-0", 1000*factor, 0)
		s.series(name, "c2", "bank", "web", "web-0", 3000*factor, 0)
		for i, near := range []string{"shop2", "sho", "Shop", "shop-bank", "shop|bank", ".*"} {
			s.series(name, "c1", near, "web", "web-0", (10+float64(i))*factor, 0)
		}
		s.labelled(name, "", "", 10000*factor, "node", "n")
		s.labelled(name, "c1", "bank", 500*factor, "namespace", "shop")
		s.labelled(name, "c1", "bank", 600*factor, "kubernetes.namespace.name", "shop")
		s.labelled(name, "c1", "bank", 700*factor, partLabel, "0")
	}
	for _, le := range []string{"1", "5", "+Inf"} {
		s.labelled("took_bucket", "c1", "bank", 900*factor, "le", le)
	}
}

// labelled adds a series with one label of its own. Without a cluster and a namespace it has no such labels.
func (s *sysdigStage) labelled(name, cluster, namespace string, value float64, label, is string) {
	lset := map[string]string{"__name__": name, label: is, sysdigtest.LabelPod: "web-0"}
	if cluster != "" {
		lset[sysdigtest.LabelCluster], lset[sysdigtest.LabelNamespace] = cluster, namespace
	}
	sysdigtest.Fill(s.Store(), lset, noon.Add(-20*time.Minute), noon, func(time.Time) float64 { return value })
}

// answer is what Sysdig answers to a query, as text that is the same for equal answers.
func (s *sysdigStage) answer(promQL string) string {
	answer, err := s.client.Query(context.Background(), promQL, attempt.At)
	if err != nil {
		return metric.AsFailure(err).Full()
	}
	return rowsOf(answer)
}

// read is the answer to a question, and what is read from it.
func (s *sysdigStage) read(q query.Question, in query.Cluster) string {
	requests := query.Plan([]query.Question{q}, query.Whole)
	answers, err := s.line().Ask(requests, attempt.At)
	if err != nil {
		return metric.AsFailure(err).Full()
	}
	outcome := requests[0].Read(answers[0], attempt, in)[0]
	if sample := outcome.Reading.Sample; sample != nil {
		return fmt.Sprintf("%.9g of %s\n%s", sample.Value, sample.Time, rowsOf(answers[0]))
	}
	return show(outcome) + "\n" + rowsOf(answers[0])
}

// rowsOf writes values with so many digits as the order does not change in which floats are added up.
func rowsOf(answer sysdig.Answer) string {
	rows := make([]string, len(answer.Series))
	for i, series := range answer.Series {
		rows[i] = fmt.Sprintf("%v %.9g", series.Labels, series.Value)
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// TestNoTrickOfPromQLReachesAnotherTenant plays each trick to two towns that differ in what belongs to others. The trick is refused,
// with what to do in its place, or the answer is the same in both. The control asks the query as it is written: where leaks is set,
// the answer differs.
func TestNoTrickOfPromQLReachesAnotherTenant(t *testing.T) {
	towns := newTenants(t)
	leaks, seen := 0, map[string]string{}
	for _, trick := range tricks() {
		t.Run(trick.name, func(t *testing.T) {
			if other := seen[trick.query+trick.label]; other != "" {
				t.Errorf("it is the same as %q", other)
			}
			seen[trick.query+trick.label] = trick.name
			if leaked := towns.here.answer(trick.query) != towns.there.answer(trick.query); leaked != trick.leaks {
				t.Errorf("unconfined it leaks: %t, want %t", leaked, trick.leaks)
			}
			if trick.leaks {
				leaks++
			}
			d := query.Compile(binding(raw(trick.query, trick.label)), connection(), query.Target{})
			if d.Refused != nil || trick.refused != "" {
				if d.Refused == nil || trick.refused == "" || !strings.Contains(d.Refused.Message, trick.refused) {
					t.Errorf("refused with %v, want %q; it would ask %s", d.Refused, trick.refused, d.Query())
				}
				return
			}
			here, there := towns.here.read(d.Question, nil), towns.there.read(d.Question, nil)
			if here != there {
				t.Errorf("%s\nis answered with\n%s\nand, when only others have other data, with\n%s", d.Query(), here, there)
			}
		})
	}
	if n := len(tricks()); n < 60 || leaks < 40 {
		t.Errorf("%d tricks, of which %d leak without confinement: too few to show anything", n, leaks)
	}
}

// TestNoTrickOfATypedSourceReachesAnotherTenant asks for the same of two tenants in one request, over each API. What the one is told
// does not depend on the data of the other, which is the control: the other is told something else.
func TestNoTrickOfATypedSourceReachesAnotherTenant(t *testing.T) {
	const isIn, notIn = v1alpha1.FilterIn, v1alpha1.FilterNotIn
	tests := map[string]struct {
		edits   []edit
		refused string
		// empty is set when there is nothing to be told.
		empty bool
	}{
		"a pod of the same name":            {edits: []edit{target("v1", "Pod", "web-0")}},
		"all pods":                          {edits: []edit{every("v1", "Pod", nil)}},
		"the namespace":                     {edits: []edit{target("v1", "Namespace", "")}},
		"nothing in the cluster":            {edits: []edit{external}},
		"each pod apart":                    {edits: []edit{external, dimensions("kube_workload_name")}},
		"all workloads by type":             {edits: []edit{external, where("kube_workload_type", isIn, "deployment")}},
		"whatever is not nothing":           {edits: []edit{external, where("kube_workload_name", notIn, "nothing")}},
		"a workload of another":             {edits: []edit{target("apps/v1", "Deployment", "press")}, empty: true},
		"a pattern for a value":             {edits: []edit{external, where("kube_workload_name", isIn, ".*")}, empty: true},
		"patterns for values":               {edits: []edit{external, where("kube_workload_name", isIn, ".*", "web|vault")}, empty: true},
		"a filter for the namespace":        {edits: []edit{external, where("kube_namespace_name", isIn, "bank")}, refused: "set by the operator"},
		"the namespace, dotted":             {edits: []edit{external, where("kubernetes.namespace.name", isIn, "bank")}, refused: "set by the operator"},
		"the namespace, half dotted":        {edits: []edit{external, where("kube_namespace.name", notIn, "shop")}, refused: "set by the operator"},
		"the cluster":                       {edits: []edit{external, where("kubernetes.cluster.name", notIn, "c1")}, refused: "set by the operator"},
		"the namespace as a dimension":      {edits: []edit{external, dimensions("kube_namespace_name")}, refused: "set by the operator"},
		"the cluster as a dimension":        {edits: []edit{external, dimensions("kubernetes.cluster.name")}, refused: "set by the operator"},
		"the mark of times as a dimension":  {edits: []edit{external, dimensions(partLabel)}, refused: "set by the operator"},
		"a metric that is a selector":       {edits: []edit{external, metricNamed(`x{kube_namespace_name="bank"} or x`)}, refused: "spec.source.metric.name"},
		"a metric that ends its selector":   {edits: []edit{external, metricNamed("x} or x{")}, refused: "spec.source.metric.name"},
		"a metric that is a comment":        {edits: []edit{external, metricNamed("x #")}, refused: "spec.source.metric.name"},
		"a metric that is a filter":         {edits: []edit{external, metricNamed(`x" or "a`)}, refused: "spec.source.metric.name"},
		"a value that ends its filter":      {edits: []edit{external, where("kube_pod_name", isIn, `web-0" or kubernetes.namespace.name = "bank`)}, empty: true},
		"a value that ends its selector":    {edits: []edit{external, where("kube_pod_name", isIn, `web-0"} or x{a="`)}, empty: true},
		"values that end their pattern":     {edits: []edit{external, where("kube_pod_name", isIn, `web-0|.*`, `\Q.*`, `\E.*`)}, empty: true},
		"a value of another line":           {edits: []edit{external, where("kube_pod_name", isIn, "web-0\n) or (")}, empty: true},
		"a pod that is a pattern":           {edits: []edit{target("v1", "Pod", "web-.*")}, empty: true},
		"a Service that selects everything": {edits: []edit{target("v1", "Service", "all")}},
	}
	towns := newTenants(t)
	for name, test := range tests {
		for _, api := range []v1alpha1.API{v1alpha1.APIPrometheus, v1alpha1.APIData} {
			t.Run(name+" by "+string(api), func(t *testing.T) {
				c := connection(func(c *v1alpha1.SysdigConnection) { c.Spec.API, c.Spec.DataAPI.RateFrom = api, v1alpha1.RateFromSum })
				edits := append([]edit{metricNamed("x"), aggregated(v1alpha1.TimeLast, v1alpha1.GroupSum)}, test.edits...)
				mine := query.Compile(binding(edits...), c, service)
				if mine.Refused != nil || test.refused != "" {
					hostile := api == v1alpha1.APIData && mine.Refused != nil && strings.Contains(mine.Refused.Message, "which a filter of the data API cannot")
					if !hostile && (mine.Refused == nil || test.refused == "" || !strings.Contains(mine.Refused.Message, test.refused)) {
						t.Errorf("refused with %v, want %q; it would ask %s", mine.Refused, test.refused, mine.Query())
					}
					return
				}
				others := compile(t, binding(append(edits, in("bank"))...), c)
				here, there := towns.here.both(mine.Question, others.Question), towns.there.both(mine.Question, others.Question)
				if here[0] != there[0] {
					t.Errorf("%s\nis answered with\n%s\nand, when only others have other data, with\n%s", mine.Query(), here[0], there[0])
				}
				empty := test.empty || api == v1alpha1.APIData && name == "a Service that selects everything" // which has a label there
				if empty != strings.Contains(here[0], "NoData") {
					t.Errorf("%s is answered with %s", mine.Query(), here[0])
				}
				if !empty && here[1] == there[1] {
					t.Errorf("the other is told %s by both towns: nothing would be seen", here[1])
				}
			})
		}
	}
}

// metricNamed sets the name of the metric.
func metricNamed(name string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = name }
}

// both are what two questions of one plan are told.
func (s *sysdigStage) both(mine, others query.Question) [2]string {
	all := cluster{
		selected: func(string, string, time.Duration) []string { return []string{"web-0", "api-0", "vault-0"} },
		services: func(string, string) map[string]string { return nil },
	}
	told := s.ask(query.Plan([]query.Question{mine, others}, query.Whole), all)
	return [2]string{tell(told[mine]), tell(told[others])}
}

// tell is show, with the parts of external metrics.
func tell(o query.Outcome) string {
	if sample := o.Reading.Sample; sample != nil {
		return fmt.Sprint(show(o), sample.Series)
	}
	if o.Objects != nil && len(o.Objects) == 0 {
		return "NoData"
	}
	return show(o)
}

// wantTold plays a query of a grammar, if it is accepted, to both towns.
func (both tenants) wantTold(t *testing.T, text, label string) (accepted bool) {
	t.Helper()
	d := query.Compile(binding(raw(text, label)), connection(), query.Target{})
	if d.Refused != nil {
		if d.Refused.Reason != metric.Rejected || !strings.Contains(d.Refused.Message, "spec.source") {
			t.Fatalf("%s: %v", text, d.Refused)
		}
		return false
	}
	here, there := both.tell(d.Question)
	if !maps.Equal(here, there) {
		t.Fatalf("%s\nwhich is asked as\n%s\nis answered with\n%s\nand, when only others have other data, with\n%s", text, d.Query(), lines(here), lines(there))
	}
	return true
}

// tell is what each town says to a question. Where series are not unique the engine's error names any two of them, so towns that
// differ are asked again, until each has said all that the other has.
func (both tenants) tell(q query.Question) (here, there map[string]bool) {
	const enough = 200
	here, there = map[string]bool{}, map[string]bool{}
	for asked := 0; asked == 0 || asked < enough && !maps.Equal(here, there); asked++ {
		here[both.here.read(q, nil)], there[both.there.read(q, nil)] = true, true
	}
	return here, there
}

func lines(told map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(told)), "\nor ")
}

// TestAnErrorThatNamesAnyTwoSeriesIsNoLeak asks what one town alone answers in several ways.
func TestAnErrorThatNamesAnyTwoSeriesIsNoLeak(t *testing.T) {
	const text = `count_values("kube_pod_name", took_bucket) + on (kube_workload_name) group_right () x`
	both := newTenants(t)
	if !both.wantTold(t, text, "") {
		t.Fatal("the query is not accepted: the test shows nothing")
	}
	told, question := map[string]bool{}, query.Compile(binding(raw(text, "")), connection(), query.Target{}).Question
	for range 200 {
		told[both.here.read(question, nil)] = true
	}
	if len(told) < 2 {
		t.Errorf("one town says only %s: the test shows nothing", lines(told))
	}
}

// FuzzTenants writes queries at random: what a tenant is told does not depend on the data of others.
func FuzzTenants(f *testing.F) {
	towns := newTenants(f)
	random := rand.NewChaCha8([32]byte{})
	for range 100 {
		f.Add(program(random))
	}
	f.Fuzz(func(t *testing.T, entropy []byte) {
		w := writer{entropy: entropy}
		label := w.one(objectLabels()...)
		towns.wantTold(t, w.vector(5), label)
	})
}

// TestQueriesAtRandomReachOthersUnlessConfined is the control of FuzzTenants: its grammar writes queries that are understood, that are
// accepted, and that reach others as they are written.
func TestQueriesAtRandomReachOthersUnlessConfined(t *testing.T) {
	towns := newTenants(t)
	random := rand.NewChaCha8([32]byte{1})
	const queries = 600
	var accepted, leaks, both int
	for range queries {
		w := writer{entropy: program(random)}
		label := w.one(objectLabels()...)
		text := w.vector(4)
		is, leaked := towns.wantTold(t, text, label), towns.here.answer(text) != towns.there.answer(text)
		if is {
			accepted++
		}
		if leaked {
			leaks++
		}
		if is && leaked {
			both++
		}
	}
	t.Logf("of %d queries %d are accepted, %d leak unconfined, and %d do both", queries, accepted, leaks, both)
	if accepted < queries/5 || leaks < queries/5 || both < queries/20 {
		t.Error("too few to show anything")
	}
}

func program(random *rand.ChaCha8) []byte {
	entropy := make([]byte, 96)
	_, _ = random.Read(entropy)
	return entropy
}

func objectLabels() []string {
	return []string{"", "", "kube_workload_name", "kube_namespace_name", "who"}
}
