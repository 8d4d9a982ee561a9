package poller

import "time"

// outOfStep is from when on two clocks count as out of step. What is less costs no value and no freshness: the header Date has a
// resolution of a second, and a point is as long as two of these.
const outOfStep = 5 * time.Second

// skew is how far Sysdig's clock is ahead of ours, as far as the poller goes by it. It is held until an answer proves it wrong, so
// that rounds do not wander with the resolution of the headers. The zero skew is none, and not known.
type skew struct {
	ahead time.Duration
	known bool
}

// offset is what one answer proves: Sysdig's clock is ahead of ours by at least and at most so much.
type offset struct{ least, most time.Duration }

// offsetOf reads the Date of an answer, which was made between sending the request and having received the answer: the longer
// that took, the less it says. Date has no fractions. It says nothing when there is none, or when our clock was set meanwhile.
func offsetOf(date, sent, received time.Time) (o offset, ok bool) {
	o = offset{least: date.Sub(received.Round(0)), most: date.Add(time.Second).Sub(sent.Round(0))}
	return o, !date.IsZero() && o.least <= o.most
}

// middle is the best guess.
func (o offset) middle() time.Duration { return o.least + (o.most-o.least)/2 }

// fits tells whether an answer leaves a skew as it is.
func (s skew) fits(o offset) bool { return o.least-outOfStep < s.ahead && s.ahead < o.most+outOfStep }

// agree is the skew that two answers prove together; ok is false when one of them must be wrong. Servers may write the same Date
// for up to a second.
func agree(a, b offset) (s skew, ok bool) {
	both := offset{least: max(a.least, b.least), most: min(a.most, b.most)}
	return skew{ahead: corrected(both.middle()), known: true}, both.least-both.most <= time.Second
}

// corrected is how much of a skew is corrected: all, or nothing of a small one, so that rounds stay right behind the points.
func corrected(ahead time.Duration) time.Duration {
	if ahead.Abs() < outOfStep {
		return 0
	}
	return ahead
}
