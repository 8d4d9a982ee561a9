package poller_test

import (
	"fmt"
	"testing"
	"time"

	promlabels "github.com/prometheus/prometheus/model/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// blackout is 8 minutes, longer than HPAs stabilise by default.
const blackout = 8 * time.Minute

// mass is a stage with workloads of several shapes, half of which take no data for 0.
func mass(t *testing.T, workloads int, hold time.Duration) (*stage, []query.Definition) {
	s := newStage(t)
	s.registry.PutConnection(registry.Connection{
		Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: s.client(),
		AnomalyLimits: registry.AnomalyLimits{Bindings: 10, Share: 0.5, Hold: hold},
	})
	names := []string{sysdigtest.MetricHTTPRequests, "orders_total", "jobs_total"}
	var all []query.Definition
	for i := range workloads {
		workload, name := fmt.Sprintf("web%d", i), names[i%len(names)]
		s.fill(name, workload, workload+"-0", perPod*10)
		all = append(all, s.bind(workload, metricNamed(name), func(b *v1alpha1.SysdigMetricBinding) {
			if i%2 == 0 {
				b.Spec.OnNoData = v1alpha1.OnNoData{Action: v1alpha1.NoDataValue, Value: "0"}
			}
		}))
	}
	s.run(10*time.Second, func() {})
	for _, d := range all {
		s.wantValue(d, perPod)
	}
	return s, all
}

// dim veils the points of the first workloads from now on; their heartbeats stay.
func (s *stage) dim(zero bool, first int) {
	covered := map[string]bool{}
	for i := range first {
		covered[fmt.Sprintf("web%d", i)] = true
	}
	s.sysdig.Store().SetVeils(sysdigtest.Veil{
		From: s.clk.Now(), Zero: zero,
		Covers: func(l promlabels.Labels) bool {
			return l.Get("__name__") != sysdigtest.MetricUp && covered[l.Get(sysdigtest.LabelWorkloadName)]
		},
	})
}

// zeroes counts who reads 0.
func (s *stage) zeroes(all []query.Definition) (n int) {
	for _, d := range all {
		if sample, failure := s.serve(d); failure == nil && sample.Value == 0 {
			n++
		}
	}
	return n
}

func TestABlackoutOfAllMetricsIsNeverServed(t *testing.T) {
	for name, zero := range map[string]bool{"as zeroes": true, "as nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, all := mass(t, 12, 10*time.Minute)
			s.dim(zero, 12)
			s.run(blackout, func() {
				if n := s.zeroes(all); n > 0 {
					t.Fatalf("%s after noon %d read 0", s.clk.Since(noon), n)
				}
			})
			if _, failure := s.serve(all[0]); failure == nil || failure.Reason != metric.Implausible {
				t.Errorf("in the end it reads %v, want Implausible", failure)
			}
			s.sysdig.Store().SetVeils()
			s.run(interval+time.Minute+interval, func() {}) // a round, and the window that may hold some of the blackout
			for _, d := range all {
				s.wantValue(d, perPod)
			}
		})
	}
}

// TestWhatIsLeftOfABlackoutIsNotServed is about points that are never mended: half of the first windows after it is zeroes, or empty,
// and reads like half of the load. The HPA would act on that at once, because it stabilises nothing after errors.
func TestWhatIsLeftOfABlackoutIsNotServed(t *testing.T) {
	for name, test := range map[string]struct {
		zero      bool
		workloads int
	}{"of zeroes": {true, 12}, "of nothing": {false, 12}, "of nothing, of a few workloads": {false, 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, all := mass(t, test.workloads, 10*time.Minute)
			from := s.clk.Now()
			s.dim(test.zero, 12)
			s.run(blackout, func() {})
			s.sysdig.Store().SetVeils(sysdigtest.Veil{
				From: from, Until: s.clk.Now(), Zero: test.zero, Covers: func(l promlabels.Labels) bool { return l.Get("__name__") != sysdigtest.MetricUp },
			})
			least := perPod
			s.run(interval+time.Minute+interval+10*time.Second, func() { // until points are there, their window, and the grid
				for i, d := range all {
					sample, failure := s.serve(d)
					assumed := i%2 == 0 && !test.zero && test.workloads < 10 // spec.onNoData
					if failure == nil && sample.Value < least && !assumed {
						least = sample.Value
					}
				}
			})
			if least < perPod {
				t.Errorf("%v of %v was served", least, perPod)
			}
			for _, d := range all {
				s.wantValue(d, perPod)
			}
		})
	}
}

// TestABlackoutWithoutTheBreaker is the control.
func TestABlackoutWithoutTheBreaker(t *testing.T) {
	for name, test := range map[string]struct {
		zero bool
		want int
	}{"as zeroes": {true, 12}, "as nothing": {false, 6}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, all := mass(t, 12, 0)
			s.dim(test.zero, 12)
			s.run(blackout, func() {})
			if n := s.zeroes(all); n != test.want {
				t.Errorf("%d read 0, want %d", n, test.want)
			}
		})
	}
}

// TestAGenuineFall makes sure that what is idle is served as such: a few at once, all of them when the time is up.
func TestAGenuineFall(t *testing.T) {
	for name, test := range map[string]struct {
		idle  int
		until time.Duration // their window, which has to empty, and the lag, the interval and the doubt
	}{
		"of a few": {5, 2*time.Minute + interval},
		"of all":   {12, 12*time.Minute + interval},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, all := mass(t, 12, 10*time.Minute)
			s.dim(true, test.idle)
			s.run(test.until, func() {})
			if n := s.zeroes(all); n != test.idle {
				t.Errorf("%d read 0, want %d", n, test.idle)
			}
		})
	}
}
