package metric_test

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

var start = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// open is a measure that leaves numbers as they are and takes all that an HPA can use.
var open = metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1)}

func sample(t *testing.T, value float64, at time.Time) *metric.Sample {
	t.Helper()
	s, failure := metric.NewSample(open, []metric.Series{{Raw: value}}, false, at, at.Add(30*time.Second), time.Minute)
	if failure != nil {
		t.Fatal(failure)
	}
	return s
}

func TestJudge(t *testing.T) {
	zero := sample(t, 0, time.Time{})
	noData := metric.Failf(metric.NoData, "nothing there")
	down := metric.Failf(metric.Unavailable, "HTTP 500")
	attempted := func(r metric.Reading) metric.Reading {
		r.Asked, r.Attempted = start, start.Add(30*time.Second)
		return r
	}
	tests := map[string]struct {
		policy  metric.Policy
		reading metric.Reading
		after   time.Duration
		value   float64
		reason  metric.Reason
		text    string
	}{
		"a value that was never asked for is Pending":    {reason: metric.Pending},
		"a fresh sample is served":                       {reading: attempted(metric.Reading{Sample: sample(t, 7, start)}), after: time.Minute, value: 7},
		"a sample exactly maxAge old is served":          {reading: attempted(metric.Reading{Sample: sample(t, 7, start)}), after: 2 * time.Minute, value: 7},
		"a sample older than maxAge is Stale":            {reading: attempted(metric.Reading{Sample: sample(t, 7, start)}), after: 2*time.Minute + 1, reason: metric.Stale, text: "2m0s old"},
		"a fresh sample outlives a failed attempt":       {reading: attempted(metric.Reading{Sample: sample(t, 7, start), Failure: down}), after: time.Minute, value: 7},
		"an old sample gives way to the failure":         {reading: attempted(metric.Reading{Sample: sample(t, 7, start), Failure: down}), after: 3 * time.Minute, reason: metric.Unavailable, text: "HTTP 500; the last sample is 3m0s old, maxAge is 2m0s"},
		"no data is an error by default":                 {reading: attempted(metric.Reading{Failure: noData}), after: time.Minute, reason: metric.NoData},
		"no data is the given value when asked for":      {policy: metric.Policy{OnNoData: zero}, reading: attempted(metric.Reading{Failure: noData}), after: time.Minute, value: 0},
		"an old answer is no answer, also when empty":    {policy: metric.Policy{OnNoData: zero}, reading: attempted(metric.Reading{Failure: noData}), after: 3 * time.Minute, reason: metric.NoData},
		"a fresh sample goes before the no-data value":   {policy: metric.Policy{OnNoData: zero}, reading: attempted(metric.Reading{Sample: sample(t, 7, start), Failure: noData}), after: time.Minute, value: 7},
		"an outage is never the no-data value":           {policy: metric.Policy{OnNoData: zero}, reading: attempted(metric.Reading{Failure: down}), after: time.Minute, reason: metric.Unavailable},
		"a suspended binding answers Suspended":          {policy: metric.Policy{Suspended: true}, reading: attempted(metric.Reading{Sample: sample(t, 7, start)}), reason: metric.Suspended},
		"a clock that runs ahead does not keep it young": {reading: attempted(metric.Reading{Sample: &metric.Sample{Value: 7, Time: start.Add(time.Hour), Received: start}}), after: 3 * time.Minute, reason: metric.Stale},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.policy.MaxAge = 2 * time.Minute
			got, failure := test.policy.Judge(test.reading, start.Add(test.after))
			if (got == nil) == (failure == nil) {
				t.Fatalf("want exactly one of a sample and a failure, got %v and %v", got, failure)
			}
			if test.reason != "" {
				if failure == nil || failure.Reason != test.reason || !strings.Contains(failure.Error(), test.text) {
					t.Fatalf("got %v, %v; want %s with %q", got, failure, test.reason, test.text)
				}
				return
			}
			if failure != nil || got.Value != test.value {
				t.Fatalf("got %v, %v; want %v", got, failure, test.value)
			}
			if got.Time.IsZero() {
				t.Error("a served sample has no time")
			}
		})
	}
}

func TestUntilIsWhenTheJudgementTurns(t *testing.T) {
	policy := metric.Policy{MaxAge: 90 * time.Second}
	reading := metric.Reading{Sample: sample(t, 1, start), Attempted: start}
	until := policy.Until(reading, start.Add(time.Second))
	if _, failure := policy.Judge(reading, until); failure != nil {
		t.Errorf("not served at %v: %v", until, failure)
	}
	if _, failure := policy.Judge(reading, until.Add(1)); failure == nil {
		t.Errorf("still served after %v", until)
	}
	if got := policy.Until(reading, until.Add(1)); !got.IsZero() {
		t.Errorf("got %v for a value that is not served", got)
	}
}

// TestNoDataOfASelection is about a fresh answer of which nothing is wanted, where Judge has let the sample pass.
func TestNoDataOfASelection(t *testing.T) {
	why, of := metric.Failf(metric.NoData, "no series matches"), sample(t, 7, start)
	if got, failure := (metric.Policy{}).NoData(why, of); got != nil || failure != why {
		t.Errorf("got %v, %v; want the failure", got, failure)
	}
	policy := metric.Policy{OnNoData: &metric.Sample{Value: 3, Milli: 3000}}
	got, failure := policy.NoData(why, of)
	if failure != nil || got.Milli != 3000 || !got.Time.Equal(of.Time) || !got.Received.Equal(of.Received) {
		t.Errorf("got %+v, %v; want 3 at the time of the answer", got, failure)
	}
	if !policy.OnNoData.Time.IsZero() {
		t.Error("the policy was changed")
	}
}

func TestFailures(t *testing.T) {
	cause := errors.New("connection refused")
	if got := metric.AsFailure(cause); got.Reason != metric.Unavailable || !errors.Is(got, cause) {
		t.Errorf("an error without a reason is %v", got)
	}
	limited := metric.Failf(metric.RateLimited, "slow down")
	if got := metric.AsFailure(errors.Join(cause, limited)); got != limited {
		t.Errorf("got %v", got)
	}
}

func TestMilli(t *testing.T) {
	tests := map[string]struct {
		value float64
		want  int64
	}{
		"zero":                          {0, 0},
		"a whole number":                {100, 100_000},
		"a decimal that float64 rounds": {100.1, 100_100},
		"seven sevenths of 100":         {100./7 + 100./7 + 100./7 + 100./7 + 100./7 + 100./7 + 100./7, 100_000},
		"a little more than nothing":    {100.0000001, 100_001},
		"a third is rounded up":         {1. / 3, 334},
		"a trace is not nothing":        {1e-12, 1},
		"minus a third is rounded down": {-1. / 3, -334},
		"the largest":                   {9.2e15, 9_200_000_000_000_000_000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, failure := metric.Milli(test.value); failure != nil || got != test.want {
				t.Errorf("got %d, %v; want %d", got, failure, test.want)
			}
		})
	}
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 9.3e15, -9.3e15, math.MaxFloat64} {
		if got, failure := metric.Milli(value); failure == nil || failure.Reason != metric.Implausible {
			t.Errorf("%v gave %d, %v; want Implausible", value, got, failure)
		}
	}
}

// FuzzMilli checks that the number an HPA computes with is within one thousandth of the value, away from zero up to the
// closest decimal, and survives resource.Quantity.
func FuzzMilli(f *testing.F) {
	for _, seed := range []float64{0, 1, -1, 100.1, 1. / 3, 1e-300, 9.2e15, 9.3e15, math.NaN(), math.Inf(1), 4.35, 0.30000000000000004} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value float64) {
		milli, failure := metric.Milli(value)
		if failure != nil {
			if failure.Reason != metric.Implausible {
				t.Fatalf("%v: %v", value, failure)
			}
			if !math.IsNaN(value) && math.Abs(value) < 9.2e15 {
				t.Fatalf("%v was refused: %v", value, failure)
			}
			return
		}
		if q := resource.NewMilliQuantity(milli, resource.DecimalSI); q.MilliValue() != milli {
			t.Fatalf("%v became %d, and %d in a Quantity", value, milli, q.MilliValue())
		}
		exact := new(big.Rat).SetFloat64(value)
		exact.Mul(exact, big.NewRat(1000, 1))
		distance := new(big.Rat).Sub(new(big.Rat).SetInt64(milli), exact)
		if value < 0 {
			distance.Neg(distance)
		}
		// What a sum of float64 may be off by is no reason to round up; see noise.
		slack := new(big.Rat).SetFloat64(math.Abs(value) * 1000 * 1.01e-12)
		if distance.Cmp(new(big.Rat).Add(big.NewRat(1, 1), slack)) > 0 {
			t.Fatalf("%v became %d thousandths, more than one away", value, milli)
		}
		if distance.Cmp(new(big.Rat).Neg(slack)) < 0 {
			t.Fatalf("%v became %d thousandths, rounded towards zero", value, milli)
		}
		if value != 0 && milli == 0 {
			t.Fatalf("%v became nothing", value)
		}
	})
}
