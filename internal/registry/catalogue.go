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
)

// catalogue is a Catalogue and what was looked up in it.
type catalogue struct {
	Catalogue
	// near are the names nearest to those of metrics that there are not. To find them takes long, so that it is done once.
	near map[string][]string
	// missed are the names that questions lack.
	missed map[string]missed
}

// missed is when a question lacked a name last, and when Sysdig was asked about that name by itself.
type missed struct{ wanted, asked time.Time }

// forgetMissed is how long a name is asked about that nobody lacks any more.
const forgetMissed = time.Hour

// FileCatalogue stores what a connection's Sysdig has, unless the connection leads to another one by now. Only the metrics of
// questions that have never had a value are looked up in it: one that is silent may be missing from the list too.
func (r *Registry) FileCatalogue(of Connection, c Catalogue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.connections[of.Name]; ok && now.Heartbeat.Scope == of.Heartbeat.Scope {
		r.catalogues[of.Name] = &catalogue{Catalogue: c, near: map[string][]string{}, missed: map[string]missed{}}
	}
}

// MissedMetrics lists the names, at most so many, that questions of a connection lack and that Sysdig was not asked about for the longest
// time. They count as asked about from now on.
func (r *Registry) MissedMetrics(connection string, most int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.catalogues[connection]
	if c == nil {
		return nil
	}
	now := r.clock.Now()
	maps.DeleteFunc(c.missed, func(_ string, m missed) bool { return now.Sub(m.wanted) > forgetMissed })
	names := slices.SortedFunc(maps.Keys(c.missed), func(a, b string) int {
		return cmp.Or(c.missed[a].asked.Compare(c.missed[b].asked), cmp.Compare(a, b))
	})
	names = names[:min(len(names), most)]
	for _, name := range names {
		c.missed[name] = missed{c.missed[name].wanted, now}
	}
	return names
}

// FileMetrics notes that there are some more metrics than were listed.
func (r *Registry) FileMetrics(of Connection, names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.catalogues[of.Name]
	if now, ok := r.connections[of.Name]; !ok || now.Heartbeat.Scope != of.Heartbeat.Scope || c == nil || len(c.Metrics) == 0 {
		return
	}
	c.Metrics = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Metrics, names))))
	for _, name := range names {
		delete(c.missed, name)
	}
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
		if a := r.answers[outcomes[i].Question]; a != nil {
			c := r.catalogues[a.tenant.connection]
			if name := c.lacks(a, &outcomes[i]); name != "" && c.near[name] == nil {
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
// that is wrong must not be answered by onNoData, and whether it is, is not known before Sysdig has listed what there is.
func (r *Registry) check(a *answer, o *query.Outcome, now time.Time) {
	a.met = a.met || valued(o)
	c, listed := r.catalogues[a.tenant.connection]
	if !listed {
		if r.connections[a.tenant.connection].Lister != nil && !a.met && empty(o) {
			o.Objects = nil
			o.Reading.Failure = metric.Failf(metric.Pending, "Sysdig holds nothing for this, and has not listed yet which metrics there are: that tells a silent metric from a name that is wrong; wait for some rounds")
		}
		return
	}
	name := c.lacks(a, o)
	if name == "" {
		return
	}
	if len(c.missed) >= maxNear {
		clear(c.missed)
	}
	c.missed[name] = missed{now, c.missed[name].asked}
	near := c.near[name]
	if near == nil { // the list has only just come
		return
	}
	field := "spec.source.metric.name"
	if a.question().Shape.Value().Grain == query.Raw {
		field = "spec.source.promQL.query"
	}
	o.Objects = nil
	o.Reading.Failure = metric.Failf(metric.Rejected, "%s: Sysdig has no metric %s; the nearest are %s", field, name, strings.Join(near, ", "))
}

// lacks is the first name of a question that has no data because there is no such metric; empty when there is none.
func (c *catalogue) lacks(a *answer, o *query.Outcome) string {
	if c == nil || len(c.Metrics) == 0 || a.met || !empty(o) {
		return ""
	}
	for _, name := range a.question().Shape.Value().Metrics() {
		if _, known := slices.BinarySearch(c.Metrics, name); !known {
			return name
		}
	}
	return ""
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
