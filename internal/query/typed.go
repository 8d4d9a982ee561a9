package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// partLabel marks the rows that hold the time of the newest point behind a value, so that value and time travel in one
// request. It is no label of Sysdig's.
const partLabel = "sysdig_metrics_part"

// halfStep keeps the time of a question off the grid of Sysdig's points, so that it does not matter whether a range selector includes its
// left edge.
const halfStep = metric.Step / 2

// QuestionTime is the time that a question is asked about: the newest 10-second point that agents have delivered when
// ingestion takes no longer than lag, plus half a step. Asked about now, a window would hold points that have not arrived.
func QuestionTime(now time.Time, lag time.Duration) time.Time {
	return now.Add(-lag).Truncate(metric.Step).Add(halfStep)
}

// narrow is a set of further matchers of one request: the namespaces that are wanted, and the objects when they are few.
type narrow struct {
	namespaces, workloads, pods, services []string
}

// promQL writes the query of a typed shape: the containers of a pod summed, the pods of a row reduced unless the view does
// that, and a second vector with the time of the newest point of each row.
//
//	avg by (row) (sum by (row, pod) (sum_over_time(x{…}[1m]) / 60))
//	or label_replace(max by (row) (timestamp(x{…})), "part", "time", "", "")
func (s Shape) promQL(n narrow) string {
	selector := s.Metric + s.matchers(n)
	row := strings.Join(s.rowLabels(), ", ")
	parts := newestPoint(selector, row, "time")
	if need := s.points(); need > 0 {
		parts += " or " + fewPoints(selector, row, fewPart, s.Window, need)
	}
	if s.Group == "" {
		return fmt.Sprintf("sum by (%s) (%s) or %s", row, s.overTime(selector), parts)
	}
	perPod := fmt.Sprintf("sum by (%s, %s) (%s)", row, s.Scope.Labels.Pod, s.overTime(selector))
	return fmt.Sprintf("%s by (%s) (%s) or %s", groupFunction(s.Group), row, perPod, parts)
}

// points is how many points within the window it takes to make a value, where there may be fewer although nothing is wrong with the
// series; 0 where agents send one each 10 seconds.
func (s Shape) points() int {
	switch {
	case s.Cumulative:
		return 2
	case s.Window < shortWindow, !sysdigsOwn(s.Metric):
		return 1
	}
	return 0
}

// newestPoint is a vector of the time of the newest point per row, marked by partLabel.
func newestPoint(selector, row, part string) string {
	return mark(fmt.Sprintf("max by (%s) (timestamp(%s))", row, selector), part)
}

// mark sets partLabel in all series of a vector, whatever they said themselves. The empty part takes it away.
func mark(vector, part string) string {
	return fmt.Sprintf(`label_replace(%s, "%s", "%s", "", "")`, vector, partLabel, part)
}

// rowLabels are the labels that tell the rows of the answer apart.
func (s Shape) rowLabels() []string {
	var row []string
	l := s.Scope.Labels
	switch s.Grain {
	case Raw:
		if s.ObjectLabel != "" {
			row = []string{s.ObjectLabel}
		}
		return append(row, s.Dimensions.list()...)
	case ByWorkload:
		row = []string{l.Namespace, l.WorkloadType, l.Workload}
	case ByService:
		row = []string{l.Namespace, serviceLabel}
	default:
		row = []string{l.Namespace}
	}
	if s.Group == "" {
		row = append(row, l.Pod)
	}
	return append(row, s.Dimensions.list()...)
}

// matchers confine a selector to the cluster, the wanted namespaces and objects, and the filters.
func (s Shape) matchers(n narrow) string {
	var b strings.Builder
	b.WriteString("{" + oneOf(s.Scope.Labels.Namespace, n.namespaces, true))
	if s.Scope.Cluster != "" {
		b.WriteString("," + oneOf(s.Scope.Labels.Cluster, []string{s.Scope.Cluster}, true))
	}
	if len(n.workloads) > 0 {
		b.WriteString("," + oneOf(s.Scope.Labels.Workload, n.workloads, true))
	}
	if len(n.pods) > 0 {
		b.WriteString("," + oneOf(s.Scope.Labels.Pod, n.pods, true))
	}
	b.WriteString(s.Where + "}")
	return b.String()
}

// overTime reduces the points of the window. Sysdig's own counters hold the count of each interval, so their rate is
// sum_over_time / seconds and never rate(); scraped counters only rise, so theirs is rate().
func (s Shape) overTime(selector string) string {
	ranged := fmt.Sprintf("(%s[%s])", selector, model.Duration(s.Window))
	switch s.Time {
	case v1alpha1.TimeRate:
		if s.Cumulative {
			return "rate" + ranged
		}
		return fmt.Sprintf("sum_over_time%s / %d", ranged, int64(s.Window.Seconds()))
	case v1alpha1.TimeSum:
		if s.Cumulative {
			return "increase" + ranged
		}
		return "sum_over_time" + ranged
	case v1alpha1.TimeMin:
		return "min_over_time" + ranged
	case v1alpha1.TimeMax:
		return "max_over_time" + ranged
	case v1alpha1.TimeLast:
		return "last_over_time" + ranged
	default:
		return "avg_over_time" + ranged
	}
}

func groupFunction(g metric.Aggregation) string {
	switch g {
	case metric.Sum:
		return "sum"
	case metric.Min:
		return "min"
	case metric.Max:
		return "max"
	default:
		return "avg"
	}
}
