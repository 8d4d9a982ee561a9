package poller

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// least is a heartbeat and one question: with less nothing could ever be asked.
	least = 2
	// patience is how long a limit that was learned from HTTP 429 stays before a little more is tried.
	patience = time.Minute
	// deepest bounds how far HTTP 429 lowers the limit, as a part of it.
	deepest = 1.0 / 16
)

// budget is how many requests one replica may send to one connection: a token bucket that holds a minute's worth. The limit
// is that of the quota or, when it is lower, what Sysdig says in X-RateLimit-Limit; HTTP 429 halves it, and what others of the
// account leave is found again step by step. It is safe for concurrent use.
type budget struct {
	mu       sync.Mutex
	bucket   *rate.Limiter
	quota    int     // of the connection, over all replicas; 0 for no limit
	header   int     // what Sysdig last said; 0 when it has not
	factor   float64 // what HTTP 429 has left of the limit
	changed  time.Time
	replicas int

	sent, refused recent
}

func newBudget(now time.Time) *budget {
	b := &budget{factor: 1, changed: now, replicas: 1, bucket: rate.NewLimiter(rate.Inf, least)}
	b.apply(now)
	return b
}

// adjust takes in the quota and among how many replicas it is shared, and recovers from HTTP 429.
func (b *budget) adjust(now time.Time, quota, replicas int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.factor < 1 && now.Sub(b.changed) >= patience {
		b.factor, b.changed = min(b.factor*1.25, 1), now
	}
	b.quota, b.replicas = quota, max(replicas, 1)
	b.apply(now)
}

// forget forgets what an earlier account has taught.
func (b *budget) forget(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.header, b.factor, b.changed = 0, 1, now
	b.apply(now)
}

// learn takes in what the header of an answer says; 0 when it says nothing.
func (b *budget) learn(now time.Time, header int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if header > 0 {
		b.header = header
	}
	b.apply(now)
}

// lower takes in that a request was one too many, although the heartbeat before it was not: less is left than the limit says. It
// lowers the limit once per round at most.
func (b *budget) lower(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.changed) > metric.Step || b.factor == 1 {
		b.factor, b.changed = max(b.factor/2, deepest), now
	}
	b.apply(now)
	b.bucket.AllowN(now, max(int(b.bucket.TokensAt(now)), 0))
}

// apply sets the bucket. When it gets smaller, what was sent in the last minute counts against it: whoever says how many
// requests are allowed has counted them too.
func (b *budget) apply(now time.Time) {
	if !b.limited() {
		b.bucket.SetLimitAt(now, rate.Inf)
		return
	}
	mine := b.minute()
	limit, burst := rate.Limit(mine/time.Minute.Seconds()), max(int(mine), least)
	switch was := b.bucket.Burst(); {
	case b.bucket.Limit() == rate.Inf:
		b.bucket = rate.NewLimiter(limit, burst) // full
	case limit == b.bucket.Limit():
		return
	case burst < was:
		b.bucket.SetLimitAt(now, limit)
		b.bucket.SetBurstAt(now, burst)
		left := max(burst-b.sent.count(now), 0)
		b.bucket.AllowN(now, max(int(b.bucket.TokensAt(now))-left, 0))
	default:
		b.bucket.SetLimitAt(now, limit)
		b.bucket.SetBurstAt(now, burst)
	}
}

func (b *budget) limited() bool { return b.quota > 0 || b.header > 0 || b.factor < 1 }

// limit is what all replicas together may send in a minute, and where it comes from.
func (b *budget) limit() (perMinute float64, by string) {
	perMinute, by = math.Inf(1), "no limit is set"
	if b.quota > 0 {
		perMinute, by = float64(b.quota), "spec.quota.requestsPerMinute"
	}
	if b.header > 0 && float64(b.header) < perMinute {
		perMinute, by = float64(b.header), "Sysdig's X-RateLimit-Limit"
	}
	if math.IsInf(perMinute, 1) && b.factor < 1 {
		perMinute = unlimited
	}
	if b.factor < 1 {
		perMinute *= b.factor
		by = fmt.Sprintf("%s, lowered after HTTP 429", by)
	}
	return perMinute, by
}

// unlimited is where HTTP 429 starts to lower a limit that nobody has set: the largest that Sysdig's OpenAPI document knows.
const unlimited = 4096

// minute is what this replica may send in a minute.
func (b *budget) minute() float64 {
	perMinute, _ := b.limit()
	return perMinute / float64(b.replicas)
}

// room is how many requests may be sent at a time, when none is sent until then.
func (b *budget) room(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limited() {
		return math.MaxInt
	}
	return int(b.bucket.TokensAt(now) + 1e-6)
}

// most is how many requests may be sent at a time at best.
func (b *budget) most() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limited() {
		return math.MaxInt
	}
	return b.bucket.Burst()
}

// take takes a request out of the bucket; it returns false when there is none.
func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limited() && !b.bucket.AllowN(now, 1) {
		return false
	}
	b.sent.add(now, 1)
	return true
}

// putOff counts requests that have to wait for a later round.
func (b *budget) putOff(now time.Time, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused.add(now, n)
}

// wait is how long it takes from now until there is room for so many requests, but no more than the bucket holds, when spent
// of what is there now are sent first.
func (b *budget) wait(now time.Time, requests, spent int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limited() {
		return 0
	}
	missing := float64(min(requests, b.bucket.Burst())) - (b.bucket.TokensAt(now) - float64(spent))
	return time.Duration(max(missing, 0) / float64(b.bucket.Limit()) * float64(time.Second))
}

// figures are what a status shows.
func (b *budget) figures(now time.Time) (perMinute float64, by string, replicas, sent, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	perMinute, by = b.limit()
	return perMinute, by, b.replicas, b.sent.count(now), b.refused.count(now)
}

// recent counts what has happened in the last minute.
type recent []happened

type happened struct {
	at time.Time
	n  int
}

func (r *recent) add(now time.Time, n int) {
	if n > 0 {
		r.count(now)
		*r = append(*r, happened{now, n})
	}
}

// count forgets what is older.
func (r *recent) count(now time.Time) (n int) {
	kept := (*r)[:0]
	for _, h := range *r {
		if now.Sub(h.at) < time.Minute {
			kept = append(kept, h)
			n += h.n
		}
	}
	*r = kept
	return n
}
