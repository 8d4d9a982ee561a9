package registry

import (
	"math"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// remembered is how far back values may have made an HPA ask for the replicas that it has: its longest stabilization
// (behavior.scaleDown.stabilizationWindowSeconds), and the longest for which a sample is served.
const remembered = time.Hour + longestMaxAge

// gap is what is remembered of the values that were believed last, until others can be. A window that ends after a gap still holds
// what was told in it: zeroes, or nothing. An HPA does not stabilise what it reads after errors, so the first low value acts at once.
type gap struct {
	// highs are the highest values of several objects: since a time, and for as long as is remembered before that.
	highs [2]heights
	since time.Time
	// good is the time that the last value was asked about.
	good time.Time
	// last is the time that the last attempt after that was asked about that told nothing or was not believed; zero: none was.
	last time.Time
	// back is the time of the newest point that the first attempt after those has told of; zero: none has.
	back time.Time
}

// maxHeights is of how many objects heights are remembered, in one of their two parts. An object may be what a tenant calls a series.
const maxHeights = 10_000

// heights are values of several objects in thousandths, each the highest, and the highest of their sums.
type heights struct {
	total   int64
	objects map[string]int64
	// cut is set when there were more objects than are remembered.
	cut bool
}

// silent notes that an attempt told nothing, or was not believed.
func (g *gap) silent(asked time.Time) {
	if !g.good.IsZero() {
		g.last, g.back = asked, time.Time{}
	}
}

// close is why a value that is back must not be served yet; nil when it may be: its window is covered by what was told after the
// gap. at is the time of its newest point.
func (g *gap) close(at time.Time, window time.Duration) *metric.Failure {
	if g.last.IsZero() {
		return nil
	}
	if g.back.IsZero() {
		g.back = at
	}
	missing := g.back.Add(window - metric.Step).Sub(at)
	if missing <= 0 {
		return nil
	}
	return metric.Failf(metric.Partial,
		"the value is back after a gap of %s; its window of %s holds some of the gap, and is covered in %s",
		g.back.Sub(g.good).Round(time.Second), window, missing.Round(time.Second))
}

// surpassed tells whether values of several objects can only be too low, and neither any of them nor their sum is lower than it has
// ever been for as long as matters: whatever an HPA has asked for, on one of them or on the mean of some, it asks for again. Objects
// that are not back yet are missing in the sum, and those of which nothing is remembered add to it.
func (g *gap) surpassed(o *query.Outcome) bool {
	if !o.Question.View.All {
		return false
	}
	total, _ := totalOf(o)
	for _, high := range g.highs {
		if total < high.total || high.cut {
			return false
		}
		for name, found := range o.Objects {
			if s := found.Sample; s != nil && (!s.Least || s.Milli < high.objects[name]) {
				return false
			}
		}
	}
	return true
}

// believe notes what was told. A lower value changes nothing until the higher one is old, whatever happens in between: an HPA may not
// have looked at it yet, or remember the higher one.
func (g *gap) believe(o *query.Outcome) {
	asked := o.Reading.Asked
	g.good, g.last, g.back = asked, time.Time{}, time.Time{}
	if !o.Question.View.All {
		return
	}
	total, _ := totalOf(o)
	now := g.now(asked)
	now.total = max(now.total, total)
	for name, found := range o.Objects {
		high, known := now.objects[name]
		switch s := found.Sample; {
		case s == nil || s.Milli <= high:
		case known || len(now.objects) < maxHeights:
			now.objects[name] = s.Milli
		default:
			now.cut = true
		}
	}
}

// now are the heights that a time counts to.
func (g *gap) now(asked time.Time) *heights {
	switch age := asked.Sub(g.since); {
	case age > 2*remembered:
		g.highs, g.since = [2]heights{{objects: map[string]int64{}}}, asked
	case age > remembered:
		g.highs, g.since = [2]heights{{objects: map[string]int64{}}, g.highs[0]}, asked
	}
	return &g.highs[0]
}

// accept takes in what an attempt told, as it is.
func (a *answer) accept(o *query.Outcome, now time.Time) {
	a.merge(o, now)
	switch _, ok := totalOf(o); {
	case ok && a.took(o):
		a.gap.believe(o)
	case !ok && (tooFew(o) || told(o) && !a.takesNothingForAValue()):
		a.gap.silent(o.Reading.Asked)
	}
}

// took tells whether any sample of an attempt was newer than what was known before.
func (a *answer) took(o *query.Outcome) bool {
	if !o.Question.View.All {
		return o.Reading.Sample == a.reading.Sample
	}
	for name, found := range o.Objects {
		if found.Sample != nil && found.Sample == a.objects[name].Sample {
			return true
		}
	}
	return false
}

// window is that of the question.
func (a *answer) window() time.Duration { return a.question().Shape.Value().Window }

// tooFew tells whether an attempt found too few points for a value, which is an error to all who ask.
func tooFew(o *query.Outcome) bool {
	return o.Reading.Failure != nil && o.Reading.Failure.Reason == metric.TooFewPoints
}

// told tells whether an attempt was answered well.
func told(o *query.Outcome) bool {
	return o.Reading.Failure == nil || o.Reading.Failure.Reason == metric.NoData
}

// takesNothingForAValue tells whether no data is a value to all who ask.
func (a *answer) takesNothingForAValue() bool {
	for _, e := range a.entries {
		if e.definition.Policy.OnNoData == nil {
			return false
		}
	}
	return true
}

// hides tells whether a gap has begun or gone on after a point: nothing is known of it then.
func (g *gap) hides(at time.Time) bool { return !at.After(g.last) }

// newestOf is the time of the newest point of what an attempt found; zero when it found nothing.
func newestOf(o *query.Outcome) (newest time.Time) {
	note := func(s *metric.Sample) {
		if s != nil && s.Latest().Time.After(newest) {
			newest = s.Latest().Time
		}
	}
	note(o.Reading.Sample)
	for _, found := range o.Objects {
		note(found.Sample)
	}
	return newest
}

// totalOf is the sum of what an attempt found, in thousandths; ok is false when it found nothing.
func totalOf(o *query.Outcome) (total int64, ok bool) {
	if !o.Question.View.All {
		return 0, o.Reading.Sample != nil
	}
	for _, found := range o.Objects {
		if found.Sample != nil {
			total, ok = added(total, found.Sample.Milli), true
		}
	}
	return total, ok
}

// added is the sum of two numbers, or the largest.
func added(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
