package query

import (
	"fmt"
	"math"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Heartbeat asks for the time of the newest point that any agent of a scope has delivered. The metric has to be one that
// every pod has all the time.
type Heartbeat struct {
	Metric string
	Scope  Scope
}

// PromQL is the query; it yields one number, or nothing.
func (h Heartbeat) PromQL() string {
	selector := h.Metric
	if h.Scope.Cluster != "" {
		selector += "{" + oneOf(h.Scope.Labels.Cluster, []string{h.Scope.Cluster}, true).String() + "}"
	}
	return fmt.Sprintf("max(timestamp(%s))", selector)
}

// Read turns the answer to a heartbeat asked about a time into the time that questions may ask about. That is the same
// time as long as a point of the last step has arrived. When ingestion is behind, it is half a step before the newest
// point, which some pods may not have reached yet: a window that ends where the points end is full, one that slides on
// over them empties and reads too low. No point at all is Stale, never NoData: it says nothing about any workload.
func (h Heartbeat) Read(answer sysdig.Answer, at time.Time) (time.Time, *metric.Failure) {
	if len(answer.Series) != 1 || math.IsNaN(answer.Series[0].Value) || math.IsInf(answer.Series[0].Value, 0) {
		return time.Time{}, metric.Failf(metric.Stale,
			"no pod of cluster %q has reported %s in the last 5 minutes: the agents or Sysdig's ingestion have stopped, or spec.clusterName or spec.heartbeatMetric of connection %s is wrong",
			h.Scope.Cluster, h.Metric, h.Scope.Connection)
	}
	newest := time.UnixMilli(int64(answer.Series[0].Value * 1000)).UTC()
	if at.Sub(newest) <= gridStep {
		return at, nil
	}
	return newest.Add(halfStep - gridStep), nil
}
