package poller

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// end takes in how a round ended, and tells what the connection costs now.
func (l *lane) end(r *round, res *result, now time.Time) registry.Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range res.ended {
		l.judge(e, res.successes > 0, now)
	}
	var left []ask
	for _, a := range r.asks {
		if res.was(a) {
			continue
		}
		left = append(left, a)
		if !a.track.busy { // it was not sent and has been due since then
			a.track.wait = a.was
		}
	}
	l.hearing.calls = max(l.hearing.calls, 2*res.beat)
	if !res.hearing.asked.IsZero() {
		l.hearing = res.hearing
		l.delay.note(res.hearing.age, res.hearing.heard.At.Before(r.at))
	}
	switch failure, change := res.health(nil), l.connection.ChangeFrom(r.connection); {
	case len(r.asks) == 0, change >= registry.AnotherAccess:
	case change == registry.Unchanged:
		l.reschedule(res, l.calls(left), now)
	case failure != nil && failure.Reason == metric.RateLimited: // it was edited meanwhile
		l.rest(failure, now)
	}
	return l.usage(now)
}

// free notes that requests are not under way any more; others of their round may be.
func (l *lane) free(asks ...ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range asks {
		a.track.busy = false
	}
}

// judge takes in how one request ended. others tells whether the connection answered any of the round.
func (l *lane) judge(e ended, others bool, now time.Time) {
	t := e.ask.track
	t.slow = e.slow
	t.calls = max(e.calls, t.calls)
	divide := false
	switch e.reason() {
	case "":
		t.answered(e.rows)
		t.calls = e.calls
		divide = e.rows > manyRows
	case metric.Rejected:
		if e.ask.whole { // of the new questions alone it says little about the others
			t.refuse(e.failure, now)
			t.due = l.grid.after(t.until)
		}
	case metric.Truncated:
		divide = true
		if e.dear && e.ask.whole && !e.ask.request.Divisible() {
			t.refuse(e.failure, now)
			t.due = l.grid.after(t.until)
		}
	case metric.Unavailable:
		if others || len(l.tracks) == 1 { // otherwise it speaks about the connection
			t.missed++
		}
		divide = t.trial || t.missed >= misses
	default: // a refused token or a rate limit says nothing about the request
	}
	if divide && e.ask.whole && e.ask.request.Divisible() {
		l.halve(e.ask.request.Key, now)
		l.next = earlier(l.next, l.grid.point(now.Add(time.Millisecond)))
	}
}

// reschedule sets when to go on after a round of which some HTTP requests were left over.
func (l *lane) reschedule(res *result, left int, now time.Time) {
	failure := res.health(nil)
	if failure == nil {
		l.probe = nil
		if left > 0 {
			l.next = l.roomAgain(now, left, 0)
		}
		return
	}
	l.next = l.grid.after(now)
	switch failure.Reason {
	case metric.RateLimited:
		l.rest(failure, now)
	case metric.Unavailable: // look soon, and less often the longer it lasts, but once per interval at least
		if l.probe == nil {
			const jitter = 0.2
			longest := time.Duration(float64(l.connection.Interval) / (1 + jitter))
			l.probe = &backoff.ExponentialBackOff{InitialInterval: longest / 16, Multiplier: 2, RandomizationFactor: jitter, MaxInterval: longest}
		}
		if soon := l.probe.NextBackOff(); soon < l.connection.Interval/2 {
			l.next = earlier(l.next, now.Add(soon))
		}
	default: // the next round tells
	}
}

// rest leaves the connection alone for as long as Sysdig has asked for.
func (l *lane) rest(failure *metric.Failure, now time.Time) {
	l.resume, l.paused = now.Add(failure.RetryAfter), failure
}

// usage is what the connection costs.
func (l *lane) usage(now time.Time) registry.Usage {
	perMinute, by, replicas, sent, refused := l.budget.figures(now)
	requests, beat := l.round(now), l.beat()
	u := registry.Usage{
		Used: sent, Refused: refused, Replicas: replicas, AllowedBy: by, IngestionLag: l.delay.lag(l.connection.IngestionLag).Round(time.Second), Dearest: l.dearest(now),
		ClockSkew: l.skew.ahead.Round(time.Second), ClockKnown: l.skew.known,
		EffectiveInterval: effectiveInterval(l.connection.Interval, requests, beat, perMinute/float64(replicas)),
	}
	if requests > 0 {
		u.Wanted = int(math.Ceil(float64((requests+beat)*replicas) * float64(time.Minute) / float64(l.connection.Interval)))
	}
	u.Allowed = int(min(perMinute, unlimited))
	return u
}

// effectiveInterval is how often each of some requests is sent when so many a minute are allowed. Each batch of them, of a minute's
// worth at most, takes those of a heartbeat besides.
func effectiveInterval(interval time.Duration, requests, beat int, perMinute float64) time.Duration {
	if float64(requests+beat)*float64(time.Minute) <= perMinute*float64(interval) || requests == 0 {
		return interval
	}
	batch := max(min(float64(requests+beat), math.Floor(perMinute)), float64(beat+1))
	minutes := float64(requests) / perMinute * batch / (batch - float64(beat))
	return max(interval, time.Duration(minutes*float64(time.Minute))).Round(time.Second)
}

// dearest lists the shapes that cost most, in requests and then in rows.
func (l *lane) dearest(now time.Time) []registry.Cost {
	costs := make([]registry.Cost, 0, len(l.plans))
	for shape, p := range l.plans {
		c := registry.Cost{Shape: shape, Requests: len(p.requests)}
		for i := range p.requests {
			if t := l.tracks[p.requests[i].Key]; t != nil {
				c.Rows += t.rows
				c.State = cmp.Or(c.State, t.state(now))
			}
		}
		if len(p.requests) > 1 {
			c.State = cmp.Or(c.State, fmt.Sprintf("asked in %d parts", len(p.requests)))
		}
		costs = append(costs, c)
	}
	slices.SortFunc(costs, func(a, b registry.Cost) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(b.Rows, a.Rows), cmp.Compare(describe(a.Shape), describe(b.Shape)))
	})
	return costs[:min(len(costs), registry.MaxDearest)]
}

func describe(shape query.ShapeID) string { return shape.Value().String() }
