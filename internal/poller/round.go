package poller

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// round is what is asked of one connection at one time. It is planned by the lane and belongs to the goroutine that runs it.
type round struct {
	lane       *lane
	connection registry.Connection
	// began is when it was planned.
	began time.Time
	// skew is what it takes for that of Sysdig's clock, and at the time, by that clock, that it asks about when ingestion is not
	// behind.
	skew    skew
	at      time.Time
	hearing hearing
	// asks are the requests to send after the heartbeat.
	asks []ask
	// spared are questions that get a failure without being asked.
	spared []spared
	// quarantined is set when requests are left alone that Sysdig has refused.
	quarantined bool
	// refused is why nothing can be asked.
	refused *metric.Failure
	// all are the requests of the connection: when the heartbeat fails, it speaks for all. Of a round of new questions, nil.
	all []query.Request
}

// ask is one request to send.
type ask struct {
	request query.Request
	track   *track
	// was is its place before it was planned.
	was wait
	// never are those of its questions that were never attempted.
	never []query.Question
	// whole is set when it asks all that its track is about, slow when it took long the last time, and suspect when it was refused.
	whole, slow, suspect bool
}

// askOf is a request to send, as its track stands.
func askOf(request query.Request, t *track) ask {
	return ask{request: request, track: t, was: t.wait, slow: t.slow, suspect: t.pause != nil}
}

// together splits asks into groups that are asked together. One that is slow holds up no others, and one that Sysdig has refused
// goes alone: with it all of its group would be refused again.
func together(asks []ask) (groups [][]ask) {
	for _, group := range query.Together(asks, (*ask).about) {
		var quick, slow []ask
		for _, a := range group {
			switch {
			case a.suspect:
				groups = append(groups, []ask{a})
			case a.slow:
				slow = append(slow, a)
			default:
				quick = append(quick, a)
			}
		}
		for _, part := range [][]ask{quick, slow} {
			if len(part) > 0 {
				groups = append(groups, part)
			}
		}
	}
	return groups
}

type spared struct {
	questions []query.Question
	why       *metric.Failure
}

func (r *round) spare(questions []query.Question, why *metric.Failure) {
	if len(questions) > 0 {
		r.spared = append(r.spared, spared{questions, why})
	}
}

// spareAll answers all questions that were never attempted.
func (r *round) spareAll(shapes []registry.Asked, why *metric.Failure) {
	for _, asked := range shapes {
		r.spare(asked.Unanswered, why)
	}
}

// everything are the requests that share the fate of the heartbeat.
func (r *round) everything() []query.Request {
	if r.all != nil {
		return r.all
	}
	requests := make([]query.Request, len(r.asks))
	for i, a := range r.asks {
		requests[i] = a.request
	}
	return requests
}

// follow sets what the round takes for the skew of Sysdig's clock and, from what ours shows, the time that it asks about.
func (r *round) follow(s skew, now time.Time) {
	r.skew, r.at = s, query.QuestionTime(now.Add(s.ahead), r.connection.IngestionLag)
}

// attempt is one that asks about a time of Sysdig's clock.
func (r *round) attempt(at, received time.Time) query.Attempt {
	return query.Attempt{At: at, Received: received, Skew: r.skew.ahead}
}

// run sends the requests of a round and files what they give.
func (p *Poller) run(ctx context.Context, r *round) {
	attempt := r.attempt(r.at, r.began)
	for _, s := range r.spared {
		p.board.File(query.Fail(s.questions, s.why, attempt))
	}
	res := &result{}
	switch {
	case r.refused != nil:
		p.failAll(r, r.refused)
	case len(r.asks) > 0:
		p.sendAll(ctx, r, res)
	}
	if ctx.Err() != nil { // we are stopping: that says nothing about Sysdig
		return
	}
	usage := r.lane.end(r, res, p.clock.Now())
	p.metrics.usage(r.connection.Name, usage)
	p.board.FileUsage(r.connection.Name, usage)
	if r.refused != nil || len(r.asks) > 0 {
		health := res.health(r.refused)
		r.lane.log(ctx, health)
		p.board.FileHealth(r.connection.Name, health)
		switch {
		case health == nil:
			p.catalog(ctx, r)
		case health.Reason == metric.Stale:
			p.look(ctx, r)
		}
	} else if r.quarantined { // perhaps for want of a metric that there is by now
		p.catalog(ctx, r)
	}
}

// failAll files a failure that speaks for the whole connection.
func (p *Poller) failAll(r *round, failure *metric.Failure) {
	attempt := r.attempt(r.at, p.clock.Now())
	for _, request := range r.everything() {
		p.board.File(request.Fail(failure, attempt))
	}
}

// sendAll sends the heartbeat and, when that is well, the requests.
func (p *Poller) sendAll(ctx context.Context, r *round, res *result) {
	heard, failure := p.listen(ctx, r, r.connection.Heartbeat.Needs(r.everything()), res)
	if failure != nil || res.noRoom {
		r.lane.free(r.asks...)
	}
	switch {
	case ctx.Err() != nil || res.noRoom:
		return
	case failure != nil:
		p.failAll(r, failure)
		return
	}
	attempt := r.attempt(heard.At, r.began)
	attempt.Heard = heard
	slow := func(a ask) bool { return a.slow }
	quick := func(a ask) bool { return !a.slow }
	var both sync.WaitGroup
	both.Go(func() {
		p.sendSome(ctx, r, slices.DeleteFunc(slices.Clone(r.asks), slow), r.lane.quick, heard, attempt, res)
	})
	both.Go(func() {
		p.sendSome(ctx, r, slices.DeleteFunc(slices.Clone(r.asks), quick), r.lane.slow, heard, attempt, res)
	})
	both.Wait()
}

// sendSome sends requests through places that all rounds of the connection share.
func (p *Poller) sendSome(ctx context.Context, r *round, asks []ask, places chan struct{}, heard query.Heard, attempt query.Attempt, res *result) {
	var group errgroup.Group
	group.SetLimit(cap(places))
	for _, some := range together(asks) {
		group.Go(func() error {
			select {
			case places <- struct{}{}:
				p.ask(ctx, r, some, heard, attempt, res)
				r.lane.free(some...)
				<-places
			case <-ctx.Done():
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return no error: failures are filed
}

// exchange is one HTTP request and its answer.
type exchange struct {
	sent, received time.Time
	// date is what the clock of who answered showed.
	date time.Time
	err  error
}

// telling tells whether the date is Sysdig's: it answered, or refused the question, perhaps for asking about the future. Other errors
// may come from anybody on the way.
func (e exchange) telling() bool {
	return !e.sent.IsZero() && (e.err == nil || metric.AsFailure(e.err).Reason == metric.Rejected)
}

// tooDear ends the message of what can never be asked within the budget.
const tooDear = "which are all that its quota has for a minute: raise spec.quota.requestsPerMinute or spec.dataAPI.segmentsPerRequest, or let its bindings be about fewer pods"

// errNoRoom ends what is asked when the budget has no room for another request.
var errNoRoom = errors.New("the budget has no room for another request")

// line sends requests as far as the budget goes, and tells of each.
func (p *Poller) line(ctx context.Context, r *round, tell func(exchange)) query.Line {
	return query.Line{Segments: r.connection.Segments, Send: func(call query.Call) (query.Reply, error) {
		e := exchange{sent: p.clock.Now()}
		if !r.lane.budget.take(e.sent) {
			return query.Reply{}, errNoRoom
		}
		var reply query.Reply
		reply, e.err = p.send(ctx, r, call)
		e.received, e.date = p.clock.Now(), later(reply.Answer.Date, reply.Data.Date)
		tell(e)
		return reply, e.err
	}}
}

// about is the request of an ask.
func (a *ask) about() *query.Request { return &a.request }

// ask sends requests that go together, unless an earlier one of the round was told to stop, and files their outcomes. When they are
// refused as a whole, each is asked alone: one of them is at fault.
func (p *Poller) ask(ctx context.Context, r *round, asks []ask, heard query.Heard, attempt query.Attempt, res *result) {
	attempt.Received = p.clock.Now()
	asks = p.covered(asks, heard, attempt, res)
	if len(asks) == 0 {
		return
	}
	if stop := res.stopped(); stop != nil {
		p.failEach(asks, stop, attempt)
		return
	}
	held, release := sysdig.Hold(ctx) // until the answers are read
	defer release()
	answers, took, err := p.exchange(held, r, asks, attempt.At)
	switch {
	case ctx.Err() != nil:
		return
	case errors.Is(err, errNoRoom): // Sysdig allows less than we knew when the round was planned
		for _, a := range asks {
			p.board.File(query.Fail(a.never, noRoom(r.connection.Name), attempt))
		}
		return
	case len(asks) > 1 && refused(err):
		release()
		for i := range asks {
			p.ask(ctx, r, asks[i:i+1], heard, attempt, res)
		}
		return
	}
	attempt.Received = p.clock.Now()
	for i, a := range asks {
		took.ask = a
		if err != nil {
			took.failure = a.request.Own(metric.AsFailure(err))
		} else {
			took.failure, took.rows = a.request.Own(query.Complete(answers[i])), len(answers[i].Series)
		}
		p.took(ctx, r, took, res, attempt)
		if took.failure == nil {
			p.board.File(a.request.Read(answers[i], attempt, p.cluster))
		}
	}
}

func refused(err error) bool { return err != nil && metric.AsFailure(err).Reason == metric.Rejected }

// exchange sends what it takes to answer requests that go together, and tells what that was.
func (p *Poller) exchange(ctx context.Context, r *round, asks []ask, at time.Time) (answers []sysdig.Answer, took ended, err error) {
	requests := make([]query.Request, len(asks))
	for i := range asks {
		requests[i] = asks[i].request
	}
	line := p.line(ctx, r, func(e exchange) {
		took.calls++
		took.slow = took.slow || e.received.Sub(e.sent) > slowAnswer || timedOut(e.err)
	})
	answers, err = line.Ask(requests, at)
	if errors.Is(err, errNoRoom) && r.lane.exceeds(asks, took.calls) { // and so it would be the next time
		took.dear = true
		err = metric.Failf(metric.Truncated, "the answer takes more than %d requests to connection %s, %s", took.calls, r.connection.Name, tooDear)
	}
	return answers, took, err
}

// covered are the asks whose windows the heartbeat covers. The others fail without being sent.
func (p *Poller) covered(asks []ask, heard query.Heard, attempt query.Attempt, res *result) (covered []ask) {
	for _, a := range asks {
		if gap := heard.Covers(&a.request); gap != nil {
			p.board.File(a.request.Fail(gap, attempt))
			res.done(ended{ask: a})
			continue
		}
		covered = append(covered, a)
	}
	return covered
}

// took notes how one request ended, and files that it has failed.
func (p *Poller) took(ctx context.Context, r *round, e ended, res *result, attempt query.Attempt) {
	if e.reason() == metric.RateLimited {
		r.lane.budget.lower(attempt.Received)
	}
	res.done(e)
	if e.failure != nil {
		logRefusal(ctx, r.connection.Name, e.failure)
		p.board.File(e.ask.request.Fail(e.failure, attempt))
	}
}

func (p *Poller) failEach(asks []ask, failure *metric.Failure, attempt query.Attempt) {
	for _, a := range asks {
		p.board.File(a.request.Fail(failure, attempt))
	}
}

// slowAnswer is from when on an answer counts as slow.
const slowAnswer = 2 * time.Second

// timedOut tells whether an error is that of a deadline.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// send sends one request, counts it, and tells the budget what the answer says of it.
func (p *Poller) send(ctx context.Context, r *round, call query.Call) (reply query.Reply, err error) {
	sent := p.clock.Now()
	if call.Data != nil {
		reply.Data, err = r.connection.Source.Data(ctx, *call.Data)
	} else {
		reply.Answer, err = r.connection.Source.Query(ctx, call.PromQL, call.At)
	}
	if ctx.Err() != nil {
		return reply, err
	}
	var reason metric.Reason
	if err != nil {
		reason = metric.AsFailure(err).Reason
	}
	p.metrics.request(r.connection.Name, reason, p.clock.Since(sent))
	r.lane.budget.learn(p.clock.Now(), max(reply.Answer.RateLimit, reply.Data.RateLimit))
	return reply, err
}
