package hpas_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/hpasim"
)

// forgetful makes an HPA whose window holds no recommendation, as after a long outage: what it reads acts at once.
func forgetful(h hpasim.HPA) hpasim.HPA {
	h.Sync(time.Unix(0, 0), []hpasim.Reading{{Failed: true}})
	return h
}

// TestAValueThatExceedsScalesUp asks the model of the HPA controller about values around the limit.
func TestAValueThatExceedsScalesUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	exceeded, lower := 0, 0
	for range 20_000 {
		replicas, target := random.Int32N(200), 1+random.Int64N(1_000_000)
		kind, spec := hpasim.Value, value(fmt.Sprintf("%dm", target))
		exact := target
		if random.IntN(2) == 0 {
			kind, spec, exact = hpasim.AverageValue, average(fmt.Sprintf("%dm", target)), target*int64(replicas)
		}
		milli := int64(float64(exact) * (0.5 + random.Float64()))
		h := reads("a", web(spec))
		h.Status.CurrentReplicas, h.Status.DesiredReplicas = replicas, replicas
		x := hpas.NewIndex()
		add(t, x, h)
		sim := forgetful(hpasim.HPA{Max: 1000, Replicas: replicas, Metrics: []hpasim.Metric{{Kind: kind, Target: target}}})
		got := sim.Sync(time.Unix(0, 0).Add(2*hpasim.Window), []hpasim.Reading{{Milli: milli}})
		exceeds := x.Exceeds(ofWeb, "Deployment", milli)
		if exceeds && got <= replicas && replicas > 0 { // the model's HPA has not put the workload to sleep
			t.Fatalf("%v: %d of %d at %d replicas exceeds, and gives %d", kind, milli, target, replicas, got)
		}
		if exceeds {
			exceeded++
		} else if got < replicas {
			lower++
		}
	}
	if exceeded < 1000 || lower < 1000 {
		t.Errorf("%d values exceed and %d others scale down: too few to tell", exceeded, lower)
	}
}

// TestABoundThatDoesNotExceedWouldScaleDown is the control: what an HPA makes of a bound of 700 while the truth is 1,200, if it
// were served without asking.
func TestABoundThatDoesNotExceedWouldScaleDown(t *testing.T) {
	for name, test := range map[string]struct {
		kind   hpasim.Kind
		target autoscalingv2.MetricTarget
		milli  int64
	}{
		"Value":        {hpasim.Value, value("1000"), 1_000_000},
		"AverageValue": {hpasim.AverageValue, average("100"), 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			after := func(milli int64) int32 {
				sim := forgetful(hpasim.HPA{Min: 1, Max: 100, Replicas: 10, Metrics: []hpasim.Metric{{Kind: test.kind, Target: test.milli}}})
				return sim.Sync(time.Unix(0, 0).Add(2*hpasim.Window), []hpasim.Reading{{Milli: milli}})
			}
			x := hpas.NewIndex()
			add(t, x, reads("a", web(test.target)))
			if x.Exceeds(ofWeb, "Deployment", 700_000) || after(700_000) != 7 {
				t.Errorf("the bound exceeds, or gives %d", after(700_000))
			}
			if !x.Exceeds(ofWeb, "Deployment", 1_200_000) || after(1_200_000) != 12 {
				t.Errorf("the truth does not exceed, or gives %d", after(1_200_000))
			}
		})
	}
}
