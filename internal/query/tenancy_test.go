package query_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
	for le, value := range map[string]float64{"1": 2, "5": 6, "+Inf": 8} {
		s.labelled("took_bucket", "c1", "shop", value, "le", le)
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
	answer, err := s.client.Query(s.t.Context(), promQL, attempt.At)
	if err != nil {
		return metric.AsFailure(err).Message
	}
	rows := make([]string, len(answer.Series))
	for i, series := range answer.Series {
		rows[i] = fmt.Sprint(series.Labels, series.Value)
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// read is the answer to a question, and what is read from it.
func (s *sysdigStage) read(q query.Question, in query.Cluster) string {
	s.t.Helper()
	requests := query.Plan([]query.Question{q}, query.Whole)
	answers, err := s.line().Ask(requests, attempt.At)
	if err != nil {
		return metric.AsFailure(err).Message
	}
	return show(requests[0].Read(answers[0], attempt, in)[0]) + "\n" + rowsOf(answers[0])
}

func rowsOf(answer sysdig.Answer) string {
	rows := make([]string, len(answer.Series))
	for i, series := range answer.Series {
		rows[i] = fmt.Sprint(series.Labels, series.Value)
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
