package sysdig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// inside is what only the platform team may read.
func inside() []string {
	return []string{"sysdig.corp.internal", "10.20.30.40", "8443", "10.96.0.10", "proxy.corp.internal", "3128", "CN=Corp", "ca.corp.internal", "51234"}
}

// transportErrors are as net, net/http and crypto/tls make them.
func transportErrors() map[string]struct {
	err   error
	class string
} {
	to := &net.TCPAddr{IP: net.IPv4(10, 20, 30, 40), Port: 8443}
	from := &net.TCPAddr{IP: net.IPv4(10, 20, 30, 40), Port: 51234}
	during := func(op string, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Source: from, Addr: to, Err: err}
	}
	system := func(call string, number syscall.Errno) error { return os.NewSyscallError(call, number) }
	name := &net.DNSError{Err: "no such host", Name: "sysdig.corp.internal", Server: "10.96.0.10:53", IsNotFound: true}
	slow := &net.DNSError{Err: "i/o timeout", Name: "sysdig.corp.internal", Server: "10.96.0.10:53", IsTimeout: true}
	return map[string]struct {
		err   error
		class string
	}{
		"nobody listens":                {during("dial", system("connect", syscall.ECONNREFUSED)), "the connection could not be made (connection refused)"},
		"there is no way":               {during("dial", system("connect", syscall.EHOSTUNREACH)), "the connection could not be made (no route to host)"},
		"the name is unknown":           {during("dial", name), "its name could not be resolved"},
		"the resolver is silent":        {during("dial", slow), "its name could not be resolved"},
		"the dial takes too long":       {during("dial", os.ErrDeadlineExceeded), "did not answer in time"},
		"the answer takes too long":     {fmt.Errorf("reading the answer: %w", context.DeadlineExceeded), "did not answer in time"},
		"it is given up":                {context.Canceled, "was canceled"},
		"the address is forbidden":      {during("dial", &forbiddenError{errors.New("10.20.30.40 is an address of this cluster")}), "rules for addresses"},
		"the proxy is away":             {during("proxyconnect", during("dial", &net.DNSError{Err: "no such host", Name: "proxy.corp.internal", Server: "10.96.0.10:53"})), "the operator's proxy"},
		"the proxy refuses":             {&proxyError{errors.New("proxy.corp.internal:3128 answered HTTP 407")}, "the operator's proxy"},
		"the proxy speaks SOCKS":        {during("socks connect", system("connect", syscall.ECONNREFUSED)), "the operator's proxy"},
		"an unknown authority":          {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "certificate of Sysdig is not trusted"},
		"a certificate of another host": {&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"ca.corp.internal"}}, Host: "sysdig.corp.internal"}}, "certificate of Sysdig is not trusted"},
		"a certificate, by another way": {x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"ca.corp.internal"}}, Host: "sysdig.corp.internal"}, "certificate of Sysdig is not trusted"},
		"no TLS":                        {tls.RecordHeaderError{Msg: "first record of 10.20.30.40:8443 does not look like a TLS handshake"}, "no secure connection"},
		"an alert of TLS":               {during("remote error", tls.AlertError(40)), "no secure connection"},
		"a reset":                       {during("read", system("read", syscall.ECONNRESET)), "the connection ended before the answer did (connection reset by peer)"},
		"a broken pipe":                 {during("write", system("write", syscall.EPIPE)), "the connection ended before the answer did (broken pipe)"},
		"an end":                        {io.EOF, "the connection ended before the answer did"},
		"half of a body":                {fmt.Errorf("reading the answer: %w", io.ErrUnexpectedEOF), "the connection ended before the answer did"},
		"no HTTP":                       {errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "hello from 10.20.30.40:8443"`), "no proper answer came"},
		"another protocol":              {errors.New("http: server gave HTTP response to HTTPS client at sysdig.corp.internal"), "no proper answer came"},
		"a redirect":                    {&redirectError{from: &url.URL{Host: "sysdig.corp.internal"}, to: &url.URL{Host: "10.20.30.40:8443"}}, "redirects to another address"},
		"something that nobody foresaw": {errors.New("the flux at sysdig.corp.internal, 10.20.30.40:8443, CN=Corp, is down"), "no proper answer came"},
		"many at once":                  {errors.Join(during("dial", name), during("dial", system("connect", syscall.ECONNREFUSED))), "could not be"},
	}
}

// TestTenantsAreToldTheClassOfATransportError, and the platform team all of it.
func TestTenantsAreToldTheClassOfATransportError(t *testing.T) {
	for name, test := range transportErrors() {
		t.Run(name, func(t *testing.T) {
			wrapped := &url.Error{Op: "Get", URL: "https://sysdig.corp.internal:8443/prometheus?query=x", Err: test.err}
			for _, err := range []error{test.err, wrapped, fmt.Errorf("reading the answer: %w", wrapped)} {
				f := transportFailure("Sysdig", err, strings.Clone)
				for _, word := range inside() {
					if strings.Contains(f.Error(), word) {
						t.Errorf("tenants are told %q", f.Error())
					}
				}
				if f.Reason != metric.Unavailable || !strings.Contains(f.Message, test.class) || !strings.HasSuffix(f.Message, askPlatform) {
					t.Errorf("tenants are told %q, want %q and what to do", f.Error(), test.class)
				}
				if f.Detail == "" {
					t.Error("there is no detail")
				}
			}
		})
	}
}

// TestTheDetailOfATransportErrorNamesTheHost is the control: the platform team needs it.
func TestTheDetailOfATransportErrorNamesTheHost(t *testing.T) {
	for name, word := range map[string]string{
		"nobody listens": "10.20.30.40:8443", "the name is unknown": "sysdig.corp.internal", "the proxy refuses": "proxy.corp.internal:3128",
		"a certificate of another host": "ca.corp.internal", "the address is forbidden": "10.20.30.40", "something that nobody foresaw": "CN=Corp",
	} {
		f := transportFailure("Sysdig", transportErrors()[name].err, strings.Clone)
		if !strings.Contains(f.Full(), word) {
			t.Errorf("%s: %q lacks %s", name, f.Full(), word)
		}
	}
}

// FuzzTransportFailure writes errors of texts that nobody foresaw: nothing of a text reaches tenants.
func FuzzTransportFailure(f *testing.F) {
	for _, word := range inside() {
		f.Add(word, uint16(111))
	}
	f.Fuzz(func(t *testing.T, text string, number uint16) {
		const mark = "q7z"
		told := func(text string) string {
			of := syscall.Errno(number % 134) // those of Linux
			for _, err := range []error{
				errors.New(text), fmt.Errorf("%s: %w", text, of), &net.OpError{Op: "dial", Net: text, Err: &net.DNSError{Err: text, Name: text, Server: text}},
				&net.OpError{Op: text, Err: os.NewSyscallError(text, of)}, &url.Error{Op: text, URL: text, Err: errors.New(text)}, &proxyError{errors.New(text)},
				&tls.CertificateVerificationError{Err: errors.New(text)},
			} {
				if got := transportFailure("Sysdig", err, strings.Clone); strings.Contains(got.Message, mark) {
					t.Errorf("tenants are told %q of %q", got.Message, err)
				}
			}
			return statusFailure(http.StatusBadGateway, nil, text, strings.Clone).Message
		}
		if strings.Contains(told(text+mark), mark) {
			t.Errorf("tenants are told of %q", text)
		}
	})
}

// TestWhatSysdigSaysOfAQueryIsForItsAuthor, unless it speaks of hosts.
func TestWhatSysdigSaysOfAQueryIsForItsAuthor(t *testing.T) {
	for text, told := range map[string]bool{
		`1:5: parse error: unexpected "}"`:                                             true,
		"invalid parameter \"query\": 1:12: parse error: unclosed left parenthesis":    true,
		"found duplicate series for the match group {pod=\"web-0\"} on the right hand": true,
		"query processing would load too many samples":                                 true,
		"bad subquery in rate(x[5m:1m])":                                               true,
		"expanding series: rpc error: code = Unavailable desc = store is away":         false,
		"Get \"http://thanos.corp/api\": EOF":                                          false,
		"dial tcp: lookup thanos: no such host":                                        false,
		"upstream connect error or disconnect/reset before headers":                    false,
		"no healthy store at 10.20.30.40":                                              false,
		"no healthy store at 10.20.30.40:9090.":                                        false,
		"no healthy store at [2001:db8::1]:9090":                                       false,
		"no healthy store at ::1":                                                      false,
		"no healthy store at thanos-store:10901":                                       false,
		"no healthy store at thanos.monitoring.svc":                                    false,
	} {
		f := statusFailure(http.StatusUnprocessableEntity, nil, text, strings.Clone)
		var said *QueryError
		if errors.As(f, &said) != told || told && !strings.Contains(said.Message, text) {
			t.Errorf("%q is told to its author: %t, want %t", text, errors.As(f, &said), told)
		}
		if strings.Contains(f.Message, text) || !strings.Contains(f.Full(), text) {
			t.Errorf("%q: all are told %q, and the platform team %q", text, f.Message, f.Full())
		}
	}
}
