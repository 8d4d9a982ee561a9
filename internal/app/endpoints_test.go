package app

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

// TestNobodyAloneKeepsMetricsFromTheOthers has one address ask for more than there are places, and hold them.
func TestNobodyAloneKeepsMetricsFromTheOthers(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	handler := few(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			began <- struct{}{}
			<-end
		}
	}), serving.NewShares(strangers))
	send := func(from, path string) int {
		r, w := httptest.NewRequest(http.MethodGet, path, http.NoBody), httptest.NewRecorder()
		r.RemoteAddr = from
		handler.ServeHTTP(w, r)
		return w.Code
	}
	var all sync.WaitGroup
	for range strangers / 2 {
		all.Go(func() { send("10.0.0.1:1", "/held") })
		<-began
	}
	if got := send("10.0.0.1:2", "/held"); got != http.StatusServiceUnavailable {
		t.Errorf("one more of the same address: %d", got)
	}
	if got := send("10.0.0.2:1", "/metrics"); got != http.StatusOK {
		t.Errorf("another address: %d", got)
	}
	close(end)
	all.Wait()
	if got := send("10.0.0.1:2", "/metrics"); got != http.StatusOK {
		t.Errorf("afterwards: %d", got)
	}
}
