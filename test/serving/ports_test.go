package serving_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

const (
	// crowd is how many connections strangers hold: 64 from each of 8 addresses, as many as used to be all.
	crowd = 512
	// newcomers is how often the kube-apiserver connects anew meanwhile.
	newcomers = 40
)

// strangers hold as many connections of eight addresses.
func (s *server) strangers(t *testing.T, connections int) (open []net.Conn) {
	t.Helper()
	for i := range 8 {
		open = append(open, s.occupy(t, net.IPv4(127, 0, 0, byte(11+i)), connections/8)...)
	}
	t.Cleanup(func() {
		for _, connection := range open {
			_ = connection.Close()
		}
	})
	return open
}

// anew is how many of all reads are answered that each come by a connection of its own.
func (s *server) anew(t *testing.T) (answered int) {
	t.Helper()
	once := s.another()
	once.client.Transport.(*http.Transport).DisableKeepAlives = true
	for i := range newcomers {
		if status, err := once.ask(t.Context(), "admin", object(i), "system:masters"); err == nil && status == http.StatusOK {
			answered++
		}
	}
	return answered
}

func TestTheAPIServerGetsThroughWhateverStrangersHold(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs more than one loopback address")
	}
	for name, hold := range map[string]func(*testing.T, *server){
		"silent ones":      func(t *testing.T, s *server) { s.strangers(t, crowd) },
		"half a handshake": func(t *testing.T, s *server) { say(s.strangers(t, crowd), "\x16\x03\x01\x02\x00\x01") },
		"handshakes that are over": func(t *testing.T, s *server) {
			s.greet(t, s.strangers(t, crowd))
		},
		"requests of nobody": func(t *testing.T, s *server) { s.nobodies(t, crowd) },
		"ever new ones":      func(t *testing.T, s *server) { s.storm(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			old := s.another()
			defer old.client.CloseIdleConnections()
			if _, err := old.ask(t.Context(), "admin", object(0), "system:masters"); err != nil {
				t.Fatal(err)
			}
			hold(t, s)
			if got := s.anew(t); got != newcomers {
				t.Errorf("%d of %d reads by new connections were answered", got, newcomers)
			}
			if !old.reused(t) {
				t.Error("the connection that was there before had to go")
			}
		})
	}
}

// reused tells whether a read is answered by the connection that is there.
func (s *server) reused(t *testing.T) (reused bool) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
	status, err := s.ask(ctx, "admin", object(1), "system:masters")
	return reused && err == nil && status == http.StatusOK
}

func say(open []net.Conn, what string) {
	for _, connection := range open {
		_, _ = io.WriteString(connection, what) // It may have been closed.
	}
}

// nobodies send a request each, which is refused, and stay.
func (s *server) nobodies(t *testing.T, connections int) {
	t.Helper()
	config := s.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.Certificates, config.NextProtos = nil, []string{"http/1.1"}
	var all sync.WaitGroup
	var answered atomic.Int64
	for _, connection := range s.strangers(t, connections) {
		all.Go(func() {
			secure := tls.Client(connection, config)
			if _, err := io.WriteString(secure, "GET "+object(0)+" HTTP/1.1\r\nHost: x\r\n\r\n"); err == nil {
				if n, err := secure.Read(make([]byte, 16)); err == nil && n > 0 {
					answered.Add(1)
				}
			}
		})
	}
	all.Wait()
	if answered.Load() == 0 {
		t.Error("nobody was answered anything")
	}
}

// storm opens ever new connections, of eight addresses: 4,000 at most, until the end of the test.
func (s *server) storm(t *testing.T) {
	t.Helper()
	s.strangers(t, crowd)
	ctx, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { end(); all.Wait() })
	for i := range 8 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(11+i))}, Timeout: patience}
		all.Go(func() {
			for range 500 {
				connection, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
				if err != nil {
					return // the end of the test
				}
				defer connection.Close()
			}
		})
	}
}

// full closes what comes beyond its places, as most listeners with a limit do.
type full struct {
	net.Listener
	places chan struct{}
	closed atomic.Int64
}

func (f *full) Accept() (net.Conn, error) {
	for {
		connection, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case f.places <- struct{}{}:
			return &leaving{Conn: connection, leave: func() { <-f.places }}, nil
		default:
			f.closed.Add(1)
			_ = connection.Close()
		}
	}
}

// leaving gives its place back.
type leaving struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (l *leaving) Close() error {
	defer l.once.Do(l.leave)
	return l.Conn.Close()
}

// TestWhereNewcomersAreRefusedTheAPIServerIs is the control.
func TestWhereNewcomersAreRefusedTheAPIServerIs(t *testing.T) {
	var listener *full
	s := startWith(t, func(c *serving.Config) {
		listener = &full{Listener: c.Listener, places: make(chan struct{}, 64)}
		c.Listener, c.Unlimited = listener, true
	})
	s.client.CloseIdleConnections()
	eventually(t, "a full port", func() (bool, string) {
		s.strangers(t, 64)
		return listener.closed.Load() > 0, fmt.Sprintf("%d places are taken", len(listener.places))
	})
	if got := s.anew(t); got == newcomers {
		t.Error("all reads were answered: the strangers take nothing")
	}
}

// TestDiscoveryIsEncodedOnceAndAuthorized reads discovery through authentication and authorization, with a number and without.
func TestDiscoveryIsEncodedOnceAndAuthorized(t *testing.T) {
	shared := startWith(t, func(c *serving.Config) { c.Listed = func() int64 { return 1 } })
	library := start(t)
	for _, path := range []string{"/apis/" + custom + "/v1beta1", "/apis/" + custom + "/v1beta2", "/apis/" + custom + "/v1beta2/", "/apis/" + custom + "/v1beta2//", "/apis/" + external + "/v1beta1"} {
		for _, encoding := range []string{"identity", "gzip"} {
			read := func(s *server) (string, string) {
				status, body, err := s.fetch(t.Context(), "jane", path, func(r *http.Request) { r.Header.Set("Accept-Encoding", encoding) })
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprint(status), plain(body)
			}
			gotStatus, got := read(shared)
			if wantStatus, want := read(library); gotStatus != "200" || gotStatus != wantStatus || got != want || !strings.Contains(got, "APIResourceList") {
				t.Errorf("%s, %s: %s %q, want %s %q", path, encoding, gotStatus, got, wantStatus, want)
			}
		}
		status, err := shared.send(t.Context(), "system:anonymous", path, func(r *http.Request) {
			r.Header["X-Remote-Group"] = []string{"system:unauthenticated"}
		})
		if err != nil || status != http.StatusForbidden {
			t.Errorf("%s: nobody gets %d, %v, want %d", path, status, err, http.StatusForbidden)
		}
	}
}

// plain is a body that may be compressed.
func plain(body string) string {
	if reader, err := gzip.NewReader(strings.NewReader(body)); err == nil {
		if all, err := io.ReadAll(reader); err == nil {
			return string(all)
		}
	}
	return body
}
