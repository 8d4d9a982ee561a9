package metric_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// limits narrows a measure.
func limits(least, most float64) metric.Measure {
	return metric.Measure{Multiplier: 1, Min: least, Max: most}
}

func times(multiplier float64) metric.Measure {
	m := open
	m.Multiplier = multiplier
	return m
}

// outside makes a measure one of an external metric.
func outside(m metric.Measure) metric.Measure {
	m.External = true
	return m
}

func TestNumber(t *testing.T) {
	infinite := math.Inf(1)
	tests := map[string]struct {
		measure metric.Measure
		raw     float64
		milli   int64
		reason  string // part of the message of the failure
	}{
		"as it is":                        {measure: open, raw: 12.5, milli: 12_500},
		"nanoseconds as milliseconds":     {measure: times(1e-6), raw: 250_000_000, milli: 250_000},
		"a nanosecond is not nothing":     {measure: times(1e-6), raw: 1, milli: 1},
		"percent as a ratio":              {measure: times(0.01), raw: 37.5, milli: 375},
		"bytes as MiB":                    {measure: times(1. / (1 << 20)), raw: 3 << 20, milli: 3000},
		"a ratio as percent":              {measure: times(100), raw: 0.375, milli: 37_500},
		"a product that float64 rounds":   {measure: times(100), raw: 0.07, milli: 7000},
		"a multiplier turns the sign":     {measure: times(-1), raw: 5, milli: -5000},
		"a multiplier of nothing":         {measure: times(0), raw: 5, milli: 0},
		"negative is negative":            {measure: open, raw: -1. / 3, milli: -334},
		"the least that is allowed":       {measure: limits(1, 5), raw: 1, milli: 1000},
		"less than is allowed":            {measure: limits(1, 5), raw: 0.9999, reason: "the value 0.9999 is below spec.bounds.min 1"},
		"the most that is allowed":        {measure: limits(1, 5), raw: 5, milli: 5000},
		"more than is allowed":            {measure: limits(1, 5), raw: 5.0001, reason: "the value 5.0001 is above spec.bounds.max 5"},
		"limits are after the multiplier": {measure: metric.Measure{Multiplier: 0.01, Min: 0, Max: 1}, raw: 100, milli: 1000},
		"no least":                        {measure: limits(-infinite, 5), raw: -1e6, milli: -1e9},
		"no most":                         {measure: limits(1, infinite), raw: 1e6, milli: 1e9},
		"not a number":                    {measure: open, raw: math.NaN(), reason: "NaN"},
		"an infinity":                     {measure: open, raw: infinite, reason: "+Inf"},
		"a negative infinity":             {measure: open, raw: -infinite, reason: "-Inf"},
		"an infinity times nothing":       {measure: times(0), raw: infinite, reason: "NaN"},
		"an overflow by the multiplier":   {measure: times(1e200), raw: 1e200, reason: "+Inf"},
		"too large for an HPA":            {measure: times(1e6), raw: 1e10, reason: "too large"},
		"an external metric at zero":      {measure: outside(open), raw: 0, milli: 0},
		"an external metric at minus 0":   {measure: outside(times(-1)), raw: 0, milli: 0},
		"a negative external metric":      {measure: outside(open), raw: -1e-8, reason: "scales to maxReplicas; use an Object metric"},
		"what sums leave of 0":            {measure: open, raw: sum(0.1, 0.2, -0.3), milli: 0},
		"what sums leave below 0":         {measure: open, raw: sum(0.3, -0.2, -0.1), milli: 0},
		"an external metric just below 0": {measure: outside(open), raw: sum(0.3, -0.2, -0.1), milli: 0},
		"and in nanoseconds":              {measure: times(1e9), raw: sum(0.1, 0.2, -0.3), milli: 0},
		"below 0 and in nanoseconds":      {measure: outside(times(1e9)), raw: sum(0.3, -0.2, -0.1), milli: 0},
		"what sums of nanoseconds leave":  {measure: outside(times(1e-9)), raw: sum(1e9/3, -1e9, 2e9/3, -1e-7), milli: 0},
		"turned":                          {measure: outside(times(-1)), raw: sum(0.1, 0.2, -0.3), milli: 0},
		"at least 0, and just below":      {measure: limits(0, 5), raw: sum(0.3, -0.2, -0.1), milli: 0},
		"a nanosecond in seconds":         {measure: times(1e-9), raw: 2, milli: 1},
		"a load that is hardly there":     {measure: open, raw: 2e-9, milli: 1},
		"an external metric turned":       {measure: outside(times(-1)), raw: -2, milli: 2000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, milli, failure := test.measure.Number(test.raw)
			if test.reason != "" {
				if failure == nil || failure.Reason != metric.Implausible || !strings.Contains(failure.Message, test.reason) {
					t.Errorf("got %d, %v; want Implausible with %q", milli, failure, test.reason)
				}
			} else if failure != nil || milli != test.milli {
				t.Errorf("got %d, %v; want %d", milli, failure, test.milli)
			}
		})
	}
}

// one is a series of a pod with the given values of a and b.
func one(pod, a, b string, raw float64) metric.Series {
	return metric.Series{Pod: pod, Labels: labels.Set{"a": a, "b": b}, Raw: raw}
}

func grouped(by metric.Aggregation) metric.Measure {
	m := open
	m.Group = by
	return m
}

func TestReduce(t *testing.T) {
	// Two methods of two pods: 10+20 and 1+2.
	pods := []metric.Series{one("p", "GET", "", 10), one("q", "GET", "", 1), one("p", "PUT", "", 20), one("q", "PUT", "", 2)}
	tests := map[string]struct {
		measure metric.Measure
		series  []metric.Series
		milli   int64
		reason  string
	}{
		"the mean of pods, each the sum of its series": {measure: grouped(metric.Average), series: pods, milli: 16_500},
		"the sum of pods":                                  {measure: grouped(metric.Sum), series: pods, milli: 33_000},
		"the least pod, not the least series":              {measure: grouped(metric.Min), series: pods, milli: 3_000},
		"the greatest pod, not the greatest series":        {measure: grouped(metric.Max), series: pods, milli: 30_000},
		"the multiplier comes after":                       {measure: metric.Measure{Group: metric.Average, Multiplier: 2, Min: 33, Max: 33}, series: pods, milli: 33_000},
		"a pod that is no number spoils the whole":         {measure: grouped(metric.Max), series: []metric.Series{one("p", "", "", math.NaN()), one("q", "", "", 1)}, reason: "NaN"},
		"one series needs no aggregation":                  {measure: open, series: []metric.Series{one("", "x", "y", 7)}, milli: 7000},
		"more series name the label in the way":            {measure: open, series: []metric.Series{one("", "x", "y", 7), one("", "x", "z", 7)}, reason: "there are 2 series where one is needed; they differ in b; choose among them with the HPA's metric.selector"},
		"more series name all labels in the way, in order": {measure: open, series: []metric.Series{one("", "x", "y", 7), one("", "x", "z", 7), one("", "v", "y", 7)}, reason: "differ in a and b;"},
		"more series without a label that differs":         {measure: open, series: []metric.Series{{Raw: 1}, {Raw: 2}}, reason: "differ in labels that the answer does not keep apart"},
		"items of an external metric are added up":         {measure: outside(grouped(metric.Average)), series: pods, milli: 33_000},
		"items are rounded one by one, as the HPA adds":    {measure: outside(open), series: []metric.Series{{Raw: 1. / 3}, {Raw: 1. / 3}, {Raw: 1. / 3}}, milli: 3 * 334},
		"a negative item is not hidden by the others":      {measure: outside(open), series: []metric.Series{{Raw: 5}, {Raw: -1}}, reason: "the value -1 is negative"},
		"limits hold for each item":                        {measure: outside(limits(0, 6)), series: []metric.Series{{Raw: 5}, {Raw: 5}}, milli: 10_000},
		"an item beyond the limits":                        {measure: outside(limits(0, 6)), series: []metric.Series{{Raw: 5}, {Raw: 7}}, reason: "above spec.bounds.max 6"},
		"a sum beyond int64":                               {measure: outside(open), series: []metric.Series{{Raw: 9e15}, {Raw: 9e15}}, reason: "the sum of 2 items is too large"},
		"the largest sum":                                  {measure: outside(open), series: []metric.Series{{Raw: 9.2e15}, {Raw: 2e13}}, milli: 9_220_000_000_000_000_000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			value, milli, failure := test.measure.Reduce(test.series)
			if test.reason != "" {
				if failure == nil || failure.Reason != metric.Implausible || !strings.Contains(failure.Message, test.reason) || value != 0 || milli != 0 {
					t.Errorf("got %d, %v; want Implausible with %q", milli, failure, test.reason)
				}
			} else if failure != nil || milli != test.milli || value != float64(test.milli)/1000 {
				t.Errorf("got %v, %d, %v; want %d", value, milli, failure, test.milli)
			}
		})
	}
}

func TestItemsOfAnExternalMetricHaveTheirOwnThousandths(t *testing.T) {
	series := []metric.Series{{Raw: 1. / 3}, {Raw: 0}, {Raw: 2}}
	if _, _, failure := outside(open).Reduce(series); failure != nil {
		t.Fatal(failure)
	}
	if series[0].Milli != 334 || series[1].Milli != 0 || series[2].Milli != 2000 {
		t.Errorf("got %+v", series)
	}
}

func TestAtMost100CombinationsAreKeptApart(t *testing.T) {
	combinations := func(n int) []metric.Series {
		var series []metric.Series
		for i := range n {
			series = append(series, one("p", fmt.Sprint(i), "", 1), one("q", fmt.Sprint(i), "", 1)) // pods are no combinations
		}
		return series
	}
	if s, failure := metric.NewSample(grouped(metric.Sum), combinations(100), true, start, start, 0); failure != nil || s.Value != 200 || len(s.Series) != 200 {
		t.Errorf("got %v, %v; want 200", s, failure)
	}
	if s, failure := metric.NewSample(grouped(metric.Sum), combinations(101), true, start, start, 0); s != nil || failure == nil || failure.Reason != metric.Rejected || !strings.Contains(failure.Message, "101 combinations") {
		t.Errorf("got %v, %v; want Rejected", s, failure)
	}
	if s, failure := metric.NewSample(grouped(metric.Sum), combinations(101), false, start, start, 0); failure != nil || s.Series != nil {
		t.Errorf("got %v, %v; want a value of series that are not kept", s, failure)
	}
}

// FuzzReduce checks that what an HPA computes with is within one thousandth of the truth for each item, within the limits,
// and never negative for an external metric.
func FuzzReduce(f *testing.F) {
	for _, seed := range []float64{0, 1, -1, 1. / 3, 100.1, 1e-300, 9e15, math.NaN(), math.Inf(1)} {
		f.Add(seed, 2*seed, 1.0, math.Inf(-1), math.Inf(1), uint8(0), false)
		f.Add(seed, 1.0, 1e-6, 0.0, 1e9, uint8(1), true)
		f.Add(seed, seed, -0.01, -5.0, 5.0, uint8(2), false)
	}
	groups := []metric.Aggregation{metric.Sum, metric.Average, metric.Min, metric.Max}
	f.Fuzz(func(t *testing.T, a, b, multiplier, least, most float64, group uint8, external bool) {
		m := metric.Measure{Group: groups[int(group)%len(groups)], Multiplier: multiplier, Min: least, Max: most, External: external}
		series := []metric.Series{{Pod: "p", Raw: a}, {Pod: "q", Raw: b}}
		value, milli, failure := m.Reduce(series)
		if failure != nil {
			if failure.Reason != metric.Implausible {
				t.Fatal(failure)
			}
			return
		}
		parts := []float64{value}
		if external {
			parts = []float64{valueOf(a, multiplier), valueOf(b, multiplier)}
			if milli < 0 || series[0].Milli+series[1].Milli != milli {
				t.Fatalf("%+v of %v and %v: %d of %d and %d", m, a, b, milli, series[0].Milli, series[1].Milli)
			}
		}
		exact, slack := new(big.Rat), big.NewRat(int64(len(parts)), 1)
		for _, part := range parts {
			if math.IsNaN(part) || math.IsInf(part, 0) || part < least || part > most {
				t.Fatalf("%+v of %v and %v let %v pass", m, a, b, part)
			}
			thousandths := new(big.Rat).SetFloat64(part)
			thousandths.Mul(thousandths, big.NewRat(1000, 1))
			exact.Add(exact, thousandths)
			slack.Add(slack, new(big.Rat).SetFloat64(math.Abs(part)*1000*0x1p-51)) // float64 are further apart than thousandths
		}
		distance := new(big.Rat).Sub(new(big.Rat).SetInt64(milli), exact)
		if distance.Abs(distance).Cmp(slack) > 0 {
			t.Fatalf("%+v of %v and %v: %d thousandths, %s away", m, a, b, milli, distance.FloatString(6))
		}
	})
}

// valueOf is what a number becomes; of less than 1e-9, nothing.
func valueOf(raw, multiplier float64) float64 {
	if math.Abs(raw) < 1e-9 {
		return 0
	}
	return raw * multiplier
}

// TestWhatSumsLeaveOfNothingIsNothing adds numbers up that cancel out, in any order, and turns them into any unit: 0, and no error.
func TestWhatSumsLeaveOfNothingIsNothing(t *testing.T) {
	random, left := rand.New(rand.NewPCG(1, 2)), 0
	for range 20_000 {
		var numbers []float64
		for range 1 + random.IntN(5) {
			n, part := float64(random.IntN(100_000_000))/1000, float64(random.IntN(1000))/1000
			numbers = append(numbers, n, -n*part, -n*(1-part))
		}
		random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		raw := sum(numbers...)
		if raw != 0 {
			left++
		}
		for _, multiplier := range []float64{1, -1, 0.01, 100, 1e-9, 1e-6, 1e9} {
			for _, m := range []metric.Measure{times(multiplier), outside(times(multiplier))} {
				if value, milli, failure := m.Number(raw); value != 0 || milli != 0 || failure != nil {
					t.Fatalf("%v, which is %g, times %g: %g, %d, %v", numbers, raw, multiplier, value, milli, failure)
				}
			}
		}
	}
	if left < 1000 { // the control
		t.Errorf("only %d sums leave anything", left)
	}
}

// sum adds numbers up as a program does, not as the compiler: exactly.
func sum(numbers ...float64) (total float64) {
	for _, n := range numbers {
		total += n
	}
	return total
}
