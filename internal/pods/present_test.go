package pods_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
)

func selector(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPresentPodsAreThoseThatExistNow(t *testing.T) {
	x := newIndex(t)
	for _, p := range []*corev1.Pod{pod("c", "web"), pod("a", "web"), pod("b", "api"), pod("d", "web", in("bank")), pod("e", "web", phase(corev1.PodFailed))} {
		x.OnAdd(p, true)
	}
	web, named := selector(t, "app=web"), selector(t, "app in (api, web)")
	want := func(names []string, selectors ...labels.Selector) {
		t.Helper()
		if got := x.Present("shop", selectors...); !slices.Equal(got, names) {
			t.Errorf("got %q, want %q", got, names)
		}
	}
	want([]string{"a", "c"}, web)
	want([]string{"a", "c"}, named, web)
	want([]string{"a", "b", "c"}, named)
	want([]string{"a", "b", "c"})
	want(nil, web, selector(t, "app=api"))
	x.OnUpdate(pod("a", "web"), pod("a", "api"))
	want([]string{"c"}, web)
	want([]string{"a", "b"}, selector(t, "app=api"))
	x.OnDelete(pod("c", "web"))
	want(nil, web)
	x.want("web", window, "a", "c")
	x.OnAdd(pod("c", "web"), false)
	want([]string{"c"}, web)
	if x.Present("nowhere", web) != nil || x.Matches("nowhere", "a", web) {
		t.Error("a namespace without pods has some")
	}
}

func TestAPodMatchesWhileItExists(t *testing.T) {
	x := newIndex(t)
	x.OnAdd(pod("a", "web"), false)
	want := func(name, text string, want bool) {
		t.Helper()
		if got := x.Matches("shop", name, selector(t, text)); got != want {
			t.Errorf("pod %s matches %s: %t, want %t", name, text, got, want)
		}
	}
	want("a", "app=web", true)
	want("a", "", true)
	want("a", "app=api", false)
	want("b", "", false)
	x.OnDelete(pod("a", "web"))
	want("a", "", false)
	x.want("web", window, "a")
}

// TestWhateverHappensThePresentAreThoseOfANaiveModel plays random events and compares with a plain map.
func TestWhateverHappensThePresentAreThoseOfANaiveModel(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		x := newIndex(t)
		model := map[string]string{} // the app of each pod of the namespace
		for range 500 {
			name, app := fmt.Sprint("p-", random.IntN(30)), fmt.Sprint("app-", random.IntN(3))
			switch random.IntN(6) {
			case 0:
				x.OnDelete(pod(name, model[name]))
				delete(model, name)
			case 1:
				x.OnDelete(cache.DeletedFinalStateUnknown{Obj: pod(name, app)})
				delete(model, name)
			case 2:
				x.OnUpdate(nil, pod(name, app, phase(corev1.PodSucceeded)))
				delete(model, name)
			case 3:
				x.OnAdd(pod(name, app, in("elsewhere")), false)
			default:
				x.OnUpdate(nil, pod(name, app))
				model[name] = app
			}
			x.clk.Step(time.Duration(random.IntN(120)) * time.Second)
			app = fmt.Sprint("app-", random.IntN(3))
			want := slices.Sorted(maps.Keys(model))
			want = slices.DeleteFunc(want, func(name string) bool { return model[name] != app })
			chosen := selector(t, "app="+app)
			if got := x.Present("shop", chosen, labels.Everything()); !slices.Equal(got, want) {
				t.Fatalf("seed %d: present are %q, want %q", seed, got, want)
			}
			if got, _ := x.Selected("shop", "app="+app, -1); !slices.Equal(got, want) {
				t.Fatalf("seed %d: selected are %q, want %q", seed, got, want)
			}
			if got := x.Matches("shop", name, chosen); got != (model[name] == app) {
				t.Fatalf("seed %d: pod %s of %q matches app=%s: %t", seed, name, model[name], app, got)
			}
		}
	}
}

func BenchmarkPresent(b *testing.B) {
	kinds := map[string]func(i int) string{
		"alike":     func(int) string { return "7c9f" },
		"different": func(i int) string { return fmt.Sprint(i) },
	}
	byBinding, byRead := selector(b, "app=web,tier in (front, edge)"), selector(b, "pod-template-hash")
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, n := range []int{10, 500, 5000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				x := pods.NewIndex(clock.RealClock{})
				for i := range n {
					x.OnAdd(pod(fmt.Sprintf("web-7c9f-%05d", i), "web", func(p *corev1.Pod) {
						p.Labels["app.kubernetes.io/name"], p.Labels["tier"], p.Labels["pod-template-hash"] = "web", "front", kinds[kind](i)
					}), true)
				}
				b.ReportAllocs()
				for b.Loop() {
					if got := x.Present("shop", byBinding, byRead); len(got) != n {
						b.Fatalf("%d pods are present", len(got))
					}
				}
			})
		}
	}
}
