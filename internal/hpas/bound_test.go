package hpas_test

import (
	"fmt"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
)

// TestAnHPAWithMoreMetricsThanAreRememberedLetsNoBoundBeServed: with one of those that are not, it may shrink.
func TestAnHPAWithMoreMetricsThanAreRememberedLetsNoBoundBeServed(t *testing.T) {
	x := hpas.NewIndex()
	add(t, x, reads("a", web(value("100"))))
	wantLimit(t, x, ofWeb, 110_000)
	var many []autoscalingv2.MetricSpec
	for i := range 10_000 {
		many = append(many, object("Deployment", fmt.Sprint("d-", i), value("1")))
	}
	crowd := add(t, x, reads("crowd", many...))
	wantLimit(t, x, ofWeb, never)
	if got := len(x.ListKeys()); got != 2 {
		t.Errorf("%d HPAs are known", got)
	}
	elsewhere := reads("a", web(value("100")))
	elsewhere.Namespace = "bank"
	add(t, x, elsewhere)
	inBank := ofWeb
	inBank.Namespace = "bank"
	wantLimit(t, x, inBank, 110_000)
	x.OnDelete(crowd)
	wantLimit(t, x, ofWeb, 110_000)
}

// TestNamesThatNobodyCanBindAreNotRemembered: Kubernetes takes them in HPAs, however long.
func TestNamesThatNobodyCanBindAreNotRemembered(t *testing.T) {
	x := hpas.NewIndex()
	long := web(value("100"))
	long.Object.Metric.Name = strings.Repeat("m", 1<<20)
	add(t, x, reads("a", long, object("Deployment", strings.Repeat("d", 300), value("1"))))
	if got := x.ListKeys(); len(got) > 0 {
		t.Errorf("%q are remembered", got)
	}
}
