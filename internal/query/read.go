package query

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Pods lists the pods of a namespace that a label selector selects now or selected within the window before now.
type Pods func(namespace, selector string, window time.Duration) []string

// Attempt is when a request was asked and about what time.
type Attempt struct {
	// At is the time that the query was evaluated for, by Sysdig's clock.
	At time.Time
	// Received is when the answer (or the error) arrived, by our clock.
	Received time.Time
}

// Read turns an answer into one outcome for each question. An answer that warns of itself is Truncated for all.
func (r Request) Read(answer sysdig.Answer, attempt Attempt, pods Pods) []Outcome {
	if len(answer.Warnings) > 0 {
		return r.Fail(metric.Failf(metric.Truncated, "Sysdig says that its answer is incomplete: %s", answer.Warnings[0]), attempt)
	}
	rows := index(r.Shape, answer.Series)
	outcomes := make([]Outcome, len(r.Questions))
	for i, q := range r.Questions {
		sample, failure := rows.sample(q, attempt, pods)
		outcomes[i] = outcome(q, sample, failure, attempt)
	}
	return outcomes
}

// Fail gives every question the same failure.
func (r Request) Fail(failure *metric.Failure, attempt Attempt) []Outcome {
	outcomes := make([]Outcome, len(r.Questions))
	for i, q := range r.Questions {
		outcomes[i] = outcome(q, nil, failure, attempt)
	}
	return outcomes
}

func outcome(q Question, sample *metric.Sample, failure *metric.Failure, attempt Attempt) Outcome {
	return Outcome{Question: q, Reading: metric.Reading{Sample: sample, Failure: failure, Asked: attempt.At, Attempted: attempt.Received}}
}

// rowKey tells the rows of an answer apart; which fields are set depends on the grain.
type rowKey struct{ namespace, workloadType, workload, pod, object string }

// row is one value and the times of the newest points of the selectors behind it.
type row struct {
	value  float64
	values int
	times  map[string]time.Time
}

type rows struct {
	shape Shape
	byKey map[rowKey]*row
	// labelled are the time vectors that have rows with an object: their row without one speaks for nobody.
	labelled map[string]bool
}

// index files the series of an answer by row: values, and the time vectors marked by partLabel.
func index(s Shape, series []sysdig.Series) rows {
	rows := rows{shape: s, byKey: make(map[rowKey]*row, len(series)/2), labelled: map[string]bool{}}
	for _, one := range series {
		key := s.key(one.Labels)
		entry := rows.byKey[key]
		if entry == nil {
			entry = &row{times: map[string]time.Time{}}
			rows.byKey[key] = entry
		}
		part, isTime := one.Labels[partLabel]
		switch {
		case !isTime:
			entry.value, entry.values = one.Value, entry.values+1
		case !math.IsNaN(one.Value) && !math.IsInf(one.Value, 0):
			rows.labelled[part] = rows.labelled[part] || key.object != ""
			entry.times[part] = time.UnixMilli(int64(math.Floor(one.Value * 1000))).UTC()
		}
	}
	return rows
}

func (s Shape) key(labels map[string]string) rowKey {
	l := s.Scope.Labels
	switch s.Grain {
	case ByWorkload:
		return rowKey{namespace: labels[l.Namespace], workloadType: labels[l.WorkloadType], workload: labels[l.Workload]}
	case ByPod:
		return rowKey{namespace: labels[l.Namespace], pod: labels[l.Pod]}
	case ByNamespace:
		return rowKey{namespace: labels[l.Namespace]}
	default:
		return rowKey{object: labels[s.ObjectLabel]}
	}
}

// sample answers one question from the rows.
func (r rows) sample(q Question, attempt Attempt, pods Pods) (*metric.Sample, *metric.Failure) {
	var value float64
	var at time.Time
	var failure *metric.Failure
	if q.View.Selector != "" {
		value, at, failure = r.reduce(q, attempt, pods)
	} else {
		value, at, failure = r.one(r.shape.viewKey(q.View))
	}
	if failure != nil {
		return nil, failure
	}
	if at.After(attempt.At) { // no point is newer than the question; a backend that says so must not look fresh for ever
		at = attempt.At
	}
	sample, failure := metric.NewSample(value*q.Multiplier, at, attempt.Received, r.shape.Window)
	if failure != nil {
		return nil, failure
	}
	return &sample, nil
}

func (s Shape) viewKey(v View) rowKey {
	switch s.Grain {
	case ByWorkload:
		return rowKey{namespace: v.Namespace, workloadType: v.WorkloadType, workload: v.Workload}
	case ByPod:
		return rowKey{namespace: v.Namespace, pod: v.Pod}
	case ByNamespace:
		return rowKey{namespace: v.Namespace}
	default:
		return rowKey{object: v.Object}
	}
}

// one reads the value and the time of a single row.
func (r rows) one(key rowKey) (float64, time.Time, *metric.Failure) {
	entry := r.byKey[key]
	if entry == nil || entry.values == 0 {
		return 0, time.Time{}, metric.Failf(metric.NoData, "Sysdig answered and holds nothing for this object")
	}
	if entry.values > 1 {
		return 0, time.Time{}, metric.Failf(metric.Implausible,
			"the query returned %d series where one is needed; reduce them, for example with sum(…)", entry.values)
	}
	at, ok := r.time(key)
	if !ok {
		return 0, time.Time{}, metric.Failf(metric.Stale, "Sysdig did not say when the value was measured: its points are older than 5 minutes, or the object label is missing from a selector")
	}
	return entry.value, at, nil
}

// time is when the newest point behind a row was measured: the oldest over all selectors of a raw query, so that one
// series that has stopped makes the result old. A selector that lacks the object label speaks for all objects.
func (r rows) time(key rowKey) (time.Time, bool) {
	if r.shape.Grain != Raw {
		at, ok := r.byKey[key].times["time"]
		return at, ok
	}
	var oldest time.Time
	for i := range r.shape.Selectors {
		part := strconv.Itoa(i)
		at, ok := r.byKey[key].times[part]
		if common := r.byKey[rowKey{}]; !ok && common != nil && !r.labelled[part] {
			at, ok = common.times[part]
		}
		if !ok {
			return time.Time{}, false
		}
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, true
}

// reduce aggregates the rows of the pods that a selector selects. A pod without a row is left out: it lowers a sum, and
// leaves an average, a minimum and a maximum alone. The time is that of the newest point of any of them.
func (r rows) reduce(q Question, attempt Attempt, pods Pods) (float64, time.Time, *metric.Failure) {
	names := pods(q.View.Namespace, q.View.Selector, r.shape.Window+attempt.Received.Sub(attempt.At))
	var values []float64
	var newest time.Time
	for _, name := range names {
		value, at, failure := r.one(rowKey{namespace: q.View.Namespace, pod: name})
		if failure != nil {
			continue
		}
		values = append(values, value)
		if at.After(newest) {
			newest = at
		}
	}
	if len(values) == 0 {
		return 0, time.Time{}, metric.Failf(metric.NoData, "Sysdig answered and holds nothing for the %d pods that the Service selects", len(names))
	}
	return aggregate(q.View.Group, values), newest, nil
}

func aggregate(g v1alpha1.GroupAggregation, values []float64) float64 {
	var sum float64
	for _, value := range values {
		sum += value
	}
	switch g {
	case v1alpha1.GroupSum:
		return sum
	case v1alpha1.GroupMin:
		return slices.Min(values)
	case v1alpha1.GroupMax:
		return slices.Max(values)
	default:
		return sum / float64(len(values))
	}
}
