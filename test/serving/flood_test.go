package serving_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
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
	// calmReads is how many reads of the HPA the flood goes on for, and floodLimit how long at most.
	calmReads  = 100
	floodLimit = time.Minute
	// rising is how long the flood takes until it is one.
	rising = time.Second
	// floodMemory is how much more of the heap may be in use meanwhile, of the server and both clients together.
	floodMemory = 128 << 20
)

// swamp reads another object each time as somebody who has to be reviewed for each, until the context ends. It counts the
// answers by status.
func (s *server) swamp(ctx context.Context, user string) (statuses map[int]int) {
	statuses = map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	var n atomic.Int64
	for range flooders {
		all.Go(func() {
			for ctx.Err() == nil {
				status, err := s.ask(ctx, user, object(1_000_000+int(n.Add(1))))
				if err != nil {
					continue
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return statuses
}

// readMeanwhile reads as the HPA controller while another client floods the server, and returns how many reads there were and
// how many of them failed, and by how much the heap grew at most.
func (s *server) readMeanwhile(t *testing.T, user string) (reads, failed int, slowest time.Duration, grown int64, others map[int]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), floodLimit)
	defer cancel()
	// Both come from one address here, which may have so many connections: the HPA controller's reads come by one that is there
	// already, that of its API server.
	hpa := s.another()
	defer hpa.client.CloseIdleConnections()
	if status, err := hpa.ask(t.Context(), user, object(0)); err != nil || status != http.StatusOK {
		t.Fatalf("before the flood: %d, %v", status, err)
	}
	before := heap()
	var flooding sync.WaitGroup
	flooding.Go(func() { others = s.swamp(ctx, "flooder") })
	time.Sleep(rising)
	for i := 0; i < calmReads && ctx.Err() == nil; i++ {
		began := time.Now()
		status, err := hpa.ask(t.Context(), user, object(i))
		slowest = max(slowest, time.Since(began))
		if reads++; err != nil || status != http.StatusOK {
			failed++
			t.Logf("read %d of the HPA: %d, %v", i, status, err)
		}
		grown = max(grown, heap()-before)
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	flooding.Wait()
	return reads, failed, slowest, grown, others
}

// another is a client of the same server with connections of its own.
func (s *server) another() *server {
	transport := s.client.Transport.(*http.Transport).Clone()
	return &server{port: s.port, client: &http.Client{Timeout: s.client.Timeout, Transport: transport}}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func TestTheHPAReadsWhileAnotherClientFloodsTheServer(t *testing.T) {
	reader(t, "hpa-served")
	s := start(t, "hpa-served")
	reads, failed, slowest, grown, others := s.readMeanwhile(t, "hpa-served")
	t.Logf("%d reads of the HPA, %d failed, the slowest took %s; the heap grew by %d MiB; the flood was answered %v", reads, failed, slowest, grown>>20, others)
	if failed > 0 || reads < calmReads/10 {
		t.Errorf("%d of %d reads of the HPA failed", failed, reads)
	}
	if others[http.StatusTooManyRequests] == 0 {
		t.Errorf("nothing of the flood was refused: %v", others)
	}
	if grown > floodMemory {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// TestWithoutLimitsAFloodIsInTheWayOfTheHPA is the control.
func TestWithoutLimitsAFloodIsInTheWayOfTheHPA(t *testing.T) {
	reader(t, "hpa-flooded")
	s := startWith(t, func(c *serving.Config) { c.Unlimited, c.BroadReaders = true, []string{"hpa-flooded"} })
	reads, failed, slowest, grown, others := s.readMeanwhile(t, "hpa-flooded")
	t.Logf("%d reads of the HPA, %d failed, the slowest took %s; the heap grew by %d MiB; the flood was answered %v", reads, failed, slowest, grown>>20, others)
	if failed == 0 {
		t.Errorf("all of %d reads of the HPA were served: the flood floods nothing", reads)
	}
}

// TestNobodyAloneUsesUpTheConnections needs two addresses of this machine, which Linux has on its loopback.
func TestNobodyAloneUsesUpTheConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address")
	}
	for name, test := range map[string]struct {
		unlimited bool
		most      int
	}{"with limits": {false, 64}, "without": {true, 200}} {
		s := startWith(t, func(c *serving.Config) { c.Unlimited = test.unlimited })
		s.client.CloseIdleConnections()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: time.Second}
		var open []net.Conn
		for range 200 {
			connection, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(s.port))
			if err == nil {
				open = append(open, connection)
			}
		}
		left := 0
		for _, connection := range open {
			// Nothing is said on a connection that stays open; one that was closed ends.
			_ = connection.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := connection.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "timeout") {
				left++
			}
		}
		if left != test.most {
			t.Errorf("%s: %d connections of one address stay open, want %d", name, left, test.most)
		}
		if status, err := s.ask(t.Context(), "admin", object(1), "system:masters"); err != nil || status != http.StatusOK {
			t.Errorf("%s: another address gets %d, %v", name, status, err)
		}
		for _, connection := range open {
			_ = connection.Close()
		}
	}
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
