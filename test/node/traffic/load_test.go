package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheLoadFollowsTheRateThatIsSet(t *testing.T) {
	var asked atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer target.Close()
	g := &generator{url: target.URL}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for range workers {
		group.Go(func() { g.work(ctx) })
	}
	set := func(rps string) int {
		recorder := httptest.NewRecorder()
		g.setRate(recorder, httptest.NewRequest(http.MethodPut, "/rate?rps="+rps, nil))
		return recorder.Code
	}
	for _, wrong := range []string{"", "-1", "fast", "1e9"} {
		if code := set(wrong); code != http.StatusBadRequest {
			t.Errorf("a rate of %q: status %d", wrong, code)
		}
	}
	for range 2 { // from nothing, twice
		before := asked.Load()
		set("500")
		time.Sleep(time.Second)
		set("0")
		if n := asked.Load() - before; n < 50 || n > 500+2*workers {
			t.Errorf("%d requests in a second, want 500", n)
		}
		time.Sleep(100 * time.Millisecond) // those under way
		before = asked.Load()
		time.Sleep(200 * time.Millisecond)
		if n := asked.Load() - before; n != 0 {
			t.Errorf("%d requests at a rate of 0", n)
		}
	}
	if failed := g.failed.Load(); failed != 0 {
		t.Errorf("%d requests failed: %v", failed, g.last.Load())
	}
}
