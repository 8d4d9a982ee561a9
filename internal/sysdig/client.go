package sysdig

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

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

var errRedirect = errors.New("Sysdig redirects to another address, which is not followed so that the token stays where it belongs; correct spec.endpoint of the connection")

// Config is what a Client needs. All of it comes from a SysdigConnection and its Secret.
type Config struct {
	// QueryURL is the full address of the instant query; see QueryURL.
	QueryURL *url.URL
	// Token is the API token. White space around it is ignored: tokens that were piped through base64 often end in a newline.
	Token string
	// CABundle holds PEM certificates to trust instead of the system's; empty for the system's.
	CABundle []byte
	// Headers are sent with every request.
	Headers http.Header
	// UserAgent names this program.
	UserAgent string
	// Timeout bounds one request with its answer.
	Timeout time.Duration
}

// Client asks one Sysdig Monitor team. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
	// bodies are buffers for answers. Nothing of an answer refers to them.
	bodies sync.Pool
}

// NewClient checks the configuration and returns a client. It does not connect.
func NewClient(c Config) (*Client, error) {
	c.Token = strings.TrimSpace(c.Token)
	if c.Token == "" {
		return nil, metric.Failf(metric.Unauthorized, "the API token is empty")
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, metric.Failf(metric.Unauthorized, "the API token holds characters that no token has; is it encoded twice?")
	}
	if c.Timeout <= 0 {
		return nil, errors.New("a client needs a timeout")
	}
	trust, err := trustedRoots(c.CABundle)
	if err != nil {
		return nil, err
	}
	return &Client{config: c, bodies: sync.Pool{New: func() any { return new(bytes.Buffer) }}, http: &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust},
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        16,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        2 * time.Minute,
			TLSHandshakeTimeout:    c.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}}, nil
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
	request, err := c.request(ctx, promQL, at)
	if err != nil {
		return Answer{}, c.transportFailure(err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, c.transportFailure(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing depends on it
	limit, date := rateLimit(response.Header), date(response.Header)
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
		return Answer{RateLimit: limit, Date: date}, statusFailure(response.StatusCode, response.Header, body, c.redact)
	}
	answer, err := c.read(response)
	answer.RateLimit, answer.Date = limit, date
	return answer, err
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

// maxRecycled is the largest buffer that is kept for another answer, in bytes.
const maxRecycled = 1 << 20

func (c *Client) recycle(body *bytes.Buffer) {
	if body.Cap() <= maxRecycled {
		body.Reset()
		c.bodies.Put(body)
	}
}

// read reads and decodes a successful answer.
func (c *Client) read(response *http.Response) (Answer, error) {
	body, ok := c.bodies.Get().(*bytes.Buffer)
	if !ok {
		body = new(bytes.Buffer)
	}
	defer c.recycle(body)
	read, err := body.ReadFrom(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return Answer{}, c.transportFailure(fmt.Errorf("reading the answer: %w", err))
	case read > maxBody:
		return Answer{}, metric.Failf(metric.Truncated, "the answer is larger than %d MiB", maxBody>>20)
	}
	answer, err := decode(body.Bytes())
	if err != nil {
		kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
		return Answer{}, metric.Failf(metric.Unavailable, "Sysdig's answer (%s) could not be read: %s", clean(c.redact(kind)), clean(c.redact(err.Error())))
	}
	for i, warning := range answer.Warnings {
		answer.Warnings[i] = clean(c.redact(warning))
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, promQL string, at time.Time) (*http.Request, error) {
	form := url.Values{
		"query":   {promQL},
		"time":    {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64)},
		"timeout": {strconv.Itoa(max(int(c.config.Timeout/time.Second), 1)) + "s"},
	}.Encode()
	target, method, body := *c.config.QueryURL, http.MethodGet, io.Reader(nil)
	if len(form) < maxGetURL {
		target.RawQuery = form
	} else {
		method, body = http.MethodPost, strings.NewReader(form)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range c.config.Headers {
		request.Header[name] = values
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Authorization", "Bearer "+c.config.Token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)
	return request, nil
}

// redact takes the token out of what a server sends back: some echo the request.
func (c *Client) redact(text string) string {
	return strings.ReplaceAll(text, c.config.Token, "[token]")
}
