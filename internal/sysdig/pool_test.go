package sysdig

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// patience is the timeout of a request that controllers set, and rhythm the shortest interval of a connection.
	patience = 8 * time.Second
	rhythm   = 10 * time.Second
	// recovery is within what a dead connection must be forgotten.
	recovery = 20 * time.Second
	nothing  = `{"status":"success","data":{"resultType":"vector","result":[]}}`
)

// wires are a network without addresses: each dial is one more connection to a server. What was made until a moment can be forgotten by
// what is on the way: bytes vanish in both directions, and nobody is told.
type wires struct {
	arrived chan net.Conn
	closed  chan struct{}
	dialed  atomic.Int32

	mu  sync.Mutex
	all []*wire
}

type wire struct {
	net.Conn
	forgotten, closed atomic.Bool
}

func (w *wire) Write(b []byte) (int, error) {
	if w.forgotten.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *wire) Read(b []byte) (int, error) {
	for {
		if n, err := w.Conn.Read(b); err != nil || !w.forgotten.Load() {
			return n, err
		}
	}
}

func (w *wire) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

func (w *wires) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	one := &wire{Conn: near}
	w.mu.Lock()
	w.all = append(w.all, one)
	w.mu.Unlock()
	w.dialed.Add(1)
	select {
	case w.arrived <- far:
		return one, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// forget forgets all connections that there are.
func (w *wires) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		one.forgotten.Store(true)
	}
}

// open is how many connections the client holds.
func (w *wires) open() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if !one.closed.Load() {
			n++
		}
	}
	return n
}

func (w *wires) Accept() (net.Conn, error) {
	select {
	case conn := <-w.arrived:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wires) Close() error   { close(w.closed); return nil }
func (w *wires) Addr() net.Addr { return &net.TCPAddr{} }

// far is a server behind wires, and a client that asks it.
type far struct {
	*wires
	client *Client
	trust  []byte
	// silent are connections, by their number, on which nothing is answered any more, although they are alive; half of them get half an
	// answer.
	silent, half atomic.Int32
}

// certificate is made outside of the bubble of a test, in which it is the year 2000.
func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return server.TLS.Certificates[0], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// newFar is called in a bubble: its clock stands still while anybody has something to do.
func newFar(t *testing.T, proto string, certificate tls.Certificate, trust []byte) *far {
	t.Helper()
	f := &far{wires: &wires{arrived: make(chan net.Conn), closed: make(chan struct{})}, trust: trust}
	var connections atomic.Int32
	type number struct{}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, number{}, connections.Add(1))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			of, _ := r.Context().Value(number{}).(int32)
			if of <= f.half.Load() {
				_, _ = io.WriteString(w, nothing[:10])
				_ = http.NewResponseController(w).Flush()
			}
			if of <= max(f.silent.Load(), f.half.Load()) {
				<-r.Context().Done()
				panic(http.ErrAbortHandler) // not even an end comes
			}
			_, _ = io.WriteString(w, nothing)
		}),
	}
	if proto == "HTTP/1.1" {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(f.wires, "", "") })
	client, err := NewClient(Config{
		QueryURL: &url.URL{Scheme: "https", Host: "example.com", Path: "/"}, Token: "token", CABundle: trust, Timeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	transport, _ := client.http.Transport.(*transport)
	transport.proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	fresh := transport.direct.fresh
	transport.direct.fresh = func() *http.Transport {
		made := fresh()
		made.DialContext = f.dial
		return made
	}
	f.client = client
	t.Cleanup(func() {
		client.Close()
		_ = server.Close()
		serving.Wait()
	})
	return f
}

// asBefore gives the client the transport that net/http makes of usual settings.
func (f *far) asBefore(t *testing.T) {
	t.Helper()
	pool, err := trustedRoots(f.trust)
	if err != nil {
		t.Fatal(err)
	}
	f.client.http.Transport = &http.Transport{
		DialContext: f.dial, TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		MaxConnsPerHost: 16, MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Minute, TLSHandshakeTimeout: patience,
	}
}

// ask sends some queries at a time and returns how many got no answer.
func (f *far) ask(t *testing.T, queries int) int {
	t.Helper()
	var failed atomic.Int32
	var all sync.WaitGroup
	for range queries {
		all.Go(func() {
			if _, err := f.client.Query(t.Context(), "x", time.Now()); err != nil {
				failed.Add(1)
				if metric.AsFailure(err).Reason != metric.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return int(failed.Load())
}

// deaths are how connections that exist go wrong, all at once; those that are made afterwards are well.
var deaths = map[string]func(*far){
	"forgotten on the way":               func(f *far) { f.forget() },
	"alive, and nothing comes":           func(f *far) { f.silent.Store(f.dialed.Load()) },
	"alive, and half of an answer comes": func(f *far) { f.half.Store(f.dialed.Load()) },
	"half of an answer, then forgotten": func(f *far) {
		f.half.Store(f.dialed.Load())
		time.AfterFunc(time.Second, f.forget)
	},
}

// TestADeadConnectionIsLeft: of 40 queries at the shortest interval at most the first ones fail, and all are answered 20 seconds later.
func TestADeadConnectionIsLeft(t *testing.T) {
	certificate, trust := certificate(t)
	for _, proto := range []string{"HTTP/2", "HTTP/1.1"} {
		for name, die := range deaths {
			for _, together := range []int{1, 8} {
				t.Run(proto+", "+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						f := newFar(t, proto, certificate, trust)
						if failed := f.ask(t, together); failed > 0 {
							t.Fatalf("%d of %d queries failed before anything did", failed, together)
						}
						die(f)
						died, bad := time.Now(), 0
						for range 40 / together {
							if f.ask(t, together) > 0 {
								bad++
								if since := time.Since(died); since > recovery {
									t.Errorf("a query failed after %s", since)
								}
							}
							time.Sleep(rhythm - patience)
						}
						if bad > 1 {
							t.Errorf("%d rounds failed, want only the first", bad)
						}
					})
				})
			}
		}
	}
}

// TestWithoutCareADeadConnectionIsAskedForEver is the control: with usual settings of net/http each of 40 queries fails.
func TestWithoutCareADeadConnectionIsAskedForEver(t *testing.T) {
	certificate, trust := certificate(t)
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t, "HTTP/2", certificate, trust)
				f.asBefore(t)
				if failed := f.ask(t, 1); failed > 0 {
					t.Fatal("it never worked")
				}
				die(f)
				failed := 0
				for range 40 {
					failed += f.ask(t, 1)
					time.Sleep(rhythm - patience)
				}
				if failed != 40 {
					t.Errorf("%d of 40 queries failed: the test above shows nothing", failed)
				}
			})
		})
	}
}

// TestADeadIdleConnectionCostsNoQuery: pings find it before the next round.
func TestADeadIdleConnectionCostsNoQuery(t *testing.T) {
	certificate, trust := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t, "HTTP/2", certificate, trust)
		for range 3 {
			if failed := f.ask(t, 1); failed > 0 {
				t.Error("a query failed")
			}
			f.forget()
			time.Sleep(rhythm)
			synctest.Wait()
			if open := f.open(); open != 0 {
				t.Errorf("%d dead connections are held", open)
			}
		}
	})
}

// TestALivingConnectionIsKept through rounds, and is not for ever: what its name leads to may have changed.
func TestALivingConnectionIsKept(t *testing.T) {
	certificate, trust := certificate(t)
	for _, proto := range []string{"HTTP/2", "HTTP/1.1"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t, proto, certificate, trust)
				for began := time.Now(); time.Since(began) < longestLife; time.Sleep(rhythm) {
					if failed := f.ask(t, 1); failed > 0 {
						t.Fatal("a query failed")
					}
				}
				if n := f.dialed.Load(); n != 1 {
					t.Errorf("%d connections were made, want 1", n)
				}
				if failed := f.ask(t, 1); failed > 0 || f.dialed.Load() != 2 {
					t.Errorf("after %s there are %d connections, want another one", longestLife, f.dialed.Load())
				}
				synctest.Wait()
				if open := f.open(); open != 1 {
					t.Errorf("%d connections are held, want 1", open)
				}
			})
		})
	}
}

// TestAQueryThatIsGivenUpLeavesTheConnection alone: somebody edited a binding, or the operator stops.
func TestAQueryThatIsGivenUpLeavesTheConnection(t *testing.T) {
	certificate, trust := certificate(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t, "HTTP/2", certificate, trust)
		f.silent.Store(1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := f.client.Query(ctx, "x", time.Now()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		f.silent.Store(0)
		if failed := f.ask(t, 1); failed > 0 || f.dialed.Load() != 1 {
			t.Errorf("%d connections were made, want 1", f.dialed.Load())
		}
	})
}
