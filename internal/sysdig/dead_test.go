package sysdig

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// middlebox forwards connections until it forgets them: then it swallows what either side says, and neither learns of it.
type middlebox struct {
	listener net.Listener
	server   string

	mu       sync.Mutex
	accepted int
	open     []net.Conn
	forgot   map[int]bool
}

func newMiddlebox(t *testing.T, server string) *middlebox {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middlebox{listener: listener, server: server, forgot: map[int]bool{}}
	var group sync.WaitGroup
	group.Go(func() { m.serve(&group) })
	t.Cleanup(func() {
		_ = listener.Close()
		m.mu.Lock()
		for _, c := range m.open {
			_ = c.Close()
		}
		m.mu.Unlock()
		group.Wait()
	})
	return m
}

func (m *middlebox) serve(group *sync.WaitGroup) {
	for {
		client, err := m.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", m.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		m.mu.Lock()
		number := m.accepted
		m.accepted++
		m.open = append(m.open, client, server)
		m.mu.Unlock()
		group.Go(func() { m.forward(number, client, server) })
		group.Go(func() { m.forward(number, server, client) })
	}
}

func (m *middlebox) forward(number int, from io.Reader, to io.Writer) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		m.mu.Lock()
		forgotten := m.forgot[number]
		m.mu.Unlock()
		if !forgotten {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
}

// forget forgets all connections that there are, and returns how many there have been.
func (m *middlebox) forget() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.accepted {
		m.forgot[i] = true
	}
	return m.accepted
}

func (m *middlebox) connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.accepted
}

// TestAConnectionThatWasForgottenIsLeft asks by HTTP/2 and by HTTP/1.1. The control has no pings.
func TestAConnectionThatWasForgottenIsLeft(t *testing.T) {
	for name, test := range map[string]struct{ http2, pings bool }{
		"by HTTP/2": {true, true}, "by HTTP/1.1": {false, true}, "by HTTP/2 without pings": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.http2 != (r.ProtoMajor == 2) {
					t.Errorf("asked by %s", r.Proto)
				}
				_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
			}))
			server.EnableHTTP2 = test.http2
			server.StartTLS()
			defer server.Close()
			m := newMiddlebox(t, server.Listener.Addr().String())
			client := clientOf(t, server, "https://"+m.listener.Addr().String())
			if !test.pings {
				client.http.Transport.(*transport).direct.HTTP2 = nil
			}
			// A machine that stalls may need several tries; one that was forgotten is for ever.
			answered := func(tries int) bool {
				for range tries {
					if _, err := client.Query(context.Background(), "x", time.Unix(1, 0)); err == nil {
						return true
					}
				}
				return false
			}
			if !answered(50) {
				t.Fatal("there is no answer")
			}
			before, tries := m.forget(), 50
			if !test.pings {
				tries = 3
			}
			if got := answered(tries); got != test.pings {
				t.Errorf("it is answered again: %t", got)
			}
			if again := m.connections() > before; again != test.pings {
				t.Errorf("there is a new connection: %t", again)
			}
		})
	}
}

func clientOf(t *testing.T, server *httptest.Server, address string) *Client {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(Config{
		QueryURL: u, DataURL: u, Token: "token", Timeout: 2 * time.Second,
		CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
