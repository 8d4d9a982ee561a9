package poller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// Metrics counts what the poller asks.
type Metrics struct {
	requests *prometheus.CounterVec
	errors   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	allowed  *prometheus.GaugeVec
	wanted   *prometheus.GaugeVec
	interval *prometheus.GaugeVec
	skew     *prometheus.GaugeVec
}

// vector are the series of one metric.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

func (m *Metrics) all() []vector {
	return []vector{m.requests, m.errors, m.duration, m.allowed, m.wanted, m.interval, m.skew}
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
		allowed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sysdig_metrics_requests_allowed",
			Help: "Requests a minute that all replicas together may send to Sysdig, by connection.",
		}, []string{"connection"}),
		wanted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sysdig_metrics_requests_wanted",
			Help: "Requests a minute that all replicas together would send to Sysdig at the interval of the connection.",
		}, []string{"connection"}),
		interval: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sysdig_metrics_effective_interval_seconds",
			Help: "How often each query is asked: the interval of the connection, or longer when the quota does not carry it.",
		}, []string{"connection"}),
		skew: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sysdig_metrics_clock_skew_seconds",
			Help: "How far Sysdig's clock is ahead of the operator's, as corrected; below 5 seconds it counts as 0.",
		}, []string{"connection"}),
	}
	for _, c := range m.all() {
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

func (m *Metrics) usage(connection string, u registry.Usage) {
	m.allowed.WithLabelValues(connection).Set(float64(u.Allowed))
	m.wanted.WithLabelValues(connection).Set(float64(u.Wanted))
	m.interval.WithLabelValues(connection).Set(u.EffectiveInterval.Seconds())
	if u.ClockKnown {
		m.skew.WithLabelValues(connection).Set(u.ClockSkew.Seconds())
	}
}

// forget drops the series of a connection that is gone.
func (m *Metrics) forget(connection string) {
	for _, vector := range m.all() {
		vector.DeletePartialMatch(prometheus.Labels{"connection": connection})
	}
}
