package query

import (
	"math"
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// listenData asks in buckets of 10 seconds when any pod has reported and, for each window that matters, which pods have.
func (l Line) listenData(h Heartbeat, needs Needs, at time.Time) (sysdig.Answer, error) {
	question := h.question(nil)
	longest := lookback
	if len(needs.windows) > 0 {
		longest = max(longest, slices.Max(needs.windows))
	}
	question.Start, question.End = dataWindow(at, longest)
	buckets, err := l.pages(question)
	if err != nil {
		return sysdig.Answer{}, err
	}
	answer := sysdig.Answer{Series: beats(buckets, needs.windows, question.End)}
	for _, w := range needs.podWindows() {
		question := h.question(needs.pods[w])
		question.Keys = []string{h.Scope.Labels.Namespace, h.Scope.Labels.Pod}
		question.Start, question.End = dataWindow(at, w)
		pods, err := l.pages(question)
		if err != nil {
			return sysdig.Answer{}, err
		}
		answer.Series = append(answer.Series, covered(pods, w, question)...)
	}
	return answer, nil
}

// question asks for the points of a heartbeat, of some namespaces or, when they are too many to name them, of all.
func (h Heartbeat) question(namespaces []string) sysdig.DataRequest {
	id, source := dataName(h.Metric)
	question := sysdig.DataRequest{
		Sampling: metric.Step, Source: source, Values: []sysdig.DataValue{{Metric: id, Time: "avg", Group: groupOfContainers}},
	}
	for _, some := range [][]string{namespaces, nil} {
		text, err := sysdig.Filter(h.Scope.clauses(some))
		if err != nil {
			text = `"` // see filterOf
		}
		if question.Filter = text; len(text) <= maxQueryLength {
			break
		}
	}
	return question
}

// Clusters asks the data API which clusters have reported the heartbeat's metric of late, each once in the first key of the rows.
func (h Heartbeat) Clusters(at time.Time) sysdig.DataRequest {
	id, source := dataName(h.Metric)
	question := sysdig.DataRequest{
		Source: source, Keys: []string{h.Scope.Labels.Cluster}, Values: []sysdig.DataValue{{Metric: id, Time: "avg", Group: groupOfContainers}},
		To: maxClusters - 1,
	}
	question.Start, question.End = dataWindow(at, lookback)
	return question
}

// maxClusters is how many clusters are asked for.
const maxClusters = 1000

// beats are the time of the newest point, and how many points each window has.
func beats(buckets []sysdig.DataRow, windows []time.Duration, end time.Time) []sysdig.Series {
	var last time.Time
	var times []time.Time
	for _, row := range buckets {
		if math.IsNaN(row.Values[0]) {
			continue
		}
		times = append(times, row.Time)
		if row.Time.After(last) {
			last = row.Time
		}
	}
	if len(times) == 0 {
		return nil
	}
	series := []sysdig.Series{{Value: float64(last.UnixMilli()) / 1000, Time: end}}
	for _, w := range windows {
		points := 0.0
		for _, at := range times {
			if at.After(end.Add(-w)) {
				points++
			}
		}
		series = append(series, sysdig.Series{Labels: map[string]string{partLabel: windowText(w)}, Value: points, Time: end})
	}
	return series
}

// covered are the pods that have the points of a window, up to one.
func covered(rows []sysdig.DataRow, window time.Duration, asked sysdig.DataRequest) []sysdig.Series {
	points := map[string]float64{}
	for _, row := range rows {
		if !math.IsNaN(row.Values[0]) {
			points[segment(row.Keys)]++
		}
	}
	var series []sysdig.Series
	for _, row := range rows {
		key := segment(row.Keys)
		if got := points[key]; got > 0 && got >= pointsOf(window) {
			series = append(series, sysdig.Series{Labels: labelsOf(asked.Keys, row.Keys, windowText(window)), Value: got, Time: asked.End})
		}
		delete(points, key)
	}
	return series
}
