package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// readDeadline is when a read that was not answered is taken for lost.
const readDeadline = 2 * time.Minute

// load reads from one server over connections that stay. It does no more than needed, because it shares the machine
// with the server.
type load struct {
	requests [][]byte
	tls      *tls.Config
	conns    []*conn
}

// conn is one connection. next is its place in the requests.
type conn struct {
	tls  *tls.Conn
	in   *bufio.Reader
	next int
}

// requests are reads of paths.
func requests(paths []string) [][]byte {
	written := make([][]byte, len(paths))
	for i, path := range paths {
		written[i] = request(path, "")
	}
	return written
}

// request is a read of one path, with further headers.
func request(path, headers string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: bench\r\n" + headers + "\r\n")
}

func newLoad(roots *x509.CertPool, requests [][]byte) *load {
	return &load{requests: requests, tls: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}}
}

// connect opens n connections as soon as the server accepts them. Each starts elsewhere in the requests.
func (l *load) connect(ctx context.Context, address string, n int) error {
	dialer := &tls.Dialer{Config: l.tls}
	for len(l.conns) < n {
		opened, err := dialer.DialContext(ctx, "tcp", address)
		var refused *net.OpError
		if errors.As(err, &refused) && refused.Op == "dial" && ctx.Err() == nil { // not listening yet
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("connecting to %s: %w", address, err)
		}
		c, ok := opened.(*tls.Conn)
		if !ok {
			return errors.Join(fmt.Errorf("%s does not speak TLS", address), opened.Close())
		}
		l.conns = append(l.conns, &conn{tls: c, in: bufio.NewReader(c), next: len(l.conns) * len(l.requests) / n})
	}
	return nil
}

func (l *load) close() {
	for _, c := range l.conns {
		_ = c.tls.Close() // The server may have closed it already.
	}
}

// run reads for a while over all connections at once, on each at least once, and returns how many reads were answered.
func (l *load) run(ctx context.Context, window time.Duration) (reads int, err error) {
	ctx, cancel := context.WithTimeout(ctx, window)
	defer cancel()
	counts := make([]int, len(l.conns))
	group := &errgroup.Group{}
	for i, c := range l.conns {
		group.Go(func() error {
			if err := c.tls.SetDeadline(time.Now().Add(window + readDeadline)); err != nil {
				return fmt.Errorf("setting a deadline: %w", err)
			}
			for counts[i] == 0 || ctx.Err() == nil {
				if err := c.read(l.requests[c.next], io.Discard); err != nil {
					return err
				}
				c.next = (c.next + 1) % len(l.requests)
				counts[i]++
			}
			return nil
		})
	}
	err = group.Wait()
	for _, count := range counts {
		reads += count
	}
	return reads, err
}

// read sends a request and copies the body of its answer.
func (c *conn) read(request []byte, body io.Writer) error {
	if _, err := c.tls.Write(request); err != nil {
		return fmt.Errorf("sending a read: %w", err)
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("the answer to a read: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("a read was answered %s: %s", response.Status, text)
	}
	if _, err := io.Copy(body, response.Body); err != nil {
		return fmt.Errorf("the answer to a read: %w", err)
	}
	return nil
}

// verify checks what a connection is answered to the first requests: the values of objects, by their names.
func (l *load) verify(c *conn, first int, want func(i int) map[string]float64) error {
	if err := c.tls.SetDeadline(time.Now().Add(readDeadline)); err != nil {
		return fmt.Errorf("setting a deadline: %w", err)
	}
	for i := range min(first, len(l.requests)) {
		var body bytes.Buffer
		if err := c.read(l.requests[i], &body); err != nil {
			return err
		}
		var list custommetrics.MetricValueList
		if err := json.Unmarshal(body.Bytes(), &list); err != nil {
			return fmt.Errorf("what %q was answered: %w", l.requests[i], err)
		}
		got := map[string]float64{}
		for _, item := range list.Items {
			got[item.DescribedObject.Name] = item.Value.AsApproximateFloat64()
		}
		if len(list.Items) != len(got) || !maps.Equal(got, want(i)) {
			return fmt.Errorf("%q was answered %d items, %.1000v, want %d, %.1000v", l.requests[i], len(list.Items), got, len(want(i)), want(i))
		}
	}
	return nil
}
