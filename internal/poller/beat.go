package poller

import (
	"context"
	"errors"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// listen asks for the heartbeat, unless the last one told about this time already. One request tells whether the rest of the
// round is worth sending; when ingestion is behind, a second one looks at the windows that end where the points do.
func (p *Poller) listen(ctx context.Context, r *round, needs query.Needs, res *result) (query.Heard, *metric.Failure) {
	if r.hearing.tells(r.at, needs) {
		return r.hearing.heard, nil
	}
	b := p.clocked(ctx, r, needs)
	newest := b.heard.Newest // the second question does not look as far
	for b.well() && b.heard.At.Before(b.at) {
		b = p.beat(ctx, r, needs, b.heard.At)
	}
	switch {
	case b.noRoom:
		res.noRoom, res.beat = true, b.calls
	case b.failure != nil:
		res.failed(b.failure)
	default:
		age := p.clock.Now().Add(r.skew.ahead).Sub(newest)
		res.hearing = hearing{asked: r.at, needs: needs, heard: b.heard, age: age, calls: b.calls}
	}
	return b.heard, b.failure
}

// clocked asks for the heartbeat and looks at Sysdig's clock. When the answer shows another skew than the round goes by, it is
// asked again at the time that follows from it. If that answer shows the same, the round and all after it go by it; otherwise one
// of the two is wrong, and nothing changes.
func (p *Poller) clocked(ctx context.Context, r *round, needs query.Needs) beat {
	first, was := p.beat(ctx, r, needs, r.at), r.skew
	switch {
	case !first.dated:
		return first
	case was.fits(first.offset):
		r.skew.known = true
		r.lane.learn(r)
		return first
	case first.refuted():
		return first
	}
	r.follow(skew{ahead: corrected(first.offset.middle()), known: true}, p.clock.Now())
	second := p.beat(ctx, r, needs, r.at)
	if !second.dated {
		return second
	}
	is, ok := agree(first.offset, second.offset)
	if !ok {
		r.follow(was, r.began)
		return first
	}
	r.skew = is
	r.lane.learn(r)
	return second
}

// ofHeartbeat is why a heartbeat failed, as all bindings of the connection are told: what Sysdig refuses is no query of theirs.
func ofHeartbeat(failure *metric.Failure) *metric.Failure {
	if failure.Reason != metric.Rejected {
		return failure
	}
	return failure.Withhold("Sysdig refuses the heartbeat of the SysdigConnection; ask the platform team: its condition Ready says more")
}

// beat is how one heartbeat ended.
type beat struct {
	at      time.Time
	heard   query.Heard
	failure *metric.Failure
	noRoom  bool
	// calls is how many HTTP requests it took.
	calls int

	// offset is what the answer proves of Sysdig's clock, and date what that showed, when it is dated.
	offset offset
	date   time.Time
	dated  bool
}

func (b beat) well() bool { return b.failure == nil && !b.noRoom }

// refuted tells whether Sysdig holds a point that is newer than its clock is said to be. Then that is wrong, and to go by it
// would be to ask about the past.
func (b beat) refuted() bool { return b.well() && b.heard.Newest.After(b.date.Add(outOfStep)) }

// beat asks for the heartbeat at a time.
func (p *Poller) beat(ctx context.Context, r *round, needs query.Needs, at time.Time) beat {
	b := beat{at: at}
	var first exchange
	ctx, release := sysdig.Hold(ctx) // until the answer is read
	defer release()
	line := p.line(ctx, r, func(e exchange) {
		if b.calls++; b.calls == 1 {
			first = e
		}
	})
	answer, err := line.Listen(r.connection.Heartbeat, needs, at)
	switch {
	case errors.Is(err, errNoRoom) && b.calls < r.lane.budget.most():
		b.noRoom = true
		return b
	case errors.Is(err, errNoRoom): // it will be no other the next time
		b.failure = metric.Failf(metric.RateLimited, "the heartbeat of connection %s takes more than %d requests, %s", r.connection.Name, b.calls, tooDear)
	case err != nil:
		b.failure = ofHeartbeat(metric.AsFailure(err))
	default:
		b.heard, b.failure = r.connection.Heartbeat.Read(answer, at, needs)
	}
	if first.telling() {
		b.date = first.date
		b.offset, b.dated = offsetOf(b.date, first.sent, first.received)
	}
	return b
}
