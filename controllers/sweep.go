package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
)

const (
	// refresh is how often a status shows newer figures while nothing else changes, of up to refresh/pace bindings. Beyond that
	// it takes longer: one binding is looked at per pace, whatever their number.
	refresh = 30 * time.Second
	// pace takes less than half of what may be written.
	pace = 500 * time.Millisecond
	// refreshTimeout bounds the request of one refresh.
	refreshTimeout = 10 * time.Second
)

// Board is what a Sweep needs of the registry.
type Board interface {
	// Recheck tells of the bindings whose standing has changed with time alone.
	Recheck()
	// After is the binding that comes after another one in some order, which begins anew at its end, and how many there are.
	After(types.NamespacedName) (next types.NamespacedName, count int)
}

// Refresher shows newer figures of a binding if there is room.
type Refresher interface {
	Refresh(context.Context, types.NamespacedName) error
}

// Sweep looks at bindings that nobody tells of: at all of them for samples that got too old, and at one after the other for
// newer figures. No binding has a timer, so that ten thousand cost what ten do.
type Sweep struct {
	Clock    clock.WithTicker
	Leader   Leader
	Board    Board
	Statuses Refresher

	last types.NamespacedName
	due  time.Duration // grows by pace for every binding; when it is a whole refresh, one binding is due
}

// NeedLeaderElection tells the manager to run the sweep on every replica; those that do not lead do nothing.
func (s *Sweep) NeedLeaderElection() bool { return false }

// Start sweeps until the context ends.
func (s *Sweep) Start(ctx context.Context) error {
	ticker := s.Clock.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			s.Tick(ctx)
		}
	}
}

// Tick is what is done once per pace.
func (s *Sweep) Tick(ctx context.Context) {
	if !s.Leader.Leads() {
		return
	}
	s.Board.Recheck()
	next, count := s.Board.After(s.last)
	if s.due += min(refresh, time.Duration(count)*pace); s.due < refresh {
		return
	}
	s.due -= refresh
	s.last = next
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if err := s.Statuses.Refresh(ctx, next); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "A status could not be refreshed", "binding", next)
	}
}
