package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// nothing is a registry.Objects without any object.
type nothing struct{}

func (nothing) Matches(schema.GroupResource, string, string, labels.Selector) bool { return false }

func (nothing) Select(schema.GroupResource, string, ...labels.Selector) []string { return nil }

// town is an API server with bindings and a connection, as a cache with Strip shows it and as it is, and counts what it is asked.
type town struct {
	client.Reader
	bindings     map[types.NamespacedName]*v1alpha1.SysdigMetricBinding
	cached       map[types.NamespacedName]*v1alpha1.SysdigMetricBinding
	stripper     Stripper
	lists, lives int
	compiled     int
}

func newTown() *town {
	return &town{bindings: map[types.NamespacedName]*v1alpha1.SysdigMetricBinding{}, cached: map[types.NamespacedName]*v1alpha1.SysdigMetricBinding{}}
}

// add makes a binding of an external metric.
func (w *town) add(t testing.TB, namespace, name string, created time.Time, change ...func(*v1alpha1.SysdigMetricBinding)) types.NamespacedName {
	t.Helper()
	b := complete(nil)
	b.Namespace, b.Name, b.UID, b.Generation, b.CreationTimestamp = namespace, name, types.UID("uid-"+name), 1, metav1.NewTime(created)
	b.Spec.Source.PromQL.Query = "sum(" + strings.ReplaceAll(name, "-", "_") + ")"
	for _, c := range change {
		c(b)
	}
	key := client.ObjectKeyFromObject(b)
	stripped, err := w.stripper.Strip(b)
	if err != nil {
		t.Fatal(err)
	}
	w.bindings[key], w.cached[key] = b, stripped.(*v1alpha1.SysdigMetricBinding)
	return key
}

func (w *town) remove(key types.NamespacedName) {
	delete(w.bindings, key)
	delete(w.cached, key)
}

func (w *town) Get(_ context.Context, key types.NamespacedName, into client.Object, _ ...client.GetOption) error {
	switch into := into.(type) {
	case *v1alpha1.SysdigMetricBinding:
		if b := w.cached[key]; b != nil {
			b.DeepCopyInto(into)
			return nil
		}
	case *v1alpha1.SysdigConnection:
		w.compiled++
		into.Name = key.Name
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: fmt.Sprintf("%T", into)}, key.Name)
}

func (w *town) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	var of client.ListOptions
	of.ApplyOptions(options)
	w.lists++
	for key, b := range w.cached {
		if key.Namespace == of.Namespace {
			into.(*v1alpha1.SysdigMetricBindingList).Items = append(into.(*v1alpha1.SysdigMetricBindingList).Items, *b)
		}
	}
	return nil
}

// live is the API server itself.
type live struct {
	client.Reader
	town *town
}

func (l live) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	var of client.ListOptions
	of.ApplyOptions(options)
	l.town.lives++
	name, _ := of.FieldSelector.RequiresExactMatch("metadata.name")
	if b := l.town.bindings[types.NamespacedName{Namespace: of.Namespace, Name: name}]; b != nil {
		into.(*v1alpha1.SysdigMetricBindingList).Items = []v1alpha1.SysdigMetricBinding{*b.DeepCopy()}
	}
	return nil
}

// mayor reconciles the bindings of a town into a registry.
type mayor struct {
	*BindingReconciler
	t        testing.TB
	town     *town
	registry *registry.Registry
	queue    workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func newMayor(t testing.TB, w *town, bound int) *mayor {
	t.Helper()
	r := registry.New(clock.RealClock{}, nothing{})
	m := &mayor{t: t, town: w, registry: r, queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())}
	t.Cleanup(m.queue.ShutDown)
	m.BindingReconciler = &BindingReconciler{Client: w, Live: live{town: w}, Mapper: mapper(), Definitions: r, Kinds: &kinds{}, Clock: clock.RealClock{}, MaxPerNamespace: bound}
	if err := m.again.Start(t.Context(), m.queue); err != nil {
		t.Fatal(err)
	}
	return m
}

// look reconciles bindings, and then those that it is told to look at again.
func (m *mayor) look(keys ...types.NamespacedName) {
	m.t.Helper()
	for _, key := range keys {
		m.reconcile(key)
	}
	for m.queue.Len() > 0 {
		request, _ := m.queue.Get()
		m.reconcile(request.NamespacedName)
		m.queue.Done(request)
	}
}

func (m *mayor) reconcile(key types.NamespacedName) {
	m.t.Helper()
	if _, err := m.Reconcile(m.t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mayor) served(key types.NamespacedName) bool {
	_, _, _, known := m.registry.Serve(metric.ExternalClaim(key.Namespace, key.Name), nil)
	return known
}

func (m *mayor) wantServed(want bool, keys ...types.NamespacedName) {
	m.t.Helper()
	for _, key := range keys {
		s, known := m.registry.Standing(key)
		if !known || m.served(key) != want || (s.Definition.Refused == nil) != want {
			m.t.Errorf("%s is served: %t, with the standing %+v; want %t", key, m.served(key), s.Failure, want)
		}
		if !want && (s.Failure == nil || s.Failure.Reason != metric.Rejected || !strings.Contains(s.Failure.Message, "--max-bindings-per-namespace")) {
			m.t.Errorf("%s is told %v", key, s.Failure)
		}
	}
}

// some adds bindings, the oldest first.
func (w *town) some(t testing.TB, namespace string, count int) (keys []types.NamespacedName) {
	t.Helper()
	for i := range count {
		keys = append(keys, w.add(t, namespace, fmt.Sprintf("b-%05d", i), now.Add(time.Duration(i)*time.Second)))
	}
	return keys
}

func shuffled(keys []types.NamespacedName, seed uint64) []types.NamespacedName {
	keys = slices.Clone(keys)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

// TestOfTooManyBindingsTheOldestAreServed starts with 10,000 bindings of one namespace, in any order, as after a restart.
func TestOfTooManyBindingsTheOldestAreServed(t *testing.T) {
	const many, bound = 10_000, 1000
	w := newTown()
	keys := w.some(t, "shop", many)
	other := w.add(t, "bank", "one", now.Add(time.Hour))
	m := newMayor(t, w, bound)
	m.look(append(shuffled(keys, 1), other)...)
	m.wantServed(true, keys[:bound]...)
	m.wantServed(false, keys[bound:]...)
	m.wantServed(true, other)
	if w.compiled != bound+1 || w.lists != 2 {
		t.Errorf("%d bindings were compiled, with %d lists; want those that are served, and a list of each namespace", w.compiled, w.lists)
	}
	if counts := m.registry.Count(); counts[metric.Rejected] != many-bound {
		t.Errorf("the metrics count %v", counts)
	}
	if _, count := m.registry.After(types.NamespacedName{}); count != bound+1 {
		t.Errorf("the registry holds %d bindings", count)
	}
	for _, key := range keys {
		if !m.registry.Known(key) {
			t.Fatalf("%s is not known: the operator would not become ready", key)
		}
	}
	before := w.compiled
	for _, key := range keys[bound : bound+100] { // edits
		w.cached[key].Generation++
		m.look(key)
		if s, _ := m.registry.Standing(key); s.Definition.Generation != 2 {
			t.Errorf("the status of %s would be of generation %d", key, s.Definition.Generation)
		}
	}
	if w.compiled != before || w.lists != 2 {
		t.Errorf("edits of refused bindings were compiled %d times, and listed %d times", w.compiled-before, w.lists-2)
	}
}

func TestWhenAnOlderBindingGoesTheNextIsServedAtOnce(t *testing.T) {
	w := newTown()
	keys := w.some(t, "shop", 5)
	m := newMayor(t, w, 3)
	m.look(shuffled(keys, 2)...)
	m.wantServed(true, keys[:3]...)
	w.remove(keys[0])
	m.look(keys[0])
	m.wantServed(true, keys[1:4]...)
	m.wantServed(false, keys[4])
	w.remove(keys[4]) // one that was not served: nothing changes
	m.look(keys[4])
	m.wantServed(true, keys[1:4]...)

	// Made again unseen, it is the youngest.
	w.remove(keys[1])
	again := w.add(t, "shop", keys[1].Name, now.Add(time.Hour), func(b *v1alpha1.SysdigMetricBinding) { b.UID = "another" })
	m.look(again)
	young := w.add(t, "shop", "young", now.Add(2*time.Hour))
	m.look(young)
	m.wantServed(true, keys[2], keys[3], again)
	m.wantServed(false, young)

	// An older one that is only seen now, as after a restore of a backup, takes the place of the youngest.
	old := w.add(t, "shop", "old", now.Add(-time.Hour))
	m.look(old)
	m.wantServed(true, old, keys[2], keys[3])
	m.wantServed(false, again, young)

	for _, key := range []types.NamespacedName{old, keys[2], keys[3], again, young} {
		w.remove(key)
		m.look(key)
		if m.registry.Known(key) || m.served(key) {
			t.Errorf("%s is known although it is gone", key)
		}
	}
	if len(m.places.namespaces) > 0 {
		t.Errorf("places are held of %d namespaces without bindings", len(m.places.namespaces))
	}
}

// TestAllReplicasServeTheSame although they see bindings in different orders, of which many were made in the same second.
func TestAllReplicasServeTheSame(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := newTown()
		one, two := newMayor(t, w, 7), newMayor(t, w, 7)
		var keys []types.NamespacedName
		for i := range 40 {
			switch {
			case len(keys) > 0 && random.IntN(3) == 0:
				at := random.IntN(len(keys))
				w.remove(keys[at])
				one.look(keys[at])
				two.look(keys[at])
				keys = slices.Delete(keys, at, at+1)
			default:
				key := w.add(t, "shop", fmt.Sprintf("b-%d-%d", random.IntN(1000), i), now.Add(time.Duration(random.IntN(3))*time.Second))
				keys = append(keys, key)
				one.look(key)
			}
			if random.IntN(4) == 0 {
				two.look(shuffled(keys, seed)...)
			}
		}
		two.look(shuffled(keys, seed)...)
		want := slices.SortedFunc(slices.Values(keys), func(a, b types.NamespacedName) int {
			return inOrder(placeOf(w.cached[a]), placeOf(w.cached[b]))
		})
		for _, m := range []*mayor{one, two} {
			m.wantServed(true, want[:min(7, len(want))]...)
			m.wantServed(false, want[min(7, len(want)):]...)
		}
	}
}

// TestLongTextsAreNotHeldTwice: of 10,000 bindings with the longest query neither the cache nor the registry holds what is not served.
func TestLongTextsAreNotHeldTwice(t *testing.T) {
	const many, bound = 10_000, 100
	w := newTown()
	before := heap()
	long := func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.PromQL.Query = "sum(x{a=\"" + b.Name + strings.Repeat("a", 8000) + "\"})"
	}
	var keys []types.NamespacedName
	for i := range many {
		key := w.add(t, "shop", fmt.Sprintf("b-%05d", i), now.Add(time.Duration(i)*time.Second), long)
		if keys = append(keys, key); i >= bound { // what the API server holds is its own
			delete(w.bindings, key)
		}
	}
	m := newMayor(t, w, bound)
	m.look(keys...)
	m.wantServed(true, keys[:bound]...)
	m.look(keys...) // events of others
	if w.lives != bound {
		t.Errorf("long texts were read %d times, want once for each binding that is served", w.lives)
	}
	if s, _ := m.registry.Standing(keys[0]); !strings.Contains(s.Definition.Query(), strings.Repeat("a", 8000)) {
		t.Error("the long text was lost")
	}
	clear(w.bindings)
	if grown := heap() - before; grown > 40<<20 {
		t.Errorf("%d MiB are held of %d bindings of 8 KiB, want 40 at most", grown>>20, many)
	}
	runtime.KeepAlive(m)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestABindingWithLongTextsIsReadWhenItIsCompiled(t *testing.T) {
	w := newTown()
	key := w.add(t, "shop", "web", now, func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = selected("v1", "Pod")
		for i := range 16 {
			b.Spec.Target.Selector.MatchExpressions = append(b.Spec.Target.Selector.MatchExpressions, v1alpha1.LabelRequirement{
				Key: fmt.Sprint("key-", i), Operator: metav1.LabelSelectorOpNotIn, Values: []string{strings.Repeat("v", 63), strings.Repeat("w", 63)},
			})
		}
		b.Spec.Source.PromQL.ObjectLabel = "pod"
	})
	if c := w.cached[key]; !isCut(c) || len(c.Spec.Target.Selector.MatchExpressions) > 0 || c.Spec.Source.PromQL != nil || w.bindings[key].Spec.Target.Selector == nil {
		t.Fatalf("the cache holds %+v", c.Spec)
	}
	again, err := w.stripper.Strip(w.cached[key])
	if err != nil || !isCut(again.(*v1alpha1.SysdigMetricBinding)) {
		t.Errorf("stripped twice: %+v, %v", again, err)
	}
	m := newMayor(t, w, 0)
	m.Kinds = &kinds{synced: true}
	m.look(key)
	if s, known := m.registry.Standing(key); !known || s.Definition.Refused != nil || !strings.Contains(s.Definition.Claim.Selector, "key-15 notin") {
		t.Errorf("it stands as %+v", s)
	}
	w.cached[key].Generation++ // an edit
	gone := w.bindings[key]
	delete(w.bindings, key)
	if _, err := m.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err == nil {
		t.Error("a binding that is gone from the API server is no error")
	}
	w.bindings[key] = gone
	gone.UID = "another"
	if _, err := m.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err == nil {
		t.Error("another binding of the same name is no error")
	}
}
