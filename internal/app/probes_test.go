package app

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestWhoLeavesDoesNotEndTheCheckOfOthers(t *testing.T) {
	began, end := make(chan struct{}, 2), make(chan struct{})
	wrong := errors.New("not yet")
	check := together(func(ctx context.Context) error {
		began <- struct{}{}
		<-end
		return errors.Join(wrong, ctx.Err())
	})
	var all sync.WaitGroup
	defer all.Wait()
	first, leave := context.WithCancel(t.Context())
	all.Go(func() { _ = check(first) })
	<-began
	leave() // what it shares goes on without it
	answers := make(chan error, 2)
	all.Go(func() { answers <- check(t.Context()) })
	close(end)
	// The second shares the check, or comes when it is over and has one of its own.
	if err := <-answers; !errors.Is(err, wrong) || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want what the check found", err)
	}
}

// TestACheckEnds lets one hang that ends with its context only.
func TestACheckEnds(t *testing.T) {
	check := together(func(ctx context.Context) error {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > checkTime {
			return errors.New("it may take longer")
		}
		return nil
	})
	if err := check(t.Context()); err != nil {
		t.Error(err)
	}
}
