package serving

import "sync"

// Shares divide places among those who want some, by name. Somebody may take as many as are free afterwards: one alone gets
// half of them, n a part of 1/(n+1) each, and who comes later finds some: dynamic thresholds (Choudhury and Hahne, "Dynamic queue
// length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998).
type Shares struct {
	total int

	mu    sync.Mutex
	taken int
	by    map[string]int
}

// NewShares returns places that are all free.
func NewShares(total int) *Shares { return &Shares{total: total, by: map[string]int{}} }

// Take takes a place if there is one. Every place that was taken has to be released.
func (s *Shares) Take(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[name] >= s.total-s.taken {
		return false
	}
	s.taken++
	s.by[name]++
	return true
}

// Release gives a place back.
func (s *Shares) Release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if s.by[name]--; s.by[name] == 0 {
		delete(s.by, name)
	}
}
