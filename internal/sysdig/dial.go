package sysdig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"k8s.io/utils/clock"
)

const (
	// maxConns is how many connections one transport has to a host. It is above what the poller sends at a time to one SysdigConnection.
	maxConns = 16
	// maxIdle is how many connections of HTTP/1.1 are kept for the next round, and idleFor how long. A round comes after 30 seconds by
	// default.
	maxIdle = 4
	idleFor = 2 * time.Minute
	// keepAlive is how long a connection is idle before TCP asks for a sign of life, and how long it waits for one, twice. A connection of
	// HTTP/1.1 that is dead is so noticed within 15 seconds, before the next round.
	keepAlive = 5 * time.Second
)

// transport sends requests to where Sysdig is, and to no address that is not permitted.
type transport struct {
	// direct asks before it connects to an address. proxied connects to a proxy: its address is chosen by whoever runs the operator, and
	// may be inside of the cluster.
	direct, proxied *pool
	proxy           func(*http.Request) (*url.URL, error)
	permit          func(netip.Addr) error
}

func newTransport(c Config, trust *x509.CertPool, proxy func(*http.Request) (*url.URL, error)) *transport {
	t := &transport{proxy: proxy, permit: c.Permit}
	with := func(control func(context.Context, string, string, syscall.RawConn) error, proxy func(*http.Request) (*url.URL, error)) *pool {
		dialer := &net.Dialer{
			Timeout: c.Timeout, Resolver: c.Resolver, ControlContext: control,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 2},
		}
		return &pool{clock: c.clock(), fresh: func() *http.Transport {
			return &http.Transport{
				Proxy:                  proxy,
				OnProxyConnectResponse: refuseProxy,
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust},
				ForceAttemptHTTP2:      true,
				HTTP2:                  signsOfLife(c.Timeout),
				MaxConnsPerHost:        maxConns,
				MaxIdleConnsPerHost:    maxIdle,
				IdleConnTimeout:        idleFor,
				TLSHandshakeTimeout:    c.Timeout,
				MaxResponseHeaderBytes: 64 << 10,
			}
		}}
	}
	t.direct, t.proxied = with(t.control, nil), with(nil, proxy)
	return t
}

// signsOfLife has a connection of HTTP/2 closed on which nothing comes, not even an answer to a ping. What was forgotten on the way is
// so noticed while it is idle, and otherwise within three quarters of the timeout of a request.
func signsOfLife(timeout time.Duration) *http.HTTP2Config {
	return &http.HTTP2Config{SendPingTimeout: timeout / 2, PingTimeout: timeout / 4, WriteByteTimeout: timeout}
}

// RoundTrip implements http.RoundTripper. A proxy looks names up by itself, so that of what it is asked for only addresses can be
// judged here.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	proxy, err := t.proxy(request)
	if err != nil {
		return nil, &proxyError{err}
	}
	if proxy == nil {
		return t.direct.RoundTrip(request)
	}
	if address, err := netip.ParseAddr(request.URL.Hostname()); err == nil {
		if err := t.judge(address); err != nil {
			return nil, err
		}
	}
	return t.proxied.RoundTrip(request)
}

// CloseIdleConnections is called by http.Client.
func (t *transport) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// control sees the address that is connected to next: names are looked up before, each time anew.
func (t *transport) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address to connect to: %w", err)
	}
	return t.judge(at.Addr())
}

func (t *transport) judge(address netip.Addr) error {
	if t.permit == nil {
		return nil
	}
	if why := t.permit(address); why != nil {
		return &forbiddenError{why}
	}
	return nil
}

// forbiddenError is of an address that may not be connected to.
type forbiddenError struct{ why error }

// Error implements error.
func (e *forbiddenError) Error() string { return e.why.Error() }

// Unwrap returns the cause.
func (e *forbiddenError) Unwrap() error { return e.why }

// proxyError is of the proxy of the operator's environment.
type proxyError struct{ why error }

// Error implements error.
func (e *proxyError) Error() string {
	return "the proxy of the operator's environment: " + e.why.Error()
}

// Unwrap returns the cause.
func (e *proxyError) Unwrap() error { return e.why }

// refuseProxy tells a proxy that does not connect from Sysdig.
func refuseProxy(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &proxyError{fmt.Errorf("it answered HTTP %d", answer.StatusCode)}
	}
	return nil
}

// clock is the real one when there is none.
func (c Config) clock() clock.PassiveClock {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}
