package registry

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// AnomalyLimits say when values that vanish, or become exactly 0, together are held to be a failure of the monitoring and not of
// the load.
type AnomalyLimits struct {
	// Bindings and Share are how many bindings of a connection at least, and which part, 0 to 1, of those whose value was not 0.
	Bindings int
	Share    float64
	// Hold is for how long at most they answer errors; then it is believed, when Sysdig has said so all the time. 0 believes at once.
	Hold time.Duration
}

// Anomaly is that values of a connection have fallen together and are not believed yet.
type Anomaly struct {
	// Fallen is how many bindings have a value that has vanished or become 0, and Standing how many still have another one.
	Fallen, Standing int
	// Since is when it was noticed, and Until when it will be believed.
	Since, Until time.Time
}

// together is by how much falls may be apart, beside the windows of their questions, to be together: some rounds.
const together = time.Minute

// sameRound is by how much the times that questions of one round are about may differ, because each is reckoned from when its answer
// arrived. Those of two rounds are 10 seconds apart at least.
const sameRound = time.Second

// breaker keeps answers of a connection that vanish or become 0 from being believed too early. One that tells 0 or nothing is held
// back until the round ends, because others of the round may fall with it, and while many have fallen none is believed. All
// answers of a connection share one.
type breaker struct {
	limits  AnomalyLimits
	answers map[*answer]struct{}
	fallen  map[*answer]*fall
	// since is when too many had fallen, or when the last outage since then ended, later by the rounds in which nobody has said so
	// again; zero: they have not.
	since time.Time
	// settled is when the last round ended.
	settled time.Time
}

// fall is an answer that has vanished or become 0, or that tells so again.
type fall struct {
	// again is set when that was believed before. It is no sign of a failure.
	again bool
	// at is when it was noticed, and asked the time that it was asked about.
	at, asked time.Time
	// before is the time that was asked about when something else was believed last.
	before time.Time
	// held is what the last attempt told, as long as nobody has decided about it; nil when it is believed.
	held *query.Outcome
}

// breakerOf is that of a connection, which may not exist yet.
func (r *Registry) breakerOf(connection string) *breaker {
	b := r.breakers[connection]
	if b == nil {
		b = &breaker{answers: map[*answer]struct{}{}, fallen: map[*answer]*fall{}}
		r.breakers[connection] = b
	}
	return b
}

// take takes in how an attempt ended, or holds it back.
func (b *breaker) take(a *answer, o *query.Outcome, now time.Time) {
	switch {
	case rose(o):
		b.rise(a, o, now)
	case a.fell(o) && b.limits.Hold > 0:
		f := b.fallen[a]
		if f == nil || f.again && a.stands {
			f = &fall{again: !a.stands, at: now, asked: o.Reading.Asked, before: a.gap.good}
			b.fallen[a] = f
		}
		f.held = new(*o)
	default:
		a.accept(o, now)
	}
}

// rise takes in a value that is not 0, which may be of before a gap, or of a window that holds some of it.
func (b *breaker) rise(a *answer, o *query.Outcome, now time.Time) {
	at := newestOf(o)
	if a.gap.hides(at) {
		a.merge(o, now)
		return
	}
	a.stands = true
	delete(b.fallen, a)
	if why := a.gap.close(at, a.window()); why != nil && !a.gap.surpassed(o) {
		a.refuse(o, why, now)
		return
	}
	a.accept(o, now)
}

// rose tells whether an attempt found a value that is not 0.
func rose(o *query.Outcome) bool {
	if !o.Question.View.All {
		return o.Reading.Sample != nil && !isZero(o.Reading.Sample)
	}
	for _, found := range o.Objects {
		if found.Sample != nil && !isZero(found.Sample) {
			return true
		}
	}
	return false
}

// fell tells whether an attempt was answered well, and with nothing or newer points that are all 0.
func (a *answer) fell(o *query.Outcome) bool {
	if failure := o.Reading.Failure; failure != nil {
		return failure.Reason == metric.NoData
	}
	if !o.Question.View.All {
		old := a.reading.Sample
		return isZero(o.Reading.Sample) && (old == nil || o.Reading.Sample.Newer(old))
	}
	for _, found := range o.Objects {
		if found.Failure != nil && found.Failure.Reason != metric.NoData || found.Sample != nil && !isZero(found.Sample) {
			return false
		}
	}
	return true
}

// isZero tells whether an HPA would read 0. Series that make no value together are not nothing.
func isZero(s *metric.Sample) bool { return s.Milli == 0 && s.Whole == nil }

// settle decides about what was held back while a round was under way, in which the connection was well or not. It returns what is
// not believed, nil when that is nothing, and the bindings whose standing has changed.
func (r *Registry) settle(connection string, well bool, now time.Time) (*Anomaly, []types.NamespacedName) {
	b := r.breakerOf(connection)
	b.forget(now)
	begun := !b.since.IsZero()
	switch {
	case begun && !well:
		b.since = now // an outage does not confirm anything
	case begun && !b.confirmed():
		b.since = b.since.Add(now.Sub(b.settled)) // nor does silence
	}
	b.settled = now
	doubted := b.weigh(now)
	var changed []types.NamespacedName
	for a, f := range b.fallen {
		if f.held == nil && (doubted == nil || begun) { // nothing is new of it
			continue
		}
		changed = append(changed, r.altered(a, now, func() {
			if doubted != nil {
				a.doubt(f, doubted.failure(connection), now)
				return
			}
			b.believe(a, f, now)
		})...)
	}
	if begun && doubted == nil {
		b.end()
	}
	return doubted, changed
}

// end believes all that have fallen, also those that are asked later. They do not count against others that fall then.
func (b *breaker) end() {
	for a := range b.fallen {
		a.stands = false
	}
	clear(b.fallen)
	b.since = time.Time{}
}

// believe takes in what an attempt told.
func (b *breaker) believe(a *answer, f *fall, now time.Time) {
	a.stands = false
	a.accept(f.held, now)
	if f.held = nil; f.again {
		delete(b.fallen, a)
	}
}

// forget drops falls that were believed so long ago that another one would not be together with them.
func (b *breaker) forget(now time.Time) {
	if !b.since.IsZero() {
		return
	}
	for a, f := range b.fallen {
		switch late := now.Sub(f.at) > a.window()+together; {
		case !late || a.stands:
		case f.held == nil:
			delete(b.fallen, a)
		default:
			f.again = true
		}
	}
}

// weigh decides whether too many have fallen together. When they have, half as many are enough to go on.
func (b *breaker) weigh(now time.Time) *Anomaly {
	begun := !b.since.IsZero()
	if begun && now.Sub(b.since) >= b.limits.Hold {
		return nil
	}
	n := Anomaly{Since: now, Fallen: b.count()}
	if n.Fallen < b.limits.Bindings && !begun || n.Fallen == 0 {
		return nil
	}
	n.Standing = b.standing()
	enough := b.limits.Share
	if begun {
		n.Since, enough = b.since, enough/2
	}
	if float64(n.Fallen) < enough*float64(n.Fallen+n.Standing) {
		return nil
	}
	b.since, n.Until = n.Since, n.Since.Add(b.limits.Hold)
	return &n
}

// confirmed tells whether anybody who has fallen has said so in this round.
func (b *breaker) confirmed() bool {
	for _, f := range b.fallen {
		if !f.again && f.held != nil {
			return true
		}
	}
	return false
}

// count is how many bindings have fallen.
func (b *breaker) count() (bindings int) {
	for a, f := range b.fallen {
		if !f.again {
			bindings += len(a.entries)
		}
	}
	return bindings
}

// standing is how many bindings have a value that is not 0, of those that were asked about the time of the first fall or a later
// one: what others would say now is not known yet.
func (b *breaker) standing() (bindings int) {
	var first time.Time
	for _, f := range b.fallen {
		if !f.again && (first.IsZero() || f.asked.Before(first)) {
			first = f.asked
		}
	}
	for a := range b.answers {
		if _, fell := b.fallen[a]; !fell && a.upright() && !a.reading.Asked.Before(first.Add(-sameRound)) {
			bindings += len(a.entries)
		}
	}
	return bindings
}

// upright tells whether the last attempt told a value that is not 0, be it served or not.
func (a *answer) upright() bool {
	return a.stands && (a.reading.Failure == nil || !a.gap.back.IsZero())
}

// failure is what those who have fallen answer.
func (n *Anomaly) failure(connection string) *metric.Failure {
	return metric.Failf(metric.Implausible,
		"the value is 0 or missing, as are, at once, those of %d of %d bindings of connection %s, which looks like a failure of the monitoring; if it stays so, it is believed from %s on",
		n.Fallen, n.Fallen+n.Standing, connection, n.Until.UTC().Format(time.TimeOnly))
}

// doubt does not believe a fall, also when it was believed in an earlier round. The sample from before it is kept, and served as long
// as it is fresh.
func (a *answer) doubt(f *fall, why *metric.Failure, now time.Time) {
	if !f.again {
		a.stands = true
		a.unbelieve()
		a.gap.good = f.before
	}
	reading := a.reading
	if f.held != nil {
		reading = f.held.Reading
		f.held = nil
	}
	a.gap.silent(reading.Asked)
	reading.Sample = nil
	a.refuse(&query.Outcome{Question: *a.question(), Reading: reading}, why, now)
}

// refuse takes in an attempt without what it told, but for what can only be too low: that is a lower bound.
func (a *answer) refuse(o *query.Outcome, why *metric.Failure, now time.Time) {
	refused := query.Outcome{Question: *a.question(), Reading: o.Reading}
	refused.Reading.Sample, refused.Reading.Floor, refused.Reading.Failure = nil, boundOf(o.Reading.Sample), why
	if len(o.Objects) > 0 {
		refused.Objects = make(map[string]query.Found, len(o.Objects))
	}
	for name, found := range o.Objects {
		if bound := boundOf(found.Sample); bound != nil {
			refused.Objects[name] = query.Found{Failure: why, Floor: bound}
		}
	}
	a.merge(&refused, now)
}

// boundOf is a sample when it can only be too low.
func boundOf(s *metric.Sample) *metric.Sample {
	if s == nil || !s.Least {
		return nil
	}
	return s
}

// unbelieve forgets samples of 0.
func (a *answer) unbelieve() {
	if a.reading.Sample != nil && isZero(a.reading.Sample) {
		a.reading.Sample = nil
	}
	for name, found := range a.objects {
		if found.Sample != nil && isZero(found.Sample) {
			delete(a.objects, name)
		}
	}
}

// remember lets a fall be noticed although nothing was answered yet since this process started: what the status shows was believed
// by an earlier one.
func (a *answer) remember(d *query.Definition, now time.Time) {
	a.met = a.met || d.Observed != nil
	if a.reading.Attempted.IsZero() && d.Observed != nil && !isZero(d.Observed) && d.Observed.Age(now) <= d.Policy.MaxAge {
		a.gap.good, a.gap.since = d.Observed.Time, d.Observed.Time
		a.gap.highs = [2]heights{{total: math.MaxInt64, objects: map[string]int64{}}} // of several objects a status shows the mean
		a.stands = true
	}
}
