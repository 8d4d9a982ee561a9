package registry

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// longestRecheck is how long Recheck does not look at all bindings when no sample that it knows gets too old. Newer samples
	// last longer, but for those of a binding with a shorter maxAge.
	longestRecheck = 10 * time.Second
	// rechecks is how many calls of Recheck it takes to look closely at every set.
	rechecks = 60
)

// Recheck tells the listeners of bindings whose standing has changed although nothing was put or filed: samples got too old
// and, of sets, objects came, went, or got other labels. It is meant to be called twice a second. Sets take a closer look at
// their objects, so each has its turn after some calls; that all they were answered is too old is seen at once. It must not be
// called concurrently with itself.
func (r *Registry) Recheck() {
	r.tell(r.outdated())
	r.tell(r.strayed())
}

// outdated lists the bindings whose outline is not what was told any more, and notes what it is.
func (r *Registry) outdated() []types.NamespacedName {
	suspects, now := r.suspects()
	if suspects == nil {
		return nil
	}
	var keys []types.NamespacedName
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range suspects {
		if r.entries[e.definition.Binding] != e {
			continue // it was put anew meanwhile
		}
		if is := r.outline(e, now); is != e.told {
			e.told = is
			keys = append(keys, e.definition.Binding)
		}
	}
	return keys
}

// suspects looks at all bindings, if it is time to, for those whose outline is not what was told, and when to look again.
func (r *Registry) suspects() (suspects []*entry, now time.Time) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now = r.clock.Now()
	if now.Before(r.recheck) && r.recheck.Sub(now) <= longestRecheck { // more than that: the clock was set back
		return nil, now
	}
	r.recheck = now.Add(longestRecheck)
	for _, e := range r.entries {
		is := r.outline(e, now)
		if is != e.told {
			suspects = append(suspects, e)
		}
		if !is.served {
			continue
		}
		if until := e.lasts(now); !until.IsZero() && until.Before(r.recheck) {
			r.recheck = until
		}
	}
	return suspects, now
}

// lasts is until when the entry is served; zero when that is not foreseen.
func (e *entry) lasts(now time.Time) time.Time {
	reading := e.answer.reading
	if e.definition.Claim.Set() {
		reading.Sample = e.answer.freshest
	} else if bound, _, bounded := e.shown(now); bounded {
		return e.definition.Policy.Expiry(bound)
	}
	return e.definition.Policy.Until(reading, now)
}

// strayed lists the sets, of those whose turn it is, that do not stand as Standing last said.
func (r *Registry) strayed() []types.NamespacedName {
	var keys []types.NamespacedName
	for _, key := range r.turn() {
		r.mu.RLock() // for each: a set may be large
		if e := r.entries[key]; e != nil && e.definition.Claim.Set() && !r.stands(e, r.clock.Now()) {
			keys = append(keys, key)
		}
		r.mu.RUnlock()
	}
	return keys
}

// stands tells whether an entry stands as Standing last said.
func (r *Registry) stands(e *entry, now time.Time) bool {
	said := e.said.Load()
	if said == nil {
		return false
	}
	if said.served && e.answer != nil && r.winner(e) == nil && r.sees(e, now) {
		return true // as most do: without a look at all objects
	}
	s := r.standing(e, now)
	return *said == s.outline()
}

// turn lists the bindings whose turn it is.
func (r *Registry) turn() []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := (len(r.order) + rechecks - 1) / rechecks
	keys := make([]types.NamespacedName, 0, n)
	for range n {
		r.checked = r.after(r.checked)
		keys = append(keys, r.checked)
	}
	return keys
}

// After returns the binding that comes after another one in the order of namespaces and names, and after the last one the
// first, and how many there are.
func (r *Registry) After(last types.NamespacedName) (next types.NamespacedName, count int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.order) == 0 {
		return last, 0
	}
	return r.after(last), len(r.order)
}

// after is After while there are any.
func (r *Registry) after(last types.NamespacedName) types.NamespacedName {
	at, found := slices.BinarySearchFunc(r.order, last, byName)
	if found {
		at++
	}
	return r.order[at%len(r.order)]
}

func byName(a, b types.NamespacedName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// outline is the standing in short, as precise as the standing is.
func (s *Standing) outline() outline {
	o := outline{served: s.Served, winner: s.Winner}
	if !s.Served {
		o.reason = s.Failure.Reason
	}
	return o
}
