package labelled_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/labelled"
)

func TestOrdinaryLabelsAreKeptAsTheyAre(t *testing.T) {
	all := map[string]string{"app": "web"}
	for i := range labelled.MaxLabels - 1 {
		all[fmt.Sprint("label-", i)] = "v"
	}
	object := &metav1.ObjectMeta{Labels: all, Annotations: map[string]string{"note": "n"}}
	var stripped metav1.ObjectMeta
	labelled.Strip(&stripped, object)
	if set := labelled.Of(object); set.Cut() || !maps.Equal(stripped.Labels, all) || stripped.Annotations != nil {
		t.Errorf("got %v, cut %t, with annotations %v", stripped.Labels, set.Cut(), stripped.Annotations)
	}
}

func TestTheShortestOfTooManyLabelsAreKept(t *testing.T) {
	for name, value := range map[string]string{"too many": "v", "too long": strings.Repeat("v", 63)} {
		t.Run(name, func(t *testing.T) {
			all := map[string]string{"app": "web", "pod-template-hash": strings.Repeat("f", 63)}
			for i := range 1000 {
				all[fmt.Sprintf("label-%d", i)] = value
			}
			var once, twice metav1.ObjectMeta
			labelled.Strip(&once, &metav1.ObjectMeta{Labels: all})
			labelled.Strip(&twice, &once)
			first, second := labelled.Of(&once), labelled.Of(&twice)
			if !first.Cut() || !first.Equal(second) || !first.Equal(labelled.Of(&metav1.ObjectMeta{Labels: all})) {
				t.Errorf("stripped once %v, twice %v", first, second)
			}
			bytes := 0
			for key, value := range first.Set {
				bytes += len(key) + len(value)
			}
			if len(first.Set) > labelled.MaxLabels || bytes > labelled.MaxBytes || first.Get("app") != "web" || !first.Has("pod-template-hash") {
				t.Errorf("%d labels of %d bytes are kept: %v", len(first.Set), bytes, first.Set)
			}
		})
	}
}

func TestNobodyHasMoreLabelsKeptByAnAnnotation(t *testing.T) {
	all := map[string]string{}
	for i := range 1000 {
		all[fmt.Sprint("label-", i)] = "v"
	}
	for _, cut := range []string{"1", "9", "1000", "99999999", "-1", "0", ""} {
		set := labelled.Of(&metav1.ObjectMeta{Labels: all, Annotations: map[string]string{"labels-cut-at": cut}})
		if len(set.Set) > labelled.MaxLabels || set.Knows(labels.SelectorFromSet(labels.Set{"label-999": "v"})) {
			t.Errorf("with %q %d labels are kept", cut, len(set.Set))
		}
	}
}

// FuzzCutLabels compares what is said of a pod whose labels were cut off with what all of them say.
func FuzzCutLabels(f *testing.F) {
	f.Add(uint64(1), "app=web")
	f.Add(uint64(2), "!k7")
	f.Add(uint64(3), "k7 notin (v, vvvvvvvvvvvvvvvvvvvv)")
	f.Add(uint64(4), "k123,app!=web")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		parsed, err := labels.Parse(text)
		if err != nil {
			return
		}
		random := rand.New(rand.NewPCG(seed, 3))
		all := map[string]string{"app": "web"}
		for range random.IntN(200) {
			all[fmt.Sprint("k", random.IntN(300))] = strings.Repeat("v", random.IntN(64))
		}
		set := labelled.Of(&metav1.ObjectMeta{Labels: all})
		if len(set.Set) > labelled.MaxLabels {
			t.Fatalf("%d labels are kept", len(set.Set))
		}
		selects := parsed.Matches(labels.Set(all))
		if set.Knows(parsed) && set.Selects(parsed) != selects || !set.Knows(parsed) && set.Selects(parsed) {
			t.Errorf("%q selects it: %t; of %d labels %d are kept, and it is said: known %t, %t", text, selects, len(all), len(set.Set), set.Knows(parsed), set.Selects(parsed))
		}
	})
}
