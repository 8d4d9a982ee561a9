package controllers

import (
	"context"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// TestABudgetBoundsEveryWindow takes all that there is, whenever there is some, for a minute.
func TestABudgetBoundsEveryWindow(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	budget := NewBudget(clk, 5, 10)
	var taken []time.Time
	for range 600 {
		for budget.limiter.TokensAt(clk.Now()) >= 1 {
			if err := budget.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			taken = append(taken, clk.Now())
		}
		clk.Step(100 * time.Millisecond)
	}
	if len(taken) < 10+5*59 {
		t.Errorf("only %d writes in a minute", len(taken))
	}
	for i, from := range taken {
		for j, to := range taken[i:] {
			if most := 10 + 5*to.Sub(from).Seconds(); float64(j+1) > most+0.001 {
				t.Fatalf("%d writes in %s", j+1, to.Sub(from))
			}
		}
	}
}

func TestSpareWritesLeaveHalfOfTheBurst(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	budget := NewBudget(clk, 5, 10)
	spare := 0
	for ; spare < 99 && budget.Spare(Figures); spare++ {
		continue
	}
	if spare != 3 { // with eight left there is room for one more
		t.Errorf("%d writes were spare for figures", spare)
	}
	for ; spare < 99 && budget.Spare(Telling); spare++ {
		continue
	}
	if spare != 6 {
		t.Errorf("%d writes were spare", spare)
	}
	for range 4 {
		if err := budget.Wait(t.Context()); err != nil { // does not wait: the fake clock would never wake it
			t.Fatal(err)
		}
	}
	if clk.HasWaiters() {
		t.Error("it has waited")
	}
	if clk.Step(900 * time.Millisecond); budget.Spare(Telling) {
		t.Error("a spare write came before half of the burst was free again")
	}
	if clk.Step(100 * time.Millisecond); !budget.Spare(Telling) {
		t.Error("no spare write although half of the burst is free")
	}
}

// TestFiguresWaitForEvents: while Events wait, and ask each at its own time, figures get nothing.
func TestFiguresWaitForEvents(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	budget := NewBudget(clk, 5, 10)
	events, figures := 0, 0
	for range 600 {
		if budget.Spare(Figures) && events > 0 {
			figures++
		}
		for n := 0; n < 99 && budget.Spare(Telling); n++ {
			events++
		}
		clk.Step(100 * time.Millisecond)
	}
	if events < 5*59 || figures > 0 {
		t.Errorf("%d Events and %d figures were written in a minute", events, figures)
	}
}

// TestATurnComesInTime: whoever waits has the next write that there is, and nothing is spare meanwhile.
func TestATurnComesInTime(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	budget := NewBudget(clk, 5, 1)
	first := make(chan error, 1)
	if err := budget.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { first <- budget.Wait(t.Context()) }()
	waitFor(t, "somebody who waits for a turn", clk.HasWaiters)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := budget.Wait(ctx); err == nil {
		t.Error("a wait outlives its context")
	}
	clk.Step(199 * time.Millisecond)
	if budget.Spare(Telling) {
		t.Error("a spare write took somebody's turn")
	}
	select {
	case <-first:
		t.Error("a turn came too early")
	default:
	}
	clk.Step(time.Millisecond)
	if err := <-first; err != nil {
		t.Error(err)
	}
	slow := NewBudget(clk, 0.01, 1)
	if err := slow.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slow.Wait(t.Context()); err == nil {
		t.Error("a turn in 100 s was waited for")
	}
}

// hangs is when something is taken for hanging.
const hangs = 2 * time.Minute

// waitFor waits until a goroutine has come to where it waits for the fake clock, or has done what it does before.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for started := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(started) > hangs {
			t.Fatalf("after %s: not yet %s", hangs, what)
		}
	}
}

// within waits for the end of something, and fails the test when that never comes.
func within(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(hangs):
		t.Fatalf("after %s: it has not ended", hangs)
		return nil
	}
}
