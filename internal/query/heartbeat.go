package query

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// UsualHeartbeat is the default of spec.heartbeatMetric.
const UsualHeartbeat = "sysdig_container_up"

// Heartbeat asks for the time of the newest point that any agent of a scope has delivered, and which pods agents see. The
// metric has to be one that every pod has all the time.
type Heartbeat struct {
	// Metric is in either notation.
	Metric string
	Scope  Scope
	// Coverage is how many percent of the pods of a target agents have to see for its value to be served; 0: any number.
	Coverage int
}

// Check is why nothing of a connection can be asked; nil when it can. The API server has checked the name, but it is written into queries
// as it is.
func (h Heartbeat) Check() *metric.Failure {
	if !metricName(h.Metric) {
		return metric.Failf(metric.Rejected, "spec.heartbeatMetric: must be a metric name such as sysdig_container_up or uptime")
	}
	return cmp.Or(h.Scope.Check(), absentFrom(h.Scope.API, "spec.heartbeatMetric", h.Metric))
}

// Needs is what requests have to know of a heartbeat.
type Needs struct {
	// windows are those of the requests, each once and in order.
	windows []time.Duration
	// pods are the namespaces whose pods the requests are about, in order and by window.
	pods map[time.Duration][]string
}

// Needs lists what requests have to know. Without coverage the pods do not matter.
func (h Heartbeat) Needs(requests []Request) Needs {
	windows, pods := map[time.Duration]bool{}, map[time.Duration]map[string]bool{}
	for i := range requests {
		window := requests[i].Window()
		if window > 0 {
			windows[window] = true
		}
		if h.Coverage == 0 || !requests[i].Shape.Value().ofPods() {
			continue
		}
		if pods[window] == nil {
			pods[window] = map[string]bool{}
		}
		for _, q := range requests[i].Questions {
			pods[window][q.View.Namespace] = true
		}
	}
	n := Needs{windows: slices.Sorted(maps.Keys(windows)), pods: map[time.Duration][]string{}}
	for window, namespaces := range pods {
		n.pods[window] = slices.Sorted(maps.Keys(namespaces))
	}
	return n
}

// podWindows are the windows in which pods matter, in order.
func (n Needs) podWindows() []time.Duration { return slices.Sorted(maps.Keys(n.pods)) }

// Within tells whether whoever has asked for others knows these.
func (n Needs) Within(others Needs) bool {
	for _, window := range n.windows {
		if _, found := slices.BinarySearch(others.windows, window); !found {
			return false
		}
	}
	for window, namespaces := range n.pods {
		for _, namespace := range namespaces {
			if _, found := slices.BinarySearch(others.pods[window], namespace); !found {
				return false
			}
		}
	}
	return true
}

// PromQL is the query: the time of the newest point; marked by partLabel, the most points that any pod has in each of the
// windows; and, after those, which pods have the points of a window. These are of the namespaces that matter, or of all when it
// would be too long to name them.
func (h Heartbeat) PromQL(n Needs) string {
	return h.shared(n) + h.perPod(n)
}

// shared asks about the connection.
func (h Heartbeat) shared(n Needs) string {
	selector := h.selector(nil)
	promQL := fmt.Sprintf("max(timestamp(%s))", selector)
	for _, w := range n.windows {
		text := windowText(w)
		promQL += fmt.Sprintf(` or label_replace(max(count_over_time(%s[%s])), "%s", "%s", "", "")`, selector, text, partLabel, text)
	}
	return promQL
}

// perPod asks which pods are seen; empty when even that is too long.
func (h Heartbeat) perPod(n Needs) string {
	room := maxQueryLength - len(h.shared(n))
	for _, namespaces := range []func(time.Duration) []string{
		func(w time.Duration) []string { return n.pods[w] },
		func(time.Duration) []string { return nil },
	} {
		var promQL string
		for _, w := range n.podWindows() {
			text := windowText(w)
			promQL += fmt.Sprintf(` or label_replace(max by (%s, %s) (count_over_time(%s[%s])) >= %g, "%s", "%s", "", "")`,
				h.Scope.Labels.Namespace, h.Scope.Labels.Pod, h.selector(namespaces(w)), text, pointsOf(w), partLabel, text)
		}
		if len(promQL) <= room {
			return promQL
		}
	}
	return ""
}

// selector confines the heartbeat to the cluster and to namespaces, if there are any.
func (h Heartbeat) selector(namespaces []string) string {
	var matchers []string
	if len(namespaces) > 0 {
		matchers = append(matchers, oneOf(h.Scope.Labels.Namespace, namespaces, true))
	}
	if h.Scope.Cluster != "" {
		matchers = append(matchers, oneOf(h.Scope.Labels.Cluster, []string{h.Scope.Cluster}, true))
	}
	name := promQLName(h.Metric)
	if len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ",") + "}"
}

// windowText is a window as PromQL writes it.
func windowText(window time.Duration) string { return model.Duration(window).String() }

// pointsOf is how many points a window has to hold: all, up to one that may be on its way.
func pointsOf(window time.Duration) float64 { return float64(window/metric.Step) - 1 }

// Read turns the answer to a heartbeat asked about a time into the time that questions may ask about. That is the same
// time as long as a point of the last step has arrived. When ingestion is behind, it is half a step before the newest
// point, which some pods may not have reached yet: a window that ends where the points end is full, one that slides on
// over them empties and reads too low. No point at all is Stale, never NoData: it says nothing about any workload.
func (h Heartbeat) Read(answer sysdig.Answer, at time.Time, asked Needs) (Heard, *metric.Failure) {
	heard := Heard{points: map[string]float64{}}
	newest := math.NaN()
	for _, s := range answer.Series {
		window, isCount := s.Labels[partLabel]
		switch {
		case !isCount:
			newest = s.Value
		case s.Labels[h.Scope.Labels.Namespace] == "" && s.Labels[h.Scope.Labels.Pod] == "":
			heard.points[window] = s.Value
		}
	}
	if math.IsNaN(newest) || math.IsInf(newest, 0) {
		return Heard{}, metric.Failf(metric.Stale,
			"no pod of cluster %q has reported %s in the last 5 minutes: the agents or Sysdig's ingestion have stopped, or spec.clusterName or spec.heartbeatMetric of connection %s is wrong",
			h.Scope.Cluster, h.Metric, h.Scope.Connection)
	}
	if len(asked.pods) > 0 {
		heard.pods, heard.unknown = h.readPods(answer, asked)
	}
	heard.At, heard.Newest = at, time.UnixMilli(int64(newest*1000)).UTC()
	if at.Sub(heard.Newest) > metric.Step {
		heard.At = heard.Newest.Add(halfStep - metric.Step)
	}
	return heard, nil
}

// readPods finds the pods that are seen. The failure is why they are not known: a pod that was cut off looks silent.
func (h Heartbeat) readPods(answer sysdig.Answer, asked Needs) (*seen, *metric.Failure) {
	cut := Complete(answer)
	if !h.Scope.AsksData() && h.perPod(asked) == "" {
		cut = metric.Failf(metric.Truncated, "the bindings have %d different windows, too many for one query", len(asked.pods))
	}
	if cut != nil {
		unknown := func(why string) string {
			return fmt.Sprintf("which pods the agents see is not known: of the heartbeat of connection %s, %s; let its bindings have fewer different windows, or set its spec.coverage.minimum to 0", h.Scope.Connection, why)
		}
		return nil, metric.Failf(metric.Truncated, "%s", unknown(cut.Full())).Withhold(unknown(cut.Message))
	}
	pods := &seen{minimum: h.Coverage, pods: map[seenPod]struct{}{}}
	for _, s := range answer.Series {
		if pod := s.Labels[h.Scope.Labels.Pod]; pod != "" && s.Labels[partLabel] != "" {
			pods.pods[seenPod{s.Labels[partLabel], s.Labels[h.Scope.Labels.Namespace], pod}] = struct{}{}
		}
	}
	return pods, nil
}

// Heard is what a heartbeat tells.
type Heard struct {
	// At is the time that questions may ask about.
	At time.Time
	// Newest is the time of the newest point until then.
	Newest time.Time
	// points is the most points that any pod has in a window, by the window as PromQL writes it.
	points map[string]float64
	// pods are those that agents see, unless unknown says why they are not known; nil when nobody needs them.
	pods    *seen
	unknown *metric.Failure
}

// seen are the pods of which agents have delivered the points of a window, up to one.
type seen struct {
	// minimum is Heartbeat.Coverage.
	minimum int
	pods    map[seenPod]struct{}
}

// seenPod is a pod in a window, as PromQL writes it.
type seenPod struct{ window, namespace, pod string }

// Covers tells whether the points of the window of a request are there, up to one. After a gap that was not filled in they are
// not, and a sum over the window would read too low until the gap has left it. A request about pods also has to know which
// of them are seen.
func (h Heard) Covers(r *Request) *metric.Failure {
	window := r.Window()
	if got, want := h.points[windowText(window)], pointsOf(window); window > 0 && got < want {
		return metric.Failf(metric.Stale, "the window of %s holds %g of %g points: reports have begun, or come back after a gap, and the window is not covered yet",
			window, got, want+1)
	}
	if r.Shape.Value().ofPods() {
		return h.unknown
	}
	return nil
}
