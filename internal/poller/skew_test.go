package poller

import (
	"math/rand/v2"
	"testing"
	"time"
)

var sent = time.Date(2031, time.March, 1, 12, 0, 0, 700e6, time.UTC)

func TestAnAnswerProvesARangeOfSkews(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		date time.Time
		took time.Duration
		want offset
		ok   bool
	}{
		"an answer without a Date":             {time.Time{}, 0, offset{}, false},
		"clocks that agree":                    {sent.Truncate(time.Second), 200 * ms, offset{-900 * ms, 300 * ms}, true},
		"ten minutes ahead":                    {sent.Truncate(time.Second).Add(10 * time.Minute), 200 * ms, offset{10*time.Minute - 900*ms, 10*time.Minute + 300*ms}, true},
		"ten minutes behind":                   {sent.Truncate(time.Second).Add(-10 * time.Minute), 200 * ms, offset{-10*time.Minute - 900*ms, -10*time.Minute + 300*ms}, true},
		"a slow answer":                        {sent.Truncate(time.Second), 20 * time.Second, offset{-20700 * ms, 300 * ms}, true},
		"our clock was set back in the middle": {sent.Truncate(time.Second), -time.Minute, offset{}, false},
	} {
		got, ok := offsetOf(test.date, sent, sent.Add(test.took))
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: got %v, %v; want %v, %v", name, got, ok, test.want, test.ok)
		}
	}
}

func TestASkewIsHeldUntilItIsProvenWrong(t *testing.T) {
	around := func(ahead time.Duration) offset { return offset{ahead - time.Second/2, ahead + time.Second/2} }
	for name, test := range map[string]struct {
		was  time.Duration
		is   offset
		fits bool
	}{
		"none":                         {0, around(0), true},
		"a little":                     {0, around(4 * time.Second), true},
		"a little behind":              {0, around(-4 * time.Second), true},
		"more":                         {0, around(6 * time.Second), false},
		"more behind":                  {0, around(-6 * time.Second), false},
		"the one that is known":        {10 * time.Minute, around(10*time.Minute + 3*time.Second), true},
		"one that has gone":            {10 * time.Minute, around(0), false},
		"a slow answer proves little":  {0, offset{-20 * time.Second, time.Second}, true},
		"a slow answer can prove much": {0, offset{10*time.Minute - 20*time.Second, 10 * time.Minute}, false},
	} {
		if got := (skew{ahead: test.was}).fits(test.is); got != test.fits {
			t.Errorf("%s: fits %v", name, got)
		}
	}
}

func TestTwoAnswersHaveToAgree(t *testing.T) {
	for name, test := range map[string]struct {
		a, b  offset
		ahead time.Duration
		ok    bool
	}{
		"the narrower counts":          {offset{590e9, 610e9}, offset{599e9, 601e9}, 10 * time.Minute, true},
		"the same Date for a second":   {offset{599e9, 600e9}, offset{600500e6, 601500e6}, 600250 * time.Millisecond, true},
		"a small skew counts as none":  {offset{3e9, 5e9}, offset{3e9, 5e9}, 0, true},
		"one that is wrong":            {offset{599e9, 601e9}, offset{-1e9, 1e9}, 0, false},
		"two that are differently off": {offset{599e9, 601e9}, offset{-601e9, -599e9}, 0, false},
	} {
		got, ok := agree(test.a, test.b)
		if ok != test.ok || ok && got != (skew{test.ahead, true}) {
			t.Errorf("%s: got %v, %v; want %s, %v", name, got, ok, test.ahead, test.ok)
		}
	}
}

// TestHonestAnswersAreNeverTurnedDown has a Sysdig whose clock is constantly wrong answer after random times, some of them long.
func TestHonestAnswersAreNeverTurnedDown(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		ahead := time.Duration(random.Int64N(int64(40*time.Minute))) - 20*time.Minute
		honest := func() (offset, time.Duration) {
			began := sent.Add(time.Duration(random.Int64N(int64(time.Hour))))
			took := time.Duration(random.ExpFloat64() * float64(time.Second))
			made := began.Add(time.Duration(random.Float64() * float64(took))).Add(ahead)
			o, ok := offsetOf(made.Truncate(time.Second), began, began.Add(took))
			if !ok || o.least > ahead || o.most < ahead {
				t.Fatalf("an answer after %s proves %v, and the clock is %s ahead", took, o, ahead)
			}
			return o, took
		}
		first, _ := honest()
		second, took := honest()
		is, ok := agree(first, second)
		switch off := (is.ahead - ahead).Abs(); {
		case !ok:
			t.Fatalf("%s ahead: %v and %v do not agree", ahead, first, second)
		case off > took/2+time.Second/2 && is.ahead != 0, is.ahead == 0 && off > outOfStep+took/2+time.Second/2:
			t.Fatalf("%s ahead: corrected by %s", ahead, is.ahead)
		}
		if third, _ := honest(); is.ahead != 0 && !is.fits(third) {
			t.Fatalf("%s ahead: another honest answer moves a skew of %s", ahead, is.ahead)
		}
		wrong := offset{first.least + 10*time.Minute, first.most + 10*time.Minute}
		if _, ok := agree(wrong, second); ok && took < 5*time.Minute-time.Minute && first.most-first.least < time.Minute {
			t.Fatalf("%v passes for %v", wrong, second)
		}
	}
}
