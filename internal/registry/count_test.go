package registry_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// wantCounted expects how many bindings have each standing, also as the gauge shows it.
func (b *board) wantCounted(want map[metric.Reason]int) {
	b.t.Helper()
	if got := b.Count(); !maps.Equal(got, want) {
		b.t.Errorf("counted %v, want %v", got, want)
	}
	text := strings.Builder{}
	text.WriteString("# HELP sysdig_metrics_bindings Bindings by standing: Serving, or the reason why no value is served.\n# TYPE sysdig_metrics_bindings gauge\n")
	for _, reason := range append(metric.Reasons(), "") {
		name := reason
		if name == "" {
			name = "Serving"
		}
		fmt.Fprintf(&text, "sysdig_metrics_bindings{standing=%q} %d\n", name, want[reason])
	}
	if err := testutil.CollectAndCompare(registry.NewCollector(b.Registry), strings.NewReader(text.String()), "sysdig_metrics_bindings"); err != nil {
		b.t.Error(err)
	}
}

// TestASetIsCountedByWhatItsOwnObjectsHave: an answer is about all pods of a namespace, also about those of others.
func TestASetIsCountedByWhatItsOwnObjectsHave(t *testing.T) {
	const others = 1 // the binding that is older
	older := func(names ...string) func(*board) {
		return func(b *board) {
			b.Put(define("older", all(pods, "team=a"), created(-time.Hour)))
			for _, name := range names {
				b.world.put(pods, name, labels.Set{"app": "web", "team": "a"})
			}
		}
	}
	tests := map[string]struct {
		selector string
		prepare  func(*board)
		values   map[string]float64
		want     map[metric.Reason]int
	}{
		"the selector matches nothing":  {"app=none", nil, map[string]float64{"a": 1, "b": 2}, map[metric.Reason]int{metric.NoData: 1}},
		"all are silent":                {"app=web", nil, map[string]float64{"stranger": 1}, map[metric.Reason]int{metric.NoData: 1}},
		"nobody says anything":          {"app=web", nil, nil, map[metric.Reason]int{metric.NoData: 1}},
		"only what is gone has a value": {"app=web", func(b *board) { b.world.remove(pods, "a") }, map[string]float64{"a": 1}, map[metric.Reason]int{metric.NoData: 1}},
		"all are lost":                  {"app=web", older("a", "b"), map[string]float64{"a": 1, "b": 2}, map[metric.Reason]int{metric.NameTaken: 1, "": others}},
		"one is fresh":                  {"app=web", nil, map[string]float64{"b": 2, "stranger": 1}, map[metric.Reason]int{"": 1}},
		"one is fresh, the other lost":  {"app=web", older("a"), map[string]float64{"a": 1, "b": 2}, map[metric.Reason]int{"": 1 + others}},
		"all are fresh":                 {"app=web", nil, map[string]float64{"a": 1, "b": 2}, map[metric.Reason]int{"": 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a", "b")
			b.pods("api", "stranger")
			set := define("set", all(pods, test.selector))
			b.Put(set)
			b.wantCounted(map[metric.Reason]int{metric.Pending: 1})
			if test.prepare != nil {
				test.prepare(b)
			}
			b.found(set.Question, test.values)
			b.wantCounted(test.want)
			b.clk.Step(maxAge + 1)
			stale := map[metric.Reason]int{metric.NoData: 1} // of what its own objects lack now
			if test.want[""]+test.want[metric.NameTaken] > 1 {
				stale[metric.NoData]++
			}
			b.wantCounted(stale)
		})
	}
}

func TestARouteThatIsNotKnownIsNoRoute(t *testing.T) {
	b := newBoard(t)
	want := func(custom, external int) {
		t.Helper()
		text := fmt.Sprintf(`
# HELP sysdig_metrics_api_routed Whether HPAs that ask this API group are known to reach this operator: 1 or 0.
# TYPE sysdig_metrics_api_routed gauge
sysdig_metrics_api_routed{api="custom.metrics.k8s.io"} %d
sysdig_metrics_api_routed{api="external.metrics.k8s.io"} %d
`, custom, external)
		if err := testutil.CollectAndCompare(registry.NewCollector(b.Registry), strings.NewReader(text), "sysdig_metrics_api_routed"); err != nil {
			t.Error(err)
		}
	}
	want(0, 0)
	b.SetRoute(metric.ExternalMetrics, nil)
	want(0, 1)
	d := define("a")
	b.Put(d)
	b.answer(d.Question, 1)
	b.wantCounted(map[metric.Reason]int{"": 1}) // what is not known is no reason against a value
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	want(0, 1)
	b.wantCounted(map[metric.Reason]int{metric.NotRouted: 1})
	b.SetRoute(metric.CustomMetrics, nil)
	want(1, 1)
}
