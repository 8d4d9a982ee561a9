package serving_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

const (
	// flooders is how many reads another client has under way at a time: more than the library lets everybody have together.
	flooders = 600
	// calmReads is how many reads of the HPA the flood goes on for.
	calmReads = 50
	// floodMemory is how much more of the heap may be needed meanwhile, by the server and both clients together.
	floodMemory = 128 << 20
)

// flood is what another client reads, another object each time, as somebody who has to be reviewed for each.
type flood struct {
	mu       sync.Mutex
	statuses map[int]int // answers by status
	end      func()      // and wait for the last answer; asking twice is harmless
}

func (f *flood) of(status int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.statuses[status]
}

// swamp begins a flood and returns when it is too much for the server: something of it was refused.
func (s *server) swamp(t *testing.T, user string) *flood {
	t.Helper()
	f := &flood{statuses: map[int]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	f.end = func() { cancel(); all.Wait() }
	t.Cleanup(f.end)
	var n atomic.Int64
	for range flooders {
		all.Go(func() {
			for ctx.Err() == nil {
				status, err := s.ask(ctx, user, object(1_000_000+int(n.Add(1))))
				if err != nil {
					continue
				}
				f.mu.Lock()
				f.statuses[status]++
				f.mu.Unlock()
			}
		})
	}
	eventually(t, "a refusal of something of the flood", func() (bool, string) {
		return f.of(http.StatusTooManyRequests) > 0, fmt.Sprintf("%d were served", f.of(http.StatusOK))
	})
	return f
}

// meanwhile is how the HPA controller fares during a flood.
type meanwhile struct {
	reads, failed int
	last          string // failure
	grown         int64  // how much more the heap held than before, at most
}

// readMeanwhile reads as the HPA controller while another client floods the server, until that is enough.
func (s *server) readMeanwhile(t *testing.T, user, what string, enough func(meanwhile) bool) (m meanwhile) {
	t.Helper()
	// Both come from one address here, which may have so many connections: the HPA controller's reads come by one that is there
	// already, that of its API server.
	hpa := s.another()
	defer hpa.client.CloseIdleConnections()
	if status, body, err := hpa.fetch(t.Context(), user, object(0), func(*http.Request) {}); err != nil || status != http.StatusOK {
		t.Fatalf("before the flood: %d, %v: %s", status, err, body)
	}
	before := heap()
	flood := s.swamp(t, user+"-flooder")
	defer flood.end()
	eventually(t, what, func() (bool, string) {
		status, err := hpa.ask(t.Context(), user, object(m.reads))
		if err != nil || status != http.StatusOK {
			m.failed, m.last = m.failed+1, fmt.Sprintf("%d, %v", status, err)
		}
		if m.reads%10 == 0 {
			m.grown = max(m.grown, heap()-before)
		}
		m.reads++
		return enough(m), fmt.Sprintf("%+v", m)
	})
	flood.end()
	t.Logf("%d reads of the HPA, %d failed; the heap grew by %d MiB; the flood was answered %v", m.reads, m.failed, m.grown>>20, flood.statuses)
	return m
}

// another is a client of the same server with connections of its own.
func (s *server) another() *server {
	transport := s.client.Transport.(*http.Transport).Clone()
	return &server{port: s.port, client: &http.Client{Timeout: s.client.Timeout, Transport: transport}}
}

// heap is what the heap holds that is still in use, whenever garbage was collected last.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTheHPAReadsWhileAnotherClientFloodsTheServer(t *testing.T) {
	reader(t, "hpa-served")
	s := start(t, "hpa-served")
	m := s.readMeanwhile(t, "hpa-served", "as many reads of the HPA", func(m meanwhile) bool { return m.reads == calmReads })
	if m.failed > 0 {
		t.Errorf("%d of %d reads of the HPA failed: %s", m.failed, m.reads, m.last)
	}
	if m.grown > floodMemory {
		t.Errorf("the heap grew by %d MiB", m.grown>>20)
	}
}

// TestWithoutLimitsAFloodIsInTheWayOfTheHPA is the control.
func TestWithoutLimitsAFloodIsInTheWayOfTheHPA(t *testing.T) {
	reader(t, "hpa-flooded")
	s := startWith(t, func(c *serving.Config) { c.Unlimited, c.BroadReaders = true, []string{"hpa-flooded"} })
	m := s.readMeanwhile(t, "hpa-flooded", "a read of the HPA that fails: the flood floods nothing", func(m meanwhile) bool { return m.failed > 0 })
	t.Logf("the HPA's read was answered %s", m.last)
}

// TestNobodyUsesUpTheConnections needs several addresses of this machine, which Linux has on its loopback.
func TestNobodyUsesUpTheConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs several loopback addresses")
	}
	for name, test := range map[string]struct {
		unlimited bool
		most      int
	}{"with limits": {false, 64}, "without": {true, 200}} {
		s := startWith(t, func(c *serving.Config) { c.Unlimited = test.unlimited })
		s.client.CloseIdleConnections()
		open := s.occupy(t, net.IPv4(127, 0, 0, 9), 200)
		if served := s.greet(t, open); served != test.most {
			t.Errorf("%s: %d connections of one address stay open, want %d", name, served, test.most)
		}
		if status, err := s.ask(t.Context(), "admin", object(1), "system:masters"); err != nil || status != http.StatusOK {
			t.Errorf("%s: another address gets %d, %v", name, status, err)
		}
		for _, connection := range open {
			_ = connection.Close()
		}
	}
}

// TestTheAggregationLayerKeepsItsConnection while ten addresses hold all places, and comes anew then.
func TestTheAggregationLayerKeepsItsConnection(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs several loopback addresses")
	}
	s := startWith(t, func(*serving.Config) {})
	before := s.another()
	defer before.client.CloseIdleConnections()
	var kept []string
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			kept = append(kept, connection.LocalAddr().String())
		}
		return connection, err
	}
	before.client.Transport.(*http.Transport).DialContext = dial
	ask := func(of *server, what string) {
		t.Helper()
		if status, err := of.ask(t.Context(), "admin", object(1), "system:masters"); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", what, status, err)
		}
	}
	ask(before, "before")
	for i := range 10 {
		for _, connection := range s.occupy(t, net.IPv4(127, 0, 1, byte(1+i)), 64) {
			defer connection.Close() // It may make room.
		}
		ask(before, "the connection that was there")
		anew := s.another()
		ask(anew, "a new connection")
		anew.client.CloseIdleConnections()
	}
	if len(kept) != 1 {
		t.Errorf("it came by %d connections: %v", len(kept), kept)
	}
}

// occupy opens connections from an address that are silent at first.
func (s *server) occupy(t *testing.T, from net.IP, connections int) (open []net.Conn) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
	for range connections {
		connection, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(s.port))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, connection)
	}
	return open
}

// greet shakes hands on all connections at once, and returns on how many of them the server answers when it has seen all.
func (s *server) greet(t *testing.T, open []net.Conn) (served int) {
	t.Helper()
	config := s.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	greeted := make([]*tls.Conn, len(open))
	var all sync.WaitGroup
	for i, connection := range open {
		if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		greeted[i] = tls.Client(connection, config)
		all.Go(func() {
			if err := greeted[i].HandshakeContext(t.Context()); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after %s: neither greeted nor closed", patience)
			}
		})
	}
	all.Wait()
	for _, connection := range greeted {
		_, _ = io.WriteString(connection, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") // it may be closed
		switch n, err := connection.Read(make([]byte, 1)); {
		case n == 1:
			served++
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Errorf("after %s: neither answered nor closed", patience)
		}
	}
	return served
}

func TestRequestsThatNoReaderSendsAreRefused(t *testing.T) {
	limited := start(t)
	unlimited := startWith(t, func(c *serving.Config) { c.Unlimited = true })
	for name, test := range map[string]struct {
		change       func(*http.Request)
		want, before int // with limits, and without
	}{
		"a read":        {func(*http.Request) {}, http.StatusOK, http.StatusOK},
		"a long header": {func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("x", 40<<10)) }, http.StatusRequestHeaderFieldsTooLarge, http.StatusOK},
		"many headers": {func(r *http.Request) {
			for i := range 4000 {
				r.Header.Set(fmt.Sprint("X-Many-", i), "x")
			}
		}, http.StatusRequestHeaderFieldsTooLarge, http.StatusOK},
		"a long path": {func(r *http.Request) { r.URL.RawQuery = "x=" + strings.Repeat("x", 40<<10) }, http.StatusRequestHeaderFieldsTooLarge, http.StatusOK},
		"a body":      {func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1 }, http.StatusRequestEntityTooLarge, http.StatusOK},
	} {
		for server, want := range map[*server]int{limited: test.want, unlimited: test.before} {
			status, err := server.send(t.Context(), "admin", object(1), test.change, "system:masters")
			if err != nil || status != want {
				t.Errorf("%s, with limits %t: %d, %v, want %d", name, server == limited, status, err, want)
			}
		}
	}
}

func TestTheOldestVersionOfTLS(t *testing.T) {
	for name, test := range map[string]struct {
		least uint16
		old   bool // a client of TLS 1.2 is served
	}{"by default": {0, false}, "1.3": {tls.VersionTLS13, false}, "1.2": {tls.VersionTLS12, true}} {
		s := startWith(t, func(c *serving.Config) { c.MinTLSVersion = test.least })
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := s.another()
			config := client.client.Transport.(*http.Transport).TLSClientConfig
			config.MinVersion, config.MaxVersion = version, version
			_, err := client.ask(t.Context(), "admin", object(0), "system:masters")
			client.client.CloseIdleConnections()
			if served, want := err == nil, version == tls.VersionTLS13 || test.old; served != want {
				t.Errorf("%s: a client of version %#x is served: %t, want %t (%v)", name, version, served, want, err)
			}
		}
	}
}
