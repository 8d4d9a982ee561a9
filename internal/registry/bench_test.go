package registry_test

import (
	"fmt"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// BenchmarkFileAFailureOfManySets files that Sysdig is away when 100 bindings share a question about 2,000 pods, all of which are
// too old. Reads wait meanwhile.
func BenchmarkFileAFailureOfManySets(b *testing.B) {
	board := newBoard(b)
	var d query.Definition
	for i := range 100 {
		d = define(fmt.Sprint(i), all(pods, "app=web"), claiming(fmt.Sprint(i)))
		board.Put(d)
	}
	values := map[string]float64{}
	for i := range 2000 {
		values[fmt.Sprint(i)] = 1
	}
	board.found(d.Question, values)
	board.clk.Step(2 * maxAge)
	b.ReportAllocs()
	for b.Loop() {
		board.fail(d.Question, metric.Unavailable)
	}
}
