package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Serve answers a read of one object, or of an external metric: the object and the sample, or why there is none. series
// picks among the series that the binding keeps apart; nil picks all. known is false when nobody claims the name.
func (r *Registry) Serve(claim metric.Claim, series labels.Selector) (object metric.Object, sample *metric.Sample, failure *metric.Failure, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f := r.families[claim.Family()]
	if f == nil {
		return metric.Object{}, nil, nil, false
	}
	e := r.owner(f, &claim)
	if e == nil {
		return metric.Object{}, nil, nil, false
	}
	now := r.clock.Now()
	sample, failure = e.judge(claim.Object, series, now)
	if bound := e.bound(claim.Object, series, sample, now); bound != nil && r.exceeds(e, claim, bound) {
		sample, failure = bound, nil
	}
	return e.object(claim.Object), sample, failure, true
}

// owner is the entry that serves one object: the oldest binding that claims it, by name or by selector.
func (r *Registry) owner(f *family, claim *metric.Claim) *entry {
	var named *entry
	if all := f.named[claim.Object]; len(all) > 0 {
		named = all[0]
	}
	for _, set := range f.sets {
		if named != nil && olderFirst(named, set) < 0 {
			break
		}
		if r.objects.Matches(claim.Resource, claim.Namespace, claim.Object, set.definition.Selector) {
			return set
		}
	}
	if named == nil {
		return f.refusedSet() // the objects of its kind may be unknown, such as one that the operator may not list
	}
	return named
}

// refusedSet is the oldest set that cannot be asked; nil when there is none.
func (f *family) refusedSet() *entry {
	for _, set := range f.sets {
		if set.refused() != nil {
			return set
		}
	}
	return nil
}

// judge says what is served now of one object; series picks among the series that are kept apart.
func (e *entry) judge(object string, series labels.Selector, now time.Time) (*metric.Sample, *metric.Failure) {
	d := &e.definition
	if refused := e.refused(); refused != nil {
		return nil, refused
	}
	reading := e.reading(object)
	all := whole(series)
	if !all && reading.Sample != nil {
		reading.Sample = reading.Sample.Latest() // what is picked may be newer than the whole
	}
	sample, failure := d.Policy.Judge(reading, now)
	switch {
	case failure != nil:
		return nil, e.slow(failure, reading)
	case sample.Whole == nil && all:
		return sample, nil
	}
	selected, failure := sample.Select(series, d.Question.Dimensions(), d.Question.Measure)
	switch {
	case failure != nil && failure.Reason == metric.NoData:
		return d.Policy.NoData(failure, sample)
	case failure != nil:
		return nil, failure
	}
	reading.Sample = selected // the series that were picked may be older than the others
	return d.Policy.Judge(reading, now)
}

// reading is what is known of one object.
func (e *entry) reading(object string) metric.Reading {
	if e.definition.Claim.Set() {
		return e.answer.of(object)
	}
	return e.answer.reading
}

// whole tells whether a read is about all series together.
func whole(series labels.Selector) bool { return series == nil || series.Empty() }

// refused is why the entry cannot be asked; nil when it is.
func (e *entry) refused() *metric.Failure {
	if e.answer == nil {
		return e.definition.Refused
	}
	return e.answer.over
}

// slow is the failure of a value that is too old because the quota lets the next one wait; any other as it is.
func (e *entry) slow(failure *metric.Failure, reading metric.Reading) *metric.Failure {
	if failure.Reason != metric.Stale || reading.Failure != nil {
		return failure
	}
	return cmp.Or(e.answer.pace.beyond(e.definition.Policy.MaxAge), failure)
}

// object is what a value of the entry describes.
func (e *entry) object(name string) metric.Object {
	object := e.definition.Object
	if e.definition.Claim.Set() {
		object.Name = name
	}
	return object
}

// List answers a read of all objects of a family that a selector matches, in order of their names. An object without a value
// is left out; when that are all, the failure says why. known is false when nobody claims the metric for objects of this
// kind.
func (r *Registry) List(of metric.Claim, objects, series labels.Selector) (items []metric.Item, failure *metric.Failure, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f := r.families[of.Family()]
	if f == nil {
		return nil, nil, false
	}
	owned := r.owned(f, of, objects)
	items = make([]metric.Item, 0, len(owned))
	now := r.clock.Now()
	for _, one := range owned {
		sample, why := one.entry.judge(one.name, series, now)
		if why == nil {
			items = append(items, metric.Item{Of: &one.entry.definition.Object, Name: one.name, Sample: sample})
		} else if failure == nil {
			failure = &metric.Failure{Reason: why.Reason, Message: fmt.Sprintf("none of %d %s has a value; %s: %s", len(owned), of.Resource, one.name, why.Message)}
		}
	}
	switch {
	case len(items) > 0:
		return items, nil, true
	case failure == nil:
		failure = f.nothing(of, objects)
	}
	return nil, failure, true
}

// nothing is why there is not a single object.
func (f *family) nothing(of metric.Claim, objects labels.Selector) *metric.Failure {
	if set := f.refusedSet(); set != nil {
		return set.refused()
	}
	return metric.Failf(metric.NoData, "no %s in namespace %s match both the binding's selector and %q", of.Resource, of.Namespace, objects)
}

// fewSets is up to how many sets of a family are looked through one after the other, all objects each time. Beyond that the
// objects that are read, which are few then, look for their set.
const fewSets = 4

// owned is an object and the entry that serves it.
type owned struct {
	name  string
	entry *entry
}

// owned lists the objects of a family that a selector matches, in order of their names, each with the oldest binding that
// claims it.
func (r *Registry) owned(f *family, of metric.Claim, objects labels.Selector) []owned {
	var sets []owned
	if len(f.sets) <= fewSets {
		for _, set := range f.sets {
			sets = merged(sets, ownedBy(set, r.objects.Select(of.Resource, of.Namespace, set.definition.Selector, objects)))
		}
	} else {
		for _, name := range r.objects.Select(of.Resource, of.Namespace, objects) {
			if set := r.oldestSet(f, of, name); set != nil {
				sets = append(sets, owned{name, set})
			}
		}
	}
	named := make([]owned, 0, len(f.named))
	for name, entries := range f.named {
		if objects.Empty() || r.objects.Matches(of.Resource, of.Namespace, name, objects) {
			named = append(named, owned{name, entries[0]})
		}
	}
	slices.SortFunc(named, func(a, b owned) int { return strings.Compare(a.name, b.name) })
	return merged(sets, named)
}

func ownedBy(e *entry, names []string) []owned {
	all := make([]owned, len(names))
	for i, name := range names {
		all[i] = owned{name, e}
	}
	return all
}

// oldestSet is the oldest set that an object is in; nil when it is in none.
func (r *Registry) oldestSet(f *family, of metric.Claim, object string) *entry {
	for _, set := range f.sets {
		if r.objects.Matches(of.Resource, of.Namespace, object, set.definition.Selector) {
			return set
		}
	}
	return nil
}

// merged is what two lists hold together, all in order of names. Of an object that is in both, the older binding has it.
func merged(a, b []owned) []owned {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := make([]owned, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := strings.Compare(a[0].name, b[0].name); {
		case order < 0:
			all, a = append(all, a[0]), a[1:]
		case order > 0:
			all, b = append(all, b[0]), b[1:]
		case olderFirst(a[0].entry, b[0].entry) < 0:
			b = b[1:]
		default:
			a = a[1:]
		}
	}
	return append(append(all, a...), b...)
}

// list notes that there is a family more, or less by a negative number. The caller holds the lock.
func (r *Registry) list(c metric.Claim, more int) {
	one := metric.Claim{Resource: c.Resource, Metric: c.Metric, External: c.External}
	before := r.shown[one]
	r.shown[one] = before + more
	switch {
	case before == 0:
		r.listed.Add(1)
	case before+more == 0:
		delete(r.shown, one)
		r.listed.Add(1)
	}
}

// Listed is a number that changes when Claims does, of any API, and then only.
func (r *Registry) Listed() int64 { return r.listed.Load() }

// Claims lists which metrics are claimed for which resources, each once and in order; what discovery shows.
func (r *Registry) Claims(api metric.API) []metric.Claim {
	claims := []metric.Claim{}
	r.mu.RLock()
	for claim := range r.shown {
		if claim.API() == api {
			claims = append(claims, claim)
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(claims, func(a, b metric.Claim) int {
		return cmp.Or(cmp.Compare(a.Resource.Group, b.Resource.Group), cmp.Compare(a.Resource.Resource, b.Resource.Resource), cmp.Compare(a.Metric, b.Metric))
	})
	return claims
}
