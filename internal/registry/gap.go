package registry

import (
	"math"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// gap is what is remembered of the values that were believed last, until others can be. A window that ends after a gap still holds
// what was told in it: zeroes, or nothing. An HPA does not stabilise what it reads after errors, so the first low value acts at once.
type gap struct {
	// highs are the highest totals of several objects, in thousandths: since a time, and in as long before that.
	highs [2]int64
	since time.Time
	// good is the time that the last of them was asked about.
	good time.Time
	// last is the time that the last attempt after that was asked about that told nothing or was not believed; zero: none was.
	last time.Time
	// back is the time of the newest point that the first attempt after those has told of; zero: none has.
	back time.Time
}

// silent notes that an attempt told nothing, or was not believed.
func (g *gap) silent(asked time.Time) {
	if !g.good.IsZero() {
		g.last, g.back = asked, time.Time{}
	}
}

// close is why a value that is back must not be served yet; nil when it may be: its window is covered by what was told after the
// gap. at is the time of its newest point. Of several objects, for which there is no lower bound, also when their total is no lower than before: an HPA then keeps
// what it had asked for.
func (g *gap) close(total int64, several bool, at time.Time, window time.Duration) *metric.Failure {
	if g.last.IsZero() {
		return nil
	}
	if g.back.IsZero() {
		g.back = at
	}
	missing := g.back.Add(window - point).Sub(at)
	if several && total >= max(g.highs[0], g.highs[1]) || missing <= 0 {
		return nil
	}
	return metric.Failf(metric.Partial,
		"the value is back after a gap of %s; its window of %s holds some of the gap, and is covered in %s",
		g.back.Sub(g.good).Round(time.Second), window, missing.Round(time.Second))
}

// believe notes a value. The totals of a window and a minute count, and of up to twice as long: when a window empties, the last values
// are low already.
func (g *gap) believe(total int64, asked time.Time, window time.Duration) {
	switch age := asked.Sub(g.since); {
	case !g.last.IsZero() || g.good.IsZero() || age > 2*(window+together):
		*g = gap{highs: [2]int64{total, total}, since: asked}
	case age > window+together:
		*g = gap{highs: [2]int64{total, g.highs[0]}, since: asked}
	default:
		g.highs[0] = max(g.highs[0], total)
	}
	g.good = asked
}

// accept takes in what an attempt told, as it is.
func (a *answer) accept(o *query.Outcome, now time.Time) {
	a.merge(o, now)
	switch total, ok := totalOf(o); {
	case ok && a.took(o):
		a.gap.believe(total, o.Reading.Asked, a.window())
	case !ok && told(o) && !a.takesNothingForAValue():
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
