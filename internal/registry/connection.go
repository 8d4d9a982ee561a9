package registry

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Source answers PromQL for an explicit time. Its errors are failures; see metric.AsFailure.
type Source interface {
	Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error)
}

// Connection is a compiled SysdigConnection.
type Connection struct {
	Name string
	// Generation is that of the SysdigConnection. Health is forgotten when it changes.
	Generation   int64
	Interval     time.Duration
	IngestionLag time.Duration
	// Heartbeat tells how far ingestion has come.
	Heartbeat query.Heartbeat
	// Source answers; nil when Refused says why the connection cannot be used.
	Source  Source
	Refused *metric.Failure
	// Revision grows with every PutConnection, so that a pause that was told to an older one is not kept.
	Revision int64
	// Health is how the last round of questions ended: nil when all were answered. Attempted is when it ended.
	Health    *metric.Failure
	Attempted time.Time
}

// PutConnection adds a connection or replaces the one of the same name, and asks for a round at once. Readings are kept:
// whether they still answer their questions is decided by the questions.
func (r *Registry) PutConnection(c Connection) {
	r.mu.Lock()
	old := r.connections[c.Name]
	c.Revision = old.Revision + 1
	if c.Generation == old.Generation {
		c.Health, c.Attempted = old.Health, old.Attempted
	}
	r.connections[c.Name] = c
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	if idle, ok := old.Source.(interface{ Close() }); ok {
		idle.Close()
	}
	r.nudge()
	for _, tell := range listeners {
		tell(c.Name)
	}
}

// DeleteConnection forgets a connection.
func (r *Registry) DeleteConnection(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, name)
}

// Connection returns a connection by name.
func (r *Registry) Connection(name string) (Connection, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.connections[name]
	return c, ok
}

// Wanted is what a connection is asked.
type Wanted struct {
	Connection Connection
	// Questions are all questions, each once.
	Questions []query.Question
	// Unanswered are those that were never attempted.
	Unanswered []query.Question
}

// Wanted lists what every connection is asked, in order of the connections' names. Suspended bindings are asked too, so
// that they are warm when they resume.
func (r *Registry) Wanted() []Wanted {
	r.mu.RLock()
	defer r.mu.RUnlock()
	byName := map[string]*Wanted{}
	for question, a := range r.answers {
		name := question.Shape.Scope.Connection
		connection, ok := r.connections[name]
		if !ok || connection.Heartbeat.Scope != question.Shape.Scope {
			continue // compiled for another state of the connection: the binding's own reconciler is on its way
		}
		if byName[name] == nil {
			byName[name] = &Wanted{Connection: connection}
		}
		byName[name].Questions = append(byName[name].Questions, question)
		if a.reading.Attempted.IsZero() {
			byName[name].Unanswered = append(byName[name].Unanswered, question)
		}
	}
	wanted := make([]Wanted, 0, len(byName))
	for _, w := range byName {
		wanted = append(wanted, *w)
	}
	slices.SortFunc(wanted, func(a, b Wanted) int { return cmp.Compare(a.Connection.Name, b.Connection.Name) })
	return wanted
}

// FileHealth stores how a round of a connection ended and tells those who listen when that has changed.
func (r *Registry) FileHealth(name string, health *metric.Failure) {
	r.mu.Lock()
	c, ok := r.connections[name]
	if !ok {
		r.mu.Unlock()
		return
	}
	first := c.Attempted.IsZero()
	changed := first || (c.Health == nil) != (health == nil) || (health != nil && c.Health.Reason != health.Reason)
	c.Health, c.Attempted = health, r.clock.Now()
	r.connections[name] = c
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	if !changed {
		return
	}
	for _, tell := range listeners {
		tell(name)
	}
}

// ListenConnections registers a function that is told of connections whose health has changed. It must not block.
func (r *Registry) ListenConnections(tell func(name string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = append(r.connected, tell)
}
