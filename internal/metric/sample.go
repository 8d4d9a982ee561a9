package metric

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Step is the distance between two points of Sysdig: agents report every 10 seconds, whatever is asked.
const Step = 10 * time.Second

// Sample is one number that Sysdig gave for one object, in the unit that an HPA reads (after the multiplier).
type Sample struct {
	// Value is finite and fits into int64 thousandths; see Measure.Number.
	Value float64
	// Milli is Value in thousandths, rounded away from zero; what an HPA computes with.
	Milli int64
	// Time is when the newest point behind the value was measured, by our clock; see Measure.Dated.
	Time time.Time
	// Newest is when the newest point of any series was measured; zero: as Time says. Items of an external metric, which are
	// together as old as the oldest of them, may be picked one by one.
	Newest time.Time
	// Skew is how far Sysdig's clock was taken to be ahead of ours when the times of points were turned into ours.
	Skew time.Duration
	// Received is when the answer arrived, by our clock.
	Received time.Time
	// Window is the stretch of time that the value summarizes; zero when unknown.
	Window time.Duration
	// Series are what the value is made of: when dimensions are kept apart, and the items of an external metric. Whoever
	// holds a sample must not change them.
	Series []Series
	// Silent are series that have no value although there are points of them. They are no reason to hold back the others, but whoever picks
	// them alone gets the reason.
	Silent []Silent
	// Assumed tells that nobody has measured the value: it is that of OnNoData.
	Assumed bool
	// Least tells that the value is no higher than the true one also when points of its window are missing, or are 0 in place of what
	// was measured.
	Least bool
	// Whole says why the series together make no value although some of them may; nil: Value and Milli hold. Use Select.
	Whole *Failure
}

// Silent is a series without a value, and why.
type Silent struct {
	Labels labels.Set
	Why    *Failure
}

// NewSample reduces the series of one object, of which there is at least one, to a value that an HPA can use. They are kept
// when keep says so, and then belong to the sample. The failure is Implausible, or Rejected when there are too many to keep.
func NewSample(m Measure, series []Series, keep bool, at, received time.Time, window time.Duration) (*Sample, *Failure) {
	if keep {
		if failure := combinations(series); failure != nil {
			return nil, failure
		}
	}
	value, milli, failure := m.Reduce(series)
	if failure != nil && (!keep || len(series) == 1) { // with one alone there is nothing to choose
		return nil, failure
	}
	s := &Sample{Value: value, Milli: milli, Time: at, Received: received, Window: window, Whole: failure}
	if keep {
		s.Series = series
	}
	if keep && m.External {
		s.Newest = dated(series, at, false)
	}
	return s, nil
}

// Select narrows a sample to the series that a selector matches, which may be older than the others. dimensions are the
// labels that the binding keeps apart. The failure is Rejected for a label that is none of them, NoData when nothing matches,
// Implausible when too much does.
func (s *Sample) Select(selector labels.Selector, dimensions []string, m Measure) (*Sample, *Failure) {
	if selector == nil || selector.Empty() {
		if s.Whole != nil {
			return nil, s.Whole
		}
		return s, nil
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if !slices.Contains(dimensions, r.Key()) {
			return nil, Failf(Rejected, "metric.selector of the HPA names %s, which this binding does not keep apart: %s; add it to the dimensions of spec.source", r.Key(), keptApart(dimensions))
		}
	}
	var matching []Series
	for _, one := range s.Series {
		if selector.Matches(one.Labels) {
			matching = append(matching, one)
		}
	}
	if len(matching) == 0 {
		return nil, s.unmatched(selector)
	}
	value, milli, failure := m.Reduce(matching)
	if failure != nil {
		return nil, failure
	}
	return &Sample{Value: value, Milli: milli, Time: older(s.Latest().Time, m.Dated(matching, s.Time)), Received: s.Received, Window: s.Window, Series: matching}, nil
}

// Latest is the sample as old as the newest of its series, of which some are about to be picked.
func (s *Sample) Latest() *Sample {
	if s.Newest.IsZero() {
		return s
	}
	latest := *s
	latest.Time = s.Newest
	return &latest
}

// Newer tells whether a sample holds points that another one does not. Points are compared as Sysdig has dated them: what is
// taken for its clock's skew may have changed in between, and the same points must not look newer for that.
func (s *Sample) Newer(than *Sample) bool {
	is, was := s.dated(s.Latest().Time), than.dated(than.Latest().Time)
	return is.After(was) || is.Equal(was) && s.dated(s.Time).After(than.dated(than.Time))
}

// dated is a time of the sample as Sysdig has written it.
func (s *Sample) dated(at time.Time) time.Time { return wall(at).Add(s.Skew) }

// unmatched is why a selector matches nothing. A label that no series has is not a value that is missing now: perhaps it is
// misspelled, and what is there must not look like nothing.
func (s *Sample) unmatched(selector labels.Selector) *Failure {
	for _, one := range s.Silent {
		if selector.Matches(one.Labels) {
			return one.Why
		}
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		has := func(one Series) bool { return one.Labels.Has(r.Key()) }
		if len(s.Series) > 0 && !slices.ContainsFunc(s.Series, has) {
			return Failf(Implausible, "no series has the label %s, which metric.selector of the HPA names; correct the dimensions of spec.source", r.Key())
		}
	}
	return Failf(NoData, "Sysdig answered, and no series matches metric.selector %s", selector)
}

func keptApart(dimensions []string) string {
	if len(dimensions) == 0 {
		return "it has no dimensions"
	}
	return "its dimensions are " + strings.Join(dimensions, ", ")
}

// Age is how old the sample is at now. A sample cannot be younger than its receipt: a backend whose clock runs ahead
// must not make old values look fresh, so the older of the two times counts. Nor must our own clock when it is set back, or a
// monotonic one that stands still while the machine is suspended, so the one that has gone further counts.
func (s *Sample) Age(now time.Time) time.Duration {
	since := older(s.Time, s.Received)
	return max(now.Sub(since), wall(now).Sub(wall(since)), 0)
}

// wall is a time as the clock on the wall shows it, without a monotonic reading.
func wall(t time.Time) time.Time { return t.Round(0) }

// older returns the earlier of two times.
func older(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
