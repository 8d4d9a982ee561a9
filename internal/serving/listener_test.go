package serving

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// hangs is when a wait is given up: what comes so late does not come.
const hangs = 2 * time.Minute

// dial opens a connection that is silent.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	connection, err := net.DialTimeout("tcp", address, hangs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetReadDeadline(time.Now().Add(hangs)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// bounded is a limited listener that tells of each connection whether it has a place.
type bounded struct {
	*limitedListener
	accepted chan net.Conn
	refused  chan struct{}
}

func listenBounded(t *testing.T, total, perAddress int) *bounded {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bounded{accepted: make(chan net.Conn, 10), refused: make(chan struct{}, 10)}
	b.limitedListener = limit(inner, func() *places { return newPlaces(total, perAddress, 0) }, nil, func() { b.refused <- struct{}{} })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := b.Accept()
			if err != nil {
				return
			}
			b.accepted <- connection
		}
	}()
	t.Cleanup(func() { _ = inner.Close(); <-ended })
	return b
}

// open opens a connection and returns both of its ends.
func (b *bounded) open(t *testing.T) (ours, others net.Conn) {
	t.Helper()
	ours = dial(t, b.Addr().String())
	select {
	case others = <-b.accepted:
		return ours, others
	case <-time.After(hangs):
		t.Fatalf("after %s: not accepted", hangs)
		return nil, nil
	}
}

// closed tells whether the other end has closed a connection without a word; false when it still says something.
func closed(t *testing.T, ours, others net.Conn) bool {
	t.Helper()
	word := []byte{'x'}
	_, _ = others.Write(word) // it may be closed
	n, err := ours.Read(word)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %s: neither open nor closed", hangs)
	}
	return n == 0
}

func TestTheOldestOfThoseThatHaveShownNothingMakesRoom(t *testing.T) {
	b := listenBounded(t, 3, 3)
	var ours, others []net.Conn
	for range 3 {
		one, other := b.open(t)
		ours, others = append(ours, one), append(others, other)
	}
	b.prove(ours[0].LocalAddr().String(), known)
	if one, other := b.open(t); closed(t, one, other) {
		t.Error("whoever is new is not let in")
	}
	<-b.refused
	for i, want := range []bool{false, true, false} { // the first is known
		if got := closed(t, ours[i], others[i]); got != want {
			t.Errorf("connection %d is closed: %t", i, got)
		}
	}
	for range 2 { // twice, as net/http does
		_ = others[2].Close()
	}
	if one, other := b.open(t); closed(t, one, other) || closed(t, ours[0], others[0]) || len(b.refused) > 0 {
		t.Error("the place of a connection that was closed did not come back")
	}
}

func TestAnEndpointTakesNoBodies(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	of, err := Listen("test", "127.0.0.1:0", nil, metrics)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := of.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	ended := make(chan error, 1)
	ctx, end := context.WithCancel(t.Context())
	go func() { ended <- endpoint.Start(ctx) }()
	defer func() {
		_ = endpoint.Server.Close() // does not wait for the silent ones, as the end of the context would
		end()
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	url := "http://" + endpoint.Listener.Addr().String()
	for body, want := range map[string]int{"": http.StatusOK, "x": http.StatusRequestEntityTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		if err := response.Body.Close(); err != nil || response.StatusCode != want {
			t.Errorf("a body of %d bytes: %d, want %d", len(body), response.StatusCode, want)
		}
	}
	// Those that stay silent for sideTimeout give their places back, so a slow machine may need more of them.
	refused := func() bool { return testutil.ToFloat64(metrics.refused.WithLabelValues(limitConnections)) > 0 }
	for started := time.Now(); !refused(); time.Sleep(time.Millisecond) {
		if time.Since(started) > hangs {
			t.Fatalf("after %s: no connection was closed", hangs)
		}
		dial(t, endpoint.Listener.Addr().String())
	}
}
