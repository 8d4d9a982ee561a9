package poller

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

const (
	// concurrency bounds the requests under way per connection. Sysdig allows 200 concurrent queries, of all its callers.
	concurrency = 8
	// idle is how long the loop sleeps when nothing is due and nobody wakes it.
	idle = time.Minute
	// gather is how long the loop waits after it was woken, so that a burst of new bindings is asked in one round.
	gather = 50 * time.Millisecond
)

// Board is the part of the registry that the poller needs.
type Board interface {
	Wanted() []registry.Wanted
	File(outcomes []query.Outcome)
	FileHealth(connection string, health *metric.Failure)
	Wake() <-chan struct{}
}

// Poller asks the questions of a Board. Make one with New.
type Poller struct {
	clock   clock.Clock
	board   Board
	cluster query.Cluster
	metrics *Metrics

	// due is when to ask a connection again. Only Tick touches it, and Tick is not called concurrently.
	due map[string]due
}

// due is when to ask one connection again.
type due struct {
	// next is when the next full round is due; before resume nothing at all is asked.
	next, resume time.Time
	// revision is that of the connection. Another one, with another token perhaps, is asked at once.
	revision int64
}

// New returns a poller. cluster resolves the selectors of Services.
func New(clock clock.Clock, board Board, cluster query.Cluster, metrics *Metrics) *Poller {
	return &Poller{clock: clock, board: board, cluster: cluster, metrics: metrics, due: map[string]due{}}
}

// NeedLeaderElection tells the manager to run the poller on every replica: each serves from its own memory.
func (p *Poller) NeedLeaderElection() bool { return false }

// Start runs rounds until the context ends.
func (p *Poller) Start(ctx context.Context) error {
	for {
		next := p.Tick(ctx)
		timer := p.clock.NewTimer(next.Sub(p.clock.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
			continue
		case <-p.board.Wake():
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.clock.After(gather):
		}
	}
}

// Tick runs one round: it asks the questions of all connections whose interval is over, and everywhere those that were
// never answered. It returns when to come back.
func (p *Poller) Tick(ctx context.Context) time.Time {
	now := p.clock.Now()
	wanted := p.board.Wanted()
	var rounds sync.WaitGroup
	pauses := make([]time.Duration, len(wanted))
	full := make([]bool, len(wanted))
	for i, w := range wanted {
		last, questions := p.due[w.Connection.Name], w.Unanswered
		if full[i] = !now.Before(last.next) || w.Connection.Revision != last.revision; full[i] {
			questions = w.Questions
		} else if now.Before(last.resume) {
			continue
		}
		if len(questions) == 0 {
			continue
		}
		rounds.Go(func() { pauses[i] = p.round(ctx, w.Connection, questions, now) })
	}
	rounds.Wait()
	return p.schedule(wanted, full, pauses, now)
}

// schedule sets when each connection is due again and returns the earliest. A connection that is gone is forgotten.
func (p *Poller) schedule(wanted []registry.Wanted, full []bool, pauses []time.Duration, now time.Time) time.Time {
	next := make(map[string]due, len(wanted))
	earliest := now.Add(idle)
	for i, w := range wanted {
		d := p.due[w.Connection.Name]
		if full[i] {
			d = due{next: now.Add(w.Connection.Interval), revision: w.Connection.Revision}
		}
		if pauses[i] > 0 {
			d.resume = now.Add(pauses[i])
		}
		if d.next.Before(d.resume) {
			d.next = d.resume
		}
		if d.next.Before(earliest) {
			earliest = d.next
		}
		next[w.Connection.Name] = d
	}
	p.due = next
	return earliest
}

// round asks one connection and files the outcomes. It returns how long the backend asks to be left alone.
func (p *Poller) round(ctx context.Context, c registry.Connection, questions []query.Question, now time.Time) time.Duration {
	requests := query.Plan(questions)
	attempt := query.Attempt{At: query.QuestionTime(now, c.IngestionLag)}
	r := &result{}
	failure := c.Refused
	var heard query.Heard
	if failure == nil {
		heard, failure = p.listen(ctx, c, attempt.At, query.Windows(requests), r)
	}
	if ctx.Err() != nil { // we are stopping: that says nothing about Sysdig
		return 0
	}
	if failure != nil {
		attempt.Received = p.clock.Now()
		for _, request := range requests {
			p.board.File(request.Fail(failure, attempt))
		}
		p.board.FileHealth(c.Name, failure)
		return r.pause()
	}
	attempt.At = heard.At
	var group errgroup.Group
	group.SetLimit(concurrency)
	for _, request := range requests {
		if gap := heard.Covers(request.Shape.Window); gap != nil {
			attempt.Received = p.clock.Now()
			p.board.File(request.Fail(gap, attempt))
			r.answered()
			continue
		}
		group.Go(func() error {
			p.board.File(p.ask(ctx, c, request, attempt, r))
			return nil
		})
	}
	_ = group.Wait() // the functions return no error: failures are filed
	if ctx.Err() == nil {
		p.board.FileHealth(c.Name, r.health())
	}
	return r.pause()
}

// listen asks for the heartbeat of a connection. One request tells whether the rest of the round is worth sending; when
// ingestion is behind, a second one looks at the windows that end where the points do.
func (p *Poller) listen(ctx context.Context, c registry.Connection, at time.Time, windows []time.Duration, r *result) (query.Heard, *metric.Failure) {
	for {
		answer, err := p.send(ctx, c, c.Heartbeat.PromQL(windows), at)
		if err != nil {
			failure := metric.AsFailure(err)
			r.failed(failure)
			return query.Heard{}, failure
		}
		heard, failure := c.Heartbeat.Read(answer, at)
		if failure != nil || !heard.At.Before(at) {
			return heard, failure
		}
		at = heard.At
	}
}

// ask sends one request, unless an earlier one of the round was told to stop.
func (p *Poller) ask(ctx context.Context, c registry.Connection, request query.Request, attempt query.Attempt, r *result) []query.Outcome {
	if stop := r.stopped(); stop != nil {
		attempt.Received = p.clock.Now()
		return request.Fail(stop, attempt)
	}
	answer, err := p.send(ctx, c, request.PromQL, attempt.At)
	attempt.Received = p.clock.Now()
	switch {
	case ctx.Err() != nil: // we are stopping: that says nothing about Sysdig
		return nil
	case err != nil:
		failure := metric.AsFailure(err)
		r.failed(failure)
		return request.Fail(failure, attempt)
	}
	r.answered()
	return request.Read(answer, attempt, p.cluster)
}

// send sends one query and counts it.
func (p *Poller) send(ctx context.Context, c registry.Connection, promQL string, at time.Time) (sysdig.Answer, error) {
	sent := p.clock.Now()
	answer, err := c.Source.Query(ctx, promQL, at)
	var reason metric.Reason
	if err != nil {
		reason = metric.AsFailure(err).Reason
	}
	if ctx.Err() == nil {
		p.metrics.request(c.Name, reason, p.clock.Since(sent))
	}
	return answer, err
}
