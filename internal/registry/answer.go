package registry

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

const (
	// filedAtOnce bounds how many values are filed under one hold of the lock, so that reads never wait for a whole round.
	filedAtOnce = 2048
	// longestMaxAge is that of the API. No sample is served when it is older.
	longestMaxAge = 15 * time.Minute
	// maxSilent is how many objects are remembered that an answer has told nothing of, of one question, beside those that it has. A tenant
	// may call its series what it likes, and otherwise in each answer.
	maxSilent = 10_000
)

// answer is what is known of one question.
type answer struct {
	tenant  tenant
	pace    *pace
	breaker *breaker
	// lacking are the metrics of the question that are not known to exist, while it has no data.
	lacking []string
	// met is set when the question has had a value at any time.
	met bool
	// stands is set while the value that was believed last is not 0.
	stands bool
	gap    gap
	// over is why the question is not asked although nothing is wrong with it; nil: it is.
	over *metric.Failure
	// reading has no sample when the question is about all objects: those are in objects.
	reading metric.Reading
	objects map[string]query.Found
	// listed is set when the question is about the objects that are known when it is answered: one that is not in objects was
	// not asked about. Otherwise it is about all there are, and one that is not in objects has no data.
	listed bool
	// forgot is when an object was forgotten last that might have been served still, because too many were silent.
	forgot time.Time
	// freshest is that of all objects' samples which is served longest.
	freshest *metric.Sample
	entries  []*entry // those who ask; never none
}

// question is that of all who ask. It is large, and they hold it anyway.
func (a *answer) question() *query.Question { return &a.entries[0].definition.Question }

// of is what is known of one object.
func (a *answer) of(object string) metric.Reading {
	if _, ok := a.objects[object]; !ok && a.listed && a.reading.Failure == nil {
		return metric.Reading{} // never attempted, also when the others were
	}
	return a.held(object)
}

// held is what is known of one object that was asked about, or would have been.
func (a *answer) held(object string) metric.Reading {
	found, ok := a.objects[object]
	reading := a.reading
	reading.Sample, reading.Floor = found.Sample, nil
	switch {
	case reading.Attempted.IsZero():
	case reading.Failure != nil:
		if found.Failure == reading.Failure { // it is of the same attempt
			reading.Floor = found.Floor
		}
	case ok:
		reading.Failure, reading.Floor = found.Failure, found.Floor
	case !a.forgot.IsZero() && reading.Attempted.Sub(a.forgot) <= longestMaxAge: // it may be one of those
		reading.Failure = metric.Failf(metric.Truncated,
			"more than %d objects have become silent within %s, so what was known of %s is lost; let the source tell of fewer", maxSilent, longestMaxAge, object)
	default:
		reading.Failure = metric.Failf(metric.NoData, "Sysdig answered and holds nothing for %s", object)
	}
	return reading
}

// File stores outcomes. An outcome of a question that nobody asks any more is dropped. A sample replaces another only
// when its newest point is newer: a window that slides on over the same points empties and reads too low. What vanishes or becomes
// 0 waits for FileHealth.
func (r *Registry) File(outcomes []query.Outcome) {
	r.lookUp(outcomes)
	for len(outcomes) > 0 {
		n, values := 0, 0
		for n < len(outcomes) && values < filedAtOnce {
			values += 1 + len(outcomes[n].Objects)
			n++
		}
		r.tell(r.file(outcomes[:n]))
		outcomes = outcomes[n:]
	}
}

// file stores outcomes and lists the bindings whose standing has changed.
func (r *Registry) file(outcomes []query.Outcome) (changed []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for i := range outcomes {
		a := r.answers[outcomes[i].Question]
		if a == nil {
			continue
		}
		if a.reading.Attempted.IsZero() {
			delete(r.demands[a.question().Shape].unanswered, a)
		}
		r.check(a, &outcomes[i])
		changed = append(changed, r.altered(a, now, func() { a.breaker.take(a, &outcomes[i], now) })...)
	}
	return changed
}

// altered alters an answer and lists the bindings whose standing has changed.
func (r *Registry) altered(a *answer, now time.Time, alter func()) (changed []types.NamespacedName) {
	var few [4]outline
	was := few[:0]
	for _, e := range a.entries {
		was = append(was, r.outline(e, now)) // a sample that went stale since the last time changed it silently
	}
	alter()
	for i, e := range a.entries {
		r.lift(e, now)
		if is := r.outline(e, now); is != e.told || is != was[i] {
			e.told = is
			changed = append(changed, e.definition.Binding)
		}
	}
	return changed
}

// merge takes in how one attempt ended.
func (a *answer) merge(o *query.Outcome, now time.Time) {
	before := a.reading
	a.reading = o.Reading
	if !o.Question.View.All {
		a.reading.Sample = newer(before.Sample, o.Reading.Sample, o.Reading.Attempted)
		return
	}
	if a.objects == nil {
		a.objects = make(map[string]query.Found, len(o.Objects))
	}
	for name, found := range o.Objects {
		found.Sample = newer(a.objects[name].Sample, found.Sample, o.Reading.Attempted)
		a.objects[name] = found
	}
	a.miss(o, now)
	a.freshest = nil
	for _, found := range a.objects {
		if s := found.Sample; s != nil && (a.freshest == nil || s.Age(now) < a.freshest.Age(now)) {
			a.freshest = s
		}
	}
}

// miss looks at the objects that an attempt has not found. When it has failed, nothing was learned of them.
func (a *answer) miss(o *query.Outcome, now time.Time) {
	missing := metric.Failf(metric.NoData, "Sysdig answered and holds nothing for it any more")
	silent := 0
	for name, known := range a.objects {
		if _, found := o.Objects[name]; found {
			continue
		}
		known.Sample = newer(known.Sample, nil, o.Reading.Attempted)
		answered := o.Reading.Failure == nil
		switch {
		case known.Sample == nil || known.Sample.Age(now) > longestMaxAge || answered && a.listed:
			delete(a.objects, name)
			continue
		case silent == maxSilent:
			delete(a.objects, name)
			a.forgot = now
			continue
		case answered:
			known.Failure = missing
			a.objects[name] = known
		}
		silent++
	}
}

// newer is the sample to keep: the new one when its points are newer.
func newer(old, sample *metric.Sample, attempted time.Time) *metric.Sample {
	switch {
	case old == nil || old.Received.After(attempted): // none, or our clock was set back
		return sample
	case sample == nil || !sample.Newer(old):
		return old
	}
	return sample
}
