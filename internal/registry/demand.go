package registry

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// demand is what is asked about one shape. The lists that the poller gets are made when something has changed and shared
// until the next change, so that a round costs nothing for questions that stay.
type demand struct {
	connection string
	answers    map[*answer]struct{}
	unanswered map[*answer]struct{}
	version    int64
	asked      []query.Question // of answers that are not over the limit; nil when it has to be made again
}

// change notes that other questions are asked.
func (d *demand) change() {
	d.asked = nil
	d.version++
}

// questions lists what is asked.
func (d *demand) questions() []query.Question {
	if d.asked == nil {
		d.asked = make([]query.Question, 0, len(d.answers))
		for a := range d.answers {
			if a.over == nil {
				d.asked = append(d.asked, *a.question())
			}
		}
		slices.SortFunc(d.asked, func(a, b query.Question) int {
			return cmp.Or(cmp.Compare(a.View.Namespace, b.View.Namespace), cmp.Compare(a.View.Workload, b.View.Workload))
		})
	}
	return d.asked
}

// never lists what was never attempted.
func (d *demand) never() []query.Question {
	var questions []query.Question
	for a := range d.unanswered {
		if a.over == nil {
			questions = append(questions, *a.question())
		}
	}
	return questions
}

// Wanted is what a connection is asked, perhaps nothing.
type Wanted struct {
	Connection Connection
	Shapes     []Asked
}

// Asked are the questions of one shape, each once. The lists are shared and must not be changed.
type Asked struct {
	Shape query.ShapeID
	// Version is another one when Questions are others.
	Version   int64
	Questions []query.Question
	// Unanswered are those of them that were never attempted.
	Unanswered []query.Question
}

// Wanted lists what every connection is asked, in order of the connections' names. Suspended bindings are asked too, so
// that they are warm when they resume.
func (r *Registry) Wanted() []Wanted {
	r.mu.Lock() // lists are made on demand
	defer r.mu.Unlock()
	byName := make(map[string]*Wanted, len(r.connections))
	for name, connection := range r.connections {
		byName[name] = &Wanted{Connection: connection}
	}
	for shape, d := range r.demands {
		w := byName[d.connection]
		if w == nil || w.Connection.Heartbeat.Scope != shape.Value().Scope {
			continue // compiled for another state of the connection: the binding's own reconciler is on its way
		}
		if questions := d.questions(); len(questions) > 0 {
			w.Shapes = append(w.Shapes, Asked{Shape: shape, Version: d.version, Questions: questions, Unanswered: d.never()})
		}
	}
	wanted := make([]Wanted, 0, len(byName))
	for _, w := range byName {
		wanted = append(wanted, *w)
	}
	slices.SortFunc(wanted, func(a, b Wanted) int { return cmp.Compare(a.Connection.Name, b.Connection.Name) })
	return wanted
}

// Askers counts the bindings that need a shape and names the first of them, in order of namespaces and names.
func (r *Registry) Askers(shape query.ShapeID, limit int) (bindings int, first []types.NamespacedName) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d := r.demands[shape]
	if d == nil {
		return 0, nil
	}
	for a := range d.answers {
		for _, e := range a.entries {
			bindings++
			if at, _ := slices.BinarySearchFunc(first, e.definition.Binding, byName); at < limit {
				first = slices.Insert(first, at, e.definition.Binding)
				first = first[:min(limit, len(first))]
			}
		}
	}
	return bindings, first
}

// tenant is a namespace that asks a connection.
type tenant struct{ connection, namespace string }

// demandOf files an answer to a new question under its shape and its tenant.
func (r *Registry) demandOf(a *answer) {
	shape := a.question().Shape
	d := r.demands[shape]
	if d == nil {
		d = &demand{connection: a.tenant.connection, answers: map[*answer]struct{}{}, unanswered: map[*answer]struct{}{}}
		r.demands[shape] = d
	}
	d.answers[a], d.unanswered[a] = struct{}{}, struct{}{}
	d.change()
	shapes := r.tenants[a.tenant]
	if shapes == nil {
		shapes = map[query.ShapeID]map[*answer]struct{}{}
		r.tenants[a.tenant] = shapes
	}
	if shapes[shape] == nil {
		shapes[shape] = map[*answer]struct{}{}
	}
	shapes[shape][a] = struct{}{}
}

// drop forgets a question whose last entry is about to leave.
func (r *Registry) drop(a *answer) {
	shape := a.question().Shape
	delete(r.answers, *a.question())
	delete(a.breaker.answers, a)
	delete(a.breaker.fallen, a)
	r.tidy(a.tenant.connection)
	d := r.demands[shape]
	delete(d.answers, a)
	delete(d.unanswered, a)
	d.change()
	if len(d.answers) == 0 {
		delete(r.demands, shape)
	}
	shapes := r.tenants[a.tenant]
	if delete(shapes[shape], a); len(shapes[shape]) == 0 {
		delete(shapes, shape)
	}
	if len(shapes) == 0 {
		delete(r.tenants, a.tenant)
	}
}

// allot decides which shapes of a tenant are asked when it needs more than its connection allows: those of its oldest
// bindings. It lists the bindings for whom that has changed.
func (r *Registry) allot(t tenant) (changed []types.NamespacedName) {
	limit := r.connections[t.connection].QueriesPerNamespace
	shapes := r.tenants[t]
	if _, over := r.crowded[t]; !over && (limit == 0 || len(shapes) <= limit) {
		return nil
	}
	r.crowded[t] = struct{}{}
	if limit == 0 || len(shapes) <= limit {
		limit = len(shapes)
		delete(r.crowded, t)
	}
	over := metric.Failf(metric.Rejected,
		"spec.source: namespace %s needs %d different queries of connection %s, which allows %d (spec.quota.queriesPerNamespace), and older bindings have them; let bindings share a source, or ask the platform team",
		t.namespace, len(shapes), t.connection, limit)
	allowed := oldest(shapes, limit)
	for shape, answers := range shapes {
		why := over
		if _, is := allowed[shape]; is {
			why = nil
		}
		changed = append(changed, r.refuse(shape, answers, why)...)
	}
	return changed
}

// oldest are those shapes of a tenant, at most limit, whose oldest entries are the oldest. Others than that are not put in order: a
// tenant may have many.
func oldest(shapes map[query.ShapeID]map[*answer]struct{}, limit int) map[query.ShapeID]struct{} {
	by := make([]*entry, 0, limit+1) // the oldest entry of each
	for _, answers := range shapes {
		at, _ := slices.BinarySearchFunc(by, oldestOf(answers), olderFirst)
		if at < limit {
			by = slices.Insert(by, at, oldestOf(answers))
			by = by[:min(limit, len(by))]
		}
	}
	first := make(map[query.ShapeID]struct{}, len(by))
	for _, e := range by {
		first[e.definition.Question.Shape] = struct{}{}
	}
	return first
}

func oldestOf(answers map[*answer]struct{}) (oldest *entry) {
	for a := range answers {
		for _, e := range a.entries {
			if oldest == nil || olderFirst(e, oldest) < 0 {
				oldest = e
			}
		}
	}
	return oldest
}

// refuse sets why questions of a shape are not asked; nil: they are. It lists the bindings for whom that has changed.
func (r *Registry) refuse(shape query.ShapeID, answers map[*answer]struct{}, over *metric.Failure) (changed []types.NamespacedName) {
	d := r.demands[shape]
	now := r.clock.Now()
	for a := range answers {
		if (a.over == nil) == (over == nil) {
			continue
		}
		a.over = over
		d.change()
		for _, e := range a.entries {
			e.told = r.outline(e, now)
			changed = append(changed, e.definition.Binding)
		}
	}
	return changed
}
