package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// setRate sets the rate as who asks for it does, and returns the status.
func setRate(g *generator, rps string) int {
	recorder := httptest.NewRecorder()
	g.setRate(recorder, httptest.NewRequest(http.MethodPut, "/rate?rps="+rps, nil))
	return recorder.Code
}

// generate lets the workers of a generator work until the test ends.
func generate(t *testing.T, send func(context.Context) error) *generator {
	t.Helper()
	g := &generator{}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() { cancel(); group.Wait() })
	for range workers {
		group.Go(func() { g.work(ctx, send) })
	}
	return g
}

func TestTheLoadFollowsTheRateThatIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := generate(t, func(context.Context) error { return nil })
		for _, wrong := range []string{"", "-1", "fast", "1e9"} {
			if code := setRate(g, wrong); code != http.StatusBadRequest {
				t.Errorf("a rate of %q: status %d", wrong, code)
			}
		}
		for range 2 { // from nothing, twice
			before := g.answered.Load()
			setRate(g, "500")
			time.Sleep(10 * time.Second)
			setRate(g, "0")
			synctest.Wait()
			if n := g.answered.Load() - before; n < 4980 || n > 5000 {
				t.Errorf("%d requests in 10 seconds, want 5000 but for those of the last look", n)
			}
			before = g.answered.Load()
			time.Sleep(10 * time.Second)
			if n := g.answered.Load() - before; n != 0 {
				t.Errorf("%d requests at a rate of 0", n)
			}
		}
		if failed := g.failed.Load(); failed != 0 {
			t.Errorf("%d requests failed: %v", failed, g.last.Load())
		}
	})
}

func TestWhatCouldNotBeSentIsSentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		g := generate(t, func(context.Context) error {
			if slow.Load() {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		setRate(g, "500")
		time.Sleep(20 * time.Second)
		slow.Store(true)
		time.Sleep(time.Second)
		slow.Store(false)
		time.Sleep(39 * time.Second)
		synctest.Wait()
		if n := g.answered.Load(); n < 29_980 || n > 30_000 {
			t.Errorf("%d requests in a minute of which 5 seconds were slow, want 30000 but for those of the last look", n)
		}
	})
}

func TestARequestThatFailsIsCountedWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := generate(t, func(context.Context) error { return errors.New("refused") })
		setRate(g, "10")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if answered, failed, last := g.answered.Load(), g.failed.Load(), g.last.Load(); answered != 0 || failed < 99 || failed > 100 || last != "refused" {
			t.Errorf("%d were answered, %d failed with %v", answered, failed, last)
		}
	})
}

func TestASenderWantsAnAnswerThatIsWell(t *testing.T) {
	status, asked := http.StatusOK, 0
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(status)
	}))
	defer target.Close()
	send := sender(target.URL)
	for range 2 * perConnection {
		if err := send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	status = http.StatusServiceUnavailable
	if err := send(t.Context()); err == nil {
		t.Error("an answer of 503 has not failed")
	}
	if want := 2*perConnection + 1; asked != want {
		t.Errorf("%d requests arrived, want %d", asked, want)
	}
}
