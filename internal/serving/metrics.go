package serving

import "github.com/prometheus/client_golang/prometheus"

// The limits at which something may be refused, as a label says them.
const (
	limitConnections = "connections"
	limitHeader      = "header"
	limitBody        = "body"
	limitTokens      = "tokens"
	limitInFlight    = "in_flight"
)

// Metrics counts what was refused. Nil counts nothing.
type Metrics struct{ refused *prometheus.CounterVec }

// NewMetrics registers the metrics of what is refused.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sysdig_metrics_api_refused_total",
		Help: "Connections and requests that were refused, by the limit that they met: connections, header, body, tokens, in_flight.",
	}, []string{"limit"})}
	if err := registerer.Register(m.refused); err != nil {
		return nil, err
	}
	for _, name := range []string{limitConnections, limitHeader, limitBody, limitTokens, limitInFlight} {
		m.refused.WithLabelValues(name)
	}
	return m, nil
}

// refuser is what counts one at a limit.
func (m *Metrics) refuser(name string) func() {
	if m == nil {
		return func() {}
	}
	return m.refused.WithLabelValues(name).Inc
}
