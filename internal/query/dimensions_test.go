package query_test

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// method and code are what the series of market differ in, by the names that the bindings give them.
const (
	method = "net.http.method"
	code   = "code"
)

// market is a namespace with random series, and a neighbour and another cluster that are in nobody's way.
type market struct {
	*sysdigStage
	dice *rand.Rand
	pods []string
}

func newMarket(t *testing.T, seed uint64) *market {
	m := &market{sysdigStage: newSysdig(t), dice: rand.New(rand.NewPCG(seed, 7))}
	for _, w := range []string{"deployment/web", "deployment/api", "statefulset/web", "daemonset/agent"} {
		kind, workload, _ := strings.Cut(w, "/")
		for i := range 1 + m.dice.IntN(3) {
			pod := fmt.Sprintf("%s-%s-%d", workload, kind, i)
			m.pods = append(m.pods, pod)
			m.fill("c1", "shop", kind, workload, pod)
			m.fill("c1", "bank", kind, workload, pod)
			m.fill("c2", "shop", kind, workload, pod)
		}
	}
	return m
}

// fill adds a random choice of the series that a pod may have: a label may be missing, and a series may have stopped.
func (m *market) fill(cluster, namespace, kind, workload, pod string) {
	for _, container := range []string{"main", "sidecar"} {
		for _, method := range []string{"GET", "POST", ""} {
			for _, code := range []string{"200", "404", ""} {
				if m.dice.IntN(3) > 0 {
					continue
				}
				labels := map[string]string{
					sysdigtest.LabelCluster: cluster, sysdigtest.LabelNamespace: namespace, sysdigtest.LabelWorkloadType: kind,
					sysdigtest.LabelWorkloadName: workload, sysdigtest.LabelPod: pod, "container": container, "net_http_method": method, "code": code,
				}
				maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
				until := noon.Add(-[]time.Duration{0, 0, 0, 80 * time.Second, 4 * time.Minute, 7 * time.Minute}[m.dice.IntN(6)])
				var total float64
				labels["__name__"] = "gauge"
				sysdigtest.Fill(m.Store(), labels, noon.Add(-12*time.Minute), until, func(time.Time) float64 { return float64(m.dice.IntN(2000))/8 - 50 })
				labels["__name__"] = "total"
				sysdigtest.Fill(m.Store(), labels, noon.Add(-12*time.Minute), until, func(time.Time) float64 { total += float64(m.dice.IntN(100)); return total })
			}
		}
	}
}

// cluster has three Services with pods and one without.
func (m *market) cluster() cluster {
	return cluster{
		selected: func(_, selector string, _ time.Duration) []string {
			return slices.DeleteFunc(append([]string{"silent"}, m.pods...), func(pod string) bool {
				return !strings.HasPrefix(pod, strings.TrimPrefix(selector, "app="))
			})
		},
		services: func(string, string) map[string]string {
			return map[string]string{"web": "app=web", "api": "app=api", "all": "app=", "gone": "app=gone", "headless": ""}
		},
	}
}

// selector is a random choice among the dimensions, as an HPA writes it and as a binding does.
type selector struct {
	read  labels.Selector
	where []edit
}

func (m *market) selector(t *testing.T) selector {
	s := selector{read: labels.NewSelector()}
	values := map[string][]string{method: {"GET", "POST", "PUT"}, code: {"200", "404", "500"}}
	for range 1 + m.dice.IntN(2) {
		label := []string{method, code}[m.dice.IntN(2)]
		of := values[label]
		m.dice.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		of = of[:1+m.dice.IntN(2)]
		var operator selection.Operator
		var filter edit
		switch m.dice.IntN(6) {
		case 0:
			of = of[:1]
			operator, filter = selection.Equals, where(label, v1alpha1.FilterIn, of...)
		case 1:
			of = of[:1]
			operator, filter = selection.NotEquals, where(label, v1alpha1.FilterNotIn, of...)
		case 2:
			operator, filter = selection.In, where(label, v1alpha1.FilterIn, of...)
		case 3:
			operator, filter = selection.NotIn, where(label, v1alpha1.FilterNotIn, of...)
		case 4:
			of = nil
			operator, filter = selection.Exists, where(label, v1alpha1.FilterNotIn, "")
		default:
			of = nil
			operator, filter = selection.DoesNotExist, where(label, v1alpha1.FilterIn, "")
		}
		requirement, err := labels.NewRequirement(label, operator, of)
		if err != nil {
			t.Fatal(err)
		}
		s.read = s.read.Add(*requirement)
		s.where = append(s.where, filter)
	}
	return s
}

// targets are all that a typed source can be about.
func targets() map[string]edit {
	return map[string]edit{
		"a Deployment": target("apps/v1", "Deployment", "web"), "a StatefulSet": target("apps/v1", "StatefulSet", "web"), "a DaemonSet": target("apps/v1", "DaemonSet", "agent"),
		"a Service": target("v1", "Service", "web"), "a Pod": target("v1", "Pod", "web-deployment-0"), "the Namespace": target("v1", "Namespace", ""),
		"another kind": both(target("networking.k8s.io/v1", "Ingress", "front"), where("kube_workload_name", "In", "web", "agent")),
		"Deployments":  every("apps/v1", "Deployment", nil), "StatefulSets": every("apps/v1", "StatefulSet", nil),
		"Services": every("v1", "Service", nil), "Pods": every("v1", "Pod", app("web")),
	}
}

// sources are all ways to reduce a metric.
func sources() map[string]edit {
	all := map[string]edit{}
	for _, group := range []v1alpha1.GroupAggregation{"Average", "Sum", "Min", "Max"} {
		for _, time := range []v1alpha1.TimeAggregation{"Average", "Sum", "Rate", "Min", "Max", "Last"} {
			all[fmt.Sprintf("%s of %s", group, time)] = both(aggregated(time, group), named("gauge"))
		}
		all[fmt.Sprintf("%s of increase", group)] = both(both(aggregated("Sum", group), named("total")), cumulative)
		all[fmt.Sprintf("%s of rate", group)] = both(both(aggregated("Rate", group), named("total")), cumulative)
	}
	return all
}

// inOrder goes through a map in the order of its keys, so that a seed gives the same dice every time.
func inOrder[V any](of map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(of)) {
			if !yield(key, of[key]) {
				return
			}
		}
	}
}

func named(metric string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = metric }
}

// read is what an HPA gets of each object, and of the only one under "". What has no data is left out.
func read(t *testing.T, o query.Outcome, s labels.Selector) map[string]*metric.Sample {
	t.Helper()
	found := maps.Clone(o.Objects)
	if !o.Question.View.All {
		found = map[string]query.Found{"": {Sample: o.Reading.Sample, Failure: o.Reading.Failure}}
	}
	got := map[string]*metric.Sample{}
	for name, one := range found {
		sample, failure := one.Sample, one.Failure
		if failure == nil {
			sample, failure = sample.Select(s, o.Question.Dimensions(), o.Question.Measure)
		}
		switch {
		case failure == nil:
			got[name] = sample
		case one.Failure != nil && one.Failure.Reason == metric.Rejected: // a Service without a selector
		case strings.Contains(failure.Message, "no series has the label"): // a filter cannot tell that from a value that is missing now
		case !slices.Contains([]metric.Reason{metric.NoData, metric.TooFewPoints, metric.Stale}, failure.Reason):
			t.Fatalf("%q: %v", name, failure)
		}
	}
	return got
}

// close allows for sums in another order: the last digits of a float64, and a thousandth when they cross one.
func close(got, want *metric.Sample) bool {
	return math.Abs(got.Value-want.Value) <= 1e-9*max(1, math.Abs(want.Value)) && max(got.Milli, want.Milli)-min(got.Milli, want.Milli) <= 1
}

// comparison is two ways to ask the same.
type comparison struct {
	name        string
	apart, with query.Question
	read        labels.Selector
	group       metric.Aggregation
}

// comparisons are, for each source, the same binding with labels kept apart and read by a selector, and with that selector
// as its filter.
func (m *market) comparisons(t *testing.T, name string, about edit, selectors int) []comparison {
	var all []comparison
	for source, reduced := range inOrder(sources()) {
		base := []edit{about, reduced, window([]time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}[m.dice.IntN(3)]), multiplied([]v1alpha1.Decimal{"1", "-0.01"}[m.dice.IntN(2)])}
		apart := compile(t, binding(append(slices.Clone(base), dimensions(method, code))...), connection()).Question
		chosen := []selector{{}}
		for range selectors {
			chosen = append(chosen, m.selector(t))
		}
		for _, s := range chosen {
			filtered := compile(t, binding(append(slices.Clone(base), s.where...)...), connection()).Question
			all = append(all, comparison{fmt.Sprintf("%s of %s by %v", source, name, s.read), apart, filtered, s.read, apart.Measure.Group})
		}
	}
	return all
}

// answers asks the questions of all comparisons together.
func (m *market) answers(all []comparison) map[query.Question]query.Outcome {
	asked := map[query.Question]bool{}
	for _, c := range all {
		asked[c.apart], asked[c.with] = true, true
	}
	return m.ask(query.Plan(slices.Collect(maps.Keys(asked)), query.Whole), m.cluster())
}

// lookback is how old the newest point of a series may be for Sysdig to say when it was measured.
const lookback = 5 * time.Minute

// TestReadingWithASelectorIsAskingWithAFilter is what dimensions mean: with metric.selector a binding gives what it would give
// with the same condition in where, and without one what it would give without dimensions.
func TestReadingWithASelectorIsAskingWithAFilter(t *testing.T) {
	for seed := range uint64(2) {
		m := newMarket(t, seed)
		var all []comparison
		for name, about := range inOrder(targets()) {
			all = append(all, m.comparisons(t, name, about, 3)...)
		}
		outcomes := m.answers(all)
		compared := 0
		wrong := map[metric.Aggregation]int{}
		for _, c := range all {
			got, want := read(t, outcomes[c.apart], c.read), read(t, outcomes[c.with], nil)
			if c.read != nil && c.apart.Shape.Value().Window > lookback {
				if c.apart.View.ByService {
					continue // pods whose series of choice have stopped still count, because others of theirs have not
				}
				maps.DeleteFunc(got, func(_ string, s *metric.Sample) bool { return attempt.At.Sub(s.Time) > lookback })
			}
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
				t.Fatalf("seed %d, %s: a selector finds %v, a filter %v", seed, c.name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			for object := range want {
				if !close(got[object], want[object]) {
					t.Fatalf("seed %d, %s, %q: a selector gives %v, a filter %v", seed, c.name, object, got[object].Value, want[object].Value)
				}
				if !got[object].Time.Equal(want[object].Time) {
					t.Fatalf("seed %d, %s, %q: a value of %s, and without dimensions of %s", seed, c.name, object, got[object].Time, want[object].Time)
				}
				if compared++; !close(reducedFirst(c.group, c.apart.Measure.Multiplier, got[object].Series), want[object]) {
					wrong[c.group]++
				}
			}
		}
		if compared < 1000 {
			t.Errorf("seed %d: only %d values were compared", seed, compared)
		}
		// The comparison would notice if pods were reduced before their series are summed. Sums do not mind the order.
		if wrong[metric.Average] < 50 || wrong[metric.Min] < 50 || wrong[metric.Max] < 50 || wrong[metric.Sum] > 0 {
			t.Errorf("seed %d: the wrong order shows in %v of %d values", seed, wrong, compared)
		}
	}
}

// reducedFirst is the wrong order: the pods of each combination are reduced, and that is summed.
func reducedFirst(group metric.Aggregation, multiplier float64, series []metric.Series) *metric.Sample {
	combinations := map[string][]metric.Series{}
	for _, s := range series {
		combinations[s.Labels.String()] = append(combinations[s.Labels.String()], s)
	}
	var sum float64
	for _, of := range combinations {
		value, _, _ := metric.Measure{Group: group, Multiplier: multiplier, Min: math.Inf(-1), Max: math.Inf(1)}.Reduce(of)
		sum += value
	}
	milli, _ := metric.Milli(sum)
	return &metric.Sample{Value: sum, Milli: milli}
}

// TestTheItemsOfAnExternalMetric compares, for random series, each item with the binding that filters for it.
func TestTheItemsOfAnExternalMetric(t *testing.T) {
	m := newMarket(t, 20310301)
	items := 0
	for name, reduced := range inOrder(sources()) {
		// Nothing that an HPA reads of an external metric is negative.
		base := []edit{external, reduced, named("total")}
		apart := m.askOne(compile(t, binding(append(slices.Clone(base), dimensions(method, code))...), connection()).Question, nil)
		whole := read(t, apart, nil)[""]
		var sum int64
		for _, item := range whole.Series {
			items++
			sum += item.Milli
			only := slices.Clone(base)
			for _, label := range []string{method, code} {
				only = append(only, where(label, v1alpha1.FilterIn, item.Labels[label])) // "" when it has no such label
			}
			alone := read(t, m.askOne(compile(t, binding(only...), connection()).Question, nil), nil)[""]
			if alone == nil || len(alone.Series) != 1 || len(alone.Series[0].Labels) != 0 || item.Raw != alone.Series[0].Raw || item.Milli != alone.Milli {
				t.Fatalf("%s: item %v is %v, and alone %+v", name, item.Labels, item.Raw, alone)
			}
		}
		if whole.Milli != sum || whole.Value != float64(sum)/1000 {
			t.Errorf("%s: %v is not the sum %d of its items", name, whole.Value, sum)
		}
		s := m.selector(t)
		got := read(t, apart, s.read)[""]
		want := read(t, m.askOne(compile(t, binding(append(append(slices.Clone(base), dimensions(method, code)), s.where...)...), connection()).Question, nil), nil)[""]
		if (got == nil) != (want == nil) {
			t.Fatalf("%s by %s: %v and %v", name, s.read, got, want)
		}
		if got != nil && (len(got.Series) != len(want.Series) || !close(got, want)) {
			t.Errorf("%s by %s: %+v and %+v", name, s.read, got, want)
		}
	}
	if items < 100 {
		t.Errorf("only %d items", items)
	}
}
