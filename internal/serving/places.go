package serving

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// standing is what is known of who has opened a connection.
type standing int

const (
	// unproven: anybody may have.
	unproven standing = iota
	// known: somebody has asked on it whom the API server knows.
	known
	// trusted: the aggregation layer has.
	trusted

	standings = 3
)

// place is that of a connection which is open.
type place struct {
	remote  string // address and port
	address string
	close   func()

	standing standing      // of the lock of places
	order    *list.Element // of those of the same standing
	gone     atomic.Bool
	// unread is how many bytes have come since the last request was heard.
	unread atomic.Int64
}

// holder is an address by what its connections have shown.
type holder struct {
	address string
	standing
}

// places are those of the connections of a listener. When there is none left, a connection makes room that has shown the least: of the
// address that holds most of those, the one that was opened first. So whoever is new gets in, and who opens many takes the time to show
// who it is from nobody but itself. The aggregation layer never makes room. It is safe for concurrent use.
type places struct {
	total, perAddress int
	// maxUnread is how many bytes of requests may be there together that were not heard yet; 0 for any. Beyond it the connection with
	// the most of them makes room.
	maxUnread int64

	mu        sync.RWMutex
	remotes   map[string]*place
	addresses map[string]int
	held      map[holder]int
	orders    [standings]list.List
	unread    atomic.Int64
}

func newPlaces(total, perAddress int, maxUnread int64) *places {
	return &places{total: total, perAddress: perAddress, maxUnread: maxUnread, remotes: map[string]*place{}, addresses: map[string]int{}, held: map[holder]int{}}
}

// take gives a connection a place. evicted has made room for it; nil when nobody had to. ok is false when there is none.
func (s *places) take(p *place) (evicted *place, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.addresses[p.address] >= s.perAddress:
		evicted = s.least(func(other *place) bool { return other.address == p.address })
	case len(s.remotes) >= s.total:
		evicted = s.least(func(*place) bool { return true })
	}
	full := s.addresses[p.address] >= s.perAddress || len(s.remotes) >= s.total
	if full && evicted == nil {
		return nil, false
	}
	s.remove(evicted)
	s.remotes[p.remote] = p
	s.addresses[p.address]++
	s.line(p, unproven)
	return evicted, true
}

// least is, of those that are meant, the one that makes room first; nil when none does.
func (s *places) least(meant func(*place) bool) *place {
	for of := unproven; of < trusted; of++ {
		if p := s.first(of, meant); p != nil {
			return p
		}
	}
	return nil
}

// first is, of those of a standing that are meant, the one that was opened first by the address that holds most.
func (s *places) first(of standing, meant func(*place) bool) (first *place) {
	most := 0
	for e := s.orders[of].Front(); e != nil; e = e.Next() {
		p := e.Value.(*place) //nolint:forcetypeassert // nothing else is put there
		if held := s.held[holder{p.address, of}]; held > most && meant(p) {
			first, most = p, held
		}
	}
	return first
}

// line puts a place behind the others of a standing. The caller holds the lock.
func (s *places) line(p *place, behind standing) {
	p.standing, p.order = behind, s.orders[behind].PushBack(p)
	s.held[holder{p.address, behind}]++
}

// unline takes it out again.
func (s *places) unline(p *place) {
	s.orders[p.standing].Remove(p.order)
	of := holder{p.address, p.standing}
	if s.held[of]--; s.held[of] == 0 {
		delete(s.held, of)
	}
}

// prove notes who asks on a connection. evicted has to make room; nil when nobody has: half of all places are kept for the unproven, so
// that somebody new has time.
func (s *places) prove(remote string, is standing) (evicted *place) {
	s.mu.RLock()
	p := s.remotes[remote]
	done := p == nil || p.standing >= is
	s.mu.RUnlock()
	if done {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remotes[remote] != p {
		return nil
	}
	s.unline(p)
	s.line(p, is)
	if s.orders[known].Len() > s.total/2 {
		evicted = s.first(known, func(*place) bool { return true })
		s.remove(evicted)
	}
	return evicted
}

// came notes that bytes have come on a connection. evicted has to make room; nil when nobody has.
func (s *places) came(p *place, bytes int) (evicted *place) {
	p.unread.Add(int64(bytes))
	all := s.unread.Add(int64(bytes))
	if p.gone.Load() {
		s.unread.Add(-p.unread.Swap(0))
		return nil
	}
	if s.maxUnread == 0 || all <= s.maxUnread {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.remotes {
		if evicted == nil || other.unread.Load() > evicted.unread.Load() {
			evicted = other
		}
	}
	s.remove(evicted)
	return evicted
}

// heard notes that a request has come as a whole.
func (s *places) heard(remote string) {
	s.mu.RLock()
	p := s.remotes[remote]
	s.mu.RUnlock()
	if p != nil {
		s.unread.Add(-p.unread.Swap(0))
	}
}

// leave gives the place of a connection back. Asking twice is harmless.
func (s *places) leave(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(p)
}

// remove takes a place, if there is one. The caller holds the lock.
func (s *places) remove(p *place) {
	if p == nil || p.gone.Swap(true) {
		return
	}
	s.unread.Add(-p.unread.Swap(0))
	s.unline(p)
	delete(s.remotes, p.remote)
	if s.addresses[p.address]--; s.addresses[p.address] == 0 {
		delete(s.addresses, p.address)
	}
}
