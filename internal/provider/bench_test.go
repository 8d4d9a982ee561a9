package provider_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	podindex "github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// crowd is a provider on a real registry and real indexes, with a binding for each of the selectors and n pods, all of which
// have a fresh value.
func crowd(t testing.TB, n int, selectors ...string) *provider.Provider {
	t.Helper()
	clk := clocktesting.NewFakePassiveClock(noon)
	index := podindex.NewIndex(clk)
	board := registry.New(clk, objects.NewIndex(index))
	question := query.Question{Shape: query.Shape{Grain: query.ByPod}.ID(), View: query.View{Namespace: "shop", All: true}, Measure: open}
	for i, selector := range selectors {
		parsed := parse(t, selector)
		board.Put(query.Definition{
			Binding: types.NamespacedName{Namespace: "shop", Name: fmt.Sprint(i)}, Created: noon.Add(time.Duration(i)),
			Claim:    metric.Claim{Namespace: "shop", Resource: pods, Selector: parsed.String(), Metric: "rate"},
			Object:   metric.Object{Kind: "Pod", APIVersion: "v1", NamespacedName: types.NamespacedName{Namespace: "shop"}},
			Selector: parsed, Policy: metric.Policy{MaxAge: 2 * time.Minute}, Question: question,
		})
	}
	found := map[string]query.Found{}
	for i := range n {
		name := fmt.Sprintf("web-6d4cf56db6-%05d", i)
		index.OnAdd(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"app": "web", "pod-template-hash": "6d4cf56db6", "team": "a"},
		}}, true)
		found[name] = query.Found{Sample: sample(t, float64(i), time.Minute)}
	}
	board.File([]query.Outcome{{Question: question, Objects: found, Reading: metric.Reading{Asked: noon, Attempted: noon}}})
	p, _ := newProvider(t, board)
	return p
}

// read is what an HPA of type Pods asks.
func read(t testing.TB, p *provider.Provider, want int) {
	t.Helper()
	selector := labels.SelectorFromSet(labels.Set{"app": "web"})
	list, err := p.GetMetricBySelector(t.Context(), "shop", selector, upstream.CustomMetricInfo{GroupResource: pods, Metric: "rate", Namespaced: true}, labels.Everything())
	if err != nil || len(list.Items) != want {
		t.Fatalf("got %d items, %v; want %d", len(list.Items), err, want)
	}
}

func BenchmarkList(b *testing.B) {
	for name, selectors := range map[string][]string{"one binding": {"app=web"}, "two bindings": {"app=web,team=b", ""}} {
		for _, n := range []int{10, 500, 5000} {
			b.Run(fmt.Sprintf("%s/%d pods", name, n), func(b *testing.B) {
				p := crowd(b, n, selectors...)
				b.ReportAllocs()
				for b.Loop() {
					read(b, p, n)
				}
			})
		}
	}
}

// TestAListDoesNotAllocateForEachObject looks at what the time of a list is made of, without a clock.
func TestAListDoesNotAllocateForEachObject(t *testing.T) {
	for _, selectors := range [][]string{{"app=web"}, {"app=web,team=b", ""}} {
		p := crowd(t, 5000, selectors...)
		if got := testing.AllocsPerRun(5, func() { read(t, p, 5000) }); got > 100 {
			t.Errorf("a list of 5,000 pods with selectors %q makes %v allocations", selectors, got)
		}
	}
}
