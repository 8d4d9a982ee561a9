package controllers

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// WritesPerSecond bounds the writes of status and Events, of all bindings and connections together. Twice as many may be
// written at once after a pause.
const WritesPerSecond = 5

// longestTurn bounds a wait for a turn. Few wait at a time, a worker of each controller and the Events of connections, so a
// turn that would take longer is a mistake.
const longestTurn = time.Minute

// Use is what a write is for that may be left out: the share of the burst that has to be free for it. While Events wait they
// keep less than that of figures free, so figures wait for Events, and both wait for what has to be written.
type Use float64

// What may be left out.
const (
	Telling Use = 0.5 // Events, and other words for the same standing
	Figures Use = 0.8 // newer figures, and how often an Event was repeated
)

// Budget is shared by all who write status or Events. Status is not a transport: what it costs the API server does not depend
// on how many bindings there are. Make one with NewBudget.
type Budget struct {
	clock   clock.Clock
	limiter *rate.Limiter
}

// NewBudget returns a budget of writes per second, of which burst may be made at once after a pause.
func NewBudget(clock clock.Clock, perSecond rate.Limit, burst int) *Budget {
	return &Budget{clock: clock, limiter: rate.NewLimiter(perSecond, burst)}
}

// Wait waits for the turn of a write that has to be made: first come, first served. The error says that the context has ended.
func (b *Budget) Wait(ctx context.Context) error {
	now := b.clock.Now()
	turn := b.limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait > longestTurn {
		turn.CancelAt(now)
		return fmt.Errorf("a turn to write takes %s", wait)
	}
	if wait == 0 {
		return nil
	}
	timer := b.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		turn.CancelAt(b.clock.Now())
		return fmt.Errorf("waiting for a turn to write: %w", ctx.Err())
	}
}

// Spare takes a write that may as well be left out, while as much of the burst is free as its use leaves to those that matter
// more.
func (b *Budget) Spare(leaves Use) bool {
	now := b.clock.Now()
	return b.limiter.TokensAt(now) >= float64(b.limiter.Burst())*float64(leaves) && b.limiter.AllowN(now, 1)
}
