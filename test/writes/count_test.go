package writes_test

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What is promised.
const (
	perSecond = 5
	burst     = 10
	// turn is how long the next write has to wait when there is no room.
	turn = time.Second / perSecond
	// pace is how often a status may be refreshed, one of all bindings.
	pace = time.Second / 2
)

// underWay is how many writes the API server may count that an operator before has sent, or not count since an operator has ended
// meanwhile: one of each controller and an Event.
const underWay = 3

// wire counts the writes of status and Events that an operator sends.
type wire struct {
	http.RoundTripper
	sent *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && (strings.HasSuffix(r.URL.Path, "/status") || strings.HasPrefix(r.URL.Path, "/apis/events.k8s.io/")) {
		w.sent.Add(1)
	}
	return w.RoundTripper.RoundTrip(r)
}

// answered is how many writes of status and Events the API server has answered.
func answered(t *testing.T) (writes float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	text, err := server.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		t.Fatalf("the API server's metrics: %v", err)
	}
	for line := range bytes.Lines(text) {
		if labels, value, ok := strings.Cut(strings.TrimSpace(string(line)), "} "); ok && isWrite(labels) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			writes += n
		}
	}
	return writes
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
