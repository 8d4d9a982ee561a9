package serving

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// dial opens a connection and tells whether it is left open.
func dial(t *testing.T, address string) (connection net.Conn, open bool) {
	t.Helper()
	connection, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = connection.Read(make([]byte, 1))
	timeout, isNet := err.(net.Error) //nolint:errorlint // a connection returns it as it is
	return connection, isNet && timeout.Timeout()
}

func TestAPlaceComesBackWhenItsConnectionIsClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{}, 10)
	bounded := limit(inner, 3, 2, func() { refused <- struct{}{} })
	accepted := make(chan net.Conn, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := bounded.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	defer func() { _ = inner.Close(); <-ended }()
	for n, want := range []bool{true, true, false} {
		if _, open := dial(t, inner.Addr().String()); open != want {
			t.Errorf("connection %d is open: %t, want %t", n+1, open, want)
		}
	}
	if len(refused) != 1 {
		t.Errorf("%d were counted as refused, want 1", len(refused))
	}
	first := <-accepted
	for range 2 { // twice, as net/http does
		_ = first.Close()
	}
	for n, want := range []bool{true, false} {
		if _, open := dial(t, inner.Addr().String()); open != want {
			t.Errorf("after one was closed, connection %d more is open: %t, want %t", n+1, open, want)
		}
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
	go func() { _ = endpoint.Start(t.Context()) }()
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
	for range sideConnectionsFrom + 1 {
		dial(t, endpoint.Listener.Addr().String())
	}
	if refused := testutil.ToFloat64(metrics.refused.WithLabelValues(limitConnections)); refused == 0 {
		t.Error("no connection was refused")
	}
	if err := endpoint.Server.Close(); err != nil {
		t.Error(err)
	}
}
