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
	b.limitedListener = limit(inner, total, perAddress, func() { b.refused <- struct{}{} })
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

// open opens a connection and returns its other end; nil when it was refused, and then it has to end without a word.
func (b *bounded) open(t *testing.T) net.Conn {
	t.Helper()
	connection, word := dial(t, b.Addr().String()), make([]byte, 1)
	select {
	case other := <-b.accepted:
		if _, err := other.Write(word); err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Read(word); err != nil {
			t.Errorf("a connection that was accepted: %v", err)
		}
		return other
	case <-b.refused:
		if n, err := connection.Read(word); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection that was refused: %d bytes, %v", n, err)
		}
		return nil
	case <-time.After(hangs):
		t.Fatalf("after %s: neither accepted nor refused", hangs)
		return nil
	}
}

func TestAPlaceComesBackWhenItsConnectionIsClosed(t *testing.T) {
	b := listenBounded(t, 3, 2)
	first := b.open(t)
	if second, third := b.open(t), b.open(t); first == nil || second == nil || third != nil {
		t.Fatalf("of three connections are open: %t, %t, %t; want two", first != nil, second != nil, third != nil)
	}
	for range 2 { // twice, as net/http does
		_ = first.Close()
	}
	if fourth, fifth := b.open(t), b.open(t); fourth == nil || fifth != nil {
		t.Errorf("after one was closed, of two more are open: %t, %t; want one", fourth != nil, fifth != nil)
	}
}

func TestPlacesOfAllAddressesTogether(t *testing.T) {
	l := limit(nil, 3, 2, nil)
	for n, test := range []struct {
		address string
		want    bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}, {"c", false}} {
		if got := l.take(test.address); got != test.want {
			t.Errorf("%d, from %s: %t", n, test.address, got)
		}
	}
	for _, address := range []string{"a", "a", "b"} {
		l.release(address)
	}
	if l.open != 0 || len(l.addresses) != 0 {
		t.Errorf("%d places and %d addresses are left", l.open, len(l.addresses))
	}
}

func TestAnEndpointTakesNoBodies(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := NewEndpoint("test", "127.0.0.1:0", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
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
	if l, ok := endpoint.Listener.(*limitedListener); !ok || l.total != sideConnections || l.perAddress != sideConnectionsFrom {
		t.Errorf("the listener is %+v, want one of %d connections, %d of each address", endpoint.Listener, sideConnections, sideConnectionsFrom)
	}
	// Those that stay silent for sideTimeout give their places back, so a slow machine may need more of them.
	refused := func() bool { return testutil.ToFloat64(metrics.refused.WithLabelValues(limitConnections)) > 0 }
	for started := time.Now(); !refused(); time.Sleep(time.Millisecond) {
		if time.Since(started) > hangs {
			t.Fatalf("after %s: no connection was refused", hangs)
		}
		dial(t, endpoint.Listener.Addr().String())
	}
}
