package serving

import (
	"net"
	"net/netip"
)

// Bounds of connections, which anybody on the network may open before anybody asks who it is. The aggregation layer needs one or
// two for each kube-apiserver, by HTTP/2.
const (
	maxConnections     = 512
	maxConnectionsFrom = 64
	// maxUnread is how many bytes of requests may be held together before they are heard. net/http reads up to 1 MiB of each header.
	maxUnread = 32 << 20
)

// limitedListener bounds the connections that are open, in all and by address. It lets none wait, since those that wait would keep the
// others from being accepted. Those of the node itself have places of their own: its kubelet probes from there.
type limitedListener struct {
	net.Listener
	strangers, node *places
	isNode          func(netip.Addr) bool
	refused         func()
}

// limit bounds the connections of a listener; refused is called for each one that is closed for another. isNode tells the addresses of the
// node; nil for none.
func limit(l net.Listener, bounds func() *places, isNode func(netip.Addr) bool, refused func()) *limitedListener {
	return &limitedListener{Listener: l, strangers: bounds(), node: bounds(), isNode: isNode, refused: refused}
}

// Accept returns the next connection that has a place.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote := connection.RemoteAddr().String()
		p := &place{remote: remote, address: hostOf(remote), close: func() { _ = connection.Close() }} // Nothing depends on it.
		of := l.of(remote)
		evicted, ok := of.take(p)
		l.end(evicted)
		if ok {
			return &limitedConn{Conn: connection, listener: l, places: of, place: p}, nil
		}
		l.end(p)
	}
}

// of are the places among which a remote address has one.
func (l *limitedListener) of(remote string) *places {
	at, err := netip.ParseAddrPort(remote)
	if err == nil && l.isNode != nil && l.isNode(at.Addr().Unmap()) {
		return l.node
	}
	return l.strangers
}

// end closes a connection that has no place any more; nil for none.
func (l *limitedListener) end(p *place) {
	if p != nil {
		l.refused()
		p.close()
	}
}

// heard notes that a request from a remote address has come as a whole.
func (l *limitedListener) heard(remote string) { l.of(remote).heard(remote) }

// prove notes who asks from a remote address.
func (l *limitedListener) prove(remote string, is standing) { l.end(l.of(remote).prove(remote, is)) }

func hostOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}

// limitedConn is a connection that has a place, until it is closed.
type limitedConn struct {
	net.Conn
	listener *limitedListener
	places   *places
	place    *place
}

// Read implements io.Reader.
func (c *limitedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	c.listener.end(c.places.came(c.place, n))
	return n, err
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.places.leave(c.place)
	return c.Conn.Close()
}
