package poller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Metrics counts what the poller asks.
type Metrics struct {
	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the poller's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sysdig_metrics_requests_total",
			Help: "Requests sent to Sysdig, by connection.",
		}, []string{"connection"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sysdig_metrics_request_errors_total",
			Help: "Requests to Sysdig that failed, by connection and reason.",
		}, []string{"connection", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sysdig_metrics_request_duration_seconds",
			Help:    "Time from sending a request to Sysdig to having read its answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"connection"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.errors, m.duration} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) request(connection string, reason metric.Reason, took time.Duration) {
	m.requests.WithLabelValues(connection).Inc()
	m.duration.WithLabelValues(connection).Observe(took.Seconds())
	if reason != "" {
		m.errors.WithLabelValues(connection, string(reason)).Inc()
	}
}
