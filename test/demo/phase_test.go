package main

import (
	"errors"
	"testing"
	"time"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// seen is a sample some seconds after noon, with a metric.
func seen(second int, desired, ready int32) sample {
	return sample{at: noon.Add(time.Duration(second) * time.Second), metric: &reading{value: 100}, desired: desired, ready: ready}
}

func TestAPhaseHoldsWhenTheReplicasStay(t *testing.T) {
	ph := phase{lowest: 7, highest: 9, hold: 10 * time.Second, deadline: 30 * time.Second}
	unserved, unread := seen(12, 8, 8), seen(12, 8, 8)
	unserved.metric, unread.err = nil, errors.New("no answer")
	for name, c := range map[string]struct {
		samples []sample
		want    verdict
		settled int // seconds after noon
	}{
		"they stay":                     {[]sample{seen(0, 2, 2), seen(5, 7, 7), seen(10, 9, 9), seen(15, 8, 8)}, held, 5},
		"from the beginning":            {[]sample{seen(0, 8, 8), seen(10, 8, 8)}, held, 0},
		"not long enough yet":           {[]sample{seen(5, 8, 8), seen(14, 8, 8)}, open, 5},
		"they left and came back":       {[]sample{seen(5, 8, 8), seen(10, 10, 8), seen(14, 8, 8), seen(16, 8, 8)}, open, 14},
		"not all are ready":             {[]sample{seen(5, 8, 8), seen(15, 8, 6)}, open, -1},
		"the metric was not served":     {[]sample{seen(5, 8, 8), unserved, seen(15, 8, 8)}, open, 15},
		"the cluster could not be read": {[]sample{seen(5, 8, 8), unread, seen(15, 8, 8)}, open, 15},
		"never":                         {[]sample{seen(0, 2, 2), seen(30, 2, 2)}, late, -1},
		"settled too late":              {[]sample{seen(0, 2, 2), seen(25, 8, 8), seen(30, 8, 8)}, late, 25},
		"held at the last moment":       {[]sample{seen(20, 8, 8), seen(30, 8, 8)}, held, 20},
	} {
		t.Run(name, func(t *testing.T) {
			w, v := watch{phase: ph, started: noon}, open
			for _, s := range c.samples {
				w, v = w.see(s)
			}
			if v != c.want {
				t.Errorf("verdict %v, want %v", v, c.want)
			}
			if want := noon.Add(time.Duration(c.settled) * time.Second); c.settled >= 0 && !w.settled.Equal(want) {
				t.Errorf("settled at %v, want %v", w.settled, want)
			} else if c.settled < 0 && !w.settled.IsZero() {
				t.Errorf("settled at %v, want never", w.settled)
			}
		})
	}
}

func TestTheStoryIsBounded(t *testing.T) {
	var total time.Duration
	for _, p := range story() {
		total += p.deadline
		if p.hold <= 0 || p.deadline < 2*p.hold || p.lowest > p.highest {
			t.Errorf("%+v cannot hold", p)
		}
	}
	if total > 15*time.Minute {
		t.Errorf("the story may take %s", total)
	}
}
