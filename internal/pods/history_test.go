package pods_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
)

// heap is how many bytes are in use after garbage was collected.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// many gives a pod many labels of 126 bytes, whose values tell one time from another.
func many(count, turn int) change {
	return func(p *corev1.Pod) {
		for i := range count {
			p.Labels[fmt.Sprintf("%063d", i)] = fmt.Sprintf("%030d%033d", turn, i)
		}
	}
}

// wantUnknown expects that pods may be missing, with words.
func (x *index) wantUnknown(selector string, window time.Duration, words string) {
	x.t.Helper()
	_, unknown := x.Selected("shop", selector, window)
	if unknown == nil || unknown.Reason != metric.Partial || !strings.Contains(unknown.Message, words) {
		x.t.Errorf("got %v, want Partial with %q", unknown, words)
	}
}

// TestAPodWhoseLabelsChangeEachSecondTakesNoMemory: Kubernetes takes a thousand labels, and as many changes as somebody makes.
func TestAPodWhoseLabelsChangeEachSecondTakesNoMemory(t *testing.T) {
	for name, add := range map[string]func(*index, *corev1.Pod){
		"as the informer gives it": func(x *index, p *corev1.Pod) { x.add(p) },
		"as it is":                 func(x *index, p *corev1.Pod) { x.OnUpdate(nil, p) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			x.add(pod("other", "web"))
			x.want("web", window, "other")
			before := heap()
			for turn := range 600 {
				add(x, pod("restless", "web", many(1000, turn)))
				x.clk.Step(time.Second)
			}
			if grown := heap() - before; grown > 8<<20 {
				t.Errorf("%d MiB are held of 600 changes of 1,000 labels, want 8 at most", grown>>20)
			}
			x.want("web", window, "other", "restless")
			x.OnDelete(pod("restless", "web"))
			x.want("web", window, "other", "restless")
			x.clk.Step(window + 1)
			x.want("web", window, "other")
			runtime.KeepAlive(x)
		})
	}
}

func TestAPodThatComesAndGoesIsRememberedOnce(t *testing.T) {
	x := newIndex(t)
	x.add(pod("a", "web"))
	x.want("web", window, "a")
	for turn := range 10_000 {
		x.add(pod("a", fmt.Sprint("web-", turn%2)))
		x.add(pod("a", "web"))
		x.clk.Step(100 * time.Millisecond)
	}
	x.want("web", window, "a")
	if _, departures, gone := pods.Remembered(x.Index); departures != 1 || gone > pods.MaxGone {
		t.Errorf("%d departures and %d labels are remembered", departures, gone)
	}
}

// TestASelectorThatIsNewKnowsThePodsThatHaveJustLeft: a binding is often made together with a rollout.
func TestASelectorThatIsNewKnowsThePodsThatHaveJustLeft(t *testing.T) {
	x := newIndex(t)
	x.add(pod("a", "web"))
	x.add(pod("b", "web"))
	x.add(pod("c", "web"))
	x.OnDelete(pod("a", "web"))
	x.add(pod("b", "api"))
	x.clk.Step(window)
	x.want("web", window, "a", "b", "c")
	x.clk.Step(1)
	x.want("web", window, "c")
}

// TestASelectorThatIsNewSaysWhenMoreHaveLeftThanAreRemembered, and those that were asked about before know all.
func TestASelectorThatIsNewSaysWhenMoreHaveLeftThanAreRemembered(t *testing.T) {
	x := newIndex(t)
	x.add(pod("known", "web"))
	x.want("web", window, "known")
	for i := range pods.MaxGone + 1 {
		p := pod(fmt.Sprint("job-", i), "job")
		x.add(p)
		x.OnDelete(p)
	}
	x.want("web", window, "known")
	x.wantUnknown("app=job", window, "it is not known which of them \"app=job\" selected")
	if _, unknown := x.Selected("bank", "app=job", window); unknown != nil {
		t.Errorf("another namespace is told %v", unknown)
	}
	x.clk.Step(window)
	x.wantUnknown("app=job", window, "before 12:00:00")
	x.clk.Step(1)
	x.want("job", window)
}

// TestWhatIsTooMuchIsForgottenFromItsOldEnd: short windows are answered all the same.
func TestWhatIsTooMuchIsForgottenFromItsOldEnd(t *testing.T) {
	x := newIndex(t)
	x.add(pod("stays", "job"))
	x.want("job", window, "stays")
	for i := range pods.MaxDepartures + 1 {
		p := pod(fmt.Sprint("job-", i), "job")
		x.add(p)
		x.OnDelete(p)
		x.clk.Step(40 * time.Millisecond) // 70,000 in the time that is remembered
	}
	if _, departures, _ := pods.Remembered(x.Index); departures > pods.MaxDepartures {
		t.Errorf("%d departures are remembered", departures)
	}
	if names, unknown := x.Selected("shop", "app=job", window); unknown != nil || len(names) != 1501 {
		t.Errorf("of a minute %d pods are known, %v; want those of 60 s and the one that stays", len(names), unknown)
	}
	x.wantUnknown("app=job", time.Hour, "use a shorter window")
}

func TestSelectorsThatNobodyAsksAboutMakeRoom(t *testing.T) {
	x := newIndex(t)
	x.add(pod("a", "web"))
	x.want("web", window, "a")
	for i := range 3 * pods.MaxFollowed {
		x.clk.Step(time.Millisecond)
		x.Selected("shop", fmt.Sprint("app=", i), window)
		x.want("web", window, "a") // is asked about all the time
	}
	x.OnDelete(pod("a", "web"))
	if selectors, departures, _ := pods.Remembered(x.Index); selectors != pods.MaxFollowed || departures != 1 {
		t.Errorf("%d selectors and %d departures are remembered", selectors, departures)
	}
	x.clk.Step(3 * time.Hour)
	x.OnAdd(pod("b", "web", in("bank")), false)
	if selectors, departures, gone := pods.Remembered(x.Index); selectors+departures+gone != 0 || pods.Namespaces(x.Index) != 1 {
		t.Errorf("%d selectors, %d departures, %d labels of %d namespaces are remembered after hours", selectors, departures, gone, pods.Namespaces(x.Index))
	}
}

// TestLabelsThatWereCutOffAreNotTakenForNone: of a pod with too many, the shortest labels decide, and a selector that may name another
// one is told.
func TestLabelsThatWereCutOffAreNotTakenForNone(t *testing.T) {
	for name, test := range map[string]struct {
		selector string
		selects  bool
		unknown  bool
	}{
		"a short label that it has":            {"app=web", true, false},
		"a short label that it lacks":          {"tier=front", false, false},
		"a short value that it does not have":  {"app!=api", true, false},
		"a long label that was cut off":        {fmt.Sprintf("%063d=%030d%033d", 999, 7, 999), false, true},
		"a long label that it never had":       {fmt.Sprintf("%063d=%063d", 5000, 1), false, true},
		"a label that was cut off, by its key": {fmt.Sprintf("!%063d", 999), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			x.add(pod("a", "web", append(slices.Clone(deployed), many(1000, 7))...))
			names, unknown := x.Selected("shop", test.selector, window)
			if slices.Contains(names, "a") != test.selects || (unknown != nil) != test.unknown {
				t.Errorf("got %q, %v", names, unknown)
			}
			if unknown != nil && !strings.Contains(unknown.Message, "pod a has more than 64 labels") {
				t.Errorf("it says %s", unknown)
			}
			if got := x.Matches("shop", "a", selector(t, test.selector)); got != test.selects {
				t.Errorf("it matches: %t", got)
			}
			x.wantReady("app=web", byWorkload{web: {"a"}}) // the Deployment is found by a label
			x.OnDelete(pod("a", "web"))
			if _, unknown := x.Selected("shop", test.selector, window); (unknown != nil) != test.unknown {
				t.Errorf("when it is gone: %v", unknown)
			}
		})
	}
}

// TestWhateverHappensThePastIsThatOfANaiveModel plays random events and questions, and compares with all that has ever happened.
func TestWhateverHappensThePastIsThatOfANaiveModel(t *testing.T) {
	type carried struct {
		app   string
		until time.Time // zero: it still does
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 2))
		x, past := newIndex(t), map[string][]carried{}
		change := func(name, app string) {
			spans := past[name]
			if last := len(spans) - 1; last >= 0 && spans[last].until.IsZero() {
				if spans[last].app == app {
					return
				}
				spans[last].until = x.clk.Now()
			}
			if app != "" {
				spans = append(spans, carried{app: app})
			}
			past[name] = spans
		}
		for range 400 {
			name, app := fmt.Sprint("p-", random.IntN(12)), fmt.Sprint("app-", random.IntN(4))
			if random.IntN(4) == 0 {
				x.OnDelete(pod(name, app))
				change(name, "")
			} else {
				x.add(pod(name, app))
				change(name, app)
			}
			x.clk.Step(time.Duration(random.IntN(10_000)) * time.Millisecond)
			asked, back := fmt.Sprint("app-", random.IntN(4)), time.Duration(random.IntN(300))*time.Second
			want := slices.DeleteFunc(slices.Sorted(maps.Keys(past)), func(name string) bool {
				return !slices.ContainsFunc(past[name], func(c carried) bool {
					return c.app == asked && (c.until.IsZero() || x.clk.Now().Sub(c.until) <= back)
				})
			})
			got, unknown := x.Selected("shop", "app="+asked, back)
			if unknown == nil && !slices.Equal(got, want) {
				t.Fatalf("seed %d: within %s %s selected %q, want %q", seed, back, asked, got, want)
			}
			if unknown != nil && len(past) == 0 {
				t.Fatalf("seed %d: %v", seed, unknown)
			}
		}
	}
}
