package poller

import (
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// settle is how long after a point should have arrived it is asked for.
	settle = 500 * time.Millisecond
	// apart is by how much replicas miss each other when the interval is too short to be shared out.
	apart = time.Second
)

// Share is this replica's part of what all replicas do together.
type Share struct {
	// Rank is the place of this replica among Count live ones, from 0.
	Rank, Count int
}

// Alone is the share of the only replica.
func Alone() Share { return Share{Count: 1} }

// grid is when the rounds of a connection begin: at multiples of the interval, each moved to just after the moment at which the
// newest point should have arrived, so that no round asks for a point that has been there for long.
type grid struct{ interval, phase time.Duration }

// newGrid is the grid of one replica. lag is how long after its time, read as one of our clock, a point arrives. Replicas are
// staggered by whole points, so that each stays right behind the points.
func newGrid(interval, lag time.Duration, share Share) grid {
	stagger := (interval * time.Duration(share.Rank) / time.Duration(share.Count)).Truncate(metric.Step)
	return grid{interval: interval, phase: lag + settle + stagger + time.Duration(share.Rank)*apart%metric.Step}
}

// after is when the first round after a time begins.
func (g grid) after(t time.Time) time.Time {
	for n := t.Add(-g.phase).UnixNano()/int64(g.interval) - 1; ; n++ {
		if slot := time.Unix(0, n*int64(g.interval)).UTC().Truncate(metric.Step).Add(g.phase); slot.After(t) {
			return slot
		}
	}
}

// point is the first moment, at a time or after it, at which a new point should have arrived.
func (g grid) point(t time.Time) time.Time {
	arrived := t.Add(-g.phase).Truncate(metric.Step).Add(g.phase)
	if arrived.Before(t) {
		return arrived.Add(metric.Step)
	}
	return arrived
}
