package query

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// newest are the newest points of segments, by column.
type newest map[string][]lastPoint

// lastPoint is that of one metric in a segment; at is zero when it has none.
type lastPoint struct {
	at    time.Time
	value float64
}

// segment stands for the keys of a row. Names of Kubernetes objects and labels may hold anything but this separator.
func segment(keys []string) string { return strings.Join(keys, "\x00") }

func newestOf(rows []sysdig.DataRow) newest {
	n := newest{}
	for _, row := range rows {
		points := n[segment(row.Keys)]
		if points == nil {
			points = make([]lastPoint, len(row.Values))
			n[segment(row.Keys)] = points
		}
		for i, value := range row.Values {
			if !math.IsNaN(value) && row.Time.After(points[i].at) {
				points[i] = lastPoint{row.Time, value}
			}
		}
	}
	return n
}

// without is why an answer is not complete: a segment that has points in the window is not in it. Nil: it is.
func (n newest) without(values []sysdig.DataRow) *metric.Failure {
	missing := 0
	for _, points := range n { // a bucket without a point may be a row, too
		if slices.ContainsFunc(points, func(p lastPoint) bool { return !p.at.IsZero() }) {
			missing++
		}
	}
	for _, row := range values {
		if slices.ContainsFunc(n[segment(row.Keys)], func(p lastPoint) bool { return !p.at.IsZero() }) {
			missing--
		}
	}
	if missing == 0 {
		return nil
	}
	return metric.Failf(metric.Truncated, "%d segments have points in the window, but are not in Sysdig's answer", missing)
}

// answers turns values by segment into the answers that the Prometheus API would have given.
func (n newest) answers(requests []Request, asked sysdig.DataRequest, values []sysdig.DataRow) []sysdig.Answer {
	answers := make([]sysdig.Answer, len(requests))
	points := make([][]lastPoint, len(values)) // by row
	for i, row := range values {
		points[i] = n[segment(row.Keys)]
	}
	for i := range requests {
		s := requests[i].Shape.Value()
		column := slices.Index(asked.Values, sysdig.DataValue{Metric: s.Metric, Time: s.dataTime(), Group: groupOfContainers})
		var t dataTable
		for j, row := range values {
			var point lastPoint
			if points[j] != nil {
				point = points[j][column]
			}
			// Points without a value are none that JSON has a number for, and no reason to leave a pod out.
			if value := row.Values[column]; !math.IsNaN(value) || !point.at.IsZero() {
				t.add(s, row, value*s.scale(), point)
			}
		}
		answers[i].Series = t.series(s, asked)
	}
	return answers
}

// dataTable holds the pods of the rows of one shape.
type dataTable struct {
	order []string
	rows  map[string]*dataRow
}

type dataRow struct {
	keys []string
	pods []float64
	at   time.Time // of the newest point of any pod
	// dated is set when pods has those with a point of late only.
	dated bool
}

// add takes in one segment: a row or, when pods are kept apart, one of its pods. Of the last points, those of pods that have
// stopped are not known.
func (t *dataTable) add(s Shape, row sysdig.DataRow, value float64, point lastPoint) {
	keys := row.Keys
	if s.keepsPods() {
		keys = keys[:len(keys)-1]
	}
	name := segment(keys)
	r := t.rows[name]
	if r == nil {
		if t.rows == nil {
			t.rows = map[string]*dataRow{}
		}
		r = &dataRow{keys: keys}
		t.rows[name] = r
		t.order = append(t.order, name)
	}
	if s.Time == v1alpha1.TimeLast {
		switch {
		case point.at.IsZero() && r.dated:
			return
		case !point.at.IsZero() && !r.dated:
			r.pods, r.dated = nil, true
		}
		if r.dated {
			value = point.value
		}
	}
	r.pods = append(r.pods, value)
	if point.at.After(r.at) {
		r.at = point.at
	}
}

// series are the rows as the Prometheus API would return them: by value, and by the time of the newest point.
func (t *dataTable) series(s Shape, asked sysdig.DataRequest) []sysdig.Series {
	series := make([]sysdig.Series, 0, 2*len(t.order))
	for _, name := range t.order {
		r := t.rows[name]
		series = append(series, sysdig.Series{Labels: labelsOf(asked.Keys, r.keys, ""), Value: groupOf(s.Group, r.pods), Time: asked.End})
		if !r.at.IsZero() {
			series = append(series, sysdig.Series{
				Labels: labelsOf(asked.Keys, r.keys, "time"), Value: float64(r.at.UnixMilli()) / 1000, Time: asked.End,
			})
		}
	}
	return series
}

// labelsOf names the keys of a row. Like in PromQL, a label that does not apply is left out.
func labelsOf(names, values []string, part string) map[string]string {
	labels := make(map[string]string, len(values)+1)
	for i, value := range values {
		if value != "" {
			labels[names[i]] = value
		}
	}
	if part != "" {
		labels[partLabel] = part
	}
	return labels
}

// groupOf reduces the pods of a row. Rows of pods, and sums, have one.
func groupOf(g metric.Aggregation, pods []float64) float64 {
	total := 0.0
	for _, value := range pods {
		total += value
	}
	switch {
	case len(pods) == 1:
		return pods[0]
	case g == metric.Min:
		return slices.Min(pods)
	case g == metric.Max:
		return slices.Max(pods)
	case g == metric.Average:
		return total / float64(len(pods))
	}
	return total
}
