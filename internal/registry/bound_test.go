package registry_test

import (
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// scaler is an HPA of namespace shop that reads the metric m of Service web as a Value.
func scaler(name, target string) *autoscalingv2.HorizontalPodAutoscaler {
	quantity := resource.MustParse(target)
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
				Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &quantity},
				Metric:          autoscalingv2.MetricIdentifier{Name: "m"},
			},
		}}},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{
			CurrentReplicas: 10, DesiredReplicas: 10,
			Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}},
		},
	}
}

// with lets the board know HPAs, and returns what knows them.
func (b *board) with(scalers ...*autoscalingv2.HorizontalPodAutoscaler) *hpas.Index {
	x := hpas.NewIndex()
	for _, one := range scalers {
		x.OnAdd(one, false)
	}
	b.ServeBoundsTo(x)
	return x
}

// partial files that an answer sees too little, and what the true value is not below.
func (b *board) partial(q query.Question, bound float64) {
	b.t.Helper()
	now := b.clk.Now()
	b.File([]query.Outcome{{Question: q, Reading: metric.Reading{
		Failure: metric.Failf(metric.Partial, "4 of 10 pods are seen"), Floor: b.sample(bound, now), Asked: now, Attempted: now,
	}}})
}

// TestALowerBoundIsServedWhereItScalesUpOnly plays what may be served of a bound of 200, after a sample of 50 that is as old as
// the case says.
func TestALowerBoundIsServedWhereItScalesUpOnly(t *testing.T) {
	const nothing = -1
	for name, test := range map[string]struct {
		scalers []*autoscalingv2.HorizontalPodAutoscaler
		sample  float64       // that came before the bound
		age     time.Duration // of the sample
		then    func(*board, query.Definition)
		change  func(*query.Definition)
		series  labels.Selector
		value   float64 // nothing: the reason
		reason  metric.Reason
	}{
		"every HPA scales up": {scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100"), scaler("b", "180")}, age: time.Hour, value: 200},
		// The control: 200 / 300 is below the target, so the HPA would shrink from 10 pods to 7, and the truth may be 400.
		"one HPA would scale down": {scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100"), scaler("b", "300")}, age: time.Hour, value: nothing, reason: metric.Partial},
		"one HPA would do nothing": {scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "190")}, age: time.Hour, value: nothing, reason: metric.Partial},
		"no HPA is known":          {age: time.Hour, value: nothing, reason: metric.Partial},
		"a lower sample that is fresh waits behind it": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, sample: 50, age: time.Minute, value: 200,
		},
		"a higher sample that is fresh goes first": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, sample: 250, age: time.Minute, value: 250,
		},
		"a lower sample that is fresh is served when the bound is not": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "300")}, sample: 50, age: time.Minute, value: 50,
		},
		"it is too old": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			then: func(b *board, _ query.Definition) { b.clk.Step(maxAge + 1) }, value: nothing, reason: metric.Partial,
		},
		"it is as old as it may be": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			then: func(b *board, _ query.Definition) { b.clk.Step(maxAge) }, value: 200,
		},
		"the binding is suspended": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			change: func(d *query.Definition) { d.Policy.Suspended = true }, value: nothing, reason: metric.Suspended,
		},
		"the HPA picks among the series": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour, series: parse("path=index"), value: nothing, reason: metric.Partial,
		},
		"a newer attempt failed for another reason": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			then: func(b *board, d query.Definition) { b.fail(d.Question, metric.Unavailable) }, value: nothing, reason: metric.Unavailable,
		},
		"a newer answer is whole": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			then: func(b *board, d query.Definition) { b.clk.Step(time.Second); b.answer(d.Question, 120) }, value: 120,
		},
		"a newer answer is Partial and has none": {
			scalers: []*autoscalingv2.HorizontalPodAutoscaler{scaler("a", "100")}, age: time.Hour,
			then: func(b *board, d query.Definition) { b.fail(d.Question, metric.Partial) }, value: nothing, reason: metric.Partial,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, d := newBoard(t), define("a")
			if test.change != nil {
				test.change(&d)
			}
			b.with(test.scalers...)
			b.Put(d)
			b.answer(d.Question, test.sample)
			b.clk.Step(test.age)
			b.partial(d.Question, 200)
			if test.then != nil {
				test.then(b, d)
			}
			_, sample, failure, known := b.Serve(m(services, "web"), test.series)
			switch {
			case !known:
				t.Fatal("nobody claims it")
			case test.value == nothing && (failure == nil || failure.Reason != test.reason):
				t.Errorf("got %v, %v; want %s", sample, failure, test.reason)
			case test.value != nothing && (failure != nil || sample.Value != test.value):
				t.Errorf("got %v, %v; want %v", sample, failure, test.value)
			}
		})
	}
}

func TestTargetsAreLookedAtAtEachRead(t *testing.T) {
	b, d := newBoard(t), define("a")
	x := b.with(scaler("a", "100"))
	b.Put(d)
	b.partial(d.Question, 200)
	b.wantValue(d.Claim, 200)
	x.OnUpdate(scaler("a", "100"), scaler("a", "300"))
	b.wantReason(d.Claim, metric.Partial)
	x.OnUpdate(scaler("a", "300"), scaler("a", "150"))
	b.wantValue(d.Claim, 200)
	x.OnDelete(scaler("a", "150"))
	b.wantReason(d.Claim, metric.Partial)
}

func TestWithoutAnIndexOfHPAsNoBoundIsServed(t *testing.T) {
	b, d := newBoard(t), define("a")
	b.Put(d)
	b.partial(d.Question, 200)
	b.wantReason(d.Claim, metric.Partial)
}

// TestALowerBoundOfOneObjectOfASet is about Services: by name a bound is served, and a list leaves the object out.
func TestALowerBoundOfOneObjectOfASet(t *testing.T) {
	b, d := newBoard(t), define("a", all(services, "app=web"))
	b.world.put(services, "web", labels.Set{"app": "web"})
	b.world.put(services, "api", labels.Set{"app": "web"})
	b.with(scaler("a", "100"))
	b.Put(d)
	b.foundAs(d.Question, map[string]query.Found{
		"web": {Failure: metric.Failf(metric.Partial, "too few"), Floor: b.sample(200, b.clk.Now())},
		"api": {Sample: b.sample(7, b.clk.Now())},
	})
	b.wantValue(m(services, "web"), 200)
	b.wantValue(m(services, "api"), 7)
	b.wantList(services, "app=web", "api=7")
	b.wantStanding(d, "1/2", metric.Partial)

	b.fail(d.Question, metric.Partial) // of the whole: nothing was learned of the objects, and their bounds are of before
	b.wantReason(m(services, "web"), metric.Partial)
}

// TestAStandingDoesNotFlapWithTheReplicasOfAnHPA: a condition tells what was served when the last answer came.
func TestAStandingDoesNotFlapWithTheReplicasOfAnHPA(t *testing.T) {
	b, d := newBoard(t), define("a")
	x := b.with(scaler("a", "100"))
	b.Put(d)
	b.partial(d.Question, 200)
	b.told = nil
	want := func(served bool) {
		t.Helper()
		s, _ := b.Standing(d.Binding)
		if s.Served != served || s.Bounded != served || s.Failure == nil || s.Failure.Reason != metric.Partial {
			t.Fatalf("served %t, bounded %t, %v; want served %t and Partial", s.Served, s.Bounded, s.Failure, served)
		}
		if served && (s.Sample.Value != 200 || !s.Until.Equal(b.clk.Now().Add(maxAge))) {
			t.Errorf("%v is served until %s", s.Sample.Value, s.Until)
		}
	}
	want(true)

	x.OnUpdate(scaler("a", "100"), scaler("a", "300"))
	b.Recheck()
	want(true)
	b.wantTold()

	b.clk.Step(time.Minute)
	b.partial(d.Question, 200)
	want(false)
	b.wantTold("a")
	x.OnUpdate(scaler("a", "300"), scaler("a", "100"))
	b.partial(d.Question, 200)
	want(true)
	b.wantTold("a")

	b.clk.Step(maxAge + 1)
	b.Recheck()
	want(false)
	b.wantTold("a")
}

func TestABindingThatIsEditedKeepsItsBound(t *testing.T) {
	b, d := newBoard(t), define("a")
	b.with(scaler("a", "100"))
	b.Put(d)
	b.partial(d.Question, 200)
	d.Generation++
	b.Put(d)
	if s, _ := b.Standing(d.Binding); !s.Bounded {
		t.Errorf("got %v, want the bound", s.Failure)
	}
}

// BenchmarkServeALowerBound reads a bound while 1,000 HPAs read it.
func BenchmarkServeALowerBound(b *testing.B) {
	board, d := newBoard(b), define("a")
	x := board.with()
	for i := range 1000 {
		x.OnAdd(scaler(appOf(i), "100"), false)
	}
	board.Put(d)
	board.partial(d.Question, 200)
	b.ReportAllocs()
	for b.Loop() {
		if _, sample, _, _ := board.Serve(d.Claim, nil); sample == nil {
			b.Fatal("no bound")
		}
	}
}

func TestServingALowerBoundAllocatesNothing(t *testing.T) {
	b, d := newBoard(t), define("a")
	b.with(scaler("a", "100"))
	b.Put(d)
	b.partial(d.Question, 200)
	if got := testing.AllocsPerRun(100, func() { b.Serve(d.Claim, nil) }); got != 0 {
		t.Errorf("a read takes %v allocations", got)
	}
}
