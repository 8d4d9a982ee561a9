package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// probeEvery is how often readiness is asked for; the manifests say 2 s.
	probeEvery = time.Second
	// probeLimit is when no answer is one.
	probeLimit = time.Second
)

// balancer is a Service of the aggregated API for processes of this machine: it sends each connection to the next replica that
// was ready when it was last asked. Like kube-proxy it neither tries another one when that does not answer nor cuts connections
// that exist.
type balancer struct {
	listener net.Listener

	mu       sync.Mutex
	backends []*backend
	next     int
}

type backend struct {
	replica *stage.Replica
	ready   bool
}

func newBalancer(port int) (*balancer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("the balancer: %w", err)
	}
	return &balancer{listener: listener}, nil
}

// add makes a replica an endpoint as soon as it is ready.
func (b *balancer) add(r *stage.Replica) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = append(b.backends, &backend{replica: r})
}

// remove forgets a replica.
func (b *balancer) remove(r *stage.Replica) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = slices.DeleteFunc(b.backends, func(e *backend) bool { return e.replica == r })
}

// run serves and probes until the context ends.
func (b *balancer) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { b.probe(ctx) })
	all.Go(func() { <-ctx.Done(); _ = b.listener.Close() })
	for {
		connection, err := b.listener.Accept()
		if err != nil {
			return
		}
		all.Go(func() { b.forward(ctx, connection) })
	}
}

func (b *balancer) probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		b.mu.Lock()
		backends := slices.Clone(b.backends)
		b.mu.Unlock()
		for _, e := range backends {
			within, cancel := context.WithTimeout(ctx, probeLimit)
			err := e.replica.Ready(within)
			cancel()
			b.mu.Lock()
			e.ready = err == nil
			b.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// pick is the next replica that is ready.
func (b *balancer) pick() (*stage.Replica, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.backends {
		b.next++
		if e := b.backends[b.next%len(b.backends)]; e.ready {
			return e.replica, nil
		}
	}
	return nil, errors.New("no replica is ready")
}

// forward copies in both directions until one side ends.
func (b *balancer) forward(ctx context.Context, client net.Conn) {
	defer client.Close()
	replica, err := b.pick()
	if err != nil {
		return
	}
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(replica.Port())))
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite() // the other side may have something to say still
		})
	}
	both.Wait()
}
