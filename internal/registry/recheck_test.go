package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// TestASampleThatGetsTooOldIsToldOfWithoutARound: rounds tell of what they file. When there are none, time alone changes a standing.
func TestASampleThatGetsTooOldIsToldOfWithoutARound(t *testing.T) {
	b := newBoard(t)
	short := define("short", claiming("short"), func(d *query.Definition) { d.Policy.MaxAge = time.Minute })
	long := define("long", claiming("long"))
	for _, d := range []query.Definition{short, long, define("refused", refused(metric.Rejected))} {
		b.Put(d)
	}
	b.answer(short.Question, 1)
	b.answer(long.Question, 1)
	b.told = nil
	for _, step := range []struct {
		after time.Duration
		want  []string
	}{
		{0, nil}, {time.Minute, nil}, {time.Second, []string{"short"}}, {time.Second, nil},
		{time.Minute, []string{"long"}}, {time.Hour, nil},
	} {
		b.clk.Step(step.after)
		b.wantTold() // the control: nobody else tells
		b.Recheck()
		b.wantTold(step.want...)
	}
	b.answer(short.Question, 2)
	b.Recheck()
	b.wantTold("short") // once, by the round
}

// TestASetIsToldOfWhenItsObjectsComeAndGo: a set stands by objects of which no round tells.
func TestASetIsToldOfWhenItsObjectsComeAndGo(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a")
	b.pods("other", "b")
	d := define("web", all(pods, "app=web"))
	b.Put(d)
	b.found(d.Question, map[string]float64{"a": 1, "b": 2})
	settle := func() {
		b.Standing(d.Binding)
		b.told = nil
	}
	for _, change := range []struct {
		name string
		do   func()
		want []string
	}{
		{"nothing", func() {}, nil},
		{"the only pod goes", func() { b.world.remove(pods, "a") }, []string{"web"}},
		{"nothing, without pods", func() {}, nil},
		{"it comes back", func() { b.pods("web", "a") }, []string{"web"}},
		{"it gets another label", func() { b.pods("other", "a") }, []string{"web"}},
		{"it is shown when it was away only", func() {
			b.world.put(pods, "a", labels.Set{"app": "web"})
			b.recheckAll()
			b.world.remove(pods, "a")
			settle()
			b.pods("web", "a")
		}, []string{"web"}},
	} {
		settle()
		change.do()
		b.wantTold()
		b.recheckAll()
		if b.wantTold(change.want...); t.Failed() {
			t.Fatal(change.name)
		}
	}
}

// recheckAll rechecks until every set had its turn. What was told more than once, because nobody asked, counts once.
func (b *board) recheckAll() {
	for range registry.Rechecks {
		b.Recheck()
	}
	b.told = slices.Compact(b.told)
}

// TestSetsTakeTurns: every set is looked at closely in one turn, and few of them at a time.
func TestSetsTakeTurns(t *testing.T) {
	b := newBoard(t)
	const sets = 5 * registry.Rechecks / 2
	for i := range sets {
		b.pods(appOf(i), appOf(i))
		b.Put(setOf(i))
	}
	b.told = nil
	told := map[string]int{}
	for range registry.Rechecks {
		b.Recheck()
		if len(b.told) > 3 {
			t.Fatalf("it looked at %d of %d sets at a time", len(b.told), sets)
		}
		for _, name := range b.told {
			told[name]++
		}
		b.told = nil
	}
	if len(told) != sets { // nobody has asked for their standing yet, so each look tells
		t.Errorf("it looked at %d of %d sets", len(told), sets)
	}
}

func TestBindingsFollowEachOtherInOrder(t *testing.T) {
	b := newBoard(t)
	want := func(last, next string, count int) {
		t.Helper()
		if got, n := b.After(types.NamespacedName{Namespace: "shop", Name: last}); got.Name != next || n != count {
			t.Errorf("after %q comes %q of %d, want %q of %d", last, got.Name, n, next, count)
		}
	}
	want("x", "x", 0)
	for _, name := range []string{"b", "d", "a", "c"} {
		b.Put(define(name, claiming(name)))
	}
	for last, next := range map[string]string{"": "a", "a": "b", "b": "c", "bb": "c", "c": "d", "d": "a", "e": "a"} {
		want(last, next, 4)
	}
	b.Delete(types.NamespacedName{Namespace: "shop", Name: "c"})
	want("b", "d", 3)
	if next, _ := b.After(types.NamespacedName{Namespace: "sea", Name: "z"}); next.Name != "a" {
		t.Errorf("after another namespace comes %q", next.Name)
	}
}

// BenchmarkRecheck looks at 10,000 bindings, of single objects or of sets of ten pods, of which nothing has changed.
func BenchmarkRecheck(b *testing.B) {
	const bindings = 10_000
	b.Run("objects", func(b *testing.B) {
		board := newBoard(b)
		for i := range bindings {
			d := define(fmt.Sprint(i), claiming(fmt.Sprint(i)))
			board.Put(d)
			board.answer(d.Question, 1)
		}
		b.ReportAllocs()
		for b.Loop() {
			board.Recheck()
		}
	})
	b.Run("the next of 500 sets", func(b *testing.B) {
		index := podsOfCrowd()
		r := crowd(b, index)
		for i := range podsOfAll / podsOfApp {
			r.Standing(setOf(i).Binding)
		}
		b.ReportAllocs()
		for b.Loop() {
			r.Recheck()
		}
	})
	b.Run("after", func(b *testing.B) {
		board := newBoard(b)
		for i := range bindings {
			board.Put(define(fmt.Sprint(i), claiming(fmt.Sprint(i))))
		}
		for b.Loop() {
			board.After(types.NamespacedName{Namespace: "shop", Name: "5"})
		}
	})
}
