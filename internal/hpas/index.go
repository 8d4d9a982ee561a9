// Package hpas knows the HorizontalPodAutoscalers of the cluster: which metrics they read, and which values make each of them
// scale up. With that a lower bound can be served where it does good only.
package hpas

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// read is a metric as an HPA names it: by the group and the kind of the object, which the API server turns into its resource.
type read struct {
	namespace, group, kind, object, metric string
	external                               bool
}

// wish is a metric that an HPA reads and the value, in thousandths, above which it scales up.
type wish struct {
	read  read
	above int64
}

// limit is a wish of an HPA, which is known by its key, of a known metric.
type limit struct {
	hpa   string
	above int64
}

// Index is filled by the events of a watch of HorizontalPodAutoscalers. It keeps of them what they wish and nothing else. It is
// safe for concurrent use.
type Index struct {
	mu sync.RWMutex
	// wishes are those of the HPAs that have any, by their keys, namespace/name.
	wishes map[string][]wish
	// limits are those of all HPAs that read a metric, highest first.
	limits map[read][]limit
}

var (
	_ cache.ResourceEventHandler = (*Index)(nil)
	_ cache.KeyListerGetter      = (*Index)(nil)
)

// NewIndex returns an empty index.
func NewIndex() *Index { return &Index{wishes: map[string][]wish{}, limits: map[read][]limit{}} }

// Exceeds tells whether a value, in thousandths, makes every HPA scale up that reads the claim of an object of a kind. It is false
// when no HPA is known to. HPAs with a metric.selector read other numbers and do not count, nor do Pods metrics, which are read
// as lists.
func (x *Index) Exceeds(claim metric.Claim, kind string, milli int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	limits := x.limits[read{
		namespace: claim.Namespace, group: claim.Resource.Group, kind: kind, object: claim.Object, metric: claim.Metric, external: claim.External,
	}]
	return len(limits) > 0 && milli > limits[0].above && len(x.limits[tooMany(claim.Namespace)]) == 0
}

// OnAdd implements cache.ResourceEventHandler.
func (x *Index) OnAdd(object any, _ bool) {
	if hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler); ok {
		x.replace(hpa.Namespace+"/"+hpa.Name, wishesOf(hpa))
	}
}

// OnUpdate implements cache.ResourceEventHandler.
func (x *Index) OnUpdate(_, object any) { x.OnAdd(object, false) }

// OnDelete implements cache.ResourceEventHandler.
func (x *Index) OnDelete(object any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
		x.replace(key, nil)
	}
}

// ListKeys implements cache.KeyListerGetter: it tells a watch that was cut off which HPAs may be gone since.
func (x *Index) ListKeys() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.wishes))
}

// GetByKey implements cache.KeyListerGetter. Of an HPA that is gone the key is enough.
func (x *Index) GetByKey(key string) (item any, exists bool, err error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, exists = x.wishes[key]
	return key, exists, nil
}

// Process is a cache.ProcessFunc: it takes in what the queue of a watch holds next.
func (x *Index) Process(popped any, _ bool) error {
	deltas, ok := popped.(cache.Deltas)
	if !ok {
		return fmt.Errorf("watching HPAs: got %T", popped)
	}
	for _, d := range deltas {
		if d.Type == cache.Deleted {
			x.OnDelete(d.Object)
		} else {
			x.OnAdd(d.Object, false)
		}
	}
	return nil
}

// replace puts the wishes of one HPA in the place of what they were. Its controller writes its status every 15 s, mostly with
// nothing new for us.
func (x *Index) replace(hpa string, wishes []wish) {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.wishes[hpa]
	if slices.Equal(old, wishes) {
		return
	}
	for _, w := range old {
		x.forget(w.read, hpa)
	}
	for _, w := range wishes {
		one := limit{hpa: hpa, above: w.above}
		limits := x.limits[w.read]
		at, _ := slices.BinarySearchFunc(limits, one, highestFirst)
		x.limits[w.read] = slices.Insert(limits, at, one)
	}
	if x.wishes[hpa] = wishes; len(wishes) == 0 {
		delete(x.wishes, hpa)
	}
}

func (x *Index) forget(r read, hpa string) {
	left := slices.DeleteFunc(x.limits[r], func(l limit) bool { return l.hpa == hpa })
	if len(left) == 0 {
		delete(x.limits, r)
		return
	}
	x.limits[r] = left
}

func highestFirst(a, b limit) int { return cmp.Compare(b.above, a.above) }

// maxMetrics is how many metrics of an HPA are remembered. HPAs have a few, and Kubernetes takes more than a megabyte of them.
const maxMetrics = 100

// longestName is that of names in claims: nobody can bind a metric, or name an object, with more bytes.
const longestName = 253

// tooMany is read, so to speak, by HPAs of a namespace with more metrics than are remembered: which those are, and their targets,
// is not known.
func tooMany(namespace string) read { return read{namespace: namespace} }

// wishesOf are those of an HPA.
func wishesOf(hpa *autoscalingv2.HorizontalPodAutoscaler) []wish {
	wishes := slices.DeleteFunc(allWishesOf(hpa), func(w wish) bool {
		return max(len(w.read.metric), len(w.read.object), len(w.read.kind), len(w.read.group)) > longestName
	})
	if len(wishes) > maxMetrics {
		return []wish{{read: tooMany(hpa.Namespace)}}
	}
	return wishes
}

func allWishesOf(hpa *autoscalingv2.HorizontalPodAutoscaler) (wishes []wish) {
	for i := range hpa.Spec.Metrics {
		spec := &hpa.Spec.Metrics[i]
		switch {
		case spec.Object != nil && !picks(spec.Object.Metric.Selector):
			wishes = append(wishes, wish{readOf(hpa.Namespace, spec.Object), above(hpa, objectTarget(&spec.Object.Target))})
		case spec.External != nil && !picks(spec.External.Metric.Selector):
			r := read{namespace: hpa.Namespace, metric: spec.External.Metric.Name, external: true}
			wishes = append(wishes, wish{r, above(hpa, externalTarget(&spec.External.Target))})
		}
	}
	return wishes
}

// readOf is what the HPA controller reads for an Object metric (pkg/controller/podautoscaler/metrics, GetObjectMetric): of a
// Namespace always the HPA's own, whatever its name.
func readOf(namespace string, source *autoscalingv2.ObjectMetricSource) read {
	of := &source.DescribedObject
	kind := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind()
	r := read{namespace: namespace, group: kind.Group, kind: kind.Kind, object: of.Name, metric: source.Metric.Name}
	if kind == (schema.GroupKind{Kind: "Namespace"}) {
		r.object = namespace
	}
	return r
}

// picks tells whether a metric.selector chooses among series. An empty one does not.
func picks(selector *metav1.LabelSelector) bool {
	return selector != nil && len(selector.MatchLabels)+len(selector.MatchExpressions) > 0
}

// Strip keeps of an HPA what decides about its wishes. It is the transform of the watch, so that a list of many stays small in memory.
func Strip(object any) (any, error) {
	full, ok := object.(*autoscalingv2.HorizontalPodAutoscaler)
	if !ok {
		return object, nil
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: full.Name, Namespace: full.Namespace, UID: full.UID, ResourceVersion: full.ResourceVersion},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: full.Status.CurrentReplicas, DesiredReplicas: full.Status.DesiredReplicas,
		},
	}
	for _, spec := range full.Spec.Metrics {
		if spec.Object != nil || spec.External != nil {
			hpa.Spec.Metrics = append(hpa.Spec.Metrics, spec)
		}
	}
	if len(hpa.Spec.Metrics) == 0 {
		return hpa, nil
	}
	if quantity := toleranceOf(full); quantity != nil {
		hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: quantity}}
	}
	if counted(full) {
		hpa.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}}
	}
	return hpa, nil
}
