package replicas

import (
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

const (
	// patience is how long this replica believes what it sees without having seen a renewal of its own: renewEvery and the time
	// that one request may take. Leases that are renewed last much longer.
	patience = renewEvery + requestTimeout
	// litterAfter is how long ago a lease must have been renewed last to be removed by whoever notices.
	litterAfter = 10 * time.Minute
	// litterAtOnce bounds how many leases are removed per renewal.
	litterAtOnce = 5
)

// Share is the part of a replica in what all of them do together.
type Share struct {
	// Rank is the place of this replica among the live ones in the order of their identities, from 0.
	Rank int
	// Count is how many replicas are alive, this one included; at least 1.
	Count int
	// Known tells that there is nothing to wait for: this replica has seen the others and can be seen by them, or will never.
	Known bool
}

// member is a replica, as its lease tells.
type member struct {
	lease *coordinationv1.Lease
	// seen is when, by this replica's clock, the lease was last seen to be renewed. Other machines' clocks are never looked at.
	seen time.Time
}

func (m member) identity() string {
	if m.lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *m.lease.Spec.HolderIdentity
}

func (m member) expires() time.Time {
	if m.lease.Spec.LeaseDurationSeconds == nil {
		return m.seen.Add(leaseDuration)
	}
	return m.seen.Add(time.Duration(*m.lease.Spec.LeaseDurationSeconds) * time.Second)
}

// roster is what this replica has seen of all leases, its own among them. It does not lock.
type roster struct {
	identity string // of this replica
	own      string // the name of its lease
	members  map[string]member
	// heard is when a renewal of this replica was last seen to come back, which proves that both writing and watching work. The
	// API server orders what it sends: renewals of others before that one have been seen, too.
	heard time.Time
}

func newRoster(identity string) roster {
	return roster{identity: identity, own: leaseName(identity), members: map[string]member{}}
}

// saw takes note of a lease.
func (r *roster) saw(lease *coordinationv1.Lease, now time.Time) {
	m, known := r.members[lease.Name]
	renewed := !known || !m.lease.Spec.RenewTime.Equal(lease.Spec.RenewTime)
	m.lease = lease
	if renewed {
		m.seen = now
	}
	r.members[lease.Name] = m
	if renewed && lease.Name == r.own {
		r.hear(now)
	}
}

// hear takes note of a renewal of this replica. After a silence nothing is known of the time between, and what a new list holds
// comes in no order: all leases start anew.
func (r *roster) hear(now time.Time) {
	if now.Sub(r.heard) > patience {
		for name, m := range r.members {
			m.seen = now
			r.members[name] = m
		}
	}
	r.heard = now
}

// gone forgets a lease.
func (r *roster) gone(name string) { delete(r.members, name) }

// judged is the time at which leases are judged: now, or where it came to a stop when this replica lost sight of itself.
func (r *roster) judged(now time.Time) time.Time {
	if limit := r.heard.Add(patience); now.After(limit) {
		return limit
	}
	return now
}

// share counts the live. This replica is always one of them.
func (r *roster) share(now time.Time) (rank, count int) {
	at := r.judged(now)
	count = 1
	for _, m := range r.members {
		if identity := m.identity(); identity != r.identity && at.Before(m.expires()) {
			count++
			if identity < r.identity {
				rank++
			}
		}
	}
	return rank, count
}

// wake is when a lease expires next, if one does before the given time.
func (r *roster) wake(now, before time.Time) time.Time {
	for _, m := range r.members {
		if expires := m.expires(); expires.After(now) && expires.Before(before) {
			before = expires
		}
	}
	return before
}

// litter are leases that replicas have left behind, a few at a time.
func (r *roster) litter(now time.Time) []*coordinationv1.Lease {
	at := r.judged(now)
	var found []*coordinationv1.Lease
	for name, m := range r.members {
		if name != r.own && at.Sub(m.seen) >= litterAfter {
			found = append(found, m.lease)
		}
	}
	slices.SortFunc(found, func(a, b *coordinationv1.Lease) int { return strings.Compare(a.Name, b.Name) })
	return found[:min(len(found), litterAtOnce)]
}
