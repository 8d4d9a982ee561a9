package poller

import (
	"sync"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// result collects how the requests of one round ended.
type result struct {
	mu        sync.Mutex
	successes int
	last      *metric.Failure // the last failure that speaks about the connection
	stop      *metric.Failure // why the rest of the round is not sent
}

// answered counts a request that was answered, if only by a refusal: the connection works.
func (r *result) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.successes++
}

// failed notes a failure. A wrong question speaks about one shape only. A refused token or a rate limit is the same for
// all requests of the round, and asking on would make it worse.
func (r *result) failed(f *metric.Failure) {
	if f.Reason == metric.Rejected {
		r.answered()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = f
	if f.Reason == metric.Unauthorized || f.Reason == metric.RateLimited {
		r.stop = f
	}
}

func (r *result) stopped() *metric.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop
}

// health is nil when the connection answered at least one request and was not told to stop.
func (r *result) health() *metric.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stop != nil:
		return r.stop
	case r.successes > 0:
		return nil
	}
	return r.last
}

func (r *result) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		return 0
	}
	return r.stop.RetryAfter
}
