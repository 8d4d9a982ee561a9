package objects_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
)

var (
	pods        = schema.GroupResource{Resource: "pods"}
	services    = schema.GroupResource{Resource: "services"}
	deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}
)

// somePods are pods that somebody else knows.
type somePods map[string]labels.Set

func (p somePods) Matches(namespace, name string, selector labels.Selector) bool {
	set, found := p[namespace+"/"+name]
	return found && selector.Matches(set)
}

func (p somePods) Present(namespace string, selectors ...labels.Selector) []string {
	return []string{namespace, fmt.Sprint(len(selectors))}
}

func selector(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// object is one of namespace shop with the label app.
func object(name, app string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}}}
}

func service(name, app string, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.ServiceSpec{Selector: selector},
	}
}

func TestObjectsAreSelectedByKindNamespaceAndLabelInOrder(t *testing.T) {
	x := objects.NewIndex(somePods{})
	feed := x.Feed(deployments)
	web := selector(t, "app=web")
	want := func(names ...string) {
		t.Helper()
		if got := x.Select(deployments, "shop", web, selector(t, "app")); !slices.Equal(got, names) {
			t.Errorf("got %q, want %q", got, names)
		}
	}
	want()
	for _, o := range []*metav1.PartialObjectMetadata{object("c", "web"), object("a", "web"), object("b", "api")} {
		feed.OnAdd(o, true)
	}
	want("a", "c")
	if got := x.Select(deployments, "shop"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("without a selector: %q", got)
	}
	feed.OnUpdate(object("b", "api"), object("b", "web"))
	want("a", "b", "c")
	feed.OnDelete(object("a", "web"))
	want("b", "c")
	feed.OnDelete(cache.DeletedFinalStateUnknown{Obj: object("c", "web")})
	want("b")
	feed.OnDelete(object("never", "web"))
	feed.OnDelete("nonsense")
	feed.OnAdd(nil, false)
	want("b")
	if got := x.Select(deployments, "bank"); got != nil {
		t.Errorf("a namespace without objects has %q", got)
	}
	if got := x.Select(services, "shop"); got != nil {
		t.Errorf("a kind that is not watched has %q", got)
	}
	for name, want := range map[string]bool{"b": true, "c": false, "": false} {
		if got := x.Matches(deployments, "shop", name, web); got != want {
			t.Errorf("%q matches: %t, want %t", name, got, want)
		}
	}
	if x.Matches(deployments, "shop", "b", selector(t, "app=api")) || x.Matches(services, "shop", "b", web) {
		t.Error("an object matches that does not")
	}
}

func TestPodsAreAskedOfWhoKnowsThem(t *testing.T) {
	x := objects.NewIndex(somePods{"shop/a": {"app": "web"}})
	if got := x.Select(pods, "shop", labels.Everything(), labels.Nothing()); !slices.Equal(got, []string{"shop", "2"}) {
		t.Errorf("got %q", got)
	}
	if !x.Matches(pods, "shop", "a", selector(t, "app=web")) || x.Matches(pods, "shop", "b", labels.Everything()) {
		t.Error("the answer for a pod is not that of the pods")
	}
}

func TestServicesTellTheirSelectors(t *testing.T) {
	x := objects.NewIndex(somePods{})
	feed := x.Feed(services)
	feed.OnAdd(service("web", "shop", map[string]string{"tier": "front", "app": "web"}), true)
	feed.OnAdd(service("external", "shop", nil), true)
	feed.OnAdd(service("other", "bank", map[string]string{"app": "other"}), true)
	want := []objects.Service{{Name: "external"}, {Name: "web", Selector: "app=web,tier=front"}}
	if got := x.Services("shop", selector(t, "app=shop")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	feed.OnUpdate(nil, service("web", "shop", map[string]string{"app": "api"}))
	feed.OnDelete(service("external", "shop", nil))
	want = []objects.Service{{Name: "web", Selector: "app=api"}}
	if got := x.Services("shop", selector(t, "app=shop")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := x.Select(services, "shop"); !slices.Equal(got, []string{"other", "web"}) {
		t.Errorf("got %q", got)
	}
	if got := objects.NewIndex(somePods{}).Services("shop", labels.Everything()); got != nil {
		t.Errorf("before there is a feed: %v", got)
	}
}

func TestAnOldFeedHasNoEffect(t *testing.T) {
	x := objects.NewIndex(somePods{})
	old := x.Feed(deployments)
	old.OnAdd(object("a", "web"), true)
	x.Forget(deployments)
	old.OnAdd(object("b", "web"), true)
	if got := x.Select(deployments, "shop"); got != nil {
		t.Errorf("what was forgotten has %q", got)
	}
	x.Feed(deployments).OnAdd(object("c", "web"), true)
	old.OnAdd(object("d", "web"), true)
	if got := x.Select(deployments, "shop"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("got %q", got)
	}
}

// TestWhateverHappensTheObjectsAreThoseOfANaiveModel plays random events and compares with a plain map.
func TestWhateverHappensTheObjectsAreThoseOfANaiveModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	x := objects.NewIndex(somePods{})
	feed := x.Feed(deployments)
	model := map[string]string{}
	for range 5000 {
		name, app := fmt.Sprint("d-", random.IntN(30)), fmt.Sprint("app-", random.IntN(3))
		if random.IntN(3) == 0 {
			feed.OnDelete(object(name, model[name]))
			delete(model, name)
		} else {
			feed.OnUpdate(nil, object(name, app))
			model[name] = app
		}
		var want []string
		for name, app := range model {
			if app == "app-1" {
				want = append(want, name)
			}
		}
		slices.Sort(want)
		chosen := selector(t, "app=app-1")
		if got := x.Select(deployments, "shop", chosen); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got := x.Matches(deployments, "shop", name, chosen); got != (model[name] == "app-1") {
			t.Fatalf("%s matches: %t", name, got)
		}
	}
}

func TestEventsAndQuestionsAtTheSameTime(t *testing.T) {
	x := objects.NewIndex(somePods{})
	serviceFeed := x.Feed(services)
	var hands sync.WaitGroup
	for hand := range 4 {
		hands.Go(func() {
			feed := x.Feed(deployments)
			for i := range 300 {
				name := fmt.Sprint("o-", i%10)
				feed.OnAdd(object(name, "web"), false)
				serviceFeed.OnUpdate(nil, service(name, "web", map[string]string{"app": fmt.Sprint(hand)}))
				x.Select(deployments, "shop", labels.Everything())
				x.Matches(deployments, "shop", name, labels.Everything())
				if got := x.Services("shop", labels.Everything()); len(got) > 10 {
					t.Errorf("%d Services", len(got))
				}
				feed.OnDelete(object(name, "web"))
				if i%50 == 0 {
					feed = x.Feed(deployments)
				}
			}
		})
	}
	hands.Wait()
	if got := x.Services("shop", labels.Everything()); len(got) != 10 {
		t.Errorf("%d Services", len(got))
	}
}

func TestStrip(t *testing.T) {
	full := object("a", "web")
	full.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}
	full.UID, full.ResourceVersion, full.Annotations = "uid", "7", map[string]string{"a": "b"}
	full.ManagedFields, full.Finalizers = []metav1.ManagedFieldsEntry{{Manager: "m"}}, []string{"f"}
	want := object("a", "web")
	want.TypeMeta, want.UID, want.ResourceVersion = full.TypeMeta, full.UID, full.ResourceVersion
	if got, err := objects.Strip(full); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	lost := cache.DeletedFinalStateUnknown{Key: "shop/a", Obj: full}
	if got, err := objects.Strip(lost); err != nil || !reflect.DeepEqual(got, lost) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func BenchmarkSelect(b *testing.B) {
	x := objects.NewIndex(somePods{})
	feed := x.Feed(deployments)
	const n = 5000
	for i := range n {
		o := object(fmt.Sprintf("web-%05d", i), "web")
		o.Labels["app.kubernetes.io/name"], o.Labels["tier"], o.Labels["number"] = "web", "front", fmt.Sprint(i)
		feed.OnAdd(o, true)
	}
	byBinding, byRead := selector(b, "app=web,tier in (front, edge)"), selector(b, "number")
	b.ReportAllocs()
	for b.Loop() {
		if got := x.Select(deployments, "shop", byBinding, byRead); len(got) != n {
			b.Fatalf("%d objects", len(got))
		}
	}
}
