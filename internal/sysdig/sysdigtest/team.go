package sysdigtest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/time/rate"
)

// unlimited is what X-RateLimit-Limit says when there is no budget: the largest value of the OpenAPI document.
const unlimited = 4096

// team is what a token stands for: a scope of visible series and a request budget.
type team struct {
	visible func(labels.Labels) bool
	budget  *rate.Limiter
}

// AddToken makes the server accept a token. visible is the scope of its team: series for which it returns false do not
// exist for this token. A nil visible sees everything. Adding a token again replaces its scope and refills its budget.
func (s *Server) AddToken(token string, visible func(labels.Labels) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.teams[token] = &team{visible: visible, budget: rate.NewLimiter(perMinute(s.perMinute))}
}

// RevokeToken makes the server refuse a token from the next request on.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.teams, token)
}

// WithLabel returns a team scope: series whose label has one of the values.
func WithLabel(name string, values ...string) func(labels.Labels) bool {
	return func(lset labels.Labels) bool { return slices.Contains(values, lset.Get(name)) }
}

// SetRequestsPerMinute sets the request budget of every token and API key; 0 means unlimited. A full minute's budget may be spent
// at once and then refills evenly.
func (s *Server) SetRequestsPerMinute(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perMinute = n
	limit, burst := perMinute(n)
	now := s.clk.Now()
	set := func(budget *rate.Limiter) {
		budget.SetLimitAt(now, limit)
		budget.SetBurstAt(now, burst)
	}
	for _, t := range s.teams {
		set(t.budget)
	}
	s.iam.mu.Lock()
	defer s.iam.mu.Unlock()
	for _, budget := range s.iam.keys {
		set(budget)
	}
}

func perMinute(n int) (rate.Limit, int) {
	if n <= 0 {
		return rate.Inf, unlimited
	}
	return rate.Limit(float64(n) / time.Minute.Seconds()), n
}

// rateLimit is the value of X-RateLimit-Limit.
func (s *Server) rateLimit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perMinute <= 0 {
		return unlimited
	}
	return s.perMinute
}

// teamOf returns the team of a token, or nil.
func (s *Server) teamOf(token string) *team {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.teams[token]
}

// bearer returns the bearer token of a request, or "". The scheme is compared without regard to case.
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
