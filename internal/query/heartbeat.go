package query

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Heartbeat asks for the time of the newest point that any agent of a scope has delivered. The metric has to be one that
// every pod has all the time.
type Heartbeat struct {
	Metric string
	Scope  Scope
}

// PromQL is the query: the time of the newest point and, marked by partLabel, the most points that any pod has in each of
// the windows.
func (h Heartbeat) PromQL(windows []time.Duration) string {
	selector := h.Metric
	if h.Scope.Cluster != "" {
		selector += "{" + oneOf(h.Scope.Labels.Cluster, []string{h.Scope.Cluster}, true).String() + "}"
	}
	promQL := fmt.Sprintf("max(timestamp(%s))", selector)
	for _, w := range windows {
		text := model.Duration(w).String()
		promQL += fmt.Sprintf(` or label_replace(max(count_over_time(%s[%s])), "%s", "%s", "", "")`, selector, text, partLabel, text)
	}
	return promQL
}

// Read turns the answer to a heartbeat asked about a time into the time that questions may ask about. That is the same
// time as long as a point of the last step has arrived. When ingestion is behind, it is half a step before the newest
// point, which some pods may not have reached yet: a window that ends where the points end is full, one that slides on
// over them empties and reads too low. No point at all is Stale, never NoData: it says nothing about any workload.
func (h Heartbeat) Read(answer sysdig.Answer, at time.Time) (Heard, *metric.Failure) {
	heard := Heard{points: map[string]float64{}}
	newest := math.NaN()
	for _, s := range answer.Series {
		if window, isCount := s.Labels[partLabel]; isCount {
			heard.points[window] = s.Value
		} else {
			newest = s.Value
		}
	}
	if math.IsNaN(newest) || math.IsInf(newest, 0) {
		return Heard{}, metric.Failf(metric.Stale,
			"no pod of cluster %q has reported %s in the last 5 minutes: the agents or Sysdig's ingestion have stopped, or spec.clusterName or spec.heartbeatMetric of connection %s is wrong",
			h.Scope.Cluster, h.Metric, h.Scope.Connection)
	}
	heard.At, heard.Newest = at, time.UnixMilli(int64(newest*1000)).UTC()
	if at.Sub(heard.Newest) > gridStep {
		heard.At = heard.Newest.Add(halfStep - gridStep)
	}
	return heard, nil
}

// Heard is what a heartbeat tells.
type Heard struct {
	// At is the time that questions may ask about.
	At time.Time
	// Newest is the time of the newest point until then.
	Newest time.Time
	// points is the most points that any pod has in a window, by the window as PromQL writes it.
	points map[string]float64
}

// Covers tells whether the points of a window are there, up to one. After a gap that was not filled in they are not, and a
// sum over the window would read too low until the gap has left it. Raw PromQL has no window of its own and is covered.
func (h Heard) Covers(window time.Duration) *metric.Failure {
	if window == 0 {
		return nil
	}
	got, want := h.points[model.Duration(window).String()], float64(window/gridStep)
	if got >= want-1 {
		return nil
	}
	return metric.Failf(metric.Stale, "the window of %s holds %g of %g points: reports have begun, or come back after a gap, and the window is not covered yet", window, got, want)
}

// Windows lists the windows of requests, each once and in order.
func Windows(requests []Request) []time.Duration {
	var windows []time.Duration
	for _, r := range requests {
		if window := r.Window(); window > 0 {
			windows = append(windows, window)
		}
	}
	slices.Sort(windows)
	return slices.Compact(windows)
}
