package registry

import (
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Usage is what the questions of a connection cost. The zero Usage is that of one that nobody has asked yet.
type Usage struct {
	// Wanted and Allowed are requests a minute, of all replicas together: at the connection's interval, and by the quota.
	Wanted, Allowed int
	// AllowedBy says in a few words where Allowed comes from.
	AllowedBy string
	// Used and Refused are requests of this replica in the last minute: sent, and put off because the quota had no room.
	Used, Refused int
	// Replicas is how many share the quota.
	Replicas int
	// EffectiveInterval is how often each question is asked: the connection's interval, or longer when the quota does not carry it.
	EffectiveInterval time.Duration
	// IngestionLag is how old the newest points are that are asked for.
	IngestionLag time.Duration
	// ClockSkew is how far Sysdig's clock is ahead of ours, and ClockKnown is set when Sysdig has told its time.
	ClockSkew  time.Duration
	ClockKnown bool
	// Dearest are the most expensive shapes, at most MaxDearest.
	Dearest []Cost
}

// MaxDearest is how many shapes a Usage names.
const MaxDearest = 10

// Cost is what one shape costs.
type Cost struct {
	Shape query.ShapeID
	// Requests is how many are sent in a round, and Rows how many series their last answers had.
	Requests, Rows int
	// State says why the shape is not asked at the moment; empty when it is.
	State string
}

// pace is how often the questions of a connection are asked. All answers of a connection share one; only FileUsage writes it.
type pace struct {
	connection string
	stretched  bool
	usage      Usage
}

// beyond is why a value gets older than maxAge before the next one comes; nil when it does not.
func (p *pace) beyond(maxAge time.Duration) *metric.Failure {
	if !p.stretched {
		return nil
	}
	u := &p.usage
	oldest := u.EffectiveInterval + u.IngestionLag + metric.Step // so much older may a value be than the newest that could be asked for
	if oldest <= maxAge {
		return nil
	}
	return metric.Failf(metric.RateLimited,
		"connection %s may send %d requests a minute (%s) and needs %d, so each query is asked every %s only and a value gets %s old; raise the quota or spec.maxAge, or let bindings share queries",
		p.connection, u.Allowed, u.AllowedBy, u.Wanted, u.EffectiveInterval, oldest)
}

// FileUsage stores what the questions of a connection cost, and tells those who listen when the interval has begun or ceased to
// be stretched, when replicas have come or gone, and when another skew of the clocks is corrected.
func (r *Registry) FileUsage(name string, usage Usage) {
	r.mu.Lock()
	c, ok := r.connections[name]
	if !ok {
		r.mu.Unlock()
		return
	}
	p := r.paceOf(name)
	stretched := usage.EffectiveInterval > c.Interval
	changed := stretched != p.stretched || c.Usage.Replicas != usage.Replicas || c.Usage.ClockSkew != usage.ClockSkew || c.Usage.ClockKnown != usage.ClockKnown
	p.stretched, p.usage = stretched, usage
	c.Usage = usage
	r.connections[name] = c
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	if changed {
		for _, tell := range listeners {
			tell(name)
		}
	}
}

// paceOf is that of a connection, which may not exist yet.
func (r *Registry) paceOf(name string) *pace {
	p := r.paces[name]
	if p == nil {
		p = &pace{connection: name}
		r.paces[name] = p
	}
	return p
}
