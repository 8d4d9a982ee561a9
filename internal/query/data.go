package query

import (
	"fmt"
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

// segmentKeys are the labels that tell the segments of the data API's answer apart: those of the rows and, last, of the pods that are
// kept apart.
func (s Shape) segmentKeys() []string {
	if s.keepsPods() {
		return append(s.rowLabels(), s.Scope.Labels.Pod)
	}
	return s.rowLabels()
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
	keys := s.segmentKeys()
	return fmt.Sprintf("POST /api/data: %s(%s) over %s by %s, of %ss where %s", s.dataTime(), s.Metric, s.Window, strings.Join(keys, ", "), s.Source, r.filter)
}

// dataWindow is the window of the data API that holds the points that a range selector of PromQL holds at a time. Points are in the
// bucket that ends with them.
func dataWindow(at time.Time, window time.Duration) (start, end time.Time) {
	end = at.Truncate(metric.Step)
	return end.Add(-window), end
}

// askData asks two questions. First, in buckets of 10 seconds, when each segment had its newest point; a window without buckets
// does not tell. Then the values, so that every segment with a point has a value: one that has none was lost on the way.
func (l Line) askData(requests []Request, at time.Time) ([]sysdig.Answer, error) {
	whole := questionOf(requests, at)
	recent := whole
	recent.Sampling, recent.Values = metric.Step, slices.Clone(whole.Values)
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
	q := sysdig.DataRequest{Source: s.Source, Keys: s.segmentKeys()}
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
