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
)

// transport sends requests to where Sysdig is, and to no address that is not permitted.
type transport struct {
	// direct asks before it connects to an address. proxied connects to a proxy: its address is chosen by whoever runs the operator, and
	// may be inside of the cluster.
	direct, proxied *http.Transport
	proxy           func(*http.Request) (*url.URL, error)
	permit          func(netip.Addr) error
}

func newTransport(c Config, trust *x509.CertPool, proxy func(*http.Request) (*url.URL, error)) *transport {
	t := &transport{proxy: proxy, permit: c.Permit}
	with := func(control func(context.Context, string, string, syscall.RawConn) error, proxy func(*http.Request) (*url.URL, error)) *http.Transport {
		dialer := &net.Dialer{Timeout: c.Timeout, Resolver: c.Resolver, ControlContext: control}
		return &http.Transport{
			Proxy:                  proxy,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust},
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        16,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        2 * time.Minute,
			HTTP2:                  pings(c.Timeout),
			TLSHandshakeTimeout:    c.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	t.direct, t.proxied = with(t.control, nil), with(nil, proxy)
	return t
}

// pings find connections that something on the way has forgotten: all requests on one share its fate, and their ends end it not. One
// on which nothing came for half of the time that a request has is asked, and left another quarter later: before a request that was
// sent on it ends, and so that the next one finds another.
func pings(timeout time.Duration) *http.HTTP2Config {
	return &http.HTTP2Config{SendPingTimeout: timeout / 2, PingTimeout: timeout / 4, WriteByteTimeout: timeout / 2}
}

// RoundTrip implements http.RoundTripper. A proxy looks names up by itself, so that of what it is asked for only addresses can be
// judged here.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	proxy, err := t.proxy(request)
	if err != nil {
		return nil, fmt.Errorf("the proxy of the operator's environment: %w", err)
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
