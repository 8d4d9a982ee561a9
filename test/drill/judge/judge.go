// Package judge compares what happened to the replicas of a workload with what its load asked for.
package judge

import (
	"slices"
	"time"
)

// Step is a moment from which a number of replicas holds.
type Step struct {
	At       time.Time
	Replicas int32
}

// Line is a number of replicas over time, in the order of time. Before its first step it is 0.
type Line []Step

// At is the number at a moment.
func (l Line) At(at time.Time) int32 {
	replicas := int32(0)
	for _, s := range l {
		if s.At.After(at) {
			break
		}
		replicas = s.Replicas
	}
	return replicas
}

// Most is the largest number between two moments, both included.
func (l Line) Most(from, to time.Time) int32 {
	most := l.At(from)
	for _, s := range l {
		if s.At.After(from) && !s.At.After(to) {
			most = max(most, s.Replicas)
		}
	}
	return most
}

// Change is a step that was made.
type Change struct {
	At       time.Time
	From, To int32
}

// Changes are those of a line after from and not after to.
func (l Line) Changes(from, to time.Time) []Change {
	var all []Change
	for i := 1; i < len(l); i++ {
		if s, before := l[i], l[i-1]; s.At.After(from) && !s.At.After(to) && s.Replicas != before.Replicas {
			all = append(all, Change{At: s.At, From: before.Replicas, To: s.Replicas})
		}
	}
	return all
}

// Wrong are the changes between two moments that took replicas away which the load needed at some moment of the stabilisation
// window before: what an HPA with true values never does.
func Wrong(needed, had Line, from, to time.Time, stabilization time.Duration) []Change {
	return slices.DeleteFunc(had.Changes(from, to), func(c Change) bool {
		return c.To >= c.From || c.To >= needed.Most(c.At.Add(-stabilization), c.At)
	})
}

// Rise tells how long the replicas took to follow a load that rose. The time is counted from when it could be known, which is
// rose or later; it is 0 when they followed before, or had enough anyway. followed is false when they did not until to.
func Rise(had Line, needs int32, rose, known, to time.Time) (delay time.Duration, followed bool) {
	if had.At(rose) >= needs {
		return 0, true
	}
	return first(had.Changes(rose, to), known, func(c Change) bool { return c.To > c.From })
}

// Fall tells how long the replicas took to become fewer than a load needed until it fell. followed is false when they did not until
// to.
func Fall(had Line, needed int32, fell, to time.Time) (delay time.Duration, followed bool) {
	return first(had.Changes(fell, to), fell, func(c Change) bool { return c.To < needed })
}

func first(all []Change, since time.Time, is func(Change) bool) (time.Duration, bool) {
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return 0, false
	}
	return max(0, all[i].At.Sub(since)), true
}
