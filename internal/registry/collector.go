package registry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Collector counts bindings by standing, and tells which APIs are routed here, at the moment of the scrape.
type Collector struct {
	registry *Registry
	bindings *prometheus.Desc
	routed   *prometheus.Desc
}

// NewCollector returns a collector of a registry.
func NewCollector(r *Registry) *Collector {
	return &Collector{
		registry: r,
		bindings: prometheus.NewDesc(
			"sysdig_metrics_bindings", "Bindings by standing: Serving, or the reason why no value is served.", []string{"standing"}, nil,
		),
		routed: prometheus.NewDesc(
			"sysdig_metrics_api_routed", "Whether HPAs that ask this API group are known to reach this operator: 1 or 0.", []string{"api"}, nil,
		),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.bindings
	descs <- c.routed
}

// Collect implements prometheus.Collector. Every standing and every API is always there, so that alerts never miss a series.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	counts := c.registry.Count()
	metrics <- prometheus.MustNewConstMetric(c.bindings, prometheus.GaugeValue, float64(counts[""]), "Serving")
	for _, reason := range metric.Reasons() {
		metrics <- prometheus.MustNewConstMetric(c.bindings, prometheus.GaugeValue, float64(counts[reason]), string(reason))
	}
	for _, api := range metric.APIs() {
		routed := 0.0
		if c.registry.Routed(api) {
			routed = 1
		}
		metrics <- prometheus.MustNewConstMetric(c.routed, prometheus.GaugeValue, routed, string(api))
	}
}
