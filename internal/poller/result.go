package poller

import (
	"slices"
	"sync"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// result collects how the requests of one round ended.
type result struct {
	mu        sync.Mutex
	successes int
	last      *metric.Failure // the last failure that speaks about the connection
	stop      *metric.Failure // why the rest of the round is not sent
	ended     []ended

	// hearing is what the heartbeat told, and noRoom is set when the budget had none for it, beyond the first requests of beat. Only
	// the goroutine of the round sets them.
	hearing hearing
	noRoom  bool
	beat    int
}

// ended is how one request ended.
type ended struct {
	ask     ask
	failure *metric.Failure // nil when it was answered
	rows    int
	slow    bool
	// dear is set when the budget can never hold what it takes.
	dear bool
	// calls is how many HTTP requests it took, together with those that were asked with it.
	calls int
}

func (e ended) reason() metric.Reason {
	if e.failure == nil {
		return ""
	}
	return e.failure.Reason
}

// done notes how a request ended. A wrong question, or an answer that is too large, speaks about one shape only: the connection
// works.
func (r *result) done(e ended) {
	r.mu.Lock()
	r.ended = append(r.ended, e)
	r.mu.Unlock()
	switch e.reason() {
	case "", metric.Rejected, metric.Truncated:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.successes++
	default:
		r.failed(e.failure)
	}
}

// failed notes a failure of the connection. A refused token or a rate limit is the same for all requests of the round, and
// asking on would make it worse.
func (r *result) failed(f *metric.Failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = f
	if f.Reason == metric.Unauthorized || f.Reason == metric.RateLimited {
		r.stop = f
	}
}

// was tells whether a request was sent, or answered without.
func (r *result) was(a ask) bool {
	return slices.ContainsFunc(r.ended, func(e ended) bool { return e.ask.track == a.track })
}

func (r *result) stopped() *metric.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// health is nil when the connection answered at least one request and was not told to stop. refused is why it cannot be asked.
func (r *result) health(refused *metric.Failure) *metric.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case refused != nil:
		return refused
	case r.stop != nil:
		return r.stop
	case r.successes > 0:
		return nil
	}
	return r.last
}
