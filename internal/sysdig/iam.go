package sysdig

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// renewEarly is how long before its end a token is renewed, or at half of a life that is shorter than twice that.
	renewEarly = 5 * time.Minute
	// maxTokenLife is believed at most. Tokens of IAM live an hour.
	maxTokenLife = 24 * time.Hour
	// renewPause is the time between attempts to renew early, and between renewals because of refusals.
	renewPause = time.Minute
	// maxTokenBody bounds IAM's answer, in bytes.
	maxTokenBody = 64 << 10
)

// IAM is where an API key of IBM Cloud is exchanged for access tokens.
type IAM struct {
	// URL is the full address, such as https://iam.cloud.ibm.com/identity/token.
	URL *url.URL
}

// tokenSource exchanges an API key for access tokens. It has one exchange under way at most, and what is valid is used until its end:
// an outage of IAM that is shorter than renewEarly is not noticed. It is safe for concurrent use.
type tokenSource struct {
	config  Config
	clock   clock.PassiveClock
	http    *http.Client
	secrets *secrets
	// of holds the API key.
	of *credential

	exchanges singleflight.Group

	mu   sync.Mutex
	held accessToken // zero before the first exchange
}

type accessToken struct {
	text string
	// due is when it is to be renewed, expires when it can no longer be used.
	due, expires time.Time
	// replaced is when it replaced one that was refused; zero when that one was old.
	replaced time.Time
}

func newTokenSource(c *Client, of *credential) *tokenSource {
	return &tokenSource{config: c.config, clock: c.clock, http: c.http, secrets: c.secrets, of: of}
}

func (s *tokenSource) current() accessToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// token returns a token that has not expired. It waits for an exchange only when there is none. The error is a *metric.Failure.
func (s *tokenSource) token(ctx context.Context) (string, error) {
	held, now := s.current(), s.clock.Now()
	if now.Before(held.due) {
		return held.text, nil
	}
	exchange := s.exchange(ctx, held.text, time.Time{})
	if now.Before(held.expires) {
		return held.text, nil // the exchange goes on by itself
	}
	return s.wait(ctx, exchange)
}

// renew returns a token in the place of one that Sysdig refused. It is the same one when that was new for the same reason: then it is
// not the token that is wrong. The error is a *metric.Failure.
func (s *tokenSource) renew(ctx context.Context, refused string) (string, error) {
	held, now := s.current(), s.clock.Now()
	if held.text != refused {
		return held.text, nil
	}
	if now.Before(held.replaced.Add(renewPause)) {
		return refused, nil
	}
	return s.wait(ctx, s.exchange(ctx, refused, now))
}

func (s *tokenSource) wait(ctx context.Context, exchange <-chan singleflight.Result) (string, error) {
	select {
	case <-ctx.Done():
		return "", s.transportFailure(ctx.Err())
	case result := <-exchange:
		token, _ := result.Val.(string)
		return token, result.Err
	}
}

// exchange begins to replace the token old, unless somebody does or has. It goes on without callers that leave, until the client's
// timeout. refused is the time when old was refused, if it was.
func (s *tokenSource) exchange(ctx context.Context, old string, refused time.Time) <-chan singleflight.Result {
	return s.exchanges.DoChan("", func() (any, error) {
		held, asked := s.current(), s.clock.Now()
		if held.text != old || refused.IsZero() && asked.Before(held.due) { // another exchange has ended since somebody looked
			return held.text, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Timeout)
		defer cancel()
		answer, err := s.ask(ctx)
		if err != nil {
			s.postpone(asked.Add(max(renewPause, metric.AsFailure(err).RetryAfter)))
			return "", err
		}
		life, early := answer.life(asked), renewEarly
		if life < 2*renewEarly {
			early = life / 2
		}
		s.keep(answer, accessToken{text: answer.AccessToken, due: asked.Add(life - early), expires: asked.Add(life), replaced: refused})
		return answer.AccessToken, nil
	})
}

// keep holds a new token.
func (s *tokenSource) keep(answer tokenAnswer, token accessToken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = token
	s.secrets.hide(answer.AccessToken, "[token]")
	s.secrets.hide(answer.RefreshToken, "[token]")
}

// postpone puts off the next early exchange, at most to when the token that is held ends.
func (s *tokenSource) postpone(due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if due.After(s.held.expires) {
		due = s.held.expires
	}
	s.held.due = due
}

// tokenAnswer is what IAM answers.
type tokenAnswer struct {
	AccessToken  string
	RefreshToken string
	// ExpiresIn is the life in seconds, Expiration its end by IAM's clock.
	ExpiresIn  float64
	Expiration float64
}

// life is how long a token lives that was asked for at the given time; 0 when the answer does not say. The life comes first, since
// it needs no clocks that agree.
func (a tokenAnswer) life(asked time.Time) time.Duration {
	seconds := a.ExpiresIn
	if seconds <= 0 {
		seconds = a.Expiration - float64(asked.UnixMilli())/1000
	}
	return time.Duration(min(max(seconds, 0), maxTokenLife.Seconds()) * float64(time.Second))
}

// ask exchanges the API key. No text of a success is ever shown: it is full of secrets. The error is a *metric.Failure.
func (s *tokenSource) ask(ctx context.Context) (tokenAnswer, error) {
	form := url.Values{"grant_type": {"urn:ibm:params:oauth:grant-type:apikey"}, "apikey": {s.of.token}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.IAM.URL.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return tokenAnswer{}, s.transportFailure(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", s.config.UserAgent)
	repeatable(request)
	response, err := s.http.Do(request)
	if err != nil {
		return tokenAnswer{}, s.transportFailure(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing depends on it
	if response.StatusCode != http.StatusOK {
		return tokenAnswer{}, s.statusFailure(response)
	}
	answer, err := decodeToken(newStream(io.LimitReader(response.Body, maxTokenBody), nil))
	var unread readError
	switch {
	case errors.As(err, &unread):
		return tokenAnswer{}, s.transportFailure(err)
	case err != nil, answer.AccessToken == "", !sendable(answer.AccessToken), answer.life(s.clock.Now()) <= 0:
		return tokenAnswer{}, metric.Failf(metric.Unavailable, "the answer of IBM Cloud IAM holds no access token that could be used")
	}
	return answer, nil
}

func decodeToken(s *stream) (a tokenAnswer, err error) {
	in, until := new(float64), new(float64)
	err = s.document(
		field{"access_token", s.into(&a.AccessToken)}, field{"refresh_token", s.into(&a.RefreshToken)},
		field{"expires_in", s.optional(&in)}, field{"expiration", s.optional(&until)},
	)
	a.ExpiresIn, a.Expiration = *in, *until
	return a, err
}

// statusFailure turns a refusal of IAM into a failure. IAM answers 400 to an API key that it does not know.
func (s *tokenSource) statusFailure(response *http.Response) *metric.Failure {
	reason := statusReason(response.StatusCode)
	switch response.StatusCode {
	case http.StatusBadRequest:
		reason = metric.Unauthorized
	case http.StatusUnprocessableEntity:
		reason = metric.Unavailable
	}
	f := httpFailure("IBM Cloud IAM", reason, response.StatusCode, response.Header, bodyMessage(response.Body), s.secrets.redact)
	if reason == metric.Unauthorized {
		fault := CredentialRefused
		if s.of.accepted.Load() {
			fault = CredentialExpired
			f.Detail += "; it was accepted before"
		}
		f.Detail += "; check the API key in the Secret of spec.tokenSecretRef"
		f.Err = &CredentialError{fault}
	}
	return f
}

// transportFailure shows what the network and TLS say, and nothing that was read: net/http quotes what is no HTTP, which may hold a
// token that nobody knows yet.
func (s *tokenSource) transportFailure(err error) *metric.Failure {
	var network *net.OpError
	var untrusted *tls.CertificateVerificationError
	var forbidden *forbiddenError
	var proxy *proxyError
	switch {
	case errors.As(err, &network), errors.As(err, &untrusted), errors.As(err, &forbidden), errors.As(err, &proxy), errors.Is(err, errRedirect), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	default:
		err = errors.New("what came is no answer")
	}
	return transportFailure("IBM Cloud IAM", err, s.secrets.redact)
}
