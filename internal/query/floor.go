package query

import (
	"slices"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// lack is what may be missing from a value.
type lack int

const (
	// lacksPods: rows of some pods are missing. Where pods are reduced by the query, points of them may be there still or already.
	lacksPods lack = iota
	// lacksPoints: points of the window are missing, or are 0 in place of what was measured, of any pods.
	lacksPoints
)

// bounds is the one rule by which a number is a lower bound of the true one: whatever it lacks can only have made it too low.
//
//   - The multiplier is positive, and no series is negative: then a sum and a maximum of fewer pods is not higher. What counts is
//     never negative; anything else is not when its rows, which have to be those of pods, are not now.
//   - An average and a minimum of fewer pods may be higher. They are bounds when all pods are in them.
//   - When points are missing, each series has to be lower by that itself; see rising. Of what does not count, the pods that are not
//     back may have been negative, so all have to be there.
//
// Nothing is known of raw PromQL: it has no group aggregation.
func (r reader) bounds(rows []*row, lacks lack, all bool) bool {
	m, s := r.question.Measure, r.table.shape
	switch {
	case !(m.Multiplier > 0):
		return false
	case m.Group != metric.Sum && m.Group != metric.Max && !all:
		return false
	case lacks == lacksPoints && !(s.rising() && (s.counts() || all)):
		return false
	case s.Group != "":
		return s.counts()
	}
	return !slices.ContainsFunc(rows, func(one *row) bool { return !(one.value >= 0) })
}

// rising tells whether no series that is never negative is lower for having more points, or higher ones. Averages, minima and the
// last value are not like that. Nor is what a counter that only rises has counted: one that was 0 in between looks as if it had
// begun anew, and all that it has ever counted as if it had been counted in the window.
func (s Shape) rising() bool {
	switch s.Time {
	case v1alpha1.TimeRate, v1alpha1.TimeSum:
		return !s.Cumulative
	default:
		return s.Time == v1alpha1.TimeMax
	}
}

// counts tells whether the shape adds up what a counter counts, which is never negative. From fewer points of a counter that only
// rises PromQL extrapolates, at either end by half of their distance at most.
func (s Shape) counts() bool {
	return s.Time == v1alpha1.TimeRate || s.Time == v1alpha1.TimeSum && s.Cumulative
}

// floor is a value that the true one is not below, although pods are missing; nil when there is none.
func (r reader) floor(rows []*row, of tally) *metric.Sample {
	if r.table.shape.Group == "" {
		rows = slices.DeleteFunc(slices.Clone(rows), func(one *row) bool { // its window may not be full
			_, silent := slices.BinarySearch(of.silent, one.key.pod)
			return silent
		})
	}
	if !r.bounds(rows, lacksPods, false) {
		return nil
	}
	sample, failure := r.sample(rows)
	if failure != nil || sample.Whole != nil {
		return nil
	}
	return sample
}

// least is metric.Sample.Least of the value of a view.
func (r reader) least(v View, rows []*row, of tally) bool {
	return r.bounds(rows, lacksPoints, false) || r.bounds(rows, lacksPoints, true) && r.all(v, rows, of)
}

// all tells whether every pod that is ready now is in the value of a view: as a row, or, where the query has reduced them, as one that
// the agents have seen in the whole window, since an agent delivers what it knows of a pod together. One that is ready for less than
// the window may have no point yet, so there must be none. Then the value times the pods that are ready, with which an HPA
// computes, is no more than the load; also when the average still counts pods that have left and is lower for that.
func (r reader) all(v View, rows []*row, of tally) bool {
	if v.Pod != "" { // it is the only one
		return true
	}
	present := r.coverage.readyNow(v)
	if len(present) == 0 || len(present) > len(of.ready) || len(of.silent) > 0 {
		return false
	}
	if r.table.shape.Group != "" {
		return true
	}
	there := make(map[string]bool, len(present))
	for _, one := range rows {
		there[one.key.pod] = true
	}
	return !slices.ContainsFunc(present, func(pod string) bool { return !there[pod] })
}

// readyNow lists the pods of the object of a view that are ready, however long. None when pods are not compared.
func (c *coverage) readyNow(v View) (pods []string) {
	if c == nil {
		return nil
	}
	if v.ByService {
		for _, owned := range c.cluster.Ready(v.Namespace, v.Selector, c.now) {
			pods = append(pods, owned...)
		}
		return pods
	}
	present, known := c.present[v.Namespace]
	if !known {
		present = c.cluster.Ready(v.Namespace, "", c.now)
		c.present[v.Namespace] = present
	}
	return present[metric.Workload{Type: v.WorkloadType, Name: v.Workload}]
}
