package poller

import (
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// cost is how many HTTP requests it takes to ask what goes together: as many as the last time. What costs more than the budget can
// hold is tried when that is full.
func (l *lane) cost(some []ask) int {
	cost := some[0].request.Calls()
	for _, a := range some {
		cost = max(cost, a.track.calls)
	}
	return max(min(cost, l.most()), 1)
}

// most is how many HTTP requests a round can send after its heartbeat, at best.
func (l *lane) most() int { return l.budget.most() - l.beat() }

// exceeds takes in that the budget had no more than some HTTP requests for what goes together. It is tried with twice as many,
// and finally with all there are: true, when it had those.
func (l *lane) exceeds(some []ask, calls int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range some {
		a.track.calls = max(a.track.calls, 2*calls)
	}
	return calls >= l.most()
}

// calls is how many HTTP requests it takes to ask all of some asks.
func (l *lane) calls(asks []ask) (n int) {
	for _, some := range together(asks) {
		n += l.cost(some)
	}
	return n
}

// round is how many HTTP requests a whole round takes, without the heartbeat.
func (l *lane) round(now time.Time) int {
	var asks []ask
	for _, p := range l.plans {
		for _, request := range p.requests {
			if t := l.tracks[request.Key]; t != nil && t.quarantined(now) == nil {
				asks = append(asks, askOf(request, t))
			}
		}
	}
	return l.calls(asks)
}

// beat is how many HTTP requests a heartbeat takes. One that takes all that the budget can hold is tried, to say so.
func (l *lane) beat() int { return max(min(l.hearing.calls, l.budget.most()-1), 1) }

// roomAgain is when the budget has room for a heartbeat and what is left, or is full, once some HTTP requests have been sent.
func (l *lane) roomAgain(now time.Time, left, spent int) time.Time {
	if spent > 0 {
		spent += l.beat()
	}
	wait := min(l.budget.wait(now, left+l.beat(), spent), time.Minute)
	return l.grid.point(now.Add(max(wait, time.Millisecond)))
}

func noRoom(connection string) *metric.Failure {
	return metric.Failf(metric.RateLimited, "the quota of connection %s has no room for another query yet; it is the next to be asked", connection)
}
