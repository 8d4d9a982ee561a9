package hpasim_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/hpasim"
)

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// target is that of all metrics: 100.
const target = 100_000

func of(kinds ...hpasim.Kind) (metrics []hpasim.Metric) {
	for _, kind := range kinds {
		metrics = append(metrics, hpasim.Metric{Kind: kind, Target: target})
	}
	return metrics
}

func reads(milli ...int64) (readings []hpasim.Reading) {
	for _, one := range milli {
		readings = append(readings, hpasim.Reading{Milli: one})
	}
	return readings
}

func pods(values ...int64) []hpasim.Reading { return []hpasim.Reading{{Pods: values}} }

// same is a value of n pods.
func same(n int, milli int64) []int64 { return slices.Repeat([]int64{milli}, n) }

var failed = hpasim.Reading{Failed: true}

// TestOneSync has what replica_calculator.go and horizontal.go come to, worked out by hand. Scaling down is looked at when the
// window is over.
func TestOneSync(t *testing.T) {
	for name, test := range map[string]struct {
		hpa      hpasim.HPA
		readings []hpasim.Reading
		want     int32
	}{
		"Value: the ratio scales the pods":                 {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(150_000), 15},
		"Value: it is rounded up":                          {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(111_000), 12},
		"Value: within the tolerance above":                {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(110_000), 10},
		"Value: within the tolerance below":                {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(90_000), 10},
		"Value: below the tolerance":                       {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(89_000), 9},
		"Value: only ready pods are scaled":                {hpasim.HPA{Max: 100, Replicas: 10, Unready: 5, Metrics: of(hpasim.Value)}, reads(150_000), 8},
		"Value: within the tolerance unready pods stay":    {hpasim.HPA{Max: 100, Replicas: 10, Unready: 5, Metrics: of(hpasim.Value)}, reads(105_000), 10},
		"Value: 0 asks for none":                           {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(0), 0},
		"Value: a negative value asks for the minimum":     {hpasim.HPA{Min: 2, Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(-5), 2},
		"AverageValue: the value is divided":               {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}, reads(1_150_000), 12},
		"AverageValue: within the tolerance above":         {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}, reads(1_100_000), 10},
		"AverageValue: within the tolerance below":         {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}, reads(910_000), 10},
		"AverageValue: below the tolerance":                {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}, reads(850_000), 9},
		"AverageValue: unready pods do not matter":         {hpasim.HPA{Max: 100, Replicas: 10, Unready: 5, Metrics: of(hpasim.AverageValue)}, reads(1_500_000), 15},
		"AverageValue: more than int32":                    {hpasim.HPA{Max: 100, Replicas: 60, Metrics: of(hpasim.AverageValue)}, reads(math.MaxInt64), 100},
		"Pods: the mean scales the pods":                   {hpasim.HPA{Max: 100, Replicas: 4, Metrics: of(hpasim.Pods)}, pods(100_000, 200_000, 150_000, 150_000), 6},
		"Pods: within the tolerance":                       {hpasim.HPA{Max: 100, Replicas: 4, Metrics: of(hpasim.Pods)}, pods(same(4, 110_000)...), 4},
		"Pods: the mean is cut to thousandths":             {hpasim.HPA{Max: 100, Replicas: 2, Metrics: of(hpasim.Pods)}, pods(110_000, 110_001), 2},
		"Pods: a missing one is 0 when scaling up":         {hpasim.HPA{Max: 100, Replicas: 4, Metrics: of(hpasim.Pods)}, pods(same(3, 200_000)...), 6},
		"Pods: a missing one may turn the direction":       {hpasim.HPA{Max: 100, Replicas: 4, Metrics: of(hpasim.Pods)}, pods(same(2, 150_000)...), 4},
		"Pods: a missing one is at target on the way down": {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Pods)}, pods(same(5, 50_000)...), 8},
		"Pods: many missing ones hold":                     {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Pods)}, pods(50_000), 10},
		"Pods: missing ones at the target do not matter":   {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Pods)}, pods(100_000), 10},
		"Pods: without any it is an error":                 {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Pods)}, pods(), 10},
		"an error changes nothing":                         {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, []hpasim.Reading{failed}, 10},
		"the highest of several metrics wins":              {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value, hpasim.AverageValue)}, reads(50_000, 1_300_000), 13},
		"with one in error the other scales up":            {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value, hpasim.Value)}, []hpasim.Reading{failed, {Milli: 150_000}}, 15},
		"with one in error nothing scales down":            {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value, hpasim.Value)}, []hpasim.Reading{failed, {Milli: 50_000}}, 10},
		"no more than twice as many at once":               {hpasim.HPA{Max: 100, Replicas: 10, Metrics: of(hpasim.Value)}, reads(900_000), 20},
		"of a few, four":                                   {hpasim.HPA{Max: 100, Replicas: 1, Metrics: of(hpasim.Value)}, reads(900_000), 4},
		"no more than the maximum":                         {hpasim.HPA{Max: 12, Replicas: 10, Metrics: of(hpasim.Value)}, reads(900_000), 12},
		"no less than the minimum":                         {hpasim.HPA{Min: 3, Max: 12, Replicas: 10, Metrics: of(hpasim.Value)}, reads(1), 3},
		"above the maximum, also in error":                 {hpasim.HPA{Max: 5, Replicas: 10, Metrics: of(hpasim.Value)}, []hpasim.Reading{failed}, 5},
		"below the minimum, also in error":                 {hpasim.HPA{Min: 20, Max: 50, Replicas: 10, Metrics: of(hpasim.Value)}, []hpasim.Reading{failed}, 20},
		"at 0 by somebody else it sleeps":                  {hpasim.HPA{Max: 5, Metrics: of(hpasim.Value)}, reads(900_000), 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := test.hpa
			h.Sync(noon, []hpasim.Reading{failed, failed}[:len(h.Metrics)]) // its first recommendation is what it has
			h.Replicas = test.hpa.Replicas
			if got := h.Sync(noon.Add(hpasim.Window+1), test.readings); got != test.want || h.Replicas != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestScalingDownWaitsForTheWindow(t *testing.T) {
	h := hpasim.HPA{Min: 1, Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}
	steps := []struct {
		after time.Duration
		milli int64
		want  int32
	}{
		{0, 1_000_000, 10},
		{time.Minute, 500_000, 10},
		{2 * time.Minute, 1_500_000, 15},
		{3 * time.Minute, 300_000, 15},
		{7 * time.Minute, 200_000, 15},  // the 15 is exactly as old as the window
		{7*time.Minute + 1, 200_000, 3}, // the 3 of minute 3 is left
		{8*time.Minute + 1, 200_000, 2},
	}
	for _, step := range steps {
		if got := h.Sync(noon.Add(step.after), reads(step.milli)); got != step.want {
			t.Fatalf("after %s: got %d, want %d", step.after, got, step.want)
		}
	}
}

// TestAfterErrorsThatOutlastTheWindowTheFirstLowValueActsAtOnce is why a first low number must never be served by mistake.
func TestAfterErrorsThatOutlastTheWindowTheFirstLowValueActsAtOnce(t *testing.T) {
	h := hpasim.HPA{Min: 1, Max: 100, Replicas: 10, Metrics: of(hpasim.AverageValue)}
	h.Sync(noon, reads(1_000_000))
	for i := range 20 {
		if got := h.Sync(noon.Add(time.Duration(i)*15*time.Second), []hpasim.Reading{failed}); got != 10 {
			t.Fatalf("in error it has %d", got)
		}
	}
	if got := h.Sync(noon.Add(hpasim.Window+1), reads(100_000)); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestARepeatedValueCompounds(t *testing.T) {
	h := hpasim.HPA{Min: 1, Max: 100, Replicas: 4, Metrics: of(hpasim.Value)}
	for i, want := range []int32{6, 9, 14, 21, 32, 48, 72, 100, 100} {
		if got := h.Sync(noon.Add(time.Duration(i)*15*time.Second), reads(150_000)); got != want {
			t.Errorf("sync %d: got %d, want %d", i, got, want)
		}
	}
}

func TestToZeroAndBack(t *testing.T) {
	h := hpasim.HPA{Max: 100, Replicas: 3, Metrics: of(hpasim.AverageValue)}
	h.Sync(noon, reads(0))
	if got := h.Sync(noon.Add(hpasim.Window+1), reads(0)); got != 0 {
		t.Fatalf("got %d, want 0", got)
	}
	at := noon.Add(2 * hpasim.Window)
	if got := h.Sync(at, []hpasim.Reading{failed}); got != 0 {
		t.Errorf("an error wakes %d", got)
	}
	if got := h.Sync(at, reads(1)); got != 1 {
		t.Errorf("the least value wakes %d, want 1", got)
	}
	h.Replicas = 0 // by hand
	if got := h.Sync(at, reads(900_000)); got != 0 {
		t.Errorf("what somebody else has put to sleep has %d", got)
	}
}
