package registry

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Source answers PromQL for an explicit time, and questions to the data API. Its errors are failures; see metric.AsFailure.
type Source interface {
	Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error)
	Data(ctx context.Context, request sysdig.DataRequest) (sysdig.DataAnswer, error)
}

// Lister lists what there is. It calls take before each HTTP request, whose error ends the list.
type Lister interface {
	// MetricNames are the names of the Prometheus API's metrics, Descriptors those of the data API's.
	MetricNames(ctx context.Context, take func() error) ([]string, error)
	Descriptors(ctx context.Context, take func() error) ([]string, error)
	// FindMetrics tells which of some metrics of the Prometheus API there are, and FindDescriptor whether there is one of the data API.
	FindMetrics(ctx context.Context, names []string, take func() error) (found []string, err error)
	FindDescriptor(ctx context.Context, name string, take func() error) (found bool, err error)
	// LabelNames are the PromQL names of the data API's labels; nil when Sysdig does not tell.
	LabelNames(ctx context.Context, take func() error) (map[string]string, error)
	// LabelValues are the values of a label of the Prometheus API, and whether those are all.
	LabelValues(ctx context.Context, label string, take func() error) (values []string, all bool, err error)
}

// Connection is a compiled SysdigConnection.
type Connection struct {
	Name string
	// Generation is that of the SysdigConnection.
	Generation   int64
	Interval     time.Duration
	IngestionLag time.Duration
	// RequestsPerMinute bounds what all replicas together may send; 0 for no bound.
	RequestsPerMinute int
	// QueriesPerNamespace is how many shapes the bindings of one namespace may need; 0 for any number.
	QueriesPerNamespace int
	// Segments is how many segments the data API is asked for at a time.
	Segments int
	// AnomalyLimits say when values that fall together are not believed.
	AnomalyLimits AnomalyLimits
	// Heartbeat tells how far ingestion has come.
	Heartbeat query.Heartbeat
	// Source answers; nil when Refused says why the connection cannot be used.
	Source Source
	// Lister lists what Source can be asked about; nil when nobody is to know.
	Lister  Lister
	Refused *metric.Failure
	// Access stands for where Source asks and with which token: it is another number when either changes. Pauses that Sysdig has asked
	// for hold until then.
	Access int64
	// Revision grows with every PutConnection, so that what a round has found out about an older one is not kept.
	Revision int64
	// Health is how the last round of questions ended: nil when all were answered. Attempted is when it ended. They are forgotten when an
	// edit makes them say nothing of what is asked now.
	Health    *metric.Failure
	Attempted time.Time
	// Clusters are those that there are, when nothing is seen of the connection's own; nil when nobody has looked, or it is seen.
	Clusters *Clusters
	// Usage is what the questions cost.
	Usage Usage
	// Anomaly is what is not believed at the moment; nil when that is nothing.
	Anomaly *Anomaly
}

// Clusters are the clusters that a connection's token sees.
type Clusters struct {
	// Names are in order.
	Names []string
	// All is set when there are no more.
	All bool
}

// Has tells whether a cluster is among them.
func (c *Clusters) Has(name string) bool {
	_, found := slices.BinarySearch(c.Names, name)
	return found
}

// FileClusters stores which clusters there are, unless the connection leads somewhere else by now, and tells those who listen.
func (r *Registry) FileClusters(of Connection, clusters Clusters) {
	r.mu.Lock()
	now, ok := r.connections[of.Name]
	if !ok || now.Heartbeat.Scope != of.Heartbeat.Scope || now.Revision != of.Revision || now.Health == nil {
		r.mu.Unlock()
		return
	}
	now.Clusters = &clusters
	r.connections[of.Name] = now
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	for _, tell := range listeners {
		tell(of.Name)
	}
}

// PutConnection adds a connection or replaces the one of the same name, and asks for a round at once. Readings are kept:
// whether they still answer their questions is decided by the questions.
func (r *Registry) PutConnection(c Connection) {
	r.mu.Lock()
	old := r.connections[c.Name]
	c.Revision = old.Revision + 1
	if c.Generation == old.Generation || c.Heartbeat == old.Heartbeat && c.ChangeFrom(old) <= Retuned {
		c.Health, c.Attempted, c.Clusters = old.Health, old.Attempted, old.Clusters
	}
	c.Usage, c.Anomaly = old.Usage, old.Anomaly
	if c.Heartbeat.Scope != old.Heartbeat.Scope {
		delete(r.catalogues, c.Name)
	}
	r.breakerOf(c.Name).limits = c.AnomalyLimits
	r.connections[c.Name] = c
	var changed []types.NamespacedName
	if c.QueriesPerNamespace != old.QueriesPerNamespace {
		for t := range r.tenants {
			if t.connection == c.Name {
				changed = append(changed, r.allot(t)...)
			}
		}
	}
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	if idle, ok := old.Source.(interface{ Close() }); ok && old.Source != c.Source {
		idle.Close()
	}
	r.nudge()
	for _, tell := range listeners {
		tell(c.Name)
	}
	r.tell(changed)
}

// DeleteConnection forgets a connection.
func (r *Registry) DeleteConnection(name string) {
	r.mu.Lock()
	source := r.connections[name].Source
	delete(r.connections, name)
	delete(r.catalogues, name)
	r.tidy(name)
	r.mu.Unlock()
	if idle, ok := source.(interface{ Close() }); ok {
		idle.Close()
	}
}

// tidy drops what all questions of a connection share when there are neither.
func (r *Registry) tidy(name string) {
	_, exists := r.connections[name]
	if b := r.breakers[name]; exists || b != nil && len(b.answers) > 0 {
		return
	}
	delete(r.breakers, name)
	delete(r.paces, name)
}

// Connection returns a connection by name.
func (r *Registry) Connection(name string) (Connection, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.connections[name]
	return c, ok
}

// FileHealth stores how a round of a connection ended, decides about what was held back during the round, and tells those who
// listen what has changed.
func (r *Registry) FileHealth(name string, health *metric.Failure) {
	r.mu.Lock()
	c, ok := r.connections[name]
	if !ok {
		r.mu.Unlock()
		return
	}
	now := r.clock.Now()
	anomaly, altered := r.settle(name, health == nil, now)
	changed := c.Attempted.IsZero() || reasonOf(c.Health) != reasonOf(health) || (c.Anomaly == nil) != (anomaly == nil)
	c.Health, c.Attempted, c.Anomaly = health, now, anomaly
	if health == nil {
		c.Clusters = nil
	}
	r.connections[name] = c
	listeners := slices.Clone(r.connected)
	r.mu.Unlock()
	if changed {
		for _, tell := range listeners {
			tell(name)
		}
	}
	r.tell(altered)
}

// reasonOf is empty without a failure.
func reasonOf(failure *metric.Failure) metric.Reason {
	if failure == nil {
		return ""
	}
	return failure.Reason
}

// ListenConnections registers a function that is told of connections whose health has changed. It must not block.
func (r *Registry) ListenConnections(tell func(name string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = append(r.connected, tell)
}
