package query

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// This file tells a row of which Sysdig holds points, but too few to make a value of them, from one of which it holds nothing. The first is
// a window that is too short for the distance of the points, and must not be answered by onNoData.

const (
	// fewPart begins the marks of the rows that hold how many points there are where no value could be made of them.
	fewPart = "few"
	// shortWindow is up to where the points of a window may be further apart than it is long: scrape intervals of a minute are usual.
	shortWindow = time.Minute
	// missedPoints is how many distances of points a series may be silent before it counts as one that has stopped.
	missedPoints = 2
)

// needs is how many points within its window a typed shape takes to make a value, where there may be fewer although nothing is wrong with
// the series; 0 where there are always enough.
func (s Shape) needs() int {
	switch {
	case s.Cumulative && (s.Time == v1alpha1.TimeRate || s.Time == v1alpha1.TimeSum):
		return 2
	case s.Window < shortWindow:
		return 1
	}
	return 0
}

// needsOf is how many points a PromQL function takes within its range, where there may be fewer; 0 where there are always enough.
func needsOf(function string, window time.Duration) int {
	switch function {
	case "rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear":
		return 2
	}
	if window < shortWindow {
		return 1
	}
	return 0
}

// fewPoints is a vector of how many points there are within the lookback, per row, of those rows no series of which has as many points
// in a range as it takes. In most answers it is empty.
func fewPoints(selector, row, part string, window time.Duration, need int) string {
	const counted = "max by (%s) (count_over_time(%s[%s]))"
	within := fmt.Sprintf(counted, row, selector, model.Duration(lookback))
	return mark(fmt.Sprintf("%s unless "+counted+" >= %d", within, row, selector, model.Duration(window), need), part)
}

// silence is a row without a value, of which there are points.
type silence struct {
	// newest is when the last of them was measured, by Sysdig's clock, and points how many there are within the lookback.
	newest time.Time
	points int
}

// distance is about how far its points are apart. That of one point is not known: it may be the first of any.
func (s silence) distance() time.Duration {
	return (lookback / time.Duration(max(s.points, 1))).Round(time.Second)
}

// hush files the rows that have too few points and no value, by their objects. A series that has been silent for longer than its points
// are apart has stopped: of that there is no data. asked is the time that the query was evaluated for.
func (t *table) hush(few map[rowKey]int, valued map[rowKey]*row, asked time.Time) {
	for key, points := range few {
		newest, dated := t.time(key)
		s := silence{newest, points}
		if valued[key] != nil || !dated || asked.Sub(newest) > missedPoints*s.distance()+metric.Step {
			continue
		}
		object := t.shape.objectKey(key)
		if t.silent == nil {
			t.silent = map[rowKey]silence{}
		}
		if known, ok := t.silent[object]; !ok || s.newest.After(known.newest) {
			t.silent[object] = s
		}
	}
}

// tooFew is why an object without a value has none although Sysdig holds points of it; nil when it holds none.
func (r reader) tooFew(objects ...rowKey) *metric.Failure {
	for _, object := range objects {
		if s, ok := r.table.silent[object]; ok {
			return s.failure(r.table.shape, r.attempt.At)
		}
	}
	return nil
}

// failure says what to edit.
func (s silence) failure(of Shape, asked time.Time) *metric.Failure {
	field, window := "spec.source.metric.window", fmt.Sprintf("the window of %s", model.Duration(of.Window))
	if of.Grain == Raw {
		field, window = "the range in spec.source.promQL.query", "a range of the query"
	}
	if s.points > 1 {
		need := (2*s.distance() + metric.Step - 1).Truncate(metric.Step)
		return metric.Failf(metric.TooFewPoints, "Sysdig has a point every %s or so, which are too few in %s to make a value of; set %s to two scrape intervals or more, such as %s",
			model.Duration(s.distance()), window, field, model.Duration(need))
	}
	return metric.Failf(metric.TooFewPoints, "Sysdig has one point, %s old, which is too few in %s to make a value of; when it stays so, set %s to two scrape intervals or more",
		model.Duration(max(asked.Sub(s.newest), 0).Round(time.Second)), window, field)
}
