package registry

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Standing is how a binding stands: what a status shows.
type Standing struct {
	Definition query.Definition
	// Winner is the binding that serves this one's claim, when it is not this one.
	Winner types.NamespacedName
	// Served tells whether reads are answered with a value; of a set, whether those of any object are.
	Served bool
	// Sample is what an HPA compares with its target: the value, the mean of the pods of a set, the sum of the items of an
	// external metric. Nil when nothing is served, and for sets of other kinds.
	Sample *metric.Sample
	// Bounded tells that Sample is a lower bound: the last answer was Partial, and every HPA that read it when it came scaled up on
	// it. Of a set, lower bounds are left out, as they are of lists.
	Bounded bool
	// Matched is how many objects a set's selector matches and this binding serves, and Fresh how many of them have a value.
	Matched, Fresh int
	// Failure is why nothing is served; when something is, why the last attempt failed all the same, or what an object lacks.
	Failure *metric.Failure
	// NotRouted is why no HPA gets to see what is served; nil when HPAs reach this operator.
	NotRouted *metric.Failure
	// Until is when the standing may change without a new answer; zero when it won't, or when that is not foreseen. Recheck tells
	// when it has.
	Until time.Time
}

// outline is what a standing is to somebody who watches: two with the same outline differ in values only.
type outline struct {
	served bool
	reason metric.Reason // empty when all is well
	winner types.NamespacedName
}

// Standing returns how a binding stands now, for its status: Recheck tells when that is not true any more. known is false for
// a binding that was never put.
func (r *Registry) Standing(binding types.NamespacedName) (standing Standing, known bool) {
	if standing, away := r.away.standing(binding); away {
		return standing, true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.entries[binding]
	if e == nil {
		return Standing{}, false
	}
	standing = r.standing(e, r.clock.Now())
	if e.definition.Claim.Set() {
		e.said.Store(new(standing.outline()))
	}
	return standing, true
}

// Known tells whether a binding was put.
func (r *Registry) Known(binding types.NamespacedName) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.entries[binding] != nil || r.away.has(binding)
}

func (r *Registry) standing(e *entry, now time.Time) Standing {
	s := Standing{Definition: e.definition, NotRouted: r.routes[e.definition.Claim.API()]}
	s.Definition.Refused = e.refused()
	if winner := r.winner(e); winner != nil {
		s.lose(winner)
		return s
	}
	if e.definition.Claim.Set() && s.Definition.Refused == nil {
		r.survey(e, now, &s)
		return s
	}
	s.Sample, s.Failure, s.Bounded = e.shown(now)
	if s.Served = s.Sample != nil; s.Served {
		s.Failure = e.troubled()
		s.Until = e.definition.Policy.Expiry(s.Sample)
	}
	return s
}

func (s *Standing) lose(to *entry) {
	s.Winner = to.definition.Binding
	of := "this object"
	if s.Definition.Claim.Set() {
		of = "these objects"
	}
	s.Failure = metric.Failf(metric.NameTaken,
		"the older binding %s serves %s for %s; rename one of them with spec.metricName", to.definition.Binding.Name, s.Definition.Claim.Metric, of)
}

// winner is the entry to which another one loses all that it claims. That a set loses single objects is found by survey.
func (r *Registry) winner(e *entry) *entry {
	claim := &e.definition.Claim
	f := r.families[claim.Family()]
	if f == nil || !claim.Servable() {
		return nil
	}
	if !claim.Set() {
		if owner := r.owner(f, claim); owner != e {
			return owner
		}
		return nil
	}
	for _, selector := range []string{"", claim.Selector} {
		if same := f.alike[selector]; len(same) > 0 && same[0] != e && olderFirst(same[0], e) < 0 {
			return same[0]
		}
	}
	return nil
}

// survey looks at every object of a set.
func (r *Registry) survey(e *entry, now time.Time, s *Standing) {
	claim := e.definition.Claim
	f := r.families[claim.Family()]
	names := r.objects.Select(claim.Resource, claim.Namespace, e.definition.Selector, labels.Everything())
	var lostTo *entry
	var mean mean
	for _, name := range names {
		one := claim
		one.Object = name
		if owner := r.owner(f, &one); owner != e {
			lostTo = owner
			continue
		}
		s.Matched++
		sample, failure := e.judge(name, nil, now)
		if failure != nil {
			if s.Failure == nil {
				s.Failure = &metric.Failure{Reason: failure.Reason, Message: name + ": " + failure.Message}
			}
			continue
		}
		s.Fresh++
		mean.add(sample)
		if until := e.definition.Policy.Expiry(sample); s.Until.IsZero() || until.Before(s.Until) {
			s.Until = until
		}
	}
	s.Served = s.Fresh > 0
	switch {
	case s.Matched == 0 && lostTo != nil:
		s.lose(lostTo)
	case s.Matched == 0:
		s.Failure = e.empty(now)
	case s.Served:
		s.Failure = cmp.Or(e.troubled(), s.Failure)
		if claim.Resource == pods {
			s.Sample = mean.sample()
		}
	}
}

// pods is the resource of pods, of which an HPA compares the mean.
var pods = schema.GroupResource{Resource: "pods"}

// empty is why a set has no objects: perhaps nothing was asked yet, or could be.
func (e *entry) empty(now time.Time) *metric.Failure {
	d := &e.definition
	if _, failure := d.Policy.Judge(e.answer.held(""), now); failure != nil && failure.Reason != metric.NoData {
		return failure
	}
	return metric.Failf(metric.NoData, "no %s in namespace %s matches the selector %q", d.Object.Kind, d.Claim.Namespace, d.Claim.Selector)
}

// mean averages samples the way an HPA does: in thousandths, rounded towards zero. Its time is that of the oldest.
type mean struct {
	milli, count int64
	measured     bool // any of them
	oldest       *metric.Sample
}

func (m *mean) add(s *metric.Sample) {
	m.milli += s.Milli
	m.count++
	m.measured = m.measured || !s.Assumed
	if m.oldest == nil || s.Time.Before(m.oldest.Time) {
		m.oldest = s
	}
}

func (m *mean) sample() *metric.Sample {
	milli := m.milli / m.count
	return &metric.Sample{Value: float64(milli) / 1000, Milli: milli, Time: m.oldest.Time, Received: m.oldest.Received, Window: m.oldest.Window, Assumed: !m.measured}
}

// outline is the standing in short. Of a set it looks at what was answered only, not at which objects exist (see sighted): it
// is made for every binding in every round.
func (r *Registry) outline(e *entry, now time.Time) outline {
	if winner := r.winner(e); winner != nil {
		return outline{reason: metric.NameTaken, winner: winner.definition.Binding}
	}
	if e.definition.Claim.Set() && e.refused() == nil {
		return e.outlineOfSet(now)
	}
	if _, failure, _ := e.shown(now); failure != nil {
		return outline{reason: failure.Reason}
	}
	return e.serving()
}

// serving is the outline of an entry that has a value.
func (e *entry) serving() outline {
	o := outline{served: true}
	if failure := e.troubled(); failure != nil {
		o.reason = failure.Reason
	}
	return o
}

// troubled is why what is served now may not be for long: the last attempt failed, or the next one comes too late.
func (e *entry) troubled() *metric.Failure {
	return cmp.Or(e.answer.reading.Failure, e.answer.pace.beyond(e.definition.Policy.MaxAge))
}

func (e *entry) outlineOfSet(now time.Time) outline {
	a, policy := e.answer, &e.definition.Policy
	reading := a.reading
	reading.Sample = a.freshest
	if _, failure := policy.Judge(reading, now); failure == nil {
		return e.serving()
	}
	// Not even one: as little as of an object that nothing is known of.
	if _, failure := policy.Judge(a.held(""), now); failure != nil {
		return outline{reason: failure.Reason}
	}
	return outline{served: true}
}

// Count is how many bindings have each standing: the reason, or empty for those that are served.
func (r *Registry) Count() map[metric.Reason]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.clock.Now()
	counts := map[metric.Reason]int{}
	for _, e := range r.entries {
		counts[r.reason(e, now)]++
	}
	r.away.count(counts)
	return counts
}

func (r *Registry) reason(e *entry, now time.Time) metric.Reason {
	o := r.outline(e, now)
	if o.served && e.definition.Claim.Set() {
		o = r.sighted(e, now)
	}
	switch {
	case !o.served:
		return o.reason
	case r.routes[e.definition.Claim.API()] != nil:
		return metric.NotRouted
	default:
		return ""
	}
}

// sighted is the outline of a set that also looks at which objects exist and are its own: up to the first with a value, and
// at all of them when that is none.
func (r *Registry) sighted(e *entry, now time.Time) outline {
	if r.sees(e, now) {
		return outline{served: true}
	}
	var s Standing
	r.survey(e, now, &s)
	return s.outline()
}

// sees tells whether any object of a set has a value.
func (r *Registry) sees(e *entry, now time.Time) bool {
	one := e.definition.Claim
	f := r.families[one.Family()]
	for one.Object = range e.answer.objects {
		if !r.objects.Matches(one.Resource, one.Namespace, one.Object, e.definition.Selector) || r.owner(f, &one) != e {
			continue
		}
		if _, failure := e.judge(one.Object, nil, now); failure == nil {
			return true
		}
	}
	return false
}

// Settled tells whether every binding had one attempt, or cannot be asked.
func (r *Registry) Settled() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.entries {
		refused := e.refused()
		if refused == nil && e.answer.reading.Attempted.IsZero() || refused != nil && refused.Reason == metric.Pending {
			return false
		}
	}
	return true
}
