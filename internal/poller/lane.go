package poller

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

const (
	// concurrency bounds the requests under way per connection. Sysdig allows 200 concurrent queries, of all its callers.
	concurrency = 8
	// slowly bounds those of them that ran into their deadline before, so that there is always room for the others.
	slowly = 2
	// hurry is how long new questions wait for more of their kind, at first.
	hurry = time.Second
)

// lane is what is remembered of one connection: when to ask what, and how much of it may be asked. Tick plans rounds, which run
// beside each other and tell how they ended.
type lane struct {
	// quick and slow are the places of requests under way. Those that took long before have a few of their own, so that the others
	// never queue behind them.
	quick, slow chan struct{}
	budget      *budget
	// rounds is how many are under way.
	rounds atomic.Int32

	mu         sync.Mutex
	connection registry.Connection
	grid       grid
	// next is when the next full round begins; before resume nothing at all is asked.
	next, resume time.Time
	// gather is how far apart new questions are asked, the last ones at gathered.
	gather   time.Duration
	gathered time.Time
	probe    *backoff.ExponentialBackOff // of outages; nil while there is none
	paused   *metric.Failure             // why nothing is asked before resume
	logged   string                      // the last health that was logged, as tenants read it; empty when all was well
	delay    delay
	hearing  hearing
	skew     skew
	// seen is when it was last planned.
	seen time.Time
	// listing is when what there is is to be listed again.
	listing time.Time
	// looking is when the clusters that there are may be listed again.
	looking time.Time

	plans  map[query.ShapeID]plan
	tracks map[query.Key]*track
	turn   int                     // how many requests were planned
	halved map[query.Key]time.Time // since when
}

// plan are the requests of a shape, made from a version of its questions.
type plan struct {
	version  int64
	requests []query.Request
}

// learn takes in how far Sysdig's clock is ahead, as a round has found it.
func (l *lane) learn(r *round) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.connection.Revision == l.connection.Revision {
		l.skew = r.skew
	}
}

// hearing is what the last heartbeat told, and what it was asked.
type hearing struct {
	asked time.Time
	needs query.Needs
	heard query.Heard
	// age is how old the newest point was.
	age time.Duration
	// calls is how many HTTP requests it took to hear it once.
	calls int
}

func newLane(now time.Time) *lane {
	return &lane{
		quick: make(chan struct{}, concurrency), slow: make(chan struct{}, slowly), budget: newBudget(now),
		plans: map[query.ShapeID]plan{}, tracks: map[query.Key]*track{}, halved: map[query.Key]time.Time{},
	}
}

// plan decides what to ask now. The round is nil when that is nothing. next is when to come back.
func (l *lane) plan(w registry.Wanted, share Share, now time.Time) (r *round, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adopt(w.Connection, share, now)
	l.prepare(w.Shapes, now)
	r = &round{lane: l, connection: l.connection, began: now, hearing: l.hearing}
	r.follow(l.skew, now)
	next = now.Add(idle)
	switch {
	case len(w.Shapes) == 0:
		return nil, next
	case now.Before(l.resume) && l.connection.Refused == nil:
		l.wait(r, w.Shapes)
		next = l.resume
	case !now.Before(l.next):
		l.full(r, w.Shapes)
		next = l.next
	default:
		next = earlier(l.next, l.fresh(r, w.Shapes))
	}
	if len(r.asks)+len(r.spared) == 0 && r.refused == nil && !r.quarantined {
		return nil, next
	}
	return r, next
}

// wait plans to send nothing, because Sysdig has asked us to wait. After an edit all are told so: meanwhile they may have been told
// something else, such as that there is no token.
func (l *lane) wait(r *round, shapes []registry.Asked) {
	if l.next.IsZero() {
		r.all, r.refused, l.next = l.requests(shapes), l.paused, l.resume
		return
	}
	r.spareAll(shapes, l.paused)
}

// adopt takes in the state of the connection.
func (l *lane) adopt(c registry.Connection, share Share, now time.Time) {
	l.forget(c.ChangeFrom(l.connection), now)
	if l.seen.Round(0).Sub(now.Round(0)) >= outOfStep { // our clock was set back: what is to come would be as late
		l.next, l.hearing = time.Time{}, hearing{}
		for _, t := range l.tracks {
			t.due = time.Time{}
		}
	}
	l.seen, l.connection = now, c
	l.grid = newGrid(c.Interval, l.delay.lag(c.IngestionLag)-l.skew.ahead, share)
	l.budget.adjust(now, c.RequestsPerMinute, share.Count)
}

// forget forgets what an edit of the connection has made void.
func (l *lane) forget(change registry.Change, now time.Time) {
	if change >= registry.Retuned {
		l.next, l.hearing, l.listing, l.looking = time.Time{}, hearing{}, time.Time{}, time.Time{}
		for _, t := range l.tracks {
			t.due = time.Time{}
			t.retuned()
		}
	}
	if change >= registry.AnotherAccess {
		l.resume, l.paused, l.probe = time.Time{}, nil, nil
		for _, t := range l.tracks {
			t.release()
		}
	}
	if change >= registry.AnotherAccount {
		l.budget.forget(now)
		l.skew, l.delay = skew{}, delay{}
	}
}

// prepare brings plans and tracks in step with what is wanted.
func (l *lane) prepare(shapes []registry.Asked, now time.Time) {
	l.reunite(now)
	plans := make(map[query.ShapeID]plan, len(shapes))
	tracks := make(map[query.Key]*track, len(l.tracks))
	for _, asked := range shapes {
		p, ok := l.plans[asked.Shape]
		if !ok || p.version != asked.Version {
			p = plan{asked.Version, query.Plan(asked.Questions, l.isHalved)}
		}
		plans[asked.Shape] = p
		for i := range p.requests {
			key := p.requests[i].Key
			if tracks[key] = l.tracks[key]; tracks[key] == nil {
				tracks[key] = &track{}
			}
		}
	}
	for key := range l.halved {
		if _, wanted := plans[key.Shape]; !wanted {
			delete(l.halved, key)
		}
	}
	l.plans, l.tracks = plans, tracks
}

func (l *lane) isHalved(key query.Key) bool {
	_, halved := l.halved[key]
	return halved
}

// halve has a request asked in two halves from now on.
func (l *lane) halve(key query.Key, now time.Time) {
	l.halved[key] = now
	delete(l.plans, key.Shape)
}

// reunite tries requests as a whole whose halves have done well for long.
func (l *lane) reunite(now time.Time) {
	for key, since := range l.halved {
		if now.Sub(since) < reunite {
			continue
		}
		rows, well := 0, true
		for _, half := range key.Halves() {
			t := l.tracks[half]
			well = well && t != nil && !t.busy && t.missed == 0 && t.refused == nil
			if t != nil {
				rows += t.rows
			}
		}
		if !well || rows > manyRows/2 {
			l.halved[key] = now
			continue
		}
		delete(l.halved, key)
		delete(l.plans, key.Shape)
		l.tracks[key] = &track{trial: true}
	}
}

// regular is when to ask again what is asked now.
func (l *lane) regular(now time.Time) time.Time {
	return l.grid.after(now.Add(l.connection.Interval / 2))
}

// full plans a round of all that is due, the longest waiting first, as far as the budget goes.
func (l *lane) full(r *round, shapes []registry.Asked) {
	now := r.began
	r.all = l.requests(shapes)
	if r.refused = l.connection.Refused; r.refused != nil {
		l.next = l.grid.after(now)
		return
	}
	spent, left := 0, 0
	room := l.budget.room(now) - l.beat()
	for _, some := range together(l.due(shapes, r)) {
		cost := l.cost(some)
		if left > 0 || spent+cost > room {
			left += cost
			for _, a := range some {
				r.spare(a.never, noRoom(l.connection.Name))
			}
			continue
		}
		spent += cost
		r.asks = append(r.asks, some...)
	}
	for _, a := range r.asks {
		l.take(a, now)
	}
	l.budget.putOff(now, left)
	l.next = l.regular(now)
	if left > 0 {
		l.next = l.roomAgain(now, left, spent)
		return
	}
	for _, t := range l.tracks {
		l.next = earlier(l.next, later(t.due, l.grid.point(now.Add(time.Millisecond)))) // what is due and busy is asked with the next point
	}
}

// take notes that a request is sent.
func (l *lane) take(a ask, now time.Time) {
	l.turn++
	a.track.busy, a.track.wait = true, wait{due: l.regular(now), turn: l.turn}
}

// due lists what may be sent now, the longest waiting first. What is in quarantine is spared.
func (l *lane) due(shapes []registry.Asked, r *round) (due []ask) {
	for _, asked := range shapes {
		for _, request := range l.plans[asked.Shape].requests {
			t := l.tracks[request.Key]
			a := askOf(request, t)
			a.whole = true
			if len(asked.Unanswered) > 0 {
				a.never = slices.DeleteFunc(slices.Clone(asked.Unanswered), func(q query.Question) bool { return !request.Has(q) })
			}
			switch why := t.quarantined(r.began); {
			case why != nil:
				r.quarantined = true
				r.spare(a.never, why)
			case !t.busy && !r.began.Before(t.due):
				due = append(due, a)
			}
		}
	}
	slices.SortStableFunc(due, func(a, b ask) int { return cmp.Compare(a.was.turn, b.was.turn) })
	return due
}

func (l *lane) requests(shapes []registry.Asked) []query.Request {
	var all []query.Request
	for _, asked := range shapes {
		all = append(all, l.plans[asked.Shape].requests...)
	}
	return all
}

// fresh plans to ask the questions that were never asked, when the budget has room for it beside the next full round; otherwise
// they wait for that. It returns when to try again.
func (l *lane) fresh(r *round, shapes []registry.Asked) (again time.Time) {
	if l.connection.Refused != nil {
		r.spareAll(shapes, l.connection.Refused)
		return l.next
	}
	again = l.next
	for _, asked := range shapes {
		for _, request := range query.Plan(asked.Unanswered, l.isHalved) {
			t := l.tracks[request.Key]
			if t == nil { // its shape is asked in other parts than these questions alone would be
				continue
			}
			switch why := t.quarantined(r.began); {
			case why != nil:
				r.spare(request.Questions, why)
			case t.busy:
				again = r.began.Add(hurry)
			default:
				a := askOf(request, t)
				a.never, a.whole = request.Questions, t.due.IsZero()
				r.asks = append(r.asks, a)
			}
		}
	}
	if len(r.asks) == 0 {
		return again
	}
	if ready := l.affords(r); ready.After(r.began) {
		r.asks = nil
		return earlier(ready, again)
	}
	for _, a := range r.asks {
		a.track.busy = true
		if a.whole {
			l.take(a, r.began)
		}
	}
	return again
}

// affords is from when on the new questions of a round may be asked: bursts are gathered, and the next full round keeps its
// requests.
func (l *lane) affords(r *round) time.Time {
	now := r.began
	if ready := l.gathered.Add(l.gather); now.Before(ready) {
		return ready
	}
	need := l.calls(r.asks) + l.beat()
	if need > l.budget.room(now) || l.budget.room(l.next)-need < l.round(now)+l.beat() {
		return l.next
	}
	l.gather = min(2*l.gather, l.connection.Interval)
	if l.gather == 0 || now.Sub(l.gathered) > 2*l.gather {
		l.gather = hurry
	}
	l.gathered = now
	return now
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// tells tells whether a heartbeat was heard about a time, with all that is needed.
func (h hearing) tells(about time.Time, needs query.Needs) bool {
	return h.asked.Equal(about) && needs.Within(h.needs)
}
