package registry_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// putAll puts bindings in an order, each answered with its own values of the objects a and b.
func (b *board) putAll(values map[string]float64, all ...query.Definition) {
	b.t.Helper()
	for _, d := range all {
		b.Put(d)
		if value := values[d.Binding.Name]; d.Question.View.All {
			b.found(d.Question, map[string]float64{"a": value, "b": value})
		} else {
			b.answer(d.Question, value)
		}
	}
}

// asking gives a set a question of its own.
func asking(name string) func(*query.Definition) {
	return reshaped(func(s *query.Shape) { s.Metric = name })
}

func TestTheOldestServesAnObjectBeItByNameOrBySelector(t *testing.T) {
	values := map[string]float64{"set": 1, "named": 2}
	tests := map[string]struct {
		set, named time.Duration // when each was made
		list       string
		a          float64
		standings  map[string]string
	}{
		"the name is older":     {set: time.Second, list: "a=2 b=1", a: 2, standings: map[string]string{"set": "1/1"}},
		"the selector is older": {named: time.Second, list: "a=1 b=1", a: 1, standings: map[string]string{"set": "2/2"}},
		"the UID decides":       {list: "a=2 b=1", a: 2, standings: map[string]string{"set": "1/1"}}, // uid-named is before uid-set
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set, named := define("set", all(pods, "app=web"), created(test.set)), define("named", of(pods, "a"), created(test.named))
			for _, order := range [][]query.Definition{{set, named}, {named, set}} {
				b := newBoard(t)
				b.pods("web", "a", "b")
				b.putAll(values, order...)
				b.wantList(pods, "app=web", test.list)
				b.wantValue(m(pods, "a"), test.a)
				b.wantValue(m(pods, "b"), 1)
				b.wantStanding(set, test.standings["set"], "")
				standing, _ := b.Standing(named.Binding)
				if lost := standing.Winner == set.Binding; lost != (test.a == 1) || standing.Served == lost {
					t.Errorf("the one by name stands %+v", standing)
				}
				b.Delete(set.Binding)
				b.wantList(pods, "", "a=2")
				b.wantUnknown(m(pods, "b"))
				b.Put(set)
				b.found(set.Question, map[string]float64{"a": 1, "b": 1})
				b.Delete(named.Binding)
				b.wantList(pods, "", "a=1 b=1")
			}
		})
	}
}

func TestAnObjectThatIsNotSelectedIsServedByItsName(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a")
	b.pods("api", "b")
	set, named := define("set", all(pods, "app=web")), define("named", of(pods, "b"), created(time.Second))
	b.putAll(map[string]float64{"set": 1, "named": 2}, set, named)
	b.wantList(pods, "", "a=1 b=2")
	b.pods("web", "b") // now the older one selects it
	b.wantList(pods, "", "a=1 b=1")
	b.world.remove(pods, "b") // by name a binding serves what Sysdig knows, whether it exists or not
	b.wantList(pods, "", "a=1 b=2")
	b.wantList(pods, "app=web", "a=1")
}

// TestANameIsHandedOverWithoutAGap reads all the time while the oldest of several bindings comes and goes. Each was answered
// before, so that there is always a value.
func TestANameIsHandedOverWithoutAGap(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	keepers := []query.Definition{ // they keep the questions answered while nobody else asks them
		define("keep-set", all(pods, ""), func(d *query.Definition) { d.Claim.Metric = "kept" }),
		define("keep-named", claiming("kept"), func(d *query.Definition) { d.Question = question("named") }),
	}
	b.putAll(map[string]float64{"keep-set": 1, "keep-named": 2}, keepers...)
	oldest := map[string]query.Definition{
		"by selector": define("old", all(pods, "app=web")),
		"by name":     define("old", of(pods, "a"), func(d *query.Definition) { d.Question = question("named") }),
		"elsewhere":   define("old", claiming("elsewhere"), func(d *query.Definition) { d.Question = question("named") }),
	}
	for name, heir := range map[string]query.Definition{
		"to a set":  define("heir", all(pods, ""), created(time.Second)),
		"to a name": define("heir", of(pods, "a"), created(time.Second), func(d *query.Definition) { d.Question = question("named") }),
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.Put(heir)
			defer b.Delete(heir.Binding)
			done := make(chan struct{})
			var readers sync.WaitGroup
			for range 2 {
				readers.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						if _, sample, failure, known := b.Serve(m(pods, "a"), nil); !known || failure != nil || (sample.Value != 1 && sample.Value != 2) {
							t.Errorf("got %v, %v, %v", sample, failure, known)
							return
						}
						if items, failure, known := b.List(m(pods, ""), labels.Everything(), nil); !known || failure != nil || len(items) == 0 || items[0].Name != "a" {
							t.Errorf("got %v, %v, %v", items, failure, known)
							return
						}
						runtime.Gosched()
					}
				})
			}
			for range 200 {
				for _, d := range oldest {
					b.Put(d)
				}
				b.Delete(types.NamespacedName{Namespace: "shop", Name: "old"})
			}
			close(done)
			readers.Wait()
		})
	}
}

func TestSetsShareTheirObjectsByAge(t *testing.T) {
	values := map[string]float64{"old": 1, "young": 2}
	tests := map[string]struct {
		old, young string // selectors
		list       string
		standing   string        // of the young one
		reason     metric.Reason // NameTaken when it gets nothing
	}{
		"equal selectors":                             {"app=web", "app=web", "a=1 b=1", "0/0", metric.NameTaken},
		"equal selectors in other words":              {"app=web,tier!=x", "tier!=x,app=web", "a=1 b=1", "0/0", metric.NameTaken},
		"the older one takes all":                     {"", "app=web", "a=1 b=1 c=1", "0/0", metric.NameTaken},
		"the younger one takes the rest":              {"app=web", "", "a=1 b=1 c=2", "1/1", ""},
		"they overlap":                                {"app=web", "app in (web, api)", "a=1 b=1 c=2", "1/1", ""},
		"they meet in all objects that there are":     {"app in (web, api)", "app notin (bank)", "a=1 b=1 c=1", "0/0", metric.NameTaken},
		"they do not meet":                            {"app=web", "app=api", "a=1 b=1 c=2", "1/1", ""},
		"the younger one selects nothing there is":    {"app=web", "app=bank", "a=1 b=1", "0/0", metric.NoData},
		"the older one selects nothing that there is": {"app=bank", "app=web", "a=2 b=2", "2/2", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a", "b")
			b.pods("api", "c")
			old := define("old", all(pods, test.old), asking("old"))
			young := define("young", all(pods, test.young), asking("young"), created(time.Second))
			b.Put(young)
			b.Put(old)
			for _, d := range []query.Definition{old, young} {
				value := values[d.Binding.Name]
				b.found(d.Question, map[string]float64{"a": value, "b": value, "c": value})
			}
			b.wantList(pods, "", test.list)
			b.wantStanding(young, test.standing, test.reason)
			standing, _ := b.Standing(young.Binding)
			if lost := standing.Winner == old.Binding; lost != (test.reason == metric.NameTaken) {
				t.Errorf("the winner is %q", standing.Winner)
			}
			if test.reason == metric.NameTaken {
				wantText(t, standing.Failure, "the older binding old serves m")
			}
		})
	}
}

// TestASelectorThatCannotBeUsedTakesNothing is about a selector that the API lets pass and its libraries do not. It matches
// nothing, and must not be taken for the empty one, which matches all.
func TestASelectorThatCannotBeUsedTakesNothing(t *testing.T) {
	broken := query.Define(&v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "broken", UID: "uid-broken", CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.SysdigMetricBindingSpec{MetricName: "m", Target: &v1alpha1.Target{
			APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"not a label": "web"}},
		}},
	}, pods)
	for _, selector := range []string{"", "app=web"} {
		b := newBoard(t)
		b.pods("web", "a")
		good := define("good", all(pods, selector), created(time.Second))
		b.Put(broken)
		b.wantReason(m(pods, "a"), metric.Rejected)
		b.wantList(pods, "", "Rejected")
		b.Put(good)
		b.found(good.Question, map[string]float64{"a": 1})
		b.wantList(pods, "", "a=1")
		b.wantValue(m(pods, "a"), 1)
		b.wantStanding(good, "1/1", "")
		b.wantStanding(broken, "0/0", metric.Rejected)
	}
}

// TestARefusedSetAnswersForObjectsThatNobodyElseClaims is about kinds whose objects are unknown, because they are being listed
// or may not be: "there is no such metric" would be a lie.
func TestARefusedSetAnswersForObjectsThatNobodyElseClaims(t *testing.T) {
	b := newBoard(t)
	named := define("named", of(services, "web"), created(time.Second))
	b.Put(define("set", all(services, "tier=web"), refused(metric.Pending)))
	b.Put(named)
	b.answer(named.Question, 1)
	b.wantReason(m(services, "api"), metric.Pending)
	b.wantValue(m(services, "web"), 1)
	b.wantList(services, "", "web=1")
	b.wantList(services, "tier=web", "Pending")
	b.world.put(services, "api", labels.Set{"tier": "api"})
	set := define("set", all(services, "tier=web"))
	b.Put(set)
	b.found(set.Question, map[string]float64{"api": 2})
	b.wantUnknown(m(services, "api"))
}

func TestAListOfBindingsByName(t *testing.T) {
	b := newBoard(t)
	b.world.put(services, "web", labels.Set{"tier": "web"})
	b.world.put(services, "api", labels.Set{"tier": "api"})
	named := []query.Definition{
		define("web", of(services, "web")), define("api", of(services, "api")), define("late", of(services, "web"), created(time.Second)), define("new", of(services, "new")),
	}
	b.putAll(map[string]float64{"web": 1, "api": 2, "late": 3, "new": 4}, named...)
	b.wantList(services, "", "api=2 new=4 web=1")
	b.wantList(services, "tier=web", "web=1")
	b.wantList(services, "tier!=web", "api=2") // nobody knows the labels of new
	b.wantList(services, "tier=bank", "NoData")
	b.Put(define("web", of(services, "web"), refused(metric.Rejected)))
	b.wantList(services, "", "api=2 new=4")
	b.wantList(services, "tier=web", "Rejected")
	b.Delete(named[0].Binding)
	b.wantList(services, "tier=web", "web=3")
}

func TestExternalMetricsAreAWorldOfTheirOwn(t *testing.T) {
	b := newBoard(t)
	external := func(d *query.Definition) {
		d.Claim, d.Object = metric.ExternalClaim("shop", "m"), metric.Object{}
		d.Question.Measure.External = true
	}
	old, young, custom := define("old", external), define("young", external, created(time.Second)), define("custom", created(-time.Second))
	b.putAll(map[string]float64{"old": 1, "young": 2, "custom": 3}, young, old, custom)
	b.wantValue(old.Claim, 1)
	b.wantValue(custom.Claim, 3)
	b.wantUnknown(metric.ExternalClaim("bank", "m"))
	b.wantUnknown(metric.ExternalClaim("shop", "n"))
	b.wantUnknown(metric.Claim{Namespace: "shop", Metric: "m"})
	if standing, _ := b.Standing(young.Binding); standing.Winner != old.Binding || standing.Failure.Reason != metric.NameTaken {
		t.Errorf("the young one stands %+v", standing)
	}
	b.Delete(old.Binding)
	b.wantValue(old.Claim, 2)
	b.Delete(young.Binding)
	b.wantUnknown(old.Claim)
	b.wantValue(custom.Claim, 3)
	if claims := b.Claims(metric.ExternalMetrics); len(claims) != 0 {
		t.Errorf("left over: %v", claims)
	}
}

func TestABindingOfAKindThatIsNotInstalledIsToldAndServesNothing(t *testing.T) {
	b := newBoard(t)
	unknown := func(d *query.Definition) { d.Claim.Resource.Resource = "" }
	b.Put(define("a", unknown, refused(metric.Rejected)))
	b.Put(define("b", unknown, refused(metric.Rejected)))
	b.wantTold("a", "b")
	for _, name := range []string{"a", "b"} {
		b.wantStanding(define(name), "0/0", metric.Rejected)
	}
	if claims := b.Claims(metric.CustomMetrics); len(claims) != 0 {
		t.Errorf("discovery shows %v", claims)
	}
	b.Delete(define("a").Binding)
	b.Put(define("b"))
	b.wantReason(define("b").Claim, metric.Pending)
}
