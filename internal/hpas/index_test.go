package hpas_test

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"sync"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

type hpa = autoscalingv2.HorizontalPodAutoscaler

// reads is an HPA of namespace shop that its controller has looked at, at 10 replicas.
func reads(name string, metrics ...autoscalingv2.MetricSpec) *hpa {
	return &hpa{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid", ResourceVersion: "7"},
		Spec:       autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 1000, Metrics: metrics},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 10, DesiredReplicas: 10,
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{
				{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse}, {Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue},
			},
		},
	}
}

func quantity(text string) *resource.Quantity {
	q := resource.MustParse(text)
	return &q
}

func value(text string) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity(text)}
}

func average(text string) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: quantity(text)}
}

// object is the metric m of an object of apps/v1.
func object(kind, name string, target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: name},
		Target:          target, Metric: autoscalingv2.MetricIdentifier{Name: "m"},
	}}
}

func web(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return object("Deployment", "web", target)
}

func external(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Target: target, Metric: autoscalingv2.MetricIdentifier{Name: "m"},
	}}
}

func ofPods(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Target: target, Metric: autoscalingv2.MetricIdentifier{Name: "m"},
	}}
}

func picking(spec autoscalingv2.MetricSpec, selector metav1.LabelSelector) autoscalingv2.MetricSpec {
	if spec.Object != nil {
		spec.Object.Metric.Selector = &selector
	} else {
		spec.External.Metric.Selector = &selector
	}
	return spec
}

func changed(h *hpa, change func(*hpa)) *hpa {
	change(h)
	return h
}

func replicas(current, desired int32) func(*hpa) {
	return func(h *hpa) { h.Status.CurrentReplicas, h.Status.DesiredReplicas = current, desired }
}

func tolerating(text string) func(*hpa) {
	return func(h *hpa) {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: quantity(text)}}
	}
}

var (
	deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}
	ofWeb       = metric.Claim{Namespace: "shop", Resource: deployments, Object: "web", Metric: "m"}
	ofQueue     = metric.ExternalClaim("shop", "m")
)

// add hands an HPA over as an informer with the transform does.
func add(t testing.TB, x *hpas.Index, h *hpa) *hpa {
	t.Helper()
	s := stripped(t, h)
	x.OnAdd(s, false)
	return s
}

func stripped(t testing.TB, h *hpa) *hpa {
	t.Helper()
	s, err := hpas.Strip(h.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	return s.(*hpa)
}

// wantLimit expects the highest value that does not exceed a claim.
func wantLimit(t *testing.T, x *hpas.Index, claim metric.Claim, limit int64) {
	t.Helper()
	kind := "Deployment"
	if claim.External {
		kind = ""
	}
	if x.Exceeds(claim, kind, limit) {
		t.Errorf("%d exceeds %v, want it not to", limit, claim)
	}
	if limit < never && !x.Exceeds(claim, kind, limit+1) {
		t.Errorf("%d does not exceed %v, want it to", limit+1, claim)
	}
}

const never = math.MaxInt64

func TestAValueHasToExceedTheTargetOfEveryHPA(t *testing.T) {
	tests := map[string]struct {
		hpas  []*hpa
		limit int64
	}{
		"a Value is exceeded beyond the tolerance, whatever the replicas": {[]*hpa{reads("a", web(value("100")))}, 110_000},
		"an AverageValue is of all replicas":                              {[]*hpa{reads("a", web(average("100")))}, 1_100_000},
		"replicas that are wanted count when they are more":               {[]*hpa{changed(reads("a", web(average("100"))), replicas(10, 20))}, 2_200_000},
		"replicas that are there count when they are more":                {[]*hpa{changed(reads("a", web(average("100"))), replicas(30, 20))}, 3_300_000},
		"at no replicas any AverageValue asks for one":                    {[]*hpa{changed(reads("a", web(average("100"))), replicas(0, 0))}, 0},
		"at no replicas any Value asks for one":                           {[]*hpa{changed(reads("a", web(value("100"))), replicas(0, 0))}, 0},
		"a negative count is none":                                        {[]*hpa{changed(reads("a", web(value("100"))), replicas(-1, -1))}, never},
		"a larger tolerance counts":                                       {[]*hpa{changed(reads("a", web(value("100"))), tolerating("0.5"))}, 150_000},
		"a smaller tolerance does not":                                    {[]*hpa{changed(reads("a", web(value("100"))), tolerating("0"))}, 110_000},
		"a fraction of a tolerance is rounded up":                         {[]*hpa{changed(reads("a", web(value("100"))), tolerating("0.2001"))}, 120_100},
		"a fraction of a thousandth is rounded up":                        {[]*hpa{reads("a", web(value("1m")))}, 2},
		"a target below a thousandth is one":                              {[]*hpa{reads("a", web(value("1u")))}, 2},
		"the highest of several HPAs decides":                             {[]*hpa{reads("a", web(value("100"))), reads("b", web(average("100"))), reads("c", web(value("5")))}, 1_100_000},
		"the higher of two targets of one HPA decides":                    {[]*hpa{reads("a", web(value("100")), web(value("300")))}, 330_000},
		"a target that does not fit into thousandths is never exceeded":   {[]*hpa{reads("a", web(value("9223372036854775807")))}, never},
		"a product beyond int64 is never exceeded":                        {[]*hpa{changed(reads("a", web(average("9e12"))), replicas(math.MaxInt32, 1))}, never},
		"a tolerance beyond int64 is never exceeded":                      {[]*hpa{changed(reads("a", web(value("1e15"))), tolerating("9e17"))}, never},
		"a target that just fits is exceeded":                             {[]*hpa{reads("a", web(value("8e15")))}, 8_800_000_000_000_000_000},
		"a negative target is none":                                       {[]*hpa{reads("a", web(value("-1")))}, never},
		"a target of 0 is none":                                           {[]*hpa{reads("a", web(value("0")))}, never},
		"a target of another type is none":                                {[]*hpa{reads("a", web(autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType}))}, never},
		"a type without its quantity is none": {[]*hpa{reads("a", web(autoscalingv2.MetricTarget{
			Type: autoscalingv2.ValueMetricType, AverageValue: quantity("1"),
		}))}, never},
		"before the replicas were counted nothing is known": {[]*hpa{changed(reads("a", web(average("100"))), func(h *hpa) {
			h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
		})}, never},
		"when the scale cannot be read nothing is known": {[]*hpa{changed(reads("a", web(average("100"))), func(h *hpa) {
			h.Status.Conditions[1].Status = corev1.ConditionFalse
		})}, never},
		"an HPA at maxReplicas is one as any other": {[]*hpa{changed(reads("a", web(average("100"))), func(h *hpa) { h.Spec.MaxReplicas = 10 })}, 1_100_000},
		"an HPA with a metric.selector reads other numbers": {[]*hpa{
			reads("a", web(value("100"))), reads("b", picking(web(value("900")), metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}})),
		}, 110_000},
		"one that only has an HPA with a metric.selector has none": {[]*hpa{
			reads("b", picking(web(value("900")), metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}}})),
		}, never},
		"an empty metric.selector is none":        {[]*hpa{reads("b", picking(web(value("900")), metav1.LabelSelector{}))}, 990_000},
		"a Pods metric reads lists":               {[]*hpa{reads("a", ofPods(average("1")))}, never},
		"without an HPA nothing is exceeded":      {nil, never},
		"another object is another metric":        {[]*hpa{reads("a", object("Deployment", "api", value("1")))}, never},
		"another kind is another metric":          {[]*hpa{reads("a", object("StatefulSet", "web", value("1")))}, never},
		"an External metric is another":           {[]*hpa{reads("a", external(value("1")))}, never},
		"namespaces are not mixed":                {[]*hpa{changed(reads("a", web(value("1"))), func(h *hpa) { h.Namespace = "bank" })}, never},
		"a high target elsewhere does not matter": {[]*hpa{reads("a", web(value("100"))), changed(reads("a", web(value("900"))), func(h *hpa) { h.Namespace = "bank" })}, 110_000},
		"another version of the kind is the same": {[]*hpa{changed(reads("a", web(value("100"))), func(h *hpa) {
			h.Spec.Metrics[0].Object.DescribedObject.APIVersion = "apps/v1beta2"
		})}, 110_000},
		"another group is another kind": {[]*hpa{changed(reads("a", web(value("100"))), func(h *hpa) {
			h.Spec.Metrics[0].Object.DescribedObject.APIVersion = "v1"
		})}, never},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			x := hpas.NewIndex()
			for _, h := range test.hpas {
				add(t, x, h)
			}
			wantLimit(t, x, ofWeb, test.limit)
		})
	}
}

func TestAnExternalMetricHasItsOwnTargets(t *testing.T) {
	both := autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: quantity("7"), AverageValue: quantity("100")}
	for name, test := range map[string]struct {
		target autoscalingv2.MetricTarget
		limit  int64
	}{
		"Value":                             {value("100"), 110_000},
		"AverageValue":                      {average("100"), 1_100_000},
		"AverageValue goes before its type": {both, 1_100_000},
	} {
		t.Run(name, func(t *testing.T) {
			x := hpas.NewIndex()
			add(t, x, reads("a", external(test.target)))
			wantLimit(t, x, ofQueue, test.limit)
			wantLimit(t, x, ofWeb, never)
		})
	}
}

func TestANamespaceIsAlwaysTheHPAsOwn(t *testing.T) {
	x := hpas.NewIndex()
	h := reads("a", object("Namespace", "bank", value("100")))
	h.Spec.Metrics[0].Object.DescribedObject.APIVersion = "v1"
	add(t, x, h)
	if !x.Exceeds(metric.NamespaceClaim("shop", "m"), "Namespace", 110_001) || x.Exceeds(metric.NamespaceClaim("shop", "m"), "Namespace", 110_000) {
		t.Error("the HPA reads its own namespace")
	}
	if x.Exceeds(metric.NamespaceClaim("bank", "m"), "Namespace", never) {
		t.Error("the HPA reads no other namespace")
	}
}

func TestTheIndexFollowsWhatHappens(t *testing.T) {
	x := hpas.NewIndex()
	first := add(t, x, reads("a", web(value("100"))))
	second := add(t, x, reads("b", web(value("300"))))
	wantLimit(t, x, ofWeb, 330_000)

	edited := stripped(t, reads("b", web(value("200")), external(value("50"))))
	x.OnUpdate(second, edited)
	wantLimit(t, x, ofWeb, 220_000)
	wantLimit(t, x, ofQueue, 55_000)

	elsewhere := stripped(t, reads("b", external(value("50"))))
	x.OnUpdate(edited, elsewhere)
	wantLimit(t, x, ofWeb, 110_000)

	x.OnDelete(elsewhere)
	wantLimit(t, x, ofQueue, never)
	x.OnDelete(cache.DeletedFinalStateUnknown{Key: "shop/a", Obj: first})
	wantLimit(t, x, ofWeb, never)

	again := add(t, x, reads("a", web(average("1"))))
	wantLimit(t, x, ofWeb, 11_000)
	scaled := stripped(t, changed(reads("a", web(average("1"))), replicas(10, 40)))
	x.OnUpdate(again, scaled)
	wantLimit(t, x, ofWeb, 44_000)
	x.OnDelete("nonsense")
	x.OnAdd(nil, false)
	wantLimit(t, x, ofWeb, 44_000)
}

// TestAnHPAThatWentWhileTheWatchWasCutOffIsForgotten reads the list anew, as a watch does then.
func TestAnHPAThatWentWhileTheWatchWasCutOffIsForgotten(t *testing.T) {
	x := hpas.NewIndex()
	queue := cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{KnownObjects: x, Transformer: hpas.Strip})
	list := func(events int, all ...any) {
		t.Helper()
		if err := queue.Replace(all, "7"); err != nil {
			t.Fatal(err)
		}
		for range events {
			if _, err := queue.Pop(x.Process); err != nil {
				t.Fatal(err)
			}
		}
	}
	list(2, reads("a", web(value("100"))), reads("b", web(value("300"))))
	wantLimit(t, x, ofWeb, 330_000)
	list(2, reads("a", web(value("200"))))
	wantLimit(t, x, ofWeb, 220_000)
	if err := x.Process("nonsense", false); err == nil {
		t.Error("what is no event is taken in")
	}
}

// TestAnUpdateWithNothingNewCostsNextToNothing: the controller writes the status of each of 10,000 HPAs every 15 s.
func TestAnUpdateWithNothingNewCostsNextToNothing(t *testing.T) {
	x := hpas.NewIndex()
	before := add(t, x, reads("a", web(average("100")), external(value("1"))))
	after := stripped(t, changed(reads("a", web(average("100")), external(value("1"))), func(h *hpa) {
		h.ResourceVersion, h.Status.LastScaleTime = "8", &metav1.Time{}
	}))
	if got := testing.AllocsPerRun(100, func() { x.OnUpdate(before, after) }); got > 6 {
		t.Errorf("it takes %v allocations", got)
	}
	wantLimit(t, x, ofWeb, 1_100_000)
	wantLimit(t, x, ofQueue, 1_100)
}

func TestEventsAndQuestionsAtTheSameTime(t *testing.T) {
	x := hpas.NewIndex()
	var hands sync.WaitGroup
	for hand := range 4 {
		hands.Go(func() {
			for i := range 300 {
				h := reads(fmt.Sprint(hand), web(average(fmt.Sprint(1+i))))
				x.OnAdd(h, false)
				x.Exceeds(ofWeb, "Deployment", int64(i))
				x.OnDelete(h)
			}
		})
	}
	hands.Wait()
	wantLimit(t, x, ofWeb, never)
}

func TestStripKeepsTheWishesAndNothingElse(t *testing.T) {
	full := changed(reads("a", ofPods(average("1")), web(value("100"))), tolerating("0.5"))
	full.Labels, full.ManagedFields = map[string]string{"a": "b"}, []metav1.ManagedFieldsEntry{{Manager: "m"}}
	full.Spec.Behavior.ScaleDown = &autoscalingv2.HPAScalingRules{}
	want := &hpa{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a", UID: "uid", ResourceVersion: "7"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			Metrics:  []autoscalingv2.MetricSpec{web(value("100"))},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{Tolerance: quantity("0.5")}},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 10, DesiredReplicas: 10,
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}},
		},
	}
	once := stripped(t, full)
	if !reflect.DeepEqual(once, want) {
		t.Errorf("got %+v", once)
	}
	if twice := stripped(t, once); !reflect.DeepEqual(twice, want) {
		t.Errorf("stripped twice: %+v", twice)
	}
	other := reads("cpu", ofPods(average("1")))
	if got := stripped(t, other); got.Spec.Metrics != nil || got.Status.Conditions != nil {
		t.Errorf("of an HPA that reads nothing of ours it keeps %+v", got)
	}
}

// BenchmarkMemoryOfHPAs tells what an HPA costs.
func BenchmarkMemoryOfHPAs(b *testing.B) {
	const many = 10_000
	for b.Loop() {
		before := heap()
		x := hpas.NewIndex()
		for i := range many {
			h := reads(fmt.Sprintf("hpa-of-an-app-%d", i), object("Deployment", fmt.Sprintf("an-app-%d", i), value("100")))
			h.UID, h.Namespace = "0b1ff3cd-1c8c-4b6a-a8a5-8b0b0a0a0a0a", fmt.Sprintf("team-%d", i%500)
			add(b, x, h)
		}
		b.ReportMetric(float64(heap()-before)/many, "B/HPA")
		runtime.KeepAlive(x)
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func BenchmarkAnUpdateWithNothingNew(b *testing.B) {
	x := hpas.NewIndex()
	before := add(b, x, reads("a", web(average("100"))))
	after := before.DeepCopy()
	b.ReportAllocs()
	for b.Loop() {
		x.OnUpdate(before, after)
	}
}
