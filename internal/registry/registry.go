package registry

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// filedAtOnce bounds how many outcomes are filed under one hold of the lock, so that reads never wait for a whole round.
const filedAtOnce = 512

// Registry holds definitions, connections and readings. It is safe for concurrent use.
type Registry struct {
	clock clock.PassiveClock

	mu          sync.RWMutex
	entries     map[types.NamespacedName]*entry
	claims      map[metric.Claim][]*entry // oldest binding first: the first one serves
	questions   map[query.Question][]*entry
	connections map[string]Connection
	routes      map[metric.API]*metric.Failure // what is missing or nil is routed to us
	listeners   []func(types.NamespacedName)
	connected   []func(string)
	wake        chan struct{}
}

// entry is one definition and what is known of its value.
type entry struct {
	definition query.Definition
	reading    metric.Reading
	told       outline // what listeners were last told of
}

// New returns an empty registry.
func New(clock clock.PassiveClock) *Registry {
	return &Registry{
		clock:       clock,
		entries:     map[types.NamespacedName]*entry{},
		claims:      map[metric.Claim][]*entry{},
		questions:   map[query.Question][]*entry{},
		connections: map[string]Connection{},
		routes:      map[metric.API]*metric.Failure{},
		wake:        make(chan struct{}, 1),
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

// Put adds a definition or replaces that of the same binding. The reading is kept as long as the question stays the same;
// another question starts over as Pending and is asked at once: an old unit against a new target would scale to the
// maximum.
func (r *Registry) Put(d query.Definition) {
	r.mu.Lock()
	var reading metric.Reading
	left := d.Claim
	if old := r.entries[d.Binding]; old != nil {
		left = old.definition.Claim
		if old.definition.UID == d.UID && old.definition.Refused == nil && d.Refused == nil && old.definition.Question == d.Question {
			reading = old.reading
		}
		r.remove(old)
	}
	e := &entry{definition: d, reading: reading}
	r.entries[d.Binding] = e
	if d.Refused == nil {
		r.join(e)
	}
	if d.Claim.Servable() {
		r.claims[d.Claim] = append(r.claims[d.Claim], e)
		slices.SortFunc(r.claims[d.Claim], olderFirst)
	}
	changed := r.affected(d.Claim, e)
	if !d.Claim.Servable() {
		changed = append(changed, d.Binding)
	}
	if left != d.Claim {
		changed = append(changed, r.affected(left, nil)...)
	}
	r.mu.Unlock()
	r.nudge()
	r.tell(changed)
}

// join files the entry under its question. What others who ask the same already know is known to this one too.
func (r *Registry) join(e *entry) {
	asking := r.questions[e.definition.Question]
	if len(asking) > 0 && e.reading.Attempted.IsZero() {
		e.reading = asking[0].reading
	}
	r.questions[e.definition.Question] = append(asking, e)
}

// Delete forgets a binding. The next binding in line for its claim serves at once.
func (r *Registry) Delete(binding types.NamespacedName) {
	r.mu.Lock()
	e := r.entries[binding]
	if e == nil {
		r.mu.Unlock()
		return
	}
	r.remove(e)
	delete(r.entries, binding)
	changed := r.affected(e.definition.Claim, nil)
	r.mu.Unlock()
	r.tell(changed)
}

// remove takes an entry out of the indexes.
func (r *Registry) remove(e *entry) {
	without(r.claims, e.definition.Claim, e)
	without(r.questions, e.definition.Question, e)
}

// without takes an entry out of a list in an index, and an empty list out of the index.
func without[K comparable](index map[K][]*entry, key K, e *entry) {
	rest := slices.DeleteFunc(index[key], func(other *entry) bool { return other == e })
	if len(rest) == 0 {
		delete(index, key)
		return
	}
	index[key] = rest
}

// affected notes the standing of those who make a claim and lists those for whom it has changed, and edited in any case.
func (r *Registry) affected(claim metric.Claim, edited *entry) []types.NamespacedName {
	var keys []types.NamespacedName
	now := r.clock.Now()
	for _, e := range r.claims[claim] {
		if is := r.standing(e, now).outline(); e == edited || is != e.told {
			e.told = is
			keys = append(keys, e.definition.Binding)
		}
	}
	return keys
}

func olderFirst(a, b *entry) int {
	return cmp.Or(
		a.definition.Created.Compare(b.definition.Created),
		cmp.Compare(a.definition.UID, b.definition.UID),
		cmp.Compare(a.definition.Binding.String(), b.definition.Binding.String()),
	)
}

// Serve answers a read: the object and the sample, or why there is none. known is false when nobody claims the name.
func (r *Registry) Serve(claim metric.Claim) (object metric.Object, sample *metric.Sample, failure *metric.Failure, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	owners := r.claims[claim]
	if len(owners) == 0 {
		return metric.Object{}, nil, nil, false
	}
	sample, failure = owners[0].judge(r.clock.Now())
	return owners[0].definition.Object, sample, failure, true
}

func (e *entry) judge(now time.Time) (*metric.Sample, *metric.Failure) {
	if e.definition.Refused != nil {
		return nil, e.definition.Refused
	}
	return e.definition.Policy.Judge(e.reading, now)
}

// Claims lists which metrics are claimed for which resources, each once and in order; what discovery shows.
func (r *Registry) Claims() []metric.Claim {
	r.mu.RLock()
	seen := map[metric.Claim]struct{}{}
	for claim := range r.claims {
		seen[metric.Claim{Resource: claim.Resource, Metric: claim.Metric}] = struct{}{}
	}
	r.mu.RUnlock()
	claims := make([]metric.Claim, 0, len(seen))
	for claim := range seen {
		claims = append(claims, claim)
	}
	slices.SortFunc(claims, func(a, b metric.Claim) int {
		return cmp.Or(cmp.Compare(a.Resource.String(), b.Resource.String()), cmp.Compare(a.Metric, b.Metric))
	})
	return claims
}

// File stores outcomes. An outcome of a question that nobody asks any more is dropped. A sample replaces another only
// when its newest point is newer: a window that slides on over the same points empties and reads too low.
func (r *Registry) File(outcomes []query.Outcome) {
	for part := range slices.Chunk(outcomes, filedAtOnce) {
		r.tell(r.file(part))
	}
}

// file stores outcomes and lists the bindings whose standing has changed.
func (r *Registry) file(outcomes []query.Outcome) (changed []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for _, o := range outcomes {
		for _, e := range r.questions[o.Question] {
			was := r.standing(e, now).outline() // a sample that went stale since the last time changed it silently
			e.reading = merge(e.reading, o.Reading)
			if is := r.standing(e, now).outline(); is != e.told || is != was {
				e.told = is
				changed = append(changed, e.definition.Binding)
			}
		}
	}
	return changed
}

func merge(old, attempt metric.Reading) metric.Reading {
	if old.Sample == nil || old.Sample.Received.After(attempt.Attempted) { // none, or our clock was set back
		return attempt
	}
	if attempt.Sample == nil || !attempt.Sample.Time.After(old.Sample.Time) {
		attempt.Sample = old.Sample
	}
	return attempt
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
	keys := slices.Collect(maps.Keys(r.entries))
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
