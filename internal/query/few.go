package query

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// This file tells a row of which Sysdig holds points, but too few to make a value of them, from one of which it holds nothing. The first is
// a window that is too short for the distance of the points, and must not be answered by onNoData.

const (
	// fewPart marks the rows that hold how many points there are where no value could be made of them.
	fewPart = "few"
	// shortWindow is up to where the points of a window may be further apart than it is long: scrape intervals of a minute are usual.
	shortWindow = time.Minute
)

// fewPoints is a vector of how many points there are within the lookback, per row, of those rows no series of which has as many points
// in a range as it takes. In most answers it is empty.
func fewPoints(selector, row, part string, window time.Duration, need int) string {
	return mark(fmt.Sprintf("max by (%[1]s) (count_over_time(%[2]s[%[3]s])) unless max by (%[1]s) (count_over_time(%[2]s[%[4]s])) >= %[5]d",
		row, selector, model.Duration(lookback), model.Duration(window), need), part)
}

// silence is a row without a value, of which there are points.
type silence struct {
	key rowKey
	// age is that of the newest one at the time that was asked about.
	age time.Duration
	// points is how many there are within the lookback; 0 when that is not known.
	points int
}

// stopped tells whether the row is silent because nothing comes any more, and not because its points are far apart.
func (s silence) stopped(window time.Duration) bool {
	return s.age > window && (s.points == 0 || s.age > 2*(lookback-s.age)/time.Duration(s.points))
}

// hush finds the rows that have points and no value. A raw query may leave rows out as it was told, so that of one that may, those
// rows count of which it is known that there are too few points.
func (t *table) hush(valued map[rowKey]*row) {
	if t.unlabelled() {
		return
	}
	for _, v := range t.times {
		for key := range v.at {
			if at, dated := t.time(key); dated && valued[key] == nil {
				t.note(key, at)
			}
		}
	}
}

// note files a row without a value under its object.
func (t *table) note(key rowKey, at time.Time) {
	points, few := t.few[key]
	if !few && t.shape.Grain == Raw { // the selector may lack the labels
		points, few = t.few[rowKey{}]
	}
	if !few && t.shape.Filters {
		return
	}
	object := t.shape.objectKey(key)
	namespace := t.namespace(object)
	s := silence{key, max(t.at.Sub(at), 0), points}
	if s.stopped(t.shape.Window) {
		return
	}
	if t.silent[namespace] == nil {
		t.silent[namespace] = map[rowKey][]silence{}
	}
	t.silent[namespace][object] = append(t.silent[namespace][object], s)
}

// silent are the rows without a value of the object of a view.
func (r reader) silent(v View) (all []silence) {
	silent := r.table.silent[v.Namespace]
	if len(silent) == 0 { // as of nearly all
		return nil
	}
	keys := []rowKey{r.table.shape.viewKey(v)}
	if v.ByService && r.table.shape.Grain != ByService {
		keys, _ = r.podsOf(v) // found says what is unknown of them
	}
	for _, key := range keys {
		all = append(all, silent[key]...)
	}
	return all
}

// tooFew is why an object without rows has no value although Sysdig holds points of it; nil when it holds none. Of several rows the one
// with the newest point speaks.
func (r reader) tooFew(silent []silence) *metric.Failure {
	if len(silent) == 0 {
		return nil
	}
	newest := slices.MinFunc(silent, func(a, b silence) int { return cmp.Compare(a.age, b.age) })
	return newest.failure(r.table.shape)
}

// maxSilent is how many series without a value are kept beside those with one: as many as an object may have.
const maxSilent = 100

// beside are series without a value, for whoever picks them among those that have one.
func (r reader) beside(silent []silence) (all []metric.Silent) {
	if !r.question.keepsSeries() {
		return nil
	}
	for _, s := range silent[:min(len(silent), maxSilent)] {
		all = append(all, metric.Silent{Labels: r.labels(s.key), Why: s.failure(r.table.shape)})
	}
	return all
}

// failure says what to edit. The distance of the points is as seen within the lookback.
func (s silence) failure(of Shape) *metric.Failure {
	cure := "set spec.source.metric.window"
	if of.Grain == Raw {
		cure = "lengthen the range in spec.source.promQL.query"
	}
	seen := "a single point"
	need := 2 * metric.Step
	switch {
	case s.points > 1:
		distance := (lookback / time.Duration(s.points)).Round(time.Second)
		need = max(need, (2*distance + metric.Step - 1).Truncate(metric.Step))
		seen = fmt.Sprintf("points each %s", model.Duration(distance))
	case s.points == 0:
		seen = "points"
	}
	return metric.Failf(metric.TooFewPoints, "Sysdig has %s, the newest %s old, and its window of %s holds too few of them to make a value of; %s to two scrape intervals or more, %s at least; a series that has only just begun needs no edit",
		seen, model.Duration(s.age.Round(time.Second)), model.Duration(of.Window), cure, model.Duration(max(need, of.Window)))
}
