package sysdig

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// CredentialFault is what is known to be wrong with a token, in one word.
type CredentialFault string

// What may be wrong. Sysdig answers the same to a token that is wrong, expired or of another region, so that only what follows from more
// than its answer has a word of its own.
const (
	// CredentialMissing: there is none.
	CredentialMissing CredentialFault = "Missing"
	// CredentialHostNotListed: its Secret does not say that it may be sent to where the connection leads.
	CredentialHostNotListed CredentialFault = "HostNotListed"
	// CredentialMalformed: it is longer than any, or holds characters that none has.
	CredentialMalformed CredentialFault = "Malformed"
	// CredentialRefused: it was refused, and nobody told why.
	CredentialRefused CredentialFault = "Refused"
	// CredentialExpired: it was accepted before and is not any more.
	CredentialExpired CredentialFault = "Expired"
	// CredentialNoPermission: it is known and may not read metrics.
	CredentialNoPermission CredentialFault = "NoPermission"
	// CredentialWrongTeam: it is accepted when no team is named.
	CredentialWrongTeam CredentialFault = "WrongTeam"
	// CredentialWrongRegion: Sysdig points to another of its regions.
	CredentialWrongRegion CredentialFault = "WrongRegion"
)

// CredentialError is the cause of failures that speak about the token or the API key.
type CredentialError struct{ Fault CredentialFault }

// Error implements error.
func (e *CredentialError) Error() string { return "the credential is " + string(e.Fault) }

// FaultOf is what an error says about the credential; empty when it says nothing.
func FaultOf(err error) CredentialFault {
	var of *CredentialError
	if errors.As(err, &of) {
		return of.Fault
	}
	return ""
}

// credential is what requests are sent with.
type credential struct {
	// token is an API token, or with IAM an API key.
	token  string
	tokens *tokenSource // nil without IAM
	// unusable is why nothing can be sent with it.
	unusable *metric.Failure
	// accepted is set when Sysdig has answered a request with it.
	accepted atomic.Bool
}

// Rotate replaces the token, or the API key. Requests that begin after it use the new one and never the old one; of those that are
// under way, what is refused is asked again with the new one. The error is a *metric.Failure: nothing is sent until there is a token that
// can be.
func (c *Client) Rotate(token string) error {
	token = strings.TrimSpace(token)
	if held := c.held.Load(); held != nil && held.token == token && held.unusable == nil {
		return nil
	}
	next := &credential{}
	defer c.held.Store(next)
	if next.unusable = unusable(token, c.config.IAM != nil); next.unusable != nil {
		return next.unusable // what is never sent is not kept: nobody can echo it
	}
	next.token = token
	if c.config.IAM != nil {
		c.secrets.hide(token, "[key]")
		next.tokens = newTokenSource(c, next)
	} else {
		c.secrets.hide(token, "[token]")
	}
	return nil
}

// maxCredential bounds a token or an API key, in bytes. Sysdig's have 36 and IBM Cloud's 44; proxies refuse headers of 8 KiB.
const maxCredential = 4 << 10

// unusable is why a token cannot be sent; nil when it can.
func unusable(token string, isKey bool) *metric.Failure {
	secret := "API token"
	if isKey {
		secret = "API key"
	}
	var f *metric.Failure
	switch {
	case token == "":
		f = metric.Failf(metric.Unauthorized, "the %s is empty", secret)
		f.Err = &CredentialError{CredentialMissing}
	case len(token) > maxCredential:
		f = metric.Failf(metric.Unauthorized, "the %s is longer than %d bytes; is it a whole file?", secret, maxCredential)
		f.Err = &CredentialError{CredentialMalformed}
	case !sendable(token):
		f = metric.Failf(metric.Unauthorized, "the %s holds characters that none has; is it encoded twice?", secret)
		f.Err = &CredentialError{CredentialMalformed}
	}
	return f
}

// notEnough is how Sysdig and IBM Cloud call a permission that is missing, by IBM's troubleshooting page.
const notEnough = "Not enough privileges"

// explain adds to the detail of a refusal what is known of the reason, and what helps. text is what the body says.
func (c *Client) explain(request *http.Request, with *credential, status int, text string, f *metric.Failure) {
	fault, cure := CredentialRefused, "Sysdig does not tell whether the token is wrong, expired or of another region: compare spec.endpoint with where the token was made, or renew the Secret"
	switch {
	case c.wrongTeam(request, with):
		fault, cure = CredentialWrongTeam, "without the team header of spec.endpoint.headers the token is accepted: correct the team, or use a token that belongs to it"
	case strings.Contains(text, notEnough) && with.tokens == nil:
		fault, cure = CredentialNoPermission, "the token may not read metrics (metrics-data.read); an instance of IBM Cloud may also take tokens of IAM only: see spec.endpoint.iam"
	case strings.Contains(text, notEnough), status == http.StatusForbidden && text != "":
		fault, cure = CredentialNoPermission, "the token is known and may not read metrics: give its user or service account the permission Metrics Data (metrics-data.read)"
	case with.tokens != nil:
		cure = "IBM Cloud IAM accepts the API key, and Sysdig refuses its token: compare the header IBMInstanceID and the region of spec.endpoint.url, and who may use the instance"
	case with.accepted.Load() && status == http.StatusUnauthorized:
		fault, cure = CredentialExpired, "it was accepted before: it has expired or was reset, or its user is gone; put a new one into the Secret"
	}
	f.Detail = f.Full() + "; " + cure
	f.Err = &CredentialError{fault}
}

// probePause is the time between two questions without the header of the team.
const probePause = time.Minute

// teamProbe remembers whether the team was at fault.
type teamProbe struct {
	mu    sync.Mutex
	at    time.Time
	of    *credential
	wrong bool
}

// wrongTeam asks once more without naming the team, when one is named: if that is answered, the token is well. It is asked once a
// minute at most.
func (c *Client) wrongTeam(request *http.Request, with *credential) bool {
	again, err := anew(request)
	if err != nil {
		return false
	}
	named := false
	for _, name := range []string{"SysdigTeamID", "TeamID"} { // the second by a third-party SDK
		named = named || again.Header.Get(name) != ""
		again.Header.Del(name)
	}
	if !named {
		return false
	}
	c.team.mu.Lock()
	defer c.team.mu.Unlock()
	if now := c.clock.Now(); c.team.of != with || now.Sub(c.team.at) >= probePause {
		response, err := c.sendAs(again, with)
		if response != nil {
			_ = response.Body.Close()
		}
		c.team.at, c.team.of, c.team.wrong = now, with, err == nil && response.StatusCode == http.StatusOK
	}
	return c.team.wrong
}

var errRedirect = errors.New("redirects are not followed")

// redirectError is of an answer that points somewhere else.
type redirectError struct{ from, to *url.URL }

// Error implements error. It names the host only: what follows may hold anything.
func (e *redirectError) Error() string { return errRedirect.Error() }

// Is makes all of them the same.
func (*redirectError) Is(other error) bool { return other == errRedirect }

func refuseRedirect(next *http.Request, via []*http.Request) error {
	return &redirectError{from: via[0].URL, to: next.URL}
}

// region is the one of Sysdig's or IBM's that an answer points to; empty when it points to none, or to where it came from.
func (e *redirectError) region() string {
	is := regionOf(e.to.Hostname())
	if is == regionOf(e.from.Hostname()) {
		return ""
	}
	return is
}
