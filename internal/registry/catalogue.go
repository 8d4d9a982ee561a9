package registry

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Catalogue is what a connection's Sysdig has by name.
type Catalogue struct {
	// Metrics are the names of all metrics, sorted, in the notation of the connection's API.
	Metrics []string
	// Labels are the data API's labels by their PromQL names. Empty when Sysdig does not tell.
	Labels map[string]string
}

// nearby is how many names a failure names.
const nearby = 3

// FileCatalogue stores what a connection's Sysdig has. Only the metrics of questions that have never had a value are looked up in
// it: one that is silent may be missing from the list too.
func (r *Registry) FileCatalogue(connection string, c Catalogue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.connections[connection]; ok {
		r.catalogues[connection] = c
	}
}

// CatalogueOf is what is known of a connection's Sysdig; empty when nothing is.
func (r *Registry) CatalogueOf(connection string) Catalogue {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.catalogues[connection]
}

// check turns "no data" into "no such metric" when the question has never had a value and Sysdig does not know its metric. A name
// that is wrong must not be answered by onNoData.
func (c Catalogue) check(a *answer, o *query.Outcome) {
	if o.Reading.Sample != nil || len(o.Objects) > 0 {
		a.met = true
	}
	s := a.question().Shape.Value()
	empty := o.Reading.Failure == nil && o.Objects != nil && len(o.Objects) == 0 || o.Reading.Failure != nil && o.Reading.Failure.Reason == metric.NoData
	if a.met || !empty || s.Grain == query.Raw || len(c.Metrics) == 0 {
		return
	}
	if _, known := slices.BinarySearch(c.Metrics, s.Metric); known {
		return
	}
	o.Objects = nil
	o.Reading.Failure = metric.Failf(metric.Rejected, "spec.source.metric.name: Sysdig has no metric %s; the nearest are %s", s.Metric, strings.Join(c.nearest(s.Metric), ", "))
}

// nearest are the names that take the fewest edits to become another one.
func (c Catalogue) nearest(name string) []string {
	type candidate struct {
		name  string
		edits int
	}
	var best []candidate
	for _, known := range c.Metrics {
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
