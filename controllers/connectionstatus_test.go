package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestOnlyConditionsOfAConnectionAreUrgent(t *testing.T) {
	ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Connected", Message: "all is well", ObservedGeneration: 1}
	with := func(change func(*metav1.Condition)) []metav1.Condition {
		c := ready
		change(&c)
		return []metav1.Condition{c}
	}
	for name, test := range map[string]struct {
		after []metav1.Condition
		want  bool
	}{
		"nothing":            {with(func(*metav1.Condition) {}), false},
		"words":              {with(func(c *metav1.Condition) { c.Message = "still" }), false},
		"the status":         {with(func(c *metav1.Condition) { c.Status = metav1.ConditionFalse }), true},
		"the reason":         {with(func(c *metav1.Condition) { c.Reason = "Unavailable" }), true},
		"the generation":     {with(func(c *metav1.Condition) { c.ObservedGeneration = 2 }), true},
		"another condition":  {append(with(func(*metav1.Condition) {}), metav1.Condition{Type: "Accepted"}), true},
		"one condition less": {nil, true},
	} {
		if got := changed([]metav1.Condition{ready}, test.after); got != test.want {
			t.Errorf("%s: urgent %v", name, got)
		}
	}
}

func TestNewerFiguresOfAConnectionAreWrittenOncePerRefresh(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	r := &ConnectionStatusReconciler{Clock: clk, Writes: NewBudget(clk, WritesPerSecond, 2*WritesPerSecond)}
	writes := map[string]int{}
	for range 5 * refresh / time.Second {
		for _, name := range []string{"default", "other"} {
			if r.mayRefresh(name) {
				writes[name]++
			}
		}
		clk.Step(time.Second)
	}
	if writes["default"] != 5 || writes["other"] != 5 {
		t.Errorf("%v writes in %s", writes, 5*refresh)
	}
	for n := 0; n < 99 && r.Writes.Spare(Telling); n++ {
		continue
	}
	if r.mayRefresh("third") {
		t.Error("it was written although there is no room")
	}
}
