package registry_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// shop answers rounds of questions as Sysdig and the cluster would. Services are those of the board's world; a Service
// selects the pod of its own name.
type shop struct {
	*board
	headless map[string]bool
	values   map[string]float64 // by the pods that report
}

func newShop(t testing.TB) *shop {
	return &shop{board: newBoard(t), headless: map[string]bool{}, values: map[string]float64{}}
}

// Selected implements query.Cluster.
func (s *shop) Selected(_, selector string, _ time.Duration) ([]string, *metric.Failure) {
	return []string{selector}, nil
}

// Ready implements query.Cluster: no pod is missed.
func (s *shop) Ready(string, string, time.Time) map[metric.Workload][]string { return nil }

// Services implements query.Cluster.
func (s *shop) Services(namespace, selector string) map[string]string {
	found := map[string]string{}
	for _, name := range s.world.Select(services, namespace, parse(selector)) {
		if found[name] = name; s.headless[name] {
			found[name] = ""
		}
	}
	return found
}

// round asks a question half a minute after the last.
func (s *shop) round(q query.Question) {
	s.clk.Step(30 * time.Second)
	var answer sysdig.Answer
	for pod, value := range s.values {
		row := map[string]string{"ns": "shop", "pod": pod}
		dated := map[string]string{"ns": "shop", "pod": pod, "sysdig_metrics_part": "time"}
		answer.Series = append(answer.Series, sysdig.Series{Labels: row, Value: value}, sysdig.Series{Labels: dated, Value: float64(s.clk.Now().Unix())})
	}
	request := query.Plan([]query.Question{q}, query.Whole)[0]
	s.File(request.Read(answer, query.Attempt{At: s.clk.Now(), Received: s.clk.Now()}, s))
}

// perService is a set of Services that are asked about by their pods.
func perService(selector string, more ...func(*query.Definition)) query.Definition {
	return define("set", append([]func(*query.Definition){all(services, selector), byService, func(d *query.Definition) {
		reshape(d, func(s *query.Shape) {
			s.Scope.Labels = query.Labels{Namespace: "ns", Pod: "pod", Cluster: "cluster", Workload: "workload", WorkloadType: "type"}
			s.Grain, s.Window = query.ByPod, time.Minute
		})
		d.Question.View.Namespace, d.Question.View.Selector = "shop", selector
		d.Question.Measure.Group = metric.Sum
	}}, more...)...)
}

// service makes a Service with the label tier.
func (s *shop) service(name, tier string) { s.world.put(services, name, labels.Set{"tier": tier}) }

// TestServicesFromRoundToRound is about Services that come, go and come back between two rounds: each is told only what was
// answered about it. The control is the second part: in a round it gets the value for no data.
func TestServicesFromRoundToRound(t *testing.T) {
	s := newShop(t)
	set := perService("tier=web", onNoData(3))
	s.Put(set)
	s.service("a", "web")
	s.values["a"] = 1
	s.round(set.Question)
	s.wantList(services, "", "a=1")

	s.service("young", "web")
	s.service("labelled", "db")
	s.round(set.Question)
	s.wantValue(m(services, "young"), 3) // asked about, and silent
	s.service("labelled", "web")
	s.service("newest", "web")
	for _, name := range []string{"labelled", "newest"} {
		s.wantReason(m(services, name), metric.Pending)
	}
	s.wantList(services, "", "a=1 young=3")

	s.values["labelled"], s.values["newest"] = 5, 6
	s.round(set.Question)
	s.wantList(services, "", "a=1 labelled=5 newest=6 young=3")

	s.service("young", "db")
	s.wantUnknown(m(services, "young"))
	s.round(set.Question)
	s.service("young", "web")
	s.wantReason(m(services, "young"), metric.Pending) // and not what was answered before it left
	s.values["young"] = 9
	s.round(set.Question)
	s.wantValue(m(services, "young"), 9)

	s.service("a", "db") // it had a value
	for range 5 {
		s.round(set.Question)
	}
	s.service("a", "web")
	s.wantReason(m(services, "a"), metric.Pending)
}

func TestAServiceWithoutASelectorIsRefusedByNameAndHarmsNoOther(t *testing.T) {
	s := newShop(t)
	set := perService("tier=web", onNoData(3))
	s.Put(set)
	s.service("a", "web")
	s.service("bare", "web")
	s.headless["bare"], s.values["a"] = true, 1
	s.round(set.Question)
	s.wantList(services, "", "a=1")
	s.wantReason(m(services, "bare"), metric.Rejected)
	_, _, failure, _ := s.Serve(m(services, "bare"), nil)
	wantText(t, failure, "Service bare has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL")
	s.wantStanding(set, "1/2", metric.Rejected)
	delete(s.headless, "bare")
	s.values["bare"] = 2
	s.round(set.Question)
	s.wantList(services, "", "a=1 bare=2")
	s.wantStanding(set, "2/2", "")
}

// TestASeriesThatIsNoNumberDoesNotReplaceAGoodOne is about sources that keep series: with one alone there is nothing to
// choose, so that it fails like any other value.
func TestASeriesThatIsNoNumberDoesNotReplaceAGoodOne(t *testing.T) {
	external := func(d *query.Definition) {
		d.Claim, d.Object, d.Question.Measure.External = metric.ExternalClaim("shop", "m"), metric.Object{}, true
	}
	apart := func(d *query.Definition) { d.Question.View.Dimensions[0] = "method" }
	for name, edits := range map[string][]func(*query.Definition){"external": {external}, "of an object, kept apart": {apart}, "external, kept apart": {external, apart}} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			d := define("a", edits...)
			b.Put(d)
			attempt := func(raw float64) {
				series := []metric.Series{{Raw: raw, Labels: labels.Set{"method": "GET"}}}
				sample, failure := metric.NewSample(d.Question.Measure, series, true, b.clk.Now(), b.clk.Now(), time.Minute)
				b.File([]query.Outcome{{Question: d.Question, Reading: metric.Reading{Sample: sample, Failure: failure, Asked: b.clk.Now(), Attempted: b.clk.Now()}}})
			}
			attempt(7)
			for range 4 {
				b.clk.Step(maxAge / 4)
				attempt(math.NaN())
				b.wantValue(d.Claim, 7)
			}
			b.clk.Step(1)
			b.wantReason(d.Claim, metric.Implausible)
			attempt(8)
			b.wantValue(d.Claim, 8)
		})
	}
}

// TestNothingIsLearnedOfTheObjectsOfAnAttemptThatFailed also counts the work: a failure is not written to each object.
func TestNothingIsLearnedOfTheObjectsOfAnAttemptThatFailed(t *testing.T) {
	work := func(objects int) float64 {
		b := newBoard(t)
		d := define("web", all(pods, "app=web"))
		b.Put(d)
		values := map[string]float64{}
		for i := range objects {
			name := fmt.Sprintf("web-%04d", i)
			b.pods("web", name)
			values[name] = float64(i)
		}
		b.found(d.Question, values)
		b.clk.Step(time.Second)
		allocations := testing.AllocsPerRun(5, func() { b.fail(d.Question, metric.Unavailable) })
		items, failure, _ := b.List(m(pods, ""), parse(""), nil)
		if failure != nil || len(items) != objects {
			t.Fatalf("%d of %d objects are left, %v", len(items), objects, failure)
		}
		for i, item := range items {
			if item.Sample.Value != float64(i) {
				t.Fatalf("%s is %v", item.Name, item.Sample.Value)
			}
		}
		b.clk.Step(maxAge)
		b.wantReason(m(pods, "web-0000"), metric.Unavailable)
		return allocations
	}
	if few, many := work(10), work(2000); many > few+20 {
		t.Errorf("a failure allocates %v times for 10 objects and %v times for 2000", few, many)
	}
}

// TestTheEarliestExpiryIsThatOfAnObjectThatIsServed: nothing happens when one expires that another binding serves.
func TestTheEarliestExpiryIsThatOfAnObjectThatIsServed(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b", "lost", "silent")
	set := define("web", all(pods, "app=web"))
	b.Put(set)
	b.Put(define("lost", of(pods, "lost"), created(-time.Hour)))
	at := func(age time.Duration) query.Found { return query.Found{Sample: b.sample(1, noon.Add(-age))} }
	b.foundAs(set.Question, map[string]query.Found{"a": at(20 * time.Second), "b": at(50 * time.Second), "lost": at(90 * time.Second), "gone": at(100 * time.Second)})
	until := func(want time.Time) {
		t.Helper()
		if standing, _ := b.Standing(set.Binding); !standing.Until.Equal(want) {
			t.Errorf("it stands until %s, want %s", standing.Until, want)
		}
	}
	until(noon.Add(maxAge - 50*time.Second))
	b.clk.Step(maxAge - 40*time.Second)
	until(noon.Add(maxAge - 20*time.Second))
	b.clk.Step(time.Minute)
	until(time.Time{})
}

// nameless is a binding whose target, of a kind that is called like one of Kubernetes, has neither a name nor a selector.
func nameless() *v1alpha1.SysdigMetricBinding {
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "nameless", UID: "uid", CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			MetricName: "m", Target: &v1alpha1.Target{APIVersion: "example.com/v1", Kind: "Namespace"}, MaxAge: metav1.Duration{Duration: maxAge},
		},
	}
}

// TestATargetThatNamesNothingIsRefusedWhereverItIsAsked is about what the API server would refuse; a CRD of another version
// may not.
func TestATargetThatNamesNothingIsRefusedWhereverItIsAsked(t *testing.T) {
	b := newBoard(t)
	kind := schema.GroupResource{Group: "example.com", Resource: "namespaces"}
	b.world.put(kind, "web", labels.Set{})
	d := query.Define(nameless(), kind)
	if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.Contains(d.Refused.Message, "set name or selector") {
		t.Errorf("it is refused because %v", d.Refused)
	}
	b.Put(d)
	b.wantStanding(d, "0/0", metric.Rejected)
	b.wantList(kind, "", "Rejected")
	b.wantReason(m(kind, "web"), metric.Rejected)
	b.wantReason(m(kind, ""), metric.Rejected)
	if got := b.Count(); got[metric.Rejected] != 1 || len(got) != 1 {
		t.Errorf("counted %v", got)
	}
	other := define("other", all(kind, ""), created(time.Hour))
	b.Put(other)
	b.found(other.Question, map[string]float64{"web": 4})
	b.wantValue(m(kind, "web"), 4) // it takes nothing from a younger one
	b.wantStanding(other, "1/1", "")
	b.Delete(d.Binding)
	b.wantValue(m(kind, "web"), 4)
}
