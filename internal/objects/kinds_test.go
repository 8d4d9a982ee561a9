package objects_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
)

var (
	deployment   = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	queue        = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Queue"}
	oldQueue     = schema.GroupVersionKind{Group: "example.com", Version: "v1beta1", Kind: "Queue"}
	queues       = schema.GroupResource{Group: "example.com", Resource: "queues"}
	one, another = types.NamespacedName{Namespace: "shop", Name: "one"}, types.NamespacedName{Namespace: "shop", Name: "another"}
)

// control stands for the API server and the cache.
type control struct {
	clock   *clocktesting.FakeClock
	mu      sync.Mutex
	log     []string // what was started and stopped
	asked   []string
	denied  map[string]bool // by verb and resource
	broken  error           // of reviews
	failing error           // of the cache
	deaf    error           // of informers
	running map[schema.GroupVersionKind]*informer
}

// informer delivers what a test tells it to.
type informer struct {
	cache.Informer
	err     error
	handler toolscache.ResourceEventHandler
	synced  bool
}

// registration tells whether the informer's handler has seen everything; the informer itself is never asked.
type registration struct {
	toolscache.ResourceEventHandlerRegistration
	*informer
}

func (i *informer) AddEventHandler(handler toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.handler = handler
	return registration{informer: i}, i.err
}

func (r registration) HasSynced() bool { return r.synced }

func (c *control) GetInformer(_ context.Context, object client.Object, options ...cache.InformerGetOption) (cache.Informer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != nil {
		return nil, c.failing
	}
	chosen := &cache.InformerGetOptions{}
	for _, option := range options {
		option(chosen)
	}
	if _, metadata := object.(*metav1.PartialObjectMetadata); !metadata || chosen.BlockUntilSynced == nil || *chosen.BlockUntilSynced {
		return nil, errors.New("only metadata, without waiting")
	}
	kind := object.GetObjectKind().GroupVersionKind()
	c.log = append(c.log, "start "+kind.Version+" "+kind.Kind)
	c.running[kind] = &informer{err: c.deaf}
	return c.running[kind], nil
}

func (c *control) RemoveInformer(ctx context.Context, object client.Object) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := object.GetObjectKind().GroupVersionKind()
	c.log = append(c.log, "stop "+kind.Version+" "+kind.Kind)
	delete(c.running, kind)
	return ctx.Err()
}

func (c *control) Create(ctx context.Context, review *authorizationv1.SelfSubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SelfSubjectAccessReview, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, limited := ctx.Deadline(); !limited {
		return nil, errors.New("a review without a deadline")
	}
	a := review.Spec.ResourceAttributes
	question := a.Verb + " " + schema.GroupResource{Group: a.Group, Resource: a.Resource}.String()
	c.asked = append(c.asked, question)
	review.Status.Allowed = a.Namespace == "" && !c.denied[question]
	return review, c.broken
}

type kinds struct {
	*objects.Kinds
	*control
	t     *testing.T
	index *objects.Index
}

func newKinds(t *testing.T) *kinds {
	c := &control{clock: clocktesting.NewFakeClock(time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)), denied: map[string]bool{}, running: map[schema.GroupVersionKind]*informer{}}
	index := objects.NewIndex(somePods{})
	return &kinds{Kinds: objects.NewKinds(c.clock, index, c, c), control: c, t: t, index: index}
}

// want wants a kind and checks that there is no refusal.
func (k *kinds) want(owner types.NamespacedName, kind schema.GroupVersionKind, resource schema.GroupResource, synced bool) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	got, refused, err := k.Want(ctx, owner, kind, resource)
	if refused != nil || err != nil || got != synced {
		k.t.Errorf("%s: synced %t, refused %v, error %v; want synced %t", kind, got, refused, err, synced)
	}
}

func (k *kinds) happened(events ...string) {
	k.t.Helper()
	if !slices.Equal(k.log, events) {
		k.t.Errorf("got %q, want %q", k.log, events)
	}
	k.log = nil
}

func TestAKindIsWatchedWhileSomebodyWantsIt(t *testing.T) {
	k := newKinds(t)
	k.want(one, deployment, deployments, false)
	k.want(another, deployment, deployments, false)
	k.happened("start v1 Deployment")
	if want := []string{"list deployments.apps", "watch deployments.apps"}; !slices.Equal(k.asked, want) {
		t.Errorf("asked %q, want %q", k.asked, want)
	}
	informer := k.running[deployment]
	informer.handler.OnAdd(object("a", "web"), true)
	if got := k.index.Select(deployments, "shop"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q", got)
	}
	informer.synced = true
	k.want(one, deployment, deployments, true)
	k.Release(one)
	k.Release(one)
	k.happened()
	k.Release(another)
	k.happened("stop v1 Deployment")
	if got := k.index.Select(deployments, "shop"); got != nil {
		t.Errorf("%q are remembered of a kind that nobody wants", got)
	}
	k.want(one, deployment, deployments, false)
	k.happened("start v1 Deployment")
}

func TestWantingAnotherKindReleasesTheFirst(t *testing.T) {
	k := newKinds(t)
	k.want(one, deployment, deployments, false)
	k.want(one, queue, queues, false)
	k.happened("start v1 Deployment", "stop v1 Deployment", "start v1 Queue")
	k.want(one, schema.GroupVersionKind{Version: "v1", Kind: "Service"}, services, true)
	k.happened("stop v1 Queue")
	k.Release(one)
	k.happened()
}

func TestPodsAndServicesAreNeitherStartedNorStopped(t *testing.T) {
	k := newKinds(t)
	for resource, kind := range map[schema.GroupResource]string{pods: "Pod", services: "Service"} {
		k.want(one, schema.GroupVersionKind{Version: "v1", Kind: kind}, resource, true)
		k.Release(one)
	}
	k.happened()
	if len(k.asked) > 0 {
		t.Errorf("asked %q", k.asked)
	}
}

func TestAVersionThatNobodyWantsAnyMoreIsReplaced(t *testing.T) {
	k := newKinds(t)
	k.want(one, oldQueue, queues, false)
	k.want(another, queue, queues, false)
	k.happened("start v1beta1 Queue")
	k.want(one, queue, queues, false)
	k.happened("stop v1beta1 Queue", "start v1 Queue")
	k.want(another, queue, queues, false)
	k.happened()
}

func TestAKindThatTheOperatorMayNotWatchIsRefusedUntilItMay(t *testing.T) {
	for _, denied := range []string{"list queues.example.com", "watch queues.example.com"} {
		t.Run(denied, func(t *testing.T) {
			k := newKinds(t)
			k.want(one, deployment, deployments, false)
			k.log = nil
			k.denied[denied] = true
			synced, refused, err := k.Want(t.Context(), one, queue, queues)
			if err != nil || synced || refused == nil || refused.Reason != metric.Rejected {
				t.Fatalf("got %t, %v, %v", synced, refused, err)
			}
			for _, part := range []string{"spec.target: the operator may not list queues.example.com", `ClusterRole labelled autoscaling.sysdigmetrics.dev/aggregate-to-operator: "true"`} {
				if !strings.Contains(refused.Message, part) {
					t.Errorf("%q does not say %q", refused.Message, part)
				}
			}
			k.happened("stop v1 Deployment")
			delete(k.denied, denied)
			k.asked = nil
			for range 1000 { // many bindings may be about such a kind
				if _, refused, err := k.Want(t.Context(), one, queue, queues); err != nil || refused == nil {
					t.Fatalf("got %v, %v", refused, err)
				}
			}
			if len(k.asked) > 0 {
				t.Errorf("asked the API server %d times again", len(k.asked))
			}
			k.clock.Step(time.Minute)
			k.want(one, queue, queues, false)
			k.happened("start v1 Queue")
		})
	}
}

func TestAnErrorStartsNothingAndIsTriedAgain(t *testing.T) {
	broken := errors.New("broken")
	for name, where := range map[string]func(*kinds) *error{
		"the review fails":   func(k *kinds) *error { return &k.broken },
		"the cache fails":    func(k *kinds) *error { return &k.failing },
		"the informer fails": func(k *kinds) *error { return &k.deaf },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKinds(t)
			*where(k) = broken
			if synced, refused, err := k.Want(t.Context(), one, queue, queues); synced || refused != nil || !errors.Is(err, broken) {
				t.Fatalf("got %t, %v, %v", synced, refused, err)
			}
			if len(k.running) > 0 {
				t.Error("an informer is left")
			}
			*where(k) = nil
			k.log = nil
			k.want(one, queue, queues, false)
			k.happened("start v1 Queue")
		})
	}
}

func TestManyWhoWantAKindAtOnceStartOneInformer(t *testing.T) {
	k := newKinds(t)
	var hands sync.WaitGroup
	for i := range 16 {
		hands.Go(func() { k.want(types.NamespacedName{Name: fmt.Sprint(i)}, queue, queues, false) })
		hands.Go(func() { k.index.Select(queues, "shop") })
	}
	hands.Wait()
	k.happened("start v1 Queue")
	for i := range 16 {
		hands.Go(func() { k.Release(types.NamespacedName{Name: fmt.Sprint(i)}) })
	}
	hands.Wait()
	k.happened("stop v1 Queue")
}
