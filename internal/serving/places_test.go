package serving

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func connection(address string, port int) *place {
	return &place{remote: fmt.Sprintf("%s:%d", address, port), address: address, close: func() {}}
}

// TestPlacesHoldTheirBounds whatever comes, goes and is found out, in whatever order.
func TestPlacesHoldTheirBounds(t *testing.T) {
	const total, perAddress, maxUnread, seed = 20, 6, 1000, 7
	random := rand.New(rand.NewPCG(seed, 0))
	s := newPlaces(total, perAddress, maxUnread)
	var all []*place
	for step := range 20_000 {
		var evicted *place
		switch n := random.IntN(10); {
		case n < 5 || len(all) == 0:
			p := connection(fmt.Sprint("10.0.0.", random.IntN(8)), step)
			var ok bool
			if evicted, ok = s.take(p); ok {
				all = append(all, p)
			} else if s.orders[trusted].Len() == 0 {
				t.Fatalf("step %d: nobody is trusted, and there is no place", step)
			}
			if evicted != nil && evicted.standing == trusted {
				t.Fatalf("step %d: the aggregation layer made room", step)
			}
		case n < 6:
			s.leave(all[random.IntN(len(all))])
		case n < 8:
			// The aggregation layer is three connections at most.
			is := known
			if s.orders[trusted].Len() < 3 && random.IntN(20) == 0 {
				is = trusted
			}
			evicted = s.prove(all[random.IntN(len(all))].remote, is)
		case n < 9:
			evicted = s.came(all[random.IntN(len(all))], random.IntN(300))
		default:
			s.heard(all[random.IntN(len(all))].remote)
		}
		if evicted != nil && !evicted.gone.Load() {
			t.Fatalf("step %d: who made room has a place", step)
		}
		var unread int64
		addresses := map[string]int{}
		for _, p := range s.remotes {
			unread += p.unread.Load()
			addresses[p.address]++
		}
		if len(s.remotes) > total || s.orders[known].Len() > total/2 || unread > maxUnread || unread != s.unread.Load() || len(addresses) != len(s.addresses) {
			t.Fatalf("seed %d, step %d: %d places, %d of somebody known, %d bytes unread, %d are counted", seed, step, len(s.remotes), s.orders[known].Len(), unread, s.unread.Load())
		}
		for address, n := range addresses {
			if n > perAddress || n != s.addresses[address] {
				t.Fatalf("step %d: %s has %d places, %d are counted", step, address, n, s.addresses[address])
			}
		}
	}
	for _, p := range all {
		s.leave(p)
	}
	if len(s.remotes)+len(s.addresses)+len(s.held) != 0 || s.unread.Load() != 0 {
		t.Errorf("%d places and %d bytes are left", len(s.remotes), s.unread.Load())
	}
}

// TestWhoHoldsMostMakesRoom: whoever opens many connections takes places from nobody who has few.
func TestWhoHoldsMostMakesRoom(t *testing.T) {
	s := newPlaces(9, 4, 0)
	for port, address := range []string{"few", "a", "a", "a", "a", "b", "b", "b", "b"} {
		s.take(connection(address, port))
	}
	for port := range 100 {
		if evicted, ok := s.take(connection([]string{"a", "b", "c"}[port%3], 100+port)); !ok || evicted == nil || evicted.address == "few" {
			t.Fatalf("%d: %v made room", port, evicted)
		}
	}
}

func TestTheLongestRequestThatWasNotHeardMakesRoom(t *testing.T) {
	s := newPlaces(10, 10, 1000)
	short, long := connection("a", 1), connection("b", 2)
	for _, p := range []*place{short, long} {
		if _, ok := s.take(p); !ok {
			t.Fatal("there is no place")
		}
	}
	for range 100 { // requests that were heard count no more
		if evicted := s.came(short, 900); evicted != nil {
			t.Fatal("a request that was heard counts")
		}
		s.heard(short.remote)
	}
	if evicted := s.came(long, 700); evicted != nil {
		t.Errorf("%s made room before it had to", evicted.remote)
	}
	if evicted := s.came(short, 400); evicted != long {
		t.Errorf("%v made room, want the one with the most", evicted)
	}
}
