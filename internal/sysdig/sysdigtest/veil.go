package sysdigtest

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Veil changes what queries see of some points. What is stored stays: when the veil is lifted, the points show as if they had
// come late.
type Veil struct {
	// Covers picks series by their labels; nil covers all.
	Covers func(labels.Labels) bool
	// From and Until bound the timestamps that are covered: From is the first, Until the first that is not. A zero Until
	// covers all that follow.
	From, Until time.Time
	// Zero shows 0 in place of the covered points, which are hidden otherwise.
	Zero bool
}

// SetVeils puts veils in place of those set before. Without arguments it lifts all.
func (s *Store) SetVeils(all ...Veil) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.veils = slices.Clone(all)
}

// Forget drops all points.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byKey)
	clear(s.byName)
}

// veiled is what is seen of some points of a series. It writes to none of them.
func (v view) veiled(lset labels.Labels, points []point) []point {
	for _, veil := range v.veils {
		if veil.Covers == nil || veil.Covers(lset) {
			points = veil.over(points)
		}
	}
	return points
}

func (v Veil) over(points []point) []point {
	first, _ := search(points, v.From.UnixMilli())
	last := len(points)
	if !v.Until.IsZero() {
		last, _ = search(points, v.Until.UnixMilli())
	}
	if first >= last {
		return points
	}
	points = slices.Clone(points)
	if !v.Zero {
		return slices.Delete(points, first, last)
	}
	for i := first; i < last; i++ {
		points[i].v = 0
	}
	return points
}
