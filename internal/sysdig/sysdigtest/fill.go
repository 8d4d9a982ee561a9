package sysdigtest

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Fill appends one point per [Interval], aligned to it, for every timestamp from from to to, both inclusive.
func Fill(s *Store, lset map[string]string, from, to time.Time, value func(t time.Time) float64) {
	first := from.Truncate(Interval)
	if first.Before(from) {
		first = first.Add(Interval)
	}
	var points []point
	for t := first; !t.After(to); t = t.Add(Interval) {
		points = append(points, point{t.UnixMilli(), value(t)})
	}
	s.append(labels.FromMap(lset), points...)
}
