package sysdigtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/time/rate"
)

const (
	// routeToken is where IBM's identity service hands out tokens. It is a host of its own in reality.
	routeToken = "identity/token"
	// grantAPIKey is the only grant that the stand-in knows.
	grantAPIKey = "urn:ibm:params:oauth:grant-type:apikey"
)

// IBM makes a [Server] an instance of IBM Cloud Monitoring with the identity service (IAM) that belongs to it: POST
// /identity/token changes an API key for a token that lives for a while. A call with such a token has to name the instance in
// the header IBMInstanceID, and may name a team in SysdigTeamID.
type IBM struct {
	// InstanceID is the GUID of the instance.
	InstanceID string
	// APIKeys are accepted from the start; [Server.AddAPIKey] adds more.
	APIKeys []string
	// TokenLifetime is how long a token lives; 1 hour by default, as IBM has it.
	TokenLifetime time.Duration
}

// iam is the state of the identity service, and of the teams of the instance.
type iam struct {
	mu     sync.Mutex
	issued int
	keys   map[string]*rate.Limiter
	tokens map[string]iamToken
	teams  map[string]func(labels.Labels) bool
}

type iamToken struct {
	key     string
	expires time.Time
}

func newIAM() *iam {
	return &iam{keys: map[string]*rate.Limiter{}, tokens: map[string]iamToken{}, teams: map[string]func(labels.Labels) bool{}}
}

// AddAPIKey makes the identity service accept an API key, with a request budget of its own.
func (s *Server) AddAPIKey(key string) {
	s.mu.Lock()
	budget := rate.NewLimiter(perMinute(s.perMinute))
	s.mu.Unlock()
	s.iam.mu.Lock()
	defer s.iam.mu.Unlock()
	s.iam.keys[key] = budget
}

// RevokeAPIKey makes the identity service refuse an API key, and the server its tokens, from the next request on.
func (s *Server) RevokeAPIKey(key string) {
	s.iam.mu.Lock()
	defer s.iam.mu.Unlock()
	delete(s.iam.keys, key)
}

// AddTeam adds a team that calls with a token of the identity service may choose in SysdigTeamID; visible is its scope as in
// [Server.AddToken]. Without that header a call sees everything.
func (s *Server) AddTeam(id string, visible func(labels.Labels) bool) {
	s.iam.mu.Lock()
	defer s.iam.mu.Unlock()
	s.iam.teams[id] = visible
}

// AccessTokens are the tokens that the identity service has handed out and that are alive.
func (s *Server) AccessTokens() []string {
	s.iam.mu.Lock()
	defer s.iam.mu.Unlock()
	return slices.Sorted(maps.Keys(s.iam.tokens))
}

// issueToken answers the identity service.
func (s *Server) issueToken(c *call) answer {
	if c.PostForm.Get("grant_type") != grantAPIKey {
		return iamRefusal("BXNIM0108E", "Property grant_type is missing or not supported")
	}
	token, expires, ok := s.iam.issue(c.PostForm.Get("apikey"), s.clk.Now(), s.ibm.TokenLifetime)
	if !ok {
		return iamRefusal("BXNIM0415E", "Provided API key could not be found.")
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		"access_token":  token,
		"refresh_token": "not_supported",
		"token_type":    "Bearer",
		"expires_in":    int(s.ibm.TokenLifetime.Seconds()),
		"expiration":    expires.Unix(),
		"scope":         "ibm openid",
	})
}

func iamRefusal(code, message string) answer {
	return jsonAnswer(http.StatusBadRequest, map[string]string{"errorCode": code, "errorMessage": message})
}

// issue makes a token, and forgets those that are dead.
func (i *iam) issue(key string, now time.Time, lifetime time.Duration) (token string, expires time.Time, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.keys[key]; !ok {
		return "", time.Time{}, false
	}
	maps.DeleteFunc(i.tokens, func(_ string, t iamToken) bool { return !now.Before(t.expires) })
	i.issued++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", key, i.issued))
	token, expires = "eyJ"+hex.EncodeToString(sum[:]), now.Add(lifetime)
	i.tokens[token] = iamToken{key, expires}
	return token, expires, true
}

// teamOf returns the team of a call with a live token; nil when the call is none.
func (i *iam) teamOf(c *call, now time.Time, instance string) *team {
	i.mu.Lock()
	defer i.mu.Unlock()
	token, issued := i.tokens[c.token]
	budget, known := i.keys[token.key]
	if !issued || !known || !now.Before(token.expires) || c.Header.Get("IBMInstanceID") != instance {
		return nil
	}
	id := c.Header.Get("SysdigTeamID")
	if id == "" {
		return &team{budget: budget}
	}
	visible, ok := i.teams[id]
	if !ok {
		return nil
	}
	return &team{visible: visible, budget: budget}
}

// admit finds the team of a call, or the answer that refuses it.
func (s *Server) admit(c *call) *answer {
	if s.ibm != nil {
		if c.team = s.iam.teamOf(c, s.clk.Now(), s.ibm.InstanceID); c.team != nil {
			return nil
		}
	}
	if c.team = s.teamOf(c.token); c.team == nil {
		refused := s.unauthorized(c)
		return &refused
	}
	if s.ibm != nil && c.switches.IAMOnly {
		denied := classicFailure(c.switches.DeniedStatus, classicError{
			Reason: "Not enough privileges to complete the action", Message: "Access is denied",
		})
		return &denied
	}
	return nil
}

// withoutSecrets returns the parameters with a fingerprint in place of an API key.
func withoutSecrets(params url.Values) url.Values {
	if !params.Has("apikey") {
		return params
	}
	params = maps.Clone(params)
	params.Set("apikey", Fingerprint(params.Get("apikey")))
	return params
}
