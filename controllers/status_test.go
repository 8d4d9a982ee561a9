package controllers

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

var now = time.Date(2033, 3, 4, 5, 6, 7, 0, time.UTC)

func binding() *v1alpha1.SysdigMetricBinding {
	return &v1alpha1.SysdigMetricBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 3}}
}

func standing(change func(*registry.Standing)) registry.Standing {
	s := registry.Standing{Definition: query.Definition{
		Claim:    metric.NamespaceClaim("shop", "web"),
		Object:   metric.Object{Kind: "Namespace", NamespacedName: types.NamespacedName{Name: "shop"}},
		Question: query.Question{Shape: query.Shape{Grain: query.Raw, PromQL: "sum(x)"}.ID()},
	}}
	change(&s)
	return s
}

// TestAnAssumedValueIsNeverRememberedAsMeasured has a status be written and read again, as after a restart.
func TestAnAssumedValueIsNeverRememberedAsMeasured(t *testing.T) {
	measured := &metric.Sample{Value: 5, Milli: 5000, Time: now.Add(-40 * time.Second), Received: now}
	assumed := &metric.Sample{Value: 7, Milli: 7000, Time: now, Received: now, Assumed: true}
	for name, test := range map[string]struct {
		served []*metric.Sample
		value  string
		// remembered is what another process believes to have been measured, in thousandths; -1 when it is nothing.
		remembered int64
	}{
		"measured":                    {[]*metric.Sample{measured}, "5", 5000},
		"assumed":                     {[]*metric.Sample{assumed}, "7", -1},
		"assumed again":               {[]*metric.Sample{assumed, assumed}, "7", -1},
		"assumed after a measurement": {[]*metric.Sample{measured, assumed, assumed}, "7", 0},
		"measured after that":         {[]*metric.Sample{assumed, measured}, "5", 5000},
	} {
		t.Run(name, func(t *testing.T) {
			b := binding()
			for _, sample := range test.served {
				b.Status, _ = decideStatus(b, standing(func(s *registry.Standing) { s.Served, s.Sample = true, sample }), now)
			}
			if got := b.Status.Observed; got.Value != test.value || got.Assumed != test.served[len(test.served)-1].Assumed {
				t.Errorf("the status shows %+v", got)
			}
			got := query.Define(b, schema.GroupResource{}).Observed
			if (got == nil) != (test.remembered < 0) || got != nil && got.Milli != test.remembered {
				t.Errorf("%+v is remembered, want %d", got, test.remembered)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	sample := &metric.Sample{Value: 12.5, Milli: 12_500, Time: now.Add(-40 * time.Second), Received: now}
	tests := map[string]struct {
		standing        registry.Standing
		accepted, ready string // reasons, with a leading - for False
		message         string
		value           string
	}{
		"a fresh sample is served": {
			standing: standing(func(s *registry.Standing) { s.Served, s.Sample = true, sample }),
			accepted: "Accepted", ready: "Serving", message: "a fresh value is served", value: "12500m",
		},
		"a fresh sample is served although the newest attempt failed": {
			standing: standing(func(s *registry.Standing) {
				s.Served, s.Sample, s.Failure, s.Until = true, sample, metric.Failf(metric.Unavailable, "HTTP 500"), now.Add(time.Minute)
			}),
			accepted: "Accepted", ready: "Serving", message: "served until 05:07:07, but the newest attempt failed: Unavailable: HTTP 500", value: "12500m",
		},
		"a failure is told with what the HPA does": {
			standing: standing(func(s *registry.Standing) { s.Failure = metric.Failf(metric.Unauthorized, "HTTP 401") }),
			accepted: "Accepted", ready: "-Unauthorized", message: "HTTP 401; reads answer an error, so HPAs leave the replicas alone",
		},
		"a refused binding is not accepted": {
			standing: standing(func(s *registry.Standing) {
				s.Failure = metric.Failf(metric.Rejected, "spec.maxAge: too short")
				s.Definition.Refused = s.Failure
			}),
			accepted: "-Rejected", ready: "-Rejected", message: "spec.maxAge: too short",
		},
		"a taken name is not accepted": {
			standing: standing(func(s *registry.Standing) {
				s.Winner, s.Failure = types.NamespacedName{Namespace: "shop", Name: "older"}, metric.Failf(metric.NameTaken, "older serves it")
			}),
			accepted: "-NameTaken", ready: "-NameTaken", message: "older serves it",
		},
		"a value that no HPA gets to see is not ready": {
			standing: standing(func(s *registry.Standing) {
				s.Served, s.Sample, s.NotRouted = true, sample, metric.Failf(metric.NotRouted, "HPAs reach the Service keda/adapter")
			}),
			accepted: "Accepted", ready: "-NotRouted", message: "HPAs reach the Service keda/adapter", value: "12500m",
		},
		"why there is no value goes before who would see it": {
			standing: standing(func(s *registry.Standing) {
				s.Failure, s.NotRouted = metric.Failf(metric.Unavailable, "HTTP 500"), metric.Failf(metric.NotRouted, "it is KEDA's")
			}),
			accepted: "Accepted", ready: "-Unavailable", message: "HTTP 500",
		},
		"a lower bound is ready, and says what it is": {
			standing: standing(func(s *registry.Standing) {
				s.Served, s.Bounded, s.Sample, s.Failure = true, true, sample, metric.Failf(metric.Partial, "4 of 10 pods are seen")
			}),
			accepted: "Accepted", ready: "Serving", message: "a lower bound is served while every HPA that reads it scales up on it, and an error otherwise: Partial: 4 of 10", value: "12500m",
		},
		"the value for no data follows": {
			standing: standing(func(s *registry.Standing) {
				s.Served, s.Sample, s.Failure = true, sample, metric.Failf(metric.NoData, "nothing")
				s.Definition.Policy.OnNoData = &metric.Sample{}
			}),
			accepted: "Accepted", ready: "Serving", message: "spec.onNoData", value: "12500m",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, urgent := decideStatus(binding(), test.standing, now)
			if !urgent {
				t.Error("the first status is not urgent")
			}
			for kind, want := range map[string]string{v1alpha1.ConditionAccepted: test.accepted, v1alpha1.ConditionReady: test.ready} {
				c := meta.FindStatusCondition(status.Conditions, kind)
				reason, isFalse := strings.CutPrefix(want, "-")
				if c.Reason != reason || (c.Status == metav1.ConditionFalse) != isFalse || c.ObservedGeneration != 3 {
					t.Errorf("%s is %+v, want %s", kind, c, want)
				}
			}
			if got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady).Message; !strings.Contains(got, test.message) {
				t.Errorf("the message is %q, want %q", got, test.message)
			}
			if test.value == "" {
				if status.Observed != nil {
					t.Errorf("it shows %+v", status.Observed)
				}
			} else if status.Observed == nil || status.Observed.Value != test.value || !status.Observed.Time.Time.Equal(sample.Time) {
				t.Errorf("it shows %+v, want %s", status.Observed, test.value)
			}
			asked := "sum(x)"
			if test.standing.Definition.Refused != nil {
				asked = "" // it is not
			}
			if status.Target != "Namespace/shop" || status.MetricName != "web" || status.Query != asked || !strings.HasSuffix(status.MetricPath, "/namespaces/shop/metrics/web") {
				t.Errorf("got %+v", status)
			}
		})
	}
}

func TestOnlyAChangeOfStandingIsUrgent(t *testing.T) {
	b := binding()
	first := standing(func(s *registry.Standing) { s.Served, s.Sample = true, &metric.Sample{Milli: 1000, Time: now} })
	b.Status, _ = decideStatus(b, first, now)
	newer := standing(func(s *registry.Standing) {
		s.Served, s.Sample = true, &metric.Sample{Milli: 2000, Time: now.Add(time.Minute)}
	})
	status, urgent := decideStatus(b, newer, now.Add(time.Minute))
	if urgent || status.Observed.Value != "2" {
		t.Errorf("a newer value: urgent %v, %+v", urgent, status.Observed)
	}
	if before, after := b.Status.Conditions[1].LastTransitionTime, status.Conditions[1].LastTransitionTime; !before.Equal(&after) {
		t.Errorf("the transition moved from %v to %v", before, after)
	}
	if _, urgent := decideStatus(b, standing(func(s *registry.Standing) { s.Failure = metric.Failf(metric.Stale, "old") }), now); !urgent {
		t.Error("a failure is not urgent")
	}
	b.Generation++
	if _, urgent := decideStatus(b, first, now); !urgent {
		t.Error("a new generation is not urgent")
	}
}

// TestTheObservedValueIsOfTheTargetThatIsThere: an edit may have changed the target or the unit, so that what was observed before
// says nothing any more. Without an edit it stays while there is nothing newer.
func TestTheObservedValueIsOfTheTargetThatIsThere(t *testing.T) {
	served := standing(func(s *registry.Standing) { s.Served, s.Sample = true, &metric.Sample{Milli: 1000, Time: now} })
	pending := standing(func(s *registry.Standing) { s.Failure = metric.Failf(metric.Pending, "Sysdig was not asked yet") })
	b := binding()
	b.Status, _ = decideStatus(b, served, now)
	if status, _ := decideStatus(b, pending, now); status.Observed == nil || status.Observed.Value != "1" {
		t.Errorf("without an edit it shows %+v", status.Observed)
	}
	b.Generation++
	edited, urgent := decideStatus(b, pending, now)
	if edited.Observed != nil || !urgent || edited.ObservedGeneration != b.Generation {
		t.Errorf("after an edit it shows %+v, urgent %v, of generation %d", edited.Observed, urgent, edited.ObservedGeneration)
	}
	if status, _ := decideStatus(b, served, now); status.Observed == nil || status.Observed.Value != "1" {
		t.Errorf("after an edit that leaves the value it shows %+v", status.Observed)
	}
}

// TestWhoseTheNameIsIsUrgent: of all texts, this one tells people where to look.
func TestWhoseTheNameIsIsUrgent(t *testing.T) {
	lost := func(to string) registry.Standing {
		return standing(func(s *registry.Standing) {
			s.Winner = types.NamespacedName{Namespace: "shop", Name: to}
			s.Failure = metric.Failf(metric.NameTaken, "the older binding %s serves web", to)
		})
	}
	b := binding()
	b.Status, _ = decideStatus(b, lost("oldest"), now)
	if _, urgent := decideStatus(b, lost("oldest"), now); urgent {
		t.Error("the same winner is urgent")
	}
	status, urgent := decideStatus(b, lost("older"), now)
	if accepted := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAccepted); !urgent || !strings.Contains(accepted.Message, "binding older serves") {
		t.Errorf("another winner: urgent %v, %+v", urgent, accepted)
	}
	b = binding()
	failed := func(text string) registry.Standing {
		return standing(func(s *registry.Standing) { s.Failure = metric.Failf(metric.Unavailable, "%s", text) })
	}
	b.Status, _ = decideStatus(b, failed("HTTP 500"), now)
	if _, urgent := decideStatus(b, failed("HTTP 502"), now); urgent {
		t.Error("another text of the same reason is urgent")
	}
}

// TestStatusesAreShort whatever users write: a query of thousands of characters, a selector, and messages that quote them.
func TestStatusesAreShort(t *testing.T) {
	long := strings.Repeat("é", 40_000)
	s := standing(func(s *registry.Standing) {
		s.Failure = metric.Failf(metric.Rejected, "%s", long)
		s.Definition.Claim = metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "pods"}, Selector: "app in (" + long + ")", Metric: "web"}
		s.Definition.Question.Shape = query.Shape{Grain: query.Raw, PromQL: "sum(" + long + ")"}.ID()
	})
	b := binding()
	status, urgent := decideStatus(b, s, now)
	if !urgent {
		t.Error("a first status is not urgent")
	}
	for name, test := range map[string]struct {
		text string
		most int
	}{
		"query": {status.Query, 2048}, "target": {status.Target, 512}, "metricPath": {status.MetricPath, 2048},
		"message": {meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady).Message, 1024},
	} {
		if len(test.text) > test.most || len(test.text) < test.most-50 || !strings.HasSuffix(test.text, " bytes)") || !strings.Contains(test.text, "… (shortened: ") || !utf8.ValidString(test.text) {
			t.Errorf("%s has %d bytes and ends with %q", name, len(test.text), test.text[max(0, len(test.text)-50):])
		}
	}
	stripped, err := (&Stripper{}).Strip(&v1alpha1.SysdigMetricBinding{ObjectMeta: b.ObjectMeta, Status: status})
	if err != nil {
		t.Fatal(err)
	}
	kept := stripped.(*v1alpha1.SysdigMetricBinding)
	again, urgent := decideStatus(kept, s, now)
	if recall(&kept.Status, &again); urgent || !equality.Semantic.DeepEqual(again, kept.Status) {
		t.Errorf("it would be written again: %+v", again)
	}
	if short := shortened("sum(x)", 2048); short != "sum(x)" {
		t.Errorf("a short query becomes %q", short)
	}
}

// TestNotesOfEventsAreShort enough for the API server, which refuses longer ones.
func TestNotesOfEventsAreShort(t *testing.T) {
	recorder := events.NewFakeRecorder(1)
	r := &StatusReconciler{Events: recorder}
	b := binding()
	b.Status.MetricName, b.Status.Target = strings.Repeat("m", 253), strings.Repeat("t", maxShownTarget)
	b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Rejected", Message: strings.Repeat("x", maxMessage)}}
	r.send(b, nil)
	if got := strings.TrimPrefix(<-recorder.Events, "Warning Rejected "); len(got) > 1024 || !strings.Contains(got, "shortened:") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
