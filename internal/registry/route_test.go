package registry_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func TestAChangeOfRouteIsToldToEveryBinding(t *testing.T) {
	b := newBoard(t)
	b.Put(define("a"))
	b.Put(define("b", claiming("b")))
	b.told = nil
	b.SetRoute(metric.CustomMetrics, nil)
	b.wantTold()
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	b.wantTold("a", "b")
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	b.wantTold()
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is nobody's"))
	b.wantTold("a", "b")
	if got := b.Route(metric.CustomMetrics); got == nil || got.Message != "it is nobody's" || b.Route(metric.ExternalMetrics) != nil {
		t.Errorf("the routes are %v and %v", got, b.Route(metric.ExternalMetrics))
	}
	b.SetRoute(metric.CustomMetrics, nil)
	b.wantTold("a", "b")
}

func TestEveryAPIHasItsGauge(t *testing.T) {
	b := newBoard(t)
	b.SetRoute(metric.ExternalMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	want := `
# HELP sysdig_metrics_api_routed Whether HPAs that ask this API group reach this operator: 1 or 0.
# TYPE sysdig_metrics_api_routed gauge
sysdig_metrics_api_routed{api="custom.metrics.k8s.io"} 1
sysdig_metrics_api_routed{api="external.metrics.k8s.io"} 0
`
	if err := testutil.CollectAndCompare(registry.NewCollector(b.Registry), strings.NewReader(want), "sysdig_metrics_api_routed"); err != nil {
		t.Error(err)
	}
}
