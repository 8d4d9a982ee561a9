package serving

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Bounds of connections, which anybody on the network may open before anybody asks who it is. The aggregation layer needs one or
// two for each kube-apiserver, by HTTP/2.
const (
	maxConnections     = 512
	maxConnectionsFrom = 64
)

// limitedListener closes connections beyond a bound at once. It does not let them wait, since those that wait would keep the
// others from being accepted, and it counts by address, so that nobody alone uses up what is for all.
type limitedListener struct {
	net.Listener
	total, perAddress int
	refused           func()

	mu        sync.Mutex
	open      int
	addresses map[string]int
}

// limit bounds the connections of a listener; refused is called for each one beyond.
func limit(l net.Listener, total, perAddress int, refused func()) *limitedListener {
	return &limitedListener{Listener: l, total: total, perAddress: perAddress, refused: refused, addresses: map[string]int{}}
}

// Accept returns the next connection within the bounds.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := host(connection)
		if l.take(address) {
			return &limitedConn{Conn: connection, release: func() { l.release(address) }}, nil
		}
		l.refused()
		_ = connection.Close() // Nothing was said on it.
	}
}

func host(connection net.Conn) string {
	address := connection.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func (l *limitedListener) take(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || l.addresses[address] >= l.perAddress {
		return false
	}
	l.open++
	l.addresses[address]++
	return true
}

func (l *limitedListener) release(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.addresses[address]--; l.addresses[address] == 0 {
		delete(l.addresses, address)
	}
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	defer c.once.Do(c.release)
	return c.Conn.Close()
}

// Bounds of the operator's endpoints beside the aggregated API: what scrapes and probes need, and no more.
const (
	sideConnections     = 64
	sideConnectionsFrom = 16
	sideHeaderBytes     = 16 << 10
	sideTimeout         = 5 * time.Second
	// sideAnswer is more than the slowest answer takes: a CPU profile of 30 s.
	sideAnswer = time.Minute
)

// NewEndpoint returns a runnable of every replica that serves a handler at an address, with bounds for what strangers may use
// up. wrap may put TLS around the listener. It returns an error when nobody can listen there.
func NewEndpoint(name, address string, handler http.Handler, metrics *Metrics, wrap func(net.Listener) net.Listener) (*manager.Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w", name, err)
	}
	var bounded net.Listener = limit(listener, sideConnections, sideConnectionsFrom, metrics.refuser(limitConnections))
	if wrap != nil {
		bounded = wrap(bounded)
	}
	timeout := sideTimeout
	return &manager.Server{
		Name: name, Listener: bounded, ShutdownTimeout: &timeout,
		Server: &http.Server{
			Handler: withoutBody(handler), MaxHeaderBytes: sideHeaderBytes,
			ReadHeaderTimeout: sideTimeout, ReadTimeout: sideTimeout, WriteTimeout: sideAnswer, IdleTimeout: sideAnswer,
		},
	}, nil
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
