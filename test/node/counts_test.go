package node_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// counts are how many requests had been answered at moments in the order of time.
type counts struct {
	mu  sync.Mutex
	all []answered
}

type answered struct {
	at       time.Time
	requests int64
}

func (c *counts) note(at time.Time, requests int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, answered{at, requests})
}

// rate is how many requests were answered per second between two moments.
func (c *counts) rate(from, to time.Time) (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, err := c.until(from)
	if err != nil {
		return 0, err
	}
	after, err := c.until(to)
	return (after - before) / to.Sub(from).Seconds(), err
}

// until is how many requests had been answered at a moment, as if they came evenly between two looks.
func (c *counts) until(at time.Time) (float64, error) {
	i := slices.IndexFunc(c.all, func(a answered) bool { return !a.at.Before(at) })
	if i < 0 || i == 0 && c.all[0].at.After(at) {
		return 0, fmt.Errorf("nobody has counted before and after %s", at)
	}
	next := c.all[i]
	if i == 0 {
		return float64(next.requests), nil
	}
	last := c.all[i-1]
	part := float64(at.Sub(last.at)) / float64(next.at.Sub(last.at))
	return float64(last.requests) + part*float64(next.requests-last.requests), nil
}

func TestARateIsOfTheRequestsBetweenTwoMoments(t *testing.T) {
	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }
	var c counts
	for seconds, requests := range []int64{0, 0, 100, 200, 200} {
		c.note(at(10*seconds), requests)
	}
	for _, test := range []struct {
		from, to int
		want     float64
	}{{0, 10, 0}, {10, 20, 10}, {15, 25, 10}, {0, 40, 5}, {5, 15, 5}, {30, 40, 0}} {
		if got, err := c.rate(at(test.from), at(test.to)); err != nil || got != test.want {
			t.Errorf("from %d s to %d s: %v, %v, want %v", test.from, test.to, got, err, test.want)
		}
	}
	for _, unknown := range [][2]int{{-1, 10}, {30, 41}} {
		if got, err := c.rate(at(unknown[0]), at(unknown[1])); err == nil {
			t.Errorf("from %d s to %d s nobody has counted, and it is %v", unknown[0], unknown[1], got)
		}
	}
}
