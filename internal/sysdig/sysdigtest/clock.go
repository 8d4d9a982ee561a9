package sysdigtest

import (
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Skewed is a clock that is wrong by a constant until it is set: a server whose [Options] have it lives in its time, with its
// points, its ingestion lag and the Date of its answers. It is safe for concurrent use.
type Skewed struct {
	clock.Clock
	ahead atomic.Int64
}

// NewSkewed returns a clock that is ahead of another one; behind when ahead is negative.
func NewSkewed(of clock.Clock, ahead time.Duration) *Skewed {
	s := &Skewed{Clock: of}
	s.Set(ahead)
	return s
}

// Set changes how far the clock is ahead, as setting a clock does.
func (s *Skewed) Set(ahead time.Duration) { s.ahead.Store(int64(ahead)) }

// Now implements [clock.PassiveClock].
func (s *Skewed) Now() time.Time { return s.Clock.Now().Add(time.Duration(s.ahead.Load())) }

// Since implements [clock.PassiveClock].
func (s *Skewed) Since(t time.Time) time.Duration { return s.Now().Sub(t) }
