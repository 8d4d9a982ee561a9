package writes_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What is promised.
const (
	perSecond = 5
	burst     = 10
	// underWay is how many writes may have had their turn before a window begins and be counted in it: one of each controller
	// and an Event.
	underWay = 3
)

// count is how many writes of status and Events the API server has answered, at some time between two.
type count struct {
	from, to time.Time
	writes   float64
}

// counted asks the API server.
func counted(t *testing.T) count {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := count{from: time.Now()}
	text, err := server.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		t.Errorf("the API server's metrics: %v", err)
		return c
	}
	c.to = time.Now()
	for line := range bytes.Lines(text) {
		if labels, value, ok := strings.Cut(strings.TrimSpace(string(line)), "} "); ok && isWrite(labels) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			c.writes += n
		}
	}
	return c
}

// isWrite tells whether a series counts writes of our statuses, or Events of the API group that the operator uses.
func isWrite(series string) bool {
	labels, ok := strings.CutPrefix(series, "apiserver_request_total{")
	if !ok || strings.Contains(labels, `verb="GET"`) || strings.Contains(labels, `verb="LIST"`) || strings.Contains(labels, `verb="WATCH"`) {
		return false
	}
	status := strings.Contains(labels, `group="autoscaling.sysdigmetrics.dev"`) && strings.Contains(labels, `subresource="status"`)
	return status || strings.Contains(labels, `group="events.k8s.io"`)
}

// tally counts all the time.
type tally struct {
	t      *testing.T
	mu     sync.Mutex
	counts []count
	once   sync.Once
	done   chan struct{}
	ended  chan struct{}
}

func newTally(t *testing.T) *tally {
	t.Helper()
	c := &tally{t: t, counts: []count{counted(t)}, done: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(c.end)
	go func() {
		defer close(c.ended)
		for {
			select {
			case <-c.done:
				return
			case <-time.After(500 * time.Millisecond):
				c.look()
			}
		}
	}()
	return c
}

func (c *tally) look() {
	now := counted(c.t)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = append(c.counts, now)
}

// stop ends the counting and returns how many writes there were, in how long, and which window holds too many.
func (c *tally) stop() (writes float64, took time.Duration, excess error) {
	c.end()
	c.look()
	first, last := c.counts[0], c.counts[len(c.counts)-1]
	return last.writes - first.writes, last.to.Sub(first.from), excessOf(c.counts)
}

// end ends the counting, also that of a test that has failed. Asking twice is harmless.
func (c *tally) end() {
	c.once.Do(func() { close(c.done) })
	<-c.ended
}

// excessOf looks at every window between two counts.
func excessOf(counts []count) error {
	for i, from := range counts {
		for _, to := range counts[i+1:] {
			window := to.to.Sub(from.from)
			if writes, most := to.writes-from.writes, perSecond*window.Seconds()+burst+underWay; writes > most {
				return fmt.Errorf("%.0f writes in %s, want %.0f at most", writes, window, most)
			}
		}
	}
	return nil
}
