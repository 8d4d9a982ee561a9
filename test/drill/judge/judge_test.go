package judge

import (
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// at is some seconds after noon.
func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// line is made of pairs of seconds and replicas.
func line(pairs ...int) Line {
	var l Line
	for pair := range slices.Chunk(pairs, 2) {
		l = append(l, Step{At: at(pair[0]), Replicas: int32(pair[1])})
	}
	return l
}

func TestALineHoldsFromStepToStep(t *testing.T) {
	l := line(0, 4, 60, 8, 120, 2)
	for seconds, want := range map[int]int32{-1: 0, 0: 4, 59: 4, 60: 8, 119: 8, 120: 2, 1000: 2} {
		if got := l.At(at(seconds)); got != want {
			t.Errorf("%d after %d s, want %d", got, seconds, want)
		}
	}
	for _, c := range []struct {
		from, to int
		want     int32
	}{{0, 59, 4}, {0, 60, 8}, {61, 119, 8}, {120, 500, 2}, {119, 500, 8}, {-60, -1, 0}, {-60, 0, 4}} {
		if got := l.Most(at(c.from), at(c.to)); got != c.want {
			t.Errorf("at most %d from %d s to %d s, want %d", got, c.from, c.to, c.want)
		}
	}
}

func TestAScaleDownIsWrongWhenTheLoadAskedForMoreWithinTheWindow(t *testing.T) {
	for name, c := range map[string]struct {
		needed, had Line
		wrong       []int // seconds
	}{
		"nothing happens": {line(-600, 4), line(-600, 4), nil},
		"the load is as it was, and the replicas fall":         {line(-600, 4), line(-600, 4, 100, 1), []int{100}},
		"each step of a fall is wrong":                         {line(-600, 8), line(-600, 8, 100, 4, 115, 1), []int{100, 115}},
		"the load fell less than a window ago":                 {line(-600, 4, 10, 1), line(-600, 4, 309, 1), []int{309}},
		"the load fell a window ago":                           {line(-600, 4, 10, 1), line(-600, 4, 311, 1), nil},
		"the load fell, but not so far":                        {line(-600, 8, 10, 4), line(-600, 8, 400, 2), []int{400}},
		"the load came back within the window":                 {line(-600, 4, 10, 1, 50, 4, 60, 1), line(-600, 4, 355, 1), []int{355}},
		"more than needed is given back":                       {line(-600, 8), line(-600, 12, 100, 8), nil},
		"more than what is too much is given back":             {line(-600, 8), line(-600, 12, 100, 7), []int{100}},
		"replicas that rise are never wrong":                   {line(-600, 1), line(-600, 4, 100, 8), nil},
		"what happened before does not count":                  {line(-600, 4), line(-600, 4, -10, 1), nil},
		"what happens later does not count":                    {line(-600, 4), line(-600, 4, 1001, 1), nil},
		"a load that rises later does not make a fall wrong":   {line(-600, 1, 200, 4), line(-600, 4, 100, 1), nil},
		"a load that rises at once does":                       {line(-600, 1, 100, 4), line(-600, 4, 100, 1), []int{100}},
		"too few replicas that fall further are wrong as well": {line(-600, 8), line(-600, 4, 100, 2), []int{100}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			for _, change := range Wrong(c.needed, c.had, at(0), at(1000), 300*time.Second) {
				got = append(got, int(change.At.Sub(noon).Seconds()))
			}
			if !slices.Equal(got, c.wrong) {
				t.Errorf("wrong after %v s, want %v", got, c.wrong)
			}
		})
	}
}

func TestARiseIsCountedFromWhenItCouldBeKnown(t *testing.T) {
	const rose, known, to = 100, 200, 400
	for name, c := range map[string]struct {
		had      Line
		delay    time.Duration
		followed bool
	}{
		"at once":                         {line(0, 4, 200, 8), 0, true},
		"later":                           {line(0, 4, 230, 8), 30 * time.Second, true},
		"the first step counts":           {line(0, 4, 230, 6, 245, 8), 30 * time.Second, true},
		"before it had to":                {line(0, 4, 150, 8), 0, true},
		"a rise before the load's":        {line(0, 4, 50, 5, 230, 8), 30 * time.Second, true},
		"there were enough":               {line(0, 12), 0, true},
		"never":                           {line(0, 4), 0, false},
		"too late to be seen":             {line(0, 4, 401, 8), 0, false},
		"a fall is no rise":               {line(0, 4, 230, 1), 0, false},
		"a fall between does not matter":  {line(0, 4, 150, 1, 230, 8), 30 * time.Second, true},
		"enough was taken away just then": {line(0, 12, 100, 4, 230, 8), 30 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			delay, followed := Rise(c.had, 8, at(rose), at(known), at(to))
			if delay != c.delay || followed != c.followed {
				t.Errorf("followed: %t after %s, want %t after %s", followed, delay, c.followed, c.delay)
			}
		})
	}
}

func TestAFallIsCountedFromTheLoads(t *testing.T) {
	for name, c := range map[string]struct {
		had      Line
		delay    time.Duration
		followed bool
	}{
		"after the window":     {line(0, 4, 420, 1), 320 * time.Second, true},
		"never":                {line(0, 4), 0, false},
		"before the load fell": {line(0, 4, 90, 1), 0, false},
		"after a rise":         {line(0, 4, 110, 5, 420, 1), 320 * time.Second, true},
		"after too many ended": {line(0, 6, 250, 4, 420, 1), 320 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			delay, followed := Fall(c.had, 4, at(100), at(1000))
			if delay != c.delay || followed != c.followed {
				t.Errorf("followed: %t after %s, want %t after %s", followed, delay, c.followed, c.delay)
			}
		})
	}
}
