package registry

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Catalogue is what a connection's Sysdig has by name.
type Catalogue struct {
	// Metrics are the names of all metrics, sorted, in the notation of the connection's API. Empty when Sysdig's list is not complete.
	Metrics []string
	// Labels are the data API's labels by their PromQL names. Empty when Sysdig does not tell.
	Labels map[string]string
}

const (
	// nearby is how many names a failure names.
	nearby = 3
	// maxNear is of how many names it is known what is near. With more, all are found anew: who edits a binding chooses the name.
	maxNear = 1000
	// maxAsked is of how many names it is known when they were asked for. With more, those are forgotten that nobody lacks any more.
	maxAsked = 1000
)

// catalogue is a Catalogue and what was looked up in it and beside it.
type catalogue struct {
	Catalogue
	// near are the names nearest to those of metrics that there are not. To find them takes long, so that it is done once.
	near map[string][]string
	// asked are the names that were asked for by themselves.
	asked map[string]asked
}

// asked is when a metric was asked for by its name, and what Sysdig has said since the list was read.
type asked struct {
	at     time.Time
	told   bool
	exists bool
}

// has tells whether Sysdig has a metric, as far as that is known.
func (c *catalogue) has(name string) (exists, known bool) {
	if c == nil {
		return false, false
	}
	if _, listed := slices.BinarySearch(c.Metrics, name); listed {
		return true, true
	}
	one := c.asked[name]
	return one.exists, one.told || len(c.Metrics) > 0
}

// FileCatalogue stores what a connection's Sysdig has, unless the connection leads to another one by now. Only the metrics of
// questions that have never had a value are looked up in it: one that is silent may be missing from the list too. A list that is not
// complete changes nothing about what was asked by name.
func (r *Registry) FileCatalogue(of Connection, c Catalogue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.connections[of.Name]; !ok || now.Heartbeat.Scope != of.Heartbeat.Scope {
		return
	}
	filed := &catalogue{Catalogue: c, near: map[string][]string{}, asked: map[string]asked{}}
	if old := r.catalogues[of.Name]; old != nil {
		for name, one := range old.asked { // whose turn it is stays as it was
			filed.asked[name] = asked{at: one.at, told: one.told && len(c.Metrics) == 0, exists: one.exists && len(c.Metrics) == 0}
		}
	}
	r.catalogues[of.Name] = filed
}

// FileNames stores which metrics there are of those that a connection's Sysdig was asked for by name. told is not set when it did not say:
// then none of them is said to be missing any more.
func (r *Registry) FileNames(of Connection, names, found []string, told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.connections[of.Name]; !ok || now.Heartbeat.Scope != of.Heartbeat.Scope {
		return
	}
	c := r.catalogues[of.Name]
	if c == nil {
		c = &catalogue{near: map[string][]string{}, asked: map[string]asked{}}
		r.catalogues[of.Name] = c
	}
	for _, name := range names {
		one := asked{at: r.clock.Now(), told: told, exists: slices.Contains(found, name)}
		if was := c.asked[name]; !told {
			one.told, one.exists = was.exists, was.exists
		}
		c.asked[name] = one
	}
	if len(c.asked) > maxAsked {
		wanted := r.lacking(of.Name)
		maps.DeleteFunc(c.asked, func(name string, _ asked) bool { return !wanted[name] })
	}
}

// Missing are the metrics that questions without data name and that are not known to exist, those first that were asked for longest ago.
func (r *Registry) Missing(connection string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := slices.Sorted(maps.Keys(r.lacking(connection)))
	if c := r.catalogues[connection]; c != nil {
		slices.SortStableFunc(names, func(a, b string) int { return c.asked[a].at.Compare(c.asked[b].at) })
	}
	return names
}

// lacking are the metrics of a connection that are not known to exist.
func (r *Registry) lacking(connection string) map[string]bool {
	names := map[string]bool{}
	if b := r.breakers[connection]; b != nil {
		for a := range b.answers {
			for _, name := range a.lacking {
				names[name] = true
			}
		}
	}
	return names
}

// CatalogueOf is what is known of a connection's Sysdig; empty when nothing is.
func (r *Registry) CatalogueOf(connection string) Catalogue {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c := r.catalogues[connection]; c != nil {
		return c.Catalogue
	}
	return Catalogue{}
}

// lookUp finds the names nearest to those of metrics that there are not, without the lock: reads do not wait for it.
func (r *Registry) lookUp(outcomes []query.Outcome) {
	type missing struct {
		from *catalogue
		name string
	}
	wanted := map[missing][]string{}
	r.mu.RLock()
	for i := range outcomes {
		a := r.answers[outcomes[i].Question]
		if a == nil {
			continue
		}
		c := r.catalogues[a.tenant.connection]
		for _, name := range c.lacks(a, &outcomes[i]) {
			if _, known := c.has(name); known && c.near[name] == nil {
				wanted[missing{c, name}] = nil
			}
		}
	}
	r.mu.RUnlock()
	for m := range wanted {
		wanted[m] = m.from.nearest(m.name)
	}
	if len(wanted) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for m, near := range wanted {
		if len(m.from.near) >= maxNear {
			clear(m.from.near)
		}
		m.from.near[m.name] = near
	}
}

// check turns "no data" into "no such metric" when the question has never had a value and Sysdig does not know one of its metrics. A name
// that is wrong must not be answered by onNoData, nor one of which it is not known yet.
func (r *Registry) check(a *answer, o *query.Outcome) {
	a.met = a.met || valued(o)
	c := r.catalogues[a.tenant.connection]
	if a.lacking = c.lacks(a, o); len(a.lacking) == 0 || !empty(o) {
		return
	}
	why := c.missing(a)
	if why == nil && (r.connections[a.tenant.connection].Lister == nil || !a.assumes()) {
		return
	}
	o.Objects = nil
	o.Reading.Failure = cmp.Or(why, metric.Failf(metric.Pending,
		"Sysdig holds nothing, and it is not known yet whether it has the metric %s, so spec.onNoData does not answer; it is asked for in the next round", a.lacking[0]))
}

// missing is the failure of the first metric that there is not; nil when that is not known of any.
func (c *catalogue) missing(a *answer) *metric.Failure {
	field := "spec.source.metric.name"
	if a.question().Shape.Value().Grain == query.Raw {
		field = "spec.source.promQL.query"
	}
	for _, name := range a.lacking {
		if _, known := c.has(name); !known || c.near[name] == nil { // the list may have only just come
			continue
		}
		if len(c.near[name]) == 0 {
			return metric.Failf(metric.Rejected, "%s: Sysdig has no metric %s; correct the name, or have it reported", field, name)
		}
		return metric.Failf(metric.Rejected, "%s: Sysdig has no metric %s; the nearest are %s", field, name, strings.Join(c.near[name], ", "))
	}
	return nil
}

// lacks lists the metrics of a question without data that are not known to exist. One that has had a value has right names. Sysdig may
// refuse to answer about a metric that there is not, which is no data either.
func (c *catalogue) lacks(a *answer, o *query.Outcome) (names []string) {
	refused := o.Reading.Failure != nil && o.Reading.Failure.Reason == metric.Rejected
	if a.met || !refused && !empty(o) {
		return nil
	}
	for _, name := range a.question().Shape.Value().Metrics() {
		if exists, _ := c.has(name); !exists {
			names = append(names, name)
		}
	}
	return names
}

// assumes tells whether anybody who asks has a value for no data.
func (a *answer) assumes() bool {
	return slices.ContainsFunc(a.entries, func(e *entry) bool { return e.definition.Policy.OnNoData != nil })
}

// valued tells whether an outcome has a value of anything.
func valued(o *query.Outcome) bool {
	return o.Reading.Sample != nil || anyOf(o.Objects, func(f query.Found) bool { return f.Sample != nil })
}

// empty tells whether Sysdig has answered and holds nothing. Of Services it is known that they are there, and what is missing of
// each.
func empty(o *query.Outcome) bool {
	if o.Reading.Failure != nil || o.Objects == nil {
		return o.Reading.Failure != nil && o.Reading.Failure.Reason == metric.NoData
	}
	return !anyOf(o.Objects, func(f query.Found) bool {
		return f.Failure == nil || f.Failure.Reason != metric.NoData && f.Failure.Reason != metric.Rejected
	})
}

func anyOf(objects map[string]query.Found, is func(query.Found) bool) bool {
	for _, found := range objects {
		if is(found) {
			return true
		}
	}
	return false
}

// nearest are the names that take the fewest edits to become another one.
func (c Catalogue) nearest(name string) []string {
	type candidate struct {
		name  string
		edits int
	}
	var best []candidate
	for _, known := range c.Metrics {
		if len(best) == nearby && max(len(name)-len(known), len(known)-len(name)) >= best[nearby-1].edits {
			continue
		}
		edits := levenshtein.ComputeDistance(name, known)
		if len(best) == nearby && edits >= best[nearby-1].edits {
			continue
		}
		best = append(best, candidate{known, edits})
		slices.SortStableFunc(best, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
		best = best[:min(len(best), nearby)]
	}
	names := make([]string, len(best))
	for i, b := range best {
		names[i] = b.name
	}
	return names
}
