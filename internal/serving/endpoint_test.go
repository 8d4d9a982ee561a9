package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
)

// probed is an endpoint of probes whose node is 127.0.0.1.
type probed struct{ address string }

func listenForProbes(t *testing.T) probed {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs several loopback addresses")
	}
	isNode := func(address netip.Addr) bool { return address == netip.AddrFrom4([4]byte{127, 0, 0, 1}) }
	endpoint, err := Listen("probes", "127.0.0.1:0", isNode, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := endpoint.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		_ = server.Server.Close() // does not wait for the silent ones, as the end of the context would
		end()
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return probed{endpoint.listener.Addr().String()}
}

// dialer dials from an address of the loopback.
func dialer(from byte) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}, Timeout: hangs}
}

// hold opens connections from an address, on each of which a text is said.
func (p probed) hold(t *testing.T, from byte, connections int, text string) {
	t.Helper()
	for range connections {
		connection, err := dialer(from).DialContext(t.Context(), "tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		if _, err := connection.Write([]byte(text)); err != nil {
			t.Logf("it makes room already: %v", err)
		}
	}
}

// probe asks from an address as the kubelet does, by a new connection.
func (p probed) probe(t *testing.T, from byte) error {
	t.Helper()
	transport := &http.Transport{DialContext: dialer(from).DialContext, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport, Timeout: hangs}).Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%d, %w", response.StatusCode, err)
	}
	return nil
}

// TestProbesAreAnsweredWhateverOthersHoldOpen has four and more addresses hold all that they get.
func TestProbesAreAnsweredWhateverOthersHoldOpen(t *testing.T) {
	for name, text := range map[string]string{"idle": "", "slow": "GET /healthz HTTP/1.1\r\nHost: a\r\nX: "} {
		t.Run(name, func(t *testing.T) {
			p := listenForProbes(t)
			for from := byte(2); from < 8; from++ {
				p.hold(t, from, sideConnectionsFrom, text)
			}
			for i := range 40 {
				for _, from := range []byte{1, 9, 2} { // the node, a stranger, and one of those
					if err := p.probe(t, from); err != nil {
						t.Errorf("probe %d from 127.0.0.%d: %v", i, from, err)
					}
				}
			}
		})
	}
}

// TestProbesOfTheNodeAreAnsweredDuringAFlood has others open new connections as fast as they can, which stay open.
func TestProbesOfTheNodeAreAnsweredDuringAFlood(t *testing.T) {
	const connections = 2000
	p := listenForProbes(t)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := range connections {
			connection, err := dialer(2+byte(i%8)).DialContext(t.Context(), "tcp", p.address)
			if err != nil {
				t.Error(err)
				return
			}
			defer connection.Close() // It makes room before.
		}
	}()
	for probes := 1; ; probes++ {
		if err := p.probe(t, 1); err != nil {
			t.Errorf("probe %d: %v", probes, err)
		}
		select {
		case <-over:
			t.Logf("%d probes were answered", probes)
			return
		default:
		}
	}
}
