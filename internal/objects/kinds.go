package objects

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

var (
	podResource     = schema.GroupResource{Resource: "pods"}
	serviceResource = schema.GroupResource{Resource: "services"}
)

// refusedFor is how long a refusal holds before the API server is asked again. Many bindings may be about a kind that the
// operator may not watch, and each is looked at again every minute.
const refusedFor = 30 * time.Second

// reviewTimeout bounds the question whether the operator may watch a kind.
const reviewTimeout = 10 * time.Second

// Informers starts and stops watching; a cache of controller-runtime is one.
type Informers interface {
	GetInformer(ctx context.Context, object client.Object, options ...cache.InformerGetOption) (cache.Informer, error)
	RemoveInformer(ctx context.Context, object client.Object) error
}

// Reviews tells what the operator may do.
type Reviews interface {
	Create(ctx context.Context, review *authorizationv1.SelfSubjectAccessReview, options metav1.CreateOptions) (*authorizationv1.SelfSubjectAccessReview, error)
}

// Kinds watches the kinds that somebody wants, each once. It is safe for concurrent use.
type Kinds struct {
	clock     clock.PassiveClock
	index     *Index
	informers Informers
	reviews   Reviews

	// mu makes starts and stops come one after the other, also while they wait for the API server. Reads of the index do
	// not take it.
	mu      sync.Mutex
	wishes  map[types.NamespacedName]wish // by owner
	count   map[wish]int                  // how many owners have it
	watched map[schema.GroupResource]watched
	refused map[schema.GroupResource]time.Time // since when
}

// wish is the kind that an owner wants.
type wish struct {
	kind     schema.GroupVersionKind
	resource schema.GroupResource
}

// watched is a kind with a running informer.
type watched struct {
	kind   schema.GroupVersionKind // in one of the versions that are wanted, or were: labels are the same in all
	synced toolscache.InformerSynced
	stop   func()
}

// NewKinds watches nothing yet.
func NewKinds(clock clock.PassiveClock, index *Index, informers Informers, reviews Reviews) *Kinds {
	return &Kinds{
		clock: clock, index: index, informers: informers, reviews: reviews,
		wishes: map[types.NamespacedName]wish{}, count: map[wish]int{}, watched: map[schema.GroupResource]watched{},
		refused: map[schema.GroupResource]time.Time{},
	}
}

// Want makes the index know the objects of a kind until the owner wants another or is released. It does not wait: synced
// tells whether the index knows all of them already. If the operator may not watch the kind, it is refused and has to be
// wanted again. Pods and Services are always there.
func (k *Kinds) Want(ctx context.Context, owner types.NamespacedName, kind schema.GroupVersionKind, resource schema.GroupResource) (synced bool, refused *metric.Failure, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wanted := wish{kind: kind, resource: resource}
	always := resource == podResource || resource == serviceResource
	if k.wishes[owner] != wanted {
		k.release(owner)
		if !always {
			k.wishes[owner] = wanted
			k.count[wanted]++
		}
	}
	if always {
		return true, nil, nil
	}
	if refused, err := k.ensure(ctx, wanted); refused != nil || err != nil {
		k.release(owner)
		return false, refused, err
	}
	return k.watched[resource].synced(), nil, nil
}

// Release says that the owner wants no kind any more.
func (k *Kinds) Release(owner types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.release(owner)
}

func (k *Kinds) release(owner types.NamespacedName) {
	before, ok := k.wishes[owner]
	if !ok {
		return
	}
	delete(k.wishes, owner)
	if k.count[before]--; k.count[before] == 0 {
		delete(k.count, before)
	}
	for other := range k.count { // one for each version of each kind
		if other.resource == before.resource {
			return
		}
	}
	k.stop(before.resource)
}

// ensure lets the resource be watched. A version that nobody wants any more may soon not be served; one that is wanted
// takes its place.
func (k *Kinds) ensure(ctx context.Context, w wish) (*metric.Failure, error) {
	if running, ok := k.watched[w.resource]; ok {
		if k.count[wish{kind: running.kind, resource: w.resource}] > 0 {
			return nil, nil
		}
		k.stop(w.resource)
	}
	allowed, err := k.allowed(ctx, w.resource)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return metric.Failf(metric.Rejected, "spec.target: the operator may not list %s; ask the platform team for a ClusterRole "+
			"labelled autoscaling.sysdigmetrics.dev/aggregate-to-operator: \"true\" that allows list and watch", w.resource), nil
	}
	return nil, k.start(ctx, w)
}

// allowed tells whether the operator may watch a resource. A refusal is remembered for a while.
func (k *Kinds) allowed(ctx context.Context, resource schema.GroupResource) (bool, error) {
	maps.DeleteFunc(k.refused, func(_ schema.GroupResource, since time.Time) bool { return k.clock.Since(since) >= refusedFor })
	if _, refused := k.refused[resource]; refused {
		return false, nil
	}
	allowed, err := k.mayWatch(ctx, resource)
	if err == nil && !allowed {
		k.refused[resource] = k.clock.Now()
	}
	return allowed, err
}

func (k *Kinds) mayWatch(ctx context.Context, resource schema.GroupResource) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	for _, verb := range []string{"list", "watch"} {
		review, err := k.reviews.Create(ctx, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: resource.Group, Resource: resource.Resource},
		}}, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("asking whether the operator may %s %s: %w", verb, resource, err)
		}
		if !review.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

func (k *Kinds) start(ctx context.Context, w wish) error {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(w.kind)
	informer, err := k.informers.GetInformer(ctx, metadata, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching %s: %w", w.resource, err)
	}
	// The informer outlives the call that starts it.
	ctx = context.WithoutCancel(ctx)
	remove := func() {
		if err := k.informers.RemoveInformer(ctx, metadata); err != nil {
			log.FromContext(ctx).Error(err, "Ending the watch failed", "resource", w.resource)
		}
		k.index.Forget(w.resource)
	}
	registration, err := informer.AddEventHandler(k.index.Feed(w.resource))
	if err != nil {
		remove()
		return fmt.Errorf("watching %s: %w", w.resource, err)
	}
	k.watched[w.resource] = watched{kind: w.kind, synced: registration.HasSynced, stop: remove}
	return nil
}

func (k *Kinds) stop(resource schema.GroupResource) {
	if running, ok := k.watched[resource]; ok {
		delete(k.watched, resource)
		running.stop()
	}
}
