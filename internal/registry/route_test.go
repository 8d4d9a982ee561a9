package registry_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func TestAChangeOfRouteIsToldToTheBindingsOfItsAPI(t *testing.T) {
	b := newBoard(t)
	b.Put(define("a"))
	b.Put(define("b", claiming("b")))
	b.Put(define("c", func(d *query.Definition) { d.Claim = metric.ExternalClaim("shop", "c") }))
	b.told = nil
	if b.Routed(metric.CustomMetrics) {
		t.Error("it is routed before that is known")
	}
	b.SetRoute(metric.CustomMetrics, nil)
	b.wantTold()
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	b.wantTold("a", "b")
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	b.wantTold()
	b.SetRoute(metric.CustomMetrics, metric.Failf(metric.NotRouted, "it is nobody's"))
	b.wantTold("a", "b")
	if standing, _ := b.Standing(define("a").Binding); standing.NotRouted == nil || standing.NotRouted.Message != "it is nobody's" {
		t.Errorf("a stands %+v", standing)
	}
	if standing, _ := b.Standing(define("c").Binding); standing.NotRouted != nil {
		t.Errorf("c stands %+v", standing)
	}
	b.SetRoute(metric.CustomMetrics, nil)
	b.wantTold("a", "b")
	if !b.Routed(metric.CustomMetrics) {
		t.Error("it is not routed")
	}
}

func TestEveryAPIHasItsGauge(t *testing.T) {
	b := newBoard(t)
	b.SetRoute(metric.CustomMetrics, nil)
	b.SetRoute(metric.ExternalMetrics, metric.Failf(metric.NotRouted, "it is KEDA's"))
	want := `
# HELP sysdig_metrics_api_routed Whether HPAs that ask this API group are known to reach this operator: 1 or 0.
# TYPE sysdig_metrics_api_routed gauge
sysdig_metrics_api_routed{api="custom.metrics.k8s.io"} 1
sysdig_metrics_api_routed{api="external.metrics.k8s.io"} 0
`
	if err := testutil.CollectAndCompare(registry.NewCollector(b.Registry), strings.NewReader(want), "sysdig_metrics_api_routed"); err != nil {
		t.Error(err)
	}
}
