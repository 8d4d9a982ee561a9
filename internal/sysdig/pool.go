package sysdig

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// longestLife is how long connections are used. What a name leads to changes, for load balancers of clouds within minutes, and so does
// which addresses are permitted. A handshake every ten minutes costs nothing.
const longestLife = 10 * time.Minute

// pool are the connections of a transport, which are left for new ones when a request on one of them got no answer, and after their
// life: a request that begins afterwards never uses one that was there before. Requests under way go on. net/http would ask on the same
// connection of HTTP/2 for ever, whatever comes back, and on each of the others of HTTP/1.1 once. It is safe for concurrent use.
type pool struct {
	fresh func() *http.Transport
	clock clock.PassiveClock

	mu   sync.Mutex
	held *http.Transport // nil: the next request makes one
	made time.Time
}

// RoundTrip implements http.RoundTripper.
func (p *pool) RoundTrip(request *http.Request) (*http.Response, error) {
	with := p.current()
	response, err := with.RoundTrip(request)
	if err != nil {
		p.failed(with, err)
		return nil, err
	}
	response.Body = &watchedBody{response.Body, func(err error) { p.failed(with, err) }}
	return response, nil
}

// current is the transport for a new request.
func (p *pool) current() *http.Transport {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if p.held != nil && now.Sub(p.made) >= longestLife {
		p.leave(p.held)
	}
	if p.held == nil {
		p.held, p.made = p.fresh(), now
	}
	return p.held
}

// failed takes in that a request got no answer, or not all of it. One that was given up says nothing.
func (p *pool) failed(with *http.Transport, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(with)
}

// leave closes connections when nothing is under way on them any more: those of HTTP/1.1 at once, those of HTTP/2 after idleFor at
// the latest. The caller holds the lock.
func (p *pool) leave(old *http.Transport) {
	if p.held == old {
		p.held = nil
	}
	old.CloseIdleConnections()
}

// CloseIdleConnections closes what nobody uses.
func (p *pool) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		p.held.CloseIdleConnections()
	}
}

// watchedBody tells when it cannot be read to its end.
type watchedBody struct {
	io.ReadCloser
	failed func(error)
}

// Read implements io.Reader.
func (b *watchedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}
