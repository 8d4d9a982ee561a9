package query

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Cluster is what reading an answer has to know of the cluster's objects.
type Cluster interface {
	// Selected lists the pods of a namespace that a label selector selects now or selected within the window before now. unknown is why
	// there may be others; nil when there are none.
	Selected(namespace, selector string, window time.Duration) (pods []string, unknown *metric.Failure)
	// Services lists the Services of a namespace whose labels match a selector, and the selector that each has for its pods.
	Services(namespace, selector string) map[string]string
	// Ready lists the pods of a namespace that a label selector selects now, that have been ready since a time or longer, and that
	// are not about to end, by the workload that owns them.
	Ready(namespace, selector string, since time.Time) map[metric.Workload][]string
}

// Attempt is when a request was asked and about what time.
type Attempt struct {
	// At is the time that the query was evaluated for, by Sysdig's clock.
	At time.Time
	// Received is when the answer (or the error) arrived, by our clock.
	Received time.Time
	// Skew is how far Sysdig's clock is ahead of ours.
	Skew time.Duration
	// Heard is what the heartbeat told. Without it no pod is missing.
	Heard Heard
}

// ours is a time of Sysdig's by our clock. It is reckoned from Received and so keeps its monotonic reading, with which an age
// stays what it is when our clock is set.
func (a Attempt) ours(sysdigs time.Time) time.Time {
	return a.Received.Add(sysdigs.Sub(a.Received) - a.Skew)
}

// maxSegments is how many segments Sysdig returns of an aggregation. It says nothing when there are more (Service Limits).
const maxSegments = 100_000

// Complete is why an answer must not be read; nil when it is complete. One that warns of itself, or that has as many rows as
// Sysdig returns at most, is Truncated. Values and times are counted together: nothing tells whether Sysdig cuts each of the
// vectors that are joined or their union, and pods whose times were cut off look as if they had stopped.
func Complete(answer sysdig.Answer) *metric.Failure {
	if len(answer.Warnings) > 0 {
		f := metric.Failf(metric.Truncated, "Sysdig says that its answer is incomplete: %s", answer.Warnings[0])
		f.Err = &sysdig.QueryError{Message: f.Message}
		return f.Withhold("Sysdig says that its answer is incomplete")
	}
	if rows := len(answer.Series); rows >= maxSegments {
		return metric.Failf(metric.Truncated, "the answer has %d rows, the most that Sysdig returns: there may be more", rows)
	}
	return nil
}

// Read turns an answer into one outcome for each question; one that is not complete fails for all.
func (r Request) Read(answer sysdig.Answer, attempt Attempt, cluster Cluster) []Outcome {
	if failure := Complete(answer); failure != nil {
		return r.Fail(r.Own(failure), attempt)
	}
	t := tabulate(r.Shape.Value(), answer.Series, attempt.At)
	covered := attempt.coverageOf(t.shape, cluster)
	outcomes := make([]Outcome, len(r.Questions))
	for i, q := range r.Questions {
		outcomes[i] = reader{table: t, question: q, attempt: attempt, cluster: cluster, coverage: covered}.outcome()
	}
	return outcomes
}

// Own is a failure of the request as its tenants may read it. What Sysdig says about a query is for its author: when several namespaces
// share the query, it may name what is another's.
func (r *Request) Own(failure *metric.Failure) *metric.Failure {
	var said *sysdig.QueryError
	switch {
	case failure == nil || failure.Detail == "" || failure.Reason != metric.Rejected && failure.Reason != metric.Truncated:
		return failure
	case r.shared() || !errors.As(failure, &said):
		return failure.Add("; run the query of status.query in Sysdig to see why")
	}
	own := *failure
	own.Message = said.Message
	return &own
}

// Fail gives every question the same failure.
func (r Request) Fail(failure *metric.Failure, attempt Attempt) []Outcome {
	return Fail(r.Questions, failure, attempt)
}

// Fail gives questions the same failure.
func Fail(questions []Question, failure *metric.Failure, attempt Attempt) []Outcome {
	outcomes := make([]Outcome, len(questions))
	for i, q := range questions {
		outcomes[i] = Outcome{Question: q, Reading: attempt.reading(Found{Failure: failure})}
	}
	return outcomes
}

func (a Attempt) reading(of Found) metric.Reading {
	return metric.Reading{Sample: of.Sample, Failure: of.Failure, Floor: of.Floor, Asked: a.ours(a.At), Attempted: a.Received}
}

// reader answers one question from a table.
type reader struct {
	table    *table
	question Question
	attempt  Attempt
	cluster  Cluster
	coverage *coverage
}

func (r reader) outcome() Outcome {
	view := r.question.View
	if !view.All {
		return Outcome{Question: r.question, Reading: r.attempt.reading(r.one(view))}
	}
	if r.question.ofPods() { // an HPA takes a few that are silent for careful, and many for less load
		if partial := r.coverage.partial(r.coverage.object(view)); partial != nil {
			return Outcome{Question: r.question, Reading: r.attempt.reading(Found{Failure: partial})}
		}
	}
	objects := map[string]Found{}
	if view.ByService {
		r.services(objects)
	} else {
		r.each(objects)
	}
	if len(objects) == 0 && r.table.unlabelled() {
		return Outcome{Question: r.question, Reading: r.attempt.reading(Found{Failure: r.dropped()})}
	}
	return Outcome{Question: r.question, Reading: r.attempt.reading(Found{}), Objects: objects}
}

// ofPods tells whether the question is about each of several pods.
func (q Question) ofPods() bool {
	return q.View.All && !q.View.ByService && q.Shape.Value().Grain == ByPod
}

// services finds the value of every Service that is asked about, also that there is none: which Services those are is known
// at this moment only.
func (r reader) services(objects map[string]Found) {
	view := r.question.View
	for name, selector := range r.cluster.Services(view.Namespace, view.Selector) {
		if selector == "" && r.table.shape.Grain != ByService {
			objects[name] = Found{Failure: withoutSelector(name)}
			continue
		}
		one := view
		one.Selector = selector
		if r.table.shape.Grain == ByService {
			one.Service = name
		}
		objects[name] = r.one(one)
	}
}

// each finds the value of every object of the namespace that has rows, and why there is none of those that agents do not see.
// Series that lack the label describe nobody.
func (r reader) each(objects map[string]Found) {
	tallies := r.coverage.objects(r.question.View.Namespace)
	for _, key := range r.table.objects[r.question.View.Namespace] {
		if name := r.name(key); name != "" {
			one := r.question.View
			one.All, one.Workload, one.Pod, one.Object = false, key.workload, key.pod, key.object
			objects[name] = r.found(one, r.table.rows[key], tallies[key], nil)
		}
	}
	for key := range r.table.silent[r.question.View.Namespace] {
		if name := r.name(key); name != "" && len(r.table.rows[key]) == 0 {
			one := r.question.View
			one.All, one.Workload, one.Pod, one.Object = false, key.workload, key.pod, key.object
			objects[name] = r.found(one, nil, tallies[key], nil)
		}
	}
	for key, of := range tallies {
		name := r.name(key)
		if _, has := objects[name]; has || name == "" {
			continue
		}
		if partial := r.coverage.partial(of); partial != nil {
			objects[name] = Found{Failure: partial}
		}
	}
}

// name is that of an object, empty when the question is not about it.
func (r reader) name(key rowKey) string {
	if key.workloadType != r.question.View.WorkloadType {
		return ""
	}
	return cmp.Or(key.workload, key.pod, key.object)
}

// one finds the value of the one object of a view.
func (r reader) one(v View) Found {
	rows, unknown := r.rows(v)
	if len(rows) == 0 && r.table.unlabelled() {
		return Found{Failure: r.dropped()}
	}
	return r.found(v, rows, r.coverage.object(v), unknown)
}

// found finds the value of the object of a view from its rows. When agents do not see enough of its pods, or pods are unknown, rows that
// are missing or have stopped say nothing about it, and a number is too low or of others.
func (r reader) found(v View, rows []*row, of tally, unknown *metric.Failure) Found {
	sample, failure := r.sample(rows)
	silent := r.silent(v)
	if len(rows) == 0 {
		failure = cmp.Or(r.tooFew(silent), failure)
	}
	partial := cmp.Or(unknown, r.coverage.partial(of))
	if partial == nil || failure != nil && !slices.Contains([]metric.Reason{metric.NoData, metric.TooFewPoints, metric.Stale}, failure.Reason) {
		if sample != nil {
			sample.Least = r.least(v, rows, of)
			sample.Silent = r.beside(silent)
		}
		return Found{Sample: sample, Failure: failure}
	}
	return Found{Failure: partial, Floor: r.floor(rows, of)}
}

// unlabelled tells whether a raw query has lost the label that tells the objects apart: then what is there must not look
// like nothing.
func (t *table) unlabelled() bool { return t.shape.ObjectLabel != "" && len(t.rows[rowKey{}]) > 0 }

func (r reader) dropped() *metric.Failure {
	return metric.Failf(metric.Implausible, "the query returned series without the label %s, which spec.source.promQL.objectLabel names; keep it, for example with sum by (%s) (…)", r.table.shape.ObjectLabel, r.table.shape.ObjectLabel)
}

// rows are those that describe the one object of a view. unknown is why there may be others; nil when there are none.
func (r reader) rows(v View) (rows []*row, unknown *metric.Failure) {
	if !v.ByService || r.table.shape.Grain == ByService {
		return r.table.rows[r.table.shape.viewKey(v)], nil
	}
	keys, unknown := r.podsOf(v)
	for _, key := range keys {
		rows = append(rows, r.table.rows[key]...)
	}
	return rows, unknown
}

// podsOf are the keys of the pods that the Service of a view selects, or selected within the window. unknown is why there may be others.
func (r reader) podsOf(v View) (keys []rowKey, unknown *metric.Failure) {
	pods, unknown := r.cluster.Selected(v.Namespace, v.Selector, r.table.shape.Window+r.attempt.Received.Sub(r.attempt.ours(r.attempt.At)))
	for _, pod := range pods {
		keys = append(keys, rowKey{namespace: v.Namespace, pod: pod})
	}
	return keys, unknown
}

// sample makes one value of the rows of one object. Pods without a row are left out: they lower a sum, and leave an average,
// a minimum and a maximum alone. A series that has stopped counts as long as its pod has others.
func (r reader) sample(rows []*row) (*metric.Sample, *metric.Failure) {
	q := r.question
	if q.keepsSeries() {
		rows = slices.SortedFunc(slices.Values(rows), byCombination)
	}
	if len(rows) == 1 { // as most objects have: there are no others that could keep it alive
		if failure := r.table.undated(rows[0]); failure != nil {
			return nil, failure
		}
		return r.reduce([]metric.Series{r.series(rows[0])})
	}
	alive, failure := r.alive(rows)
	if failure != nil {
		return nil, failure
	}
	series := make([]metric.Series, 0, len(rows))
	for _, one := range rows {
		if !alive[r.part(one)] {
			continue
		}
		series = append(series, r.series(one))
	}
	return r.reduce(series)
}

// series is one row with the time of its newest point, by our clock.
func (r reader) series(one *row) metric.Series {
	at, ok := r.table.time(one.key)
	if !ok { // all that is known is that it has a point in the window
		at = r.attempt.At.Add(-r.table.shape.Window)
	}
	if at.After(r.attempt.At) { // no point is newer than the question; a backend that says so must not look fresh for ever
		at = r.attempt.At
	}
	return metric.Series{Labels: r.labels(one.key), Pod: one.key.pod, Raw: one.value, Time: r.attempt.ours(at)}
}

// reduce makes one value of the series of one object.
func (r reader) reduce(series []metric.Series) (*metric.Sample, *metric.Failure) {
	q := r.question
	at := q.Measure.Dated(series, r.attempt.ours(r.attempt.At))
	sample, failure := metric.NewSample(q.Measure, series, q.keepsSeries(), at, r.attempt.Received, r.table.shape.Window)
	if sample != nil {
		sample.Skew = r.attempt.Skew
	}
	return sample, failure
}

// alive are the parts of an object that have a point of late. The failure is why there is none, or why a row is no value.
func (r reader) alive(rows []*row) (map[rowKey]bool, *metric.Failure) {
	failure := metric.Failf(metric.NoData, "Sysdig answered and holds nothing for this object")
	alive := map[rowKey]bool{}
	for _, one := range rows {
		undated := r.table.undated(one)
		switch {
		case undated == nil:
			alive[r.part(one)] = true
		case undated.Reason != metric.Stale || r.table.shape.Grain == Raw:
			return nil, undated
		default: // it has stopped long ago, but within the window
			failure = undated
		}
	}
	if len(alive) == 0 {
		return nil, failure
	}
	return alive, nil
}

// part is what has to have a point of late for a row to count: an item of an external metric, a pod whose pods are asked for,
// and otherwise any pod of the object, because the query that reduces pods does not look at each.
func (r reader) part(one *row) rowKey {
	key := one.key
	if r.question.Measure.External {
		return key
	}
	if key.dimensions = (dimensions{}); r.table.shape.Grain != ByPod {
		key.pod = ""
	}
	return key
}

func byCombination(a, b *row) int {
	return cmp.Or(slices.Compare(a.key.dimensions[:], b.key.dimensions[:]), cmp.Compare(a.key.pod, b.key.pod))
}

// keepsSeries tells whether the series are looked at when the value is read.
func (q Question) keepsSeries() bool { return q.Measure.External || q.View.Dimensions[0] != "" }

// labels are the dimensions of a row by the names under which they are served. A label that a series lacks is left out.
func (r reader) labels(key rowKey) labels.Set {
	var set labels.Set
	for i, name := range r.question.Dimensions() {
		if value := key.dimensions[i]; value != "" {
			if set == nil {
				set = labels.Set{}
			}
			set[name] = value
		}
	}
	return set
}
