package serving

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Bounds of the operator's endpoints beside the aggregated API: what scrapes and probes need, and no more.
const (
	sideConnections     = 64
	sideConnectionsFrom = 16
	sideHeaderBytes     = 16 << 10
	sideTimeout         = 5 * time.Second
	// sideAnswer is more than the slowest answer takes: a CPU profile of 30 s.
	sideAnswer = time.Minute
)

// Endpoint is an address beside that of the aggregated API, with bounds for what strangers may use up.
type Endpoint struct {
	name     string
	listener *limitedListener
}

// Listen returns an endpoint that listens. isNode tells the addresses of the node, which have places of their own; nil for none. It
// returns an error when nobody can listen there.
func Listen(name, address string, isNode func(netip.Addr) bool, metrics *Metrics) (*Endpoint, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", name, err)
	}
	bounds := func() *places { return newPlaces(sideConnections, sideConnectionsFrom, 0) }
	return &Endpoint{name, limit(listener, bounds, isNode, metrics.refuser(limitConnections))}, nil
}

// Known notes that whoever is served by a handler has been authenticated, so that strangers make room first.
func (e *Endpoint) Known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.listener.prove(r.RemoteAddr, known)
		next.ServeHTTP(w, r)
	})
}

// Serve returns a runnable of every replica that serves a handler there. wrap may put TLS around the listener; nil for none.
func (e *Endpoint) Serve(handler http.Handler, wrap func(net.Listener) net.Listener) *manager.Server {
	var listener net.Listener = e.listener
	if wrap != nil {
		listener = wrap(listener)
	}
	timeout := sideTimeout
	return &manager.Server{
		Name: e.name, Listener: listener, ShutdownTimeout: &timeout,
		Server: &http.Server{
			Handler: withoutBody(handler), MaxHeaderBytes: sideHeaderBytes,
			ErrorLog:          log.New(withoutHandshakes{os.Stderr}, "", log.LstdFlags),
			ReadHeaderTimeout: sideTimeout, ReadTimeout: sideTimeout, WriteTimeout: sideAnswer, IdleTimeout: sideAnswer,
		},
	}
}

// withoutHandshakes drops what net/http says of each handshake that fails: strangers would fill the log with it.
type withoutHandshakes struct{ io.Writer }

// Write implements io.Writer.
func (w withoutHandshakes) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("http: TLS handshake error")) {
		return len(line), nil
	}
	return w.Writer.Write(line)
}

// withoutBody refuses requests that bring something: everything of ours is read only.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			refuse(w, http.StatusRequestEntityTooLarge, errors.New("requests have no body here"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers a request that goes no further, and ends its connection if it has one of its own.
func refuse(w http.ResponseWriter, status int, why error) {
	w.Header().Set("Connection", "close")
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, why.Error(), status)
}
