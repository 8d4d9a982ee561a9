package provider

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Metrics counts what is read.
type Metrics struct {
	reads   *prometheus.CounterVec
	age     prometheus.Histogram
	success prometheus.Counter
}

// NewMetrics registers the provider's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sysdig_metrics_reads_total",
			Help: "Reads of metrics by HPAs and others, by result: Served, NotFound, or the reason of the error.",
		}, []string{"result"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sysdig_metrics_served_sample_age_seconds",
			Help:    "Age of samples at the moment they were served.",
			Buckets: []float64{10, 20, 30, 45, 60, 90, 120, 300, 600},
		}),
	}
	for _, c := range []prometheus.Collector{m.reads, m.age} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	for _, reason := range metric.Reasons() {
		m.reads.WithLabelValues(string(reason))
	}
	m.success = m.reads.WithLabelValues("Served")
	return m, nil
}

func (m *Metrics) read(result string) { m.reads.WithLabelValues(result).Inc() }

func (m *Metrics) served(age time.Duration) {
	m.success.Inc()
	m.age.Observe(age.Seconds())
}
