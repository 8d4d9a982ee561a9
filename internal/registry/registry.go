package registry

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// Objects tells which objects exist and what labels they carry. It answers from memory and never calls back.
type Objects interface {
	// Matches tells whether an object exists and its labels match.
	Matches(resource schema.GroupResource, namespace, name string, selector labels.Selector) bool
	// Select lists, in order, the objects of a namespace whose labels match all selectors.
	Select(resource schema.GroupResource, namespace string, selectors ...labels.Selector) []string
}

// Registry holds definitions, connections and readings. It is safe for concurrent use.
type Registry struct {
	clock   clock.PassiveClock
	objects Objects

	mu          sync.RWMutex
	entries     map[types.NamespacedName]*entry
	families    map[metric.Claim]*family // by metric.Claim.Family
	answers     map[query.Question]*answer
	demands     map[query.ShapeID]*demand
	tenants     map[tenant]map[query.ShapeID]map[*answer]struct{} // the questions of each shape that a tenant asks
	crowded     map[tenant]struct{}                               // who needs more shapes than allowed
	connections map[string]Connection
	catalogues  map[string]*catalogue
	paces       map[string]*pace
	breakers    map[string]*breaker
	routes      map[metric.API]*metric.Failure // nil is routed to us; what is missing is not known yet
	autoscalers Autoscalers                    // nil: none are known
	listeners   []func(types.NamespacedName)
	connected   []func(string)
	wake        chan struct{}

	shown map[metric.Claim]int // how many families there are of each metric that discovery shows
	// listed counts the changes of which there are.
	listed atomic.Int64

	order []types.NamespacedName // of all entries, by namespace and name
	// away is beside all that: mu does not guard it.
	away away
	// checked is the last binding that Recheck has looked at closely, and recheck when it looks at all again. Nobody else
	// touches them.
	checked types.NamespacedName
	recheck time.Time
}

// entry is one definition and the answer to its question.
type entry struct {
	definition query.Definition
	answer     *answer // nil when the definition is refused
	told       outline // what listeners were last told of
	// lifted: a lower bound was served when the last answer came; see lift.
	lifted bool
	// said is what Standing last said; kept of sets.
	said atomic.Pointer[outline]
}

// family are the entries that claim one metric of the objects of one kind in one namespace, or one external metric.
type family struct {
	named map[string][]*entry // by the object's name, oldest binding first: the first one serves
	sets  []*entry            // oldest binding first
	alike map[string][]*entry // sets by selector, oldest binding first
}

// New returns an empty registry.
func New(clock clock.PassiveClock, objects Objects) *Registry {
	return &Registry{
		clock:       clock,
		objects:     objects,
		entries:     map[types.NamespacedName]*entry{},
		families:    map[metric.Claim]*family{},
		shown:       map[metric.Claim]int{},
		answers:     map[query.Question]*answer{},
		demands:     map[query.ShapeID]*demand{},
		tenants:     map[tenant]map[query.ShapeID]map[*answer]struct{}{},
		crowded:     map[tenant]struct{}{},
		connections: map[string]Connection{},
		catalogues:  map[string]*catalogue{},
		paces:       map[string]*pace{},
		breakers:    map[string]*breaker{},
		routes:      map[metric.API]*metric.Failure{},
		wake:        make(chan struct{}, 1),
		away:        away{bindings: map[types.NamespacedName]turnedAway{}},
	}
}

// Wake receives a token when there may be something new to ask. It never blocks the sender and duplicates melt away.
func (r *Registry) Wake() <-chan struct{} { return r.wake }

func (r *Registry) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Put adds a definition or replaces that of the same binding. What is known of its question is known to it: the same
// question keeps its samples, another one starts over as Pending and is asked at once, because an old unit against a new
// target would scale to the maximum. Of one that claims nothing, see query.TurnAway, nothing is held but why.
func (r *Registry) Put(d query.Definition) {
	if d.Claim == (metric.Claim{}) && d.Refused != nil {
		r.turnAway(&d)
		return
	}
	r.away.remove(d.Binding)
	r.mu.Lock()
	e, left := &entry{definition: d}, d.Claim
	if d.Refused == nil {
		r.join(e) // before the old one leaves: the answer goes with the last who asks
		r.lift(e, r.clock.Now())
	}
	e.definition.Observed = nil // it has been remembered
	r.claim(e)                  // before the old one leaves, too: to edit a binding does not change what discovery shows
	old := r.entries[d.Binding]
	if old != nil {
		left = old.definition.Claim
		r.remove(old)
	} else {
		at, _ := slices.BinarySearchFunc(r.order, d.Binding, byName)
		r.order = slices.Insert(r.order, at, d.Binding)
	}
	r.entries[d.Binding] = e
	changed := append(r.allotted(e, old), r.affected(d.Claim, e)...)
	if !d.Claim.Servable() {
		changed = append(changed, d.Binding)
	}
	if left != d.Claim {
		changed = append(changed, r.affected(left, nil)...)
	}
	r.mu.Unlock()
	if d.Refused == nil {
		r.nudge()
	}
	r.tell(changed)
}

// join files the entry under its question.
func (r *Registry) join(e *entry) {
	q := &e.definition.Question
	a := r.answers[*q]
	if a == nil {
		connection := q.Shape.Value().Scope.Connection
		a = &answer{
			listed: q.View.All && q.View.ByService,
			tenant: tenant{connection, e.definition.Binding.Namespace}, pace: r.paceOf(connection), breaker: r.breakerOf(connection),
		}
		r.answers[*q] = a
	}
	a.entries = append(a.entries, e)
	e.answer = a
	if len(a.entries) == 1 { // the first
		a.breaker.answers[a] = struct{}{}
		r.demandOf(a)
	}
	a.remember(&e.definition, r.clock.Now())
}

// allotted decides anew which shapes the tenants of entries are asked about.
func (r *Registry) allotted(entries ...*entry) (changed []types.NamespacedName) {
	for _, e := range entries {
		if e != nil && e.answer != nil {
			changed = append(changed, r.allot(e.answer.tenant)...)
		}
	}
	return changed
}

// claim files the entry under its claim. The oldest comes first.
func (r *Registry) claim(e *entry) {
	c := e.definition.Claim
	if !c.Servable() {
		return
	}
	f := r.families[c.Family()]
	if f == nil {
		f = &family{named: map[string][]*entry{}, alike: map[string][]*entry{}}
		r.families[c.Family()] = f
		r.list(c, 1)
	}
	if c.Set() {
		f.sets = inserted(f.sets, e)
		f.alike[c.Selector] = inserted(f.alike[c.Selector], e)
		return
	}
	f.named[c.Object] = inserted(f.named[c.Object], e)
}

func inserted(entries []*entry, e *entry) []*entry {
	at, _ := slices.BinarySearchFunc(entries, e, olderFirst)
	return slices.Insert(entries, at, e)
}

// Delete forgets a binding. The next binding in line for its claim serves at once.
func (r *Registry) Delete(binding types.NamespacedName) {
	r.away.remove(binding)
	r.leave(binding)
}

// leave forgets what is served of a binding.
func (r *Registry) leave(binding types.NamespacedName) {
	r.mu.Lock()
	e := r.entries[binding]
	if e == nil {
		r.mu.Unlock()
		return
	}
	r.remove(e)
	delete(r.entries, binding)
	if at, found := slices.BinarySearchFunc(r.order, binding, byName); found {
		r.order = slices.Delete(r.order, at, at+1)
	}
	changed := append(r.allotted(e), r.affected(e.definition.Claim, nil)...)
	r.mu.Unlock()
	r.tell(changed)
}

// remove takes an entry out of the indexes, and what nobody else needs with it.
func (r *Registry) remove(e *entry) {
	if a := e.answer; a != nil {
		if len(a.entries) == 1 {
			r.drop(a)
		}
		a.entries = without(a.entries, e)
	}
	c := e.definition.Claim
	f := r.families[c.Family()]
	if f == nil {
		return
	}
	if c.Set() {
		f.sets = without(f.sets, e)
		withdraw(f.alike, c.Selector, e)
	} else {
		withdraw(f.named, c.Object, e)
	}
	if len(f.sets) == 0 && len(f.named) == 0 {
		delete(r.families, c.Family())
		r.list(c, -1)
	}
}

// withdraw takes an entry out of a list of an index, and an empty list out of the index.
func withdraw(index map[string][]*entry, key string, e *entry) {
	if index[key] = without(index[key], e); len(index[key]) == 0 {
		delete(index, key)
	}
}

func without(entries []*entry, e *entry) []*entry {
	return slices.DeleteFunc(entries, func(other *entry) bool { return other == e })
}

// affected notes the standing of those whom a claim may concern and lists those for whom it has changed, and edited in any
// case.
func (r *Registry) affected(claim metric.Claim, edited *entry) []types.NamespacedName {
	f := r.families[claim.Family()]
	if f == nil || !claim.Servable() {
		return nil
	}
	var keys []types.NamespacedName
	now := r.clock.Now()
	for _, e := range f.concerned(claim) {
		if is := r.outline(e, now); e == edited || is != e.told {
			e.told = is
			keys = append(keys, e.definition.Binding)
		}
	}
	return keys
}

// concerned are the entries that may lose or win by a claim all that they claim: one object has others of the same name; a
// set has named objects, and sets of the same selector or, when it is about all objects, every set.
func (f *family) concerned(claim metric.Claim) []*entry {
	switch {
	case !claim.Set():
		return f.named[claim.Object]
	case claim.Selector == "":
		return slices.Concat(append(slices.Collect(maps.Values(f.named)), f.sets)...)
	default:
		return slices.Concat(append(slices.Collect(maps.Values(f.named)), f.alike[claim.Selector])...)
	}
}

func olderFirst(a, b *entry) int {
	return cmp.Or(
		a.definition.Created.Compare(b.definition.Created),
		cmp.Compare(a.definition.UID, b.definition.UID),
		byName(a.definition.Binding, b.definition.Binding),
	)
}

// Listen registers a function that is told of bindings whose standing has changed. It must not block: it is meant to add
// a key to a work queue.
func (r *Registry) Listen(tell func(types.NamespacedName)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners = append(r.listeners, tell)
}

func (r *Registry) tell(keys []types.NamespacedName) {
	r.mu.RLock()
	listeners := slices.Clone(r.listeners)
	r.mu.RUnlock()
	for _, key := range keys {
		for _, tell := range listeners {
			tell(key)
		}
	}
}

// TellAll tells the listeners of every binding and every connection, for a replica that has just become the one that
// writes status.
func (r *Registry) TellAll() {
	r.mu.RLock()
	keys := append(slices.Collect(maps.Keys(r.entries)), r.away.keys()...)
	names := slices.Collect(maps.Keys(r.connections))
	connected := slices.Clone(r.connected)
	r.mu.RUnlock()
	r.tell(keys)
	for _, name := range names {
		for _, tell := range connected {
			tell(name)
		}
	}
}
