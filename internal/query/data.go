package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// lookback is how far PromQL's instant selectors see: the time of a point that is older is not known. The data API is asked so
// that the same holds there.
const lookback = 5 * time.Minute

// The data API reduces the window of each container first and the containers of a segment then, so the containers of a pod can be
// summed, but not summed by pod and reduced to another number after that: unless a row is a sum, pods are segments of their own
// and are reduced here.
const groupOfContainers = "sum"

// keepsPods tells whether the pods of a row are asked for one by one, of the data API. The newest points of a row's pods may be of
// different times, so that the last bucket of a sum would miss some.
func (s Shape) keepsPods() bool {
	return s.Group != "" && (s.Group != metric.Sum || s.Time == v1alpha1.TimeLast)
}

// dataTime is the time aggregation by which the data API is asked. The last point is found in the buckets.
func (s Shape) dataTime() string {
	switch s.Time {
	case v1alpha1.TimeRate:
		if s.Scope.RateFrom == v1alpha1.RateFromSum {
			return "sum"
		}
		return "timeAvg"
	case v1alpha1.TimeSum:
		return "sum"
	case v1alpha1.TimeMin:
		return "min"
	case v1alpha1.TimeMax:
		return "max"
	default:
		return "avg"
	}
}

// scale is what a value of the data API is multiplied by.
func (s Shape) scale() float64 {
	if s.Time == v1alpha1.TimeRate && s.dataTime() == "sum" {
		return 1 / s.Window.Seconds()
	}
	return 1
}

// clauses confine a question to the cluster, the wanted namespaces and objects.
func (s Shape) clauses(n narrow) []sysdig.Clause {
	l := s.Scope.Labels
	clauses := s.Scope.clauses(n.namespaces)
	for _, more := range []sysdig.Clause{
		{Label: l.Workload, Values: n.workloads}, {Label: l.Pod, Values: n.pods}, {Label: serviceLabel, Values: n.services},
	} {
		if len(more.Values) > 0 {
			clauses = append(clauses, more)
		}
	}
	return clauses
}

// clauses confine a question to the cluster and to namespaces, if there are any.
func (s Scope) clauses(namespaces []string) []sysdig.Clause {
	var clauses []sysdig.Clause
	if len(namespaces) > 0 {
		clauses = append(clauses, sysdig.Clause{Label: s.Labels.Namespace, Values: namespaces})
	}
	if s.Cluster != "" {
		clauses = append(clauses, sysdig.Clause{Label: s.Labels.Cluster, Values: []string{s.Cluster}})
	}
	return clauses
}

// filterOf writes the filter of questions of one family. The names of Kubernetes objects hold nothing that cannot be written, nor
// does that of the cluster: Compile has checked it.
func filterOf(s Shape, questions []Question) string {
	text, err := sysdig.Filter(s.clauses(s.narrow(questions)))
	if err != nil {
		return `"` // Sysdig refuses it: nothing is asked without its confinement
	}
	if s.Where == "" {
		return text
	}
	return strings.TrimPrefix(text+" and "+s.Where, " and ")
}

// dataText is the question of the request alone, in the words of the data API.
func (r *Request) dataText() string {
	s := r.Shape.Value()
	keys := s.rowLabels()
	if s.keepsPods() {
		keys = append(keys, s.Scope.Labels.Pod)
	}
	return fmt.Sprintf("POST /api/data: %s(%s) over %s by %s, of %ss where %s", s.dataTime(), s.Metric, s.Window, strings.Join(keys, ", "), s.Source, r.filter)
}

// dataWindow is the window of the data API that holds the points that a range selector of PromQL holds at a time. Points are in the
// bucket that ends with them.
func dataWindow(at time.Time, window time.Duration) (start, end time.Time) {
	end = at.Truncate(gridStep)
	return end.Add(-window), end
}

// askData asks two questions. First, in buckets of 10 seconds, when each segment had its newest point; a window without buckets
// does not tell. Then the values, so that every segment with a point has a value: one that has none was lost on the way.
func (l Line) askData(requests []Request, at time.Time) ([]sysdig.Answer, error) {
	whole := questionOf(requests, at)
	recent := whole
	recent.Sampling, recent.Values = gridStep, slices.Clone(whole.Values)
	if start := whole.End.Add(-lookback); start.After(whole.Start) {
		recent.Start = start
	}
	for i := range recent.Values {
		recent.Values[i].Time = "avg"
	}
	buckets, err := l.pages(recent)
	if err != nil {
		return nil, err
	}
	values, err := l.pages(whole)
	if err != nil {
		return nil, err
	}
	newest := newestOf(buckets)
	if lost := newest.without(values); lost != nil {
		return nil, lost
	}
	return newest.answers(requests, whole, values), nil
}

// questionOf is what requests of one family ask, for one value per segment.
func questionOf(requests []Request, at time.Time) sysdig.DataRequest {
	s := requests[0].Shape.Value()
	var questions []Question
	q := sysdig.DataRequest{Source: s.Source, Keys: s.rowLabels()}
	if s.keepsPods() {
		q.Keys = append(q.Keys, s.Scope.Labels.Pod)
	}
	q.Start, q.End = dataWindow(at, s.Window)
	for i := range requests {
		questions = append(questions, requests[i].Questions...)
		of := requests[i].Shape.Value()
		column := sysdig.DataValue{Metric: of.Metric, Time: of.dataTime(), Group: groupOfContainers}
		if !slices.Contains(q.Values, column) {
			q.Values = append(q.Values, column)
		}
	}
	q.Filter = filterOf(s, questions)
	return q
}

// newest are the newest points of segments, by column.
type newest map[string][]lastPoint

// lastPoint is that of one metric in a segment; at is zero when it has none.
type lastPoint struct {
	at    time.Time
	value float64
}

// segment stands for the keys of a row. Names of Kubernetes objects and labels may hold anything but this separator.
func segment(row sysdig.DataRow) string { return strings.Join(row.Keys, "\x00") }

func newestOf(rows []sysdig.DataRow) newest {
	n := newest{}
	for _, row := range rows {
		points := n[segment(row)]
		if points == nil {
			points = make([]lastPoint, len(row.Values))
			n[segment(row)] = points
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
		if slices.ContainsFunc(n[segment(row)], func(p lastPoint) bool { return !p.at.IsZero() }) {
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
	for i := range requests {
		s := requests[i].Shape.Value()
		column := slices.Index(asked.Values, sysdig.DataValue{Metric: s.Metric, Time: s.dataTime(), Group: groupOfContainers})
		var t dataTable
		for _, row := range values {
			var point lastPoint
			if points := n[segment(row)]; points != nil {
				point = points[column]
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
	name := strings.Join(keys, "\x00")
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

// pages asks for all segments of a question. A page that is not full is the last one; of several pages that is believed when the one
// behind it is empty.
func (l Line) pages(question sysdig.DataRequest) ([]sysdig.DataRow, error) {
	var rows []sysdig.DataRow
	seen := map[string]bool{}
	for last := false; ; question.From += l.Segments {
		question.To = question.From + l.Segments - 1
		asked := question
		reply, err := l.Send(Call{At: question.End, Data: &asked})
		if err != nil {
			return nil, err
		}
		answer := reply.Data
		// Buckets tell their time. A value is of the window that was answered for.
		if question.Sampling == 0 && !(answer.Start.Equal(question.Start) && answer.End.Equal(question.End)) {
			return nil, metric.Failf(metric.Stale, "Sysdig was asked about %s and answered about %s: it does not hold points of 10 seconds of all of that",
				span(question.Start, question.End), span(answer.Start, answer.End))
		}
		page, again := count(answer.Rows, seen)
		switch {
		case again:
			return nil, metric.Failf(metric.Truncated, "segments moved from page to page while they were read")
		case page > l.Segments:
			return nil, metric.Failf(metric.Truncated, "a page has %d segments, %d were asked for", page, l.Segments)
		case page > 0 && last:
			return nil, metric.Failf(metric.Truncated, "the answer is not complete: there are segments behind a page that was not full")
		case len(seen) >= maxSegments:
			return nil, metric.Failf(metric.Truncated, "the answer has %d segments or more, which is too many", maxSegments)
		}
		rows = append(rows, answer.Rows...)
		if page < l.Segments && (last || question.From == 0) {
			return rows, nil
		}
		last = page < l.Segments
	}
}

// count counts the segments of a page, and tells whether one of them was on a page before.
func count(rows []sysdig.DataRow, seen map[string]bool) (page int, again bool) {
	own := map[string]bool{}
	for _, row := range rows {
		key := segment(row)
		if own[key] {
			continue
		}
		again = again || seen[key]
		own[key], seen[key] = true, true
	}
	return len(own), again
}

func span(start, end time.Time) string {
	return fmt.Sprintf("%s to %s", start.UTC().Format(time.TimeOnly), end.UTC().Format(time.TimeOnly))
}

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
		Sampling: gridStep, Source: source, Values: []sysdig.DataValue{{Metric: id, Time: "avg", Group: groupOfContainers}},
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
			points[segment(row)]++
		}
	}
	var series []sysdig.Series
	for _, row := range rows {
		key := segment(row)
		if got := points[key]; got > 0 && got >= pointsOf(window) {
			series = append(series, sysdig.Series{Labels: labelsOf(asked.Keys, row.Keys, windowText(window)), Value: got, Time: asked.End})
		}
		delete(points, key)
	}
	return series
}
