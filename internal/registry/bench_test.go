package registry_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	podsindex "github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// BenchmarkFileAFailureOfManySets files that Sysdig is away when 100 bindings share a question about 2,000 pods, all of which are
// too old. Reads wait meanwhile.
func BenchmarkFileAFailureOfManySets(b *testing.B) {
	board := newBoard(b)
	var d query.Definition
	for i := range 100 {
		d = define(fmt.Sprint(i), all(pods, "app=web"), claiming(fmt.Sprint(i)))
		board.Put(d)
	}
	values := map[string]float64{}
	for i := range 2000 {
		values[fmt.Sprint(i)] = 1
	}
	board.found(d.Question, values)
	board.clk.Step(2 * maxAge)
	b.ReportAllocs()
	for b.Loop() {
		board.fail(d.Question, metric.Unavailable)
	}
}

// appOf is the i-th app of many that have a set each.
func appOf(i int) string { return fmt.Sprintf("app-%04d", i) }

// setOf is the set of the pods of the i-th app, all of one question.
func setOf(i int) query.Definition { return define(appOf(i), all(pods, "app="+appOf(i))) }

// BenchmarkPutManySetsOfAFamily puts sets that claim the same metric of different pods, as after a start. The time of one has to
// stay what it is, however many there are.
func BenchmarkPutManySetsOfAFamily(b *testing.B) {
	for _, sets := range []int{500, 2000} {
		b.Run(fmt.Sprint(sets), func(b *testing.B) {
			definitions := make([]query.Definition, sets)
			for i := range definitions {
				definitions[i] = setOf(i)
			}
			b.ReportAllocs()
			for b.Loop() {
				board := newBoard(b)
				for _, d := range definitions {
					board.Put(d)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sets), "ns/set")
		})
	}
}

const (
	podsOfAll = 5000
	podsOfApp = 10
)

// crowd is a registry of 500 sets of ten pods each, in a world of one's choice that has these pods.
func crowd(tb testing.TB, in registry.Objects) *registry.Registry {
	board := newBoard(tb)
	board.Registry = registry.New(board.clk, in)
	values := map[string]float64{}
	for i := range podsOfAll {
		values[podOf(i)] = float64(i)
	}
	for i := range podsOfAll / podsOfApp {
		board.Put(setOf(i))
	}
	board.found(setOf(0).Question, values)
	return board.Registry
}

func podOf(i int) string { return fmt.Sprintf("%s-%d", appOf(i/podsOfApp), i%podsOfApp) }

func labelsOf(i int) labels.Set { return labels.Set{"app": appOf(i / podsOfApp)} }

// podsOfCrowd is an index of the pods of a crowd.
func podsOfCrowd() *objects.Index {
	index := podsindex.NewIndex(clocktesting.NewFakeClock(noon))
	for i := range podsOfAll {
		index.OnAdd(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: podOf(i), Labels: labelsOf(i)}}, true)
	}
	return objects.NewIndex(index)
}

// BenchmarkListAFewPodsOfManySets reads the ten pods of one of 500 sets.
func BenchmarkListAFewPodsOfManySets(b *testing.B) {
	r := crowd(b, podsOfCrowd())
	b.ReportAllocs()
	for b.Loop() {
		if items, _, _ := r.List(m(pods, ""), parse("app="+appOf(250)), nil); len(items) != podsOfApp {
			b.Fatal(len(items))
		}
	}
}

// counting is a world that counts how many objects are looked at.
type counting struct {
	*world
	looks int
}

func (c *counting) Matches(resource schema.GroupResource, namespace, name string, selector labels.Selector) bool {
	c.looks++
	return c.world.Matches(resource, namespace, name, selector)
}

func (c *counting) Select(resource schema.GroupResource, namespace string, selectors ...labels.Selector) []string {
	c.looks += len(c.objects[resource])
	return c.world.Select(resource, namespace, selectors...)
}

// TestAFewPodsOfManySetsAreFoundWithoutLookingAtAllForEachSet counts what a read looks at: all pods once, and for each of the
// ten its set.
func TestAFewPodsOfManySetsAreFoundWithoutLookingAtAllForEachSet(t *testing.T) {
	world := &counting{world: newWorld()}
	for i := range podsOfAll {
		world.put(pods, podOf(i), labelsOf(i))
	}
	r := crowd(t, world)
	world.looks = 0
	items, failure, _ := r.List(m(pods, ""), parse("app="+appOf(499)), nil)
	if failure != nil || len(items) != podsOfApp || items[0].Name != podOf(4990) || items[0].Sample.Value != 4990 {
		t.Fatalf("got %d items, %v", len(items), failure)
	}
	if most := podsOfAll + podsOfApp*podsOfAll/podsOfApp; world.looks > most {
		t.Errorf("it looked %d times, want %d at most", world.looks, most)
	}
}
