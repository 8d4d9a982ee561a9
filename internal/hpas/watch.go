package hpas

import (
	"context"
	"sync/atomic"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Watch keeps an Index in step with the cluster. It is a Runnable of the manager that nothing waits for: without the permission,
// which an older ClusterRole does not have, no HPA is known and everything else works. It asks again, so a grant needs no restart.
type Watch struct {
	client     autoscalingclient.HorizontalPodAutoscalerInterface
	index      *Index
	controller cache.Controller
	// follows: the last try to watch was let in. When it was not, the replicas that are known get old.
	follows atomic.Bool
	// told: it was said that HPAs cannot be watched.
	told atomic.Bool
}

// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=list;watch

// NewWatch returns a watch of all namespaces that has not begun. It is no informer, which would keep all HPAs beside the Index.
func NewWatch(client autoscalingclient.HorizontalPodAutoscalersGetter) *Watch {
	w := &Watch{client: client.HorizontalPodAutoscalers(metav1.NamespaceAll), index: NewIndex()}
	source := &cache.ListWatch{ListWithContextFunc: w.list, WatchFuncWithContext: w.watch}
	w.controller = cache.New(&cache.Config{
		Queue:         cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{KnownObjects: w.index, Transformer: Strip}),
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(source, w.client),
		ObjectType:    &autoscalingv2.HorizontalPodAutoscaler{},
		Process:       w.index.Process,
		// What can go wrong is said by list and watch, once.
		WatchErrorHandlerWithContext: func(context.Context, *cache.Reflector, error) {},
	})
	return w
}

// NeedLeaderElection tells the manager to run the watch on every replica.
func (w *Watch) NeedLeaderElection() bool { return false }

// Start watches until the context ends.
func (w *Watch) Start(ctx context.Context) error {
	w.controller.RunWithContext(ctx)
	return nil
}

// Exceeds is that of Index. It is false as long as not all HPAs are known, and while they cannot be followed.
func (w *Watch) Exceeds(claim metric.Claim, kind string, milli int64) bool {
	return w.follows.Load() && w.controller.HasSynced() && w.index.Exceeds(claim, kind, milli)
}

func (w *Watch) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := w.client.List(ctx, options)
	if err != nil {
		w.lose(ctx, err)
	}
	return list, err
}

func (w *Watch) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := w.client.Watch(ctx, options)
	if err != nil {
		w.lose(ctx, err)
		return nil, err
	}
	w.follows.Store(true)
	if w.told.Swap(false) {
		log.FromContext(ctx).Info("HorizontalPodAutoscalers can be watched now")
	}
	return events, nil
}

// lose takes note that HPAs cannot be followed, and says it once.
func (w *Watch) lose(ctx context.Context, err error) {
	w.follows.Store(false)
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || ctx.Err() != nil {
		return // the list is read again, or we are stopping
	}
	if !w.told.Swap(true) {
		log.FromContext(ctx).Error(err, "HorizontalPodAutoscalers cannot be watched: no lower bound is served while Sysdig's answers are Partial")
	}
}
