package sysdig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// maxBody bounds an answer, in bytes. 100,000 segments, the most that Sysdig returns, are about 20 MB.
	maxBody = 32 << 20
	// maxErrorBody bounds the body of an error.
	maxErrorBody = 16 << 10
	// maxGetURL is the length from which a query travels in the body of a POST, because proxies cut longer addresses.
	maxGetURL = 8 << 10
)

// Config is what a Client needs. All of it comes from a SysdigConnection and its Secret.
type Config struct {
	// QueryURL is the full address of the instant query; see QueryURL.
	QueryURL *url.URL
	// DataURL is the full address of the data API; see DataURL.
	DataURL *url.URL
	// Token is the API token, or with IAM the API key. White space around it is ignored: tokens that were piped through base64 often end
	// in a newline.
	Token string
	// IAM is where an API key of IBM Cloud is exchanged for access tokens; nil when Token is sent as it is.
	IAM *IAM
	// CABundle holds PEM certificates to trust instead of the system's; empty for the system's.
	CABundle []byte
	// Headers are sent with every request to Sysdig.
	Headers http.Header
	// UserAgent names this program.
	UserAgent string
	// Timeout bounds one question with its answer.
	Timeout time.Duration
	// Memory is what the answers to all clients may take; nil is some of its own.
	Memory *Memory
	// Clock tells when access tokens expire; nil is the real one.
	Clock clock.PassiveClock
	// Permit is why nothing may be sent to an address; nil permits all. It is asked about each address that a name leads to, right before
	// it is connected to.
	Permit func(netip.Addr) error
	// Resolver looks names up; nil is that of the system.
	Resolver *net.Resolver
}

// Client asks one Sysdig Monitor team. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
	clock  clock.PassiveClock
	// held is what requests are sent with.
	held    atomic.Pointer[credential]
	secrets *secrets
	team    teamProbe
	// part is what this client's answers may take of the Memory at most.
	part *semaphore.Weighted
}

// NewClient checks the configuration and returns a client. It does not connect.
func NewClient(c Config) (*Client, error) {
	if c.Timeout <= 0 {
		return nil, errors.New("a client needs a timeout")
	}
	trust, err := trustedRoots(c.CABundle)
	if err != nil {
		return nil, err
	}
	if c.Memory == nil {
		c.Memory = NewMemory(defaultMemory)
	}
	client := &Client{
		config: c, clock: c.clock(), secrets: &secrets{}, part: semaphore.NewWeighted(c.Memory.part()),
		http: &http.Client{CheckRedirect: refuseRedirect, Transport: newTransport(c, trust, http.ProxyFromEnvironment)},
	}
	client.config.Token = "" // it is held
	if err := client.Rotate(c.Token); err != nil {
		return nil, err
	}
	return client, nil
}

// sendable tells whether a token can be sent in a header.
func sendable(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

func trustedRoots(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, metric.Failf(metric.Rejected, "spec.endpoint.caBundle: holds no certificate that could be read")
	}
	return pool, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Query evaluates a PromQL expression that yields an instant vector for the given time. The error is a *metric.Failure.
func (c *Client) Query(ctx context.Context, promQL string, at time.Time) (Answer, error) {
	var answer Answer
	head, err := c.ask(ctx, c.query(promQL, at), func(body *stream) (err error) {
		answer, err = decodeAnswer(body)
		return err
	})
	for i, warning := range answer.Warnings {
		answer.Warnings[i] = c.clean(warning)
	}
	answer.RateLimit, answer.Date = head.rateLimit, head.date
	return answer, err
}

// question is what is sent to Sysdig.
type question struct {
	method string
	target *url.URL
	// body is empty for none; kind is its media type.
	body, kind string
}

// head is what an answer says beside its body; zero where there was no answer.
type head struct {
	status    int
	rateLimit int
	date      time.Time
}

// errRefused is of an answer that calls itself a success and holds an error about the question.
var errRefused = errors.New("Sysdig refuses the question")

// ask sends a question and has decode read the body of a success. The error is a *metric.Failure.
func (c *Client) ask(ctx context.Context, q question, decode func(body *stream) error) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	request, err := c.request(ctx, q)
	if err != nil {
		return head{}, c.transportFailure(err)
	}
	response, with, err := c.send(request)
	if err != nil {
		return head{}, err
	}
	defer response.Body.Close() //nolint:errcheck // nothing depends on it
	h := head{status: response.StatusCode, rateLimit: rateLimit(response.Header), date: date(response.Header)}
	if response.StatusCode != http.StatusOK {
		text := bodyMessage(response.Body)
		f := statusFailure(response.StatusCode, response.Header, text, c.redact)
		if f.Reason == metric.Unauthorized {
			c.explain(request, with, response.StatusCode, text, f)
		}
		return h, f
	}
	if err := c.read(ctx, response, decode); err != nil { // it may be the page of a proxy
		return h, err
	}
	with.accepted.Store(true)
	return h, nil
}

// send adds the token to a request and sends it. When it is refused and there is another one by now, that is tried, as long as there is
// time. The error is a *metric.Failure.
func (c *Client) send(request *http.Request) (*http.Response, *credential, error) {
	for {
		with := c.held.Load()
		response, err := c.sendAs(request, with)
		if c.held.Load() == with || !unauthorized(response, err) {
			return response, with, err
		}
		if response != nil {
			_ = response.Body.Close()
		}
		if request, err = anew(request); err != nil {
			return nil, with, c.transportFailure(err)
		}
	}
}

func unauthorized(response *http.Response, err error) bool {
	if err != nil {
		return metric.AsFailure(err).Reason == metric.Unauthorized
	}
	return statusReason(response.StatusCode) == metric.Unauthorized
}

// anew is the same request once more.
func anew(request *http.Request) (*http.Request, error) {
	again := request.Clone(request.Context())
	var err error
	again.Body, err = request.GetBody()
	return again, err
}

// sendAs sends a request with a credential. An access token that is refused is renewed once.
func (c *Client) sendAs(request *http.Request, with *credential) (*http.Response, error) {
	if with.unusable != nil {
		return nil, with.unusable
	}
	if with.tokens == nil {
		return c.sendWith(request, with.token)
	}
	token, err := with.tokens.token(request.Context())
	if err != nil {
		return nil, err
	}
	response, err := c.sendWith(request, token)
	if err != nil || statusReason(response.StatusCode) != metric.Unauthorized {
		return response, err
	}
	renewed, err := with.tokens.renew(request.Context(), token)
	if err == nil && renewed == token {
		return response, nil
	}
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	again, err := anew(request)
	if err != nil {
		return nil, c.transportFailure(err)
	}
	return c.sendWith(again, renewed)
}

func (c *Client) sendWith(request *http.Request, token string) (*http.Response, error) {
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.transportFailure(err)
	}
	return response, nil
}

// rateLimit reads how many requests a minute are allowed; 0 when the answer does not say.
func rateLimit(header http.Header) int {
	limit, err := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	if err != nil || limit < 0 {
		return 0
	}
	return limit
}

// date reads the clock of who answers; zero when the answer does not say.
func date(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// read decodes a successful answer as it comes, until the context ends.
func (c *Client) read(ctx context.Context, response *http.Response, decode func(body *stream) error) error {
	memory, release := c.share(ctx)
	defer release()
	err := decode(newStream(&body{ctx: ctx, from: response.Body}, func(bytes int) error { return memory.take(ctx, int64(bytes)) }))
	var bound *metric.Failure
	var unread readError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bound):
		return bound
	case errors.As(err, &unread):
		return c.transportFailure(fmt.Errorf("reading the answer: %w", err))
	case errors.Is(err, errRefused):
		return withhold(metric.Failf(metric.Rejected, "%s", c.clean(err.Error())), errRefused.Error())
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return withhold(metric.Failf(metric.Unavailable, "Sysdig's answer (%s) could not be read: %s", c.clean(kind), c.clean(err.Error())), "Sysdig's answer could not be read; "+askPlatform)
}

// body is that of an answer, without compression, to its bounds: a size, and the end of a context, which an answer that has come
// already does not heed by itself.
type body struct {
	ctx  context.Context
	from io.Reader
	size int
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if b.size += n; b.size > maxBody {
		return 0, metric.Failf(metric.Truncated, "the answer is larger than %d MiB; let the query return fewer series, with fewer or shorter labels", maxBody>>20)
	}
	return n, err
}

func (c *Client) query(promQL string, at time.Time) question {
	form := url.Values{
		"query":   {promQL},
		"time":    {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64)},
		"timeout": {strconv.Itoa(max(int(c.config.Timeout/time.Second), 1)) + "s"},
	}
	if encoded := form.Encode(); len(encoded) >= maxGetURL {
		return question{method: http.MethodPost, target: c.config.QueryURL, body: encoded, kind: "application/x-www-form-urlencoded"}
	}
	return get(c.config.QueryURL, form)
}

func get(address *url.URL, form url.Values) question {
	target := *address
	target.RawQuery = form.Encode()
	return question{method: http.MethodGet, target: &target}
}

func (c *Client) request(ctx context.Context, q question) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, q.method, q.target.String(), strings.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	for name, values := range c.config.Headers {
		request.Header[name] = values
	}
	if q.body != "" {
		request.Header.Set("Content-Type", q.kind)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)
	repeatable(request)
	return request, nil
}

// repeatable marks a request that reads only, by whatever method, for net/http: it is sent once more on another connection when the
// server closes a kept one just then. A key without a value is not sent.
func repeatable(request *http.Request) { request.Header["Idempotency-Key"] = []string{} }

// redact takes the tokens out of what a server sends back: some echo the request.
func (c *Client) redact(text string) string { return c.secrets.redact(text) }
