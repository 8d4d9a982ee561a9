package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCluster follows the load: 1 replica per 100 requests/s, 2 at least, 20 s later.
type fakeCluster struct {
	rps     float64
	changed time.Time
	stuck   bool
	failure error
}

func (f *fakeCluster) setLoad(_ context.Context, rps float64) error {
	f.rps, f.changed = rps, time.Now()
	return nil
}

func (f *fakeCluster) look(context.Context) sample {
	s := sample{at: time.Now(), metric: &reading{value: f.rps / 2}, desired: 2, ready: 2}
	if time.Since(f.changed) >= 20*time.Second && !f.stuck {
		s.desired = max(2, int32(f.rps/100))
		s.ready, s.metric.value = s.desired, f.rps/float64(s.desired)
	}
	return s
}

func (f *fakeCluster) player(out *bytes.Buffer) *player {
	return &player{out: out, setLoad: f.setLoad, look: f.look, alive: func() error { return f.failure }}
}

func TestTheStoryHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		results, err := new(fakeCluster).player(&out).play(t.Context(), story())
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != 3 {
			t.Fatalf("%d results", len(results))
		}
		load := results[1]
		if load.replicas != 8 || load.value != 100 || load.settled != 20*time.Second || load.took != 50*time.Second {
			t.Errorf("the load ended as %+v", load)
		}
		// The phases last 30, 50 and 10 s, so they have 7, 11 and 3 rows, and one header each.
		if rows, headers := strings.Count(out.String(), "\n"), strings.Count(out.String(), "TIME"); headers != 3 || rows != 7+11+3+2*headers+2*3 {
			t.Errorf("%d lines and %d headers:\n%s", rows, headers, out.String())
		}
	})
}

func TestTheStoryEndsWithAPhaseThatDoesNotHold(t *testing.T) {
	for name, c := range map[string]struct {
		cluster fakeCluster
		results int
		want    string
	}{
		"late":    {fakeCluster{stuck: true}, 1, "phase load: it did not hold within 6m0s: 2 replicas are asked for and 2 are ready, want 7 to 9 for 30s"},
		"crashed": {fakeCluster{failure: errors.New("the operator ended")}, 0, "phase steady: the operator ended"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				results, err := c.cluster.player(new(bytes.Buffer)).play(t.Context(), story())
				if err == nil || err.Error() != c.want || len(results) != c.results {
					t.Errorf("got %d results and %v, want %d and %s", len(results), err, c.results, c.want)
				}
			})
		})
	}
}

func TestAnInterruptEndsTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results, err := new(fakeCluster).player(new(bytes.Buffer)).play(ctx, story())
		if !errors.Is(err, context.DeadlineExceeded) || len(results) != 1 {
			t.Errorf("got %d results and %v", len(results), err)
		}
	})
}
