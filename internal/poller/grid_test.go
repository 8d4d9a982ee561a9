package poller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// beats are when the heartbeats were sent, after noon.
func (s *stage) beats() []time.Duration {
	var all []time.Duration
	for _, r := range s.sysdig.Requests() {
		if isHeartbeat(r.Query) {
			all = append(all, r.At.Sub(noon))
		}
	}
	return all
}

func TestRoundsFollowRightBehindThePoints(t *testing.T) {
	for name, test := range map[string]struct {
		interval, lag  time.Duration
		rank, replicas int
		want           []float64 // seconds after noon, from the second round on
	}{
		"interval and lag of the default":          {30 * time.Second, 30 * time.Second, 0, 1, []float64{30.5, 60.5, 90.5}},
		"a short lag":                              {10 * time.Second, 5 * time.Second, 0, 1, []float64{5.5, 15.5, 25.5}},
		"a lag that is no multiple":                {20 * time.Second, 12 * time.Second, 0, 1, []float64{12.5, 32.5, 52.5}},
		"an interval that is no multiple":          {45 * time.Second, 30 * time.Second, 0, 1, []float64{30.5, 70.5, 120.5}},
		"a second replica, half an interval later": {time.Minute, 30 * time.Second, 1, 2, []float64{61.5, 121.5, 181.5}},
		"a second replica of a short interval":     {10 * time.Second, 5 * time.Second, 1, 2, []float64{6.5, 16.5, 26.5}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.rank, s.replicas = test.rank, test.replicas
			s.sysdig.Store().SetLag(test.lag)
			s.registry.PutConnection(registry.Connection{Name: "default", Interval: test.interval, IngestionLag: test.lag, Heartbeat: heartbeat(), Source: s.client()})
			s.load("web", 1, perPod)
			s.bind("web")
			s.run(4*time.Minute, func() {})
			var got []float64
			for _, at := range s.beats() {
				got = append(got, at.Seconds())
			}
			if got[0] != 0 || !slices.Equal(got[1:4], test.want) {
				t.Errorf("rounds began at %v, want 0 and %v", got[:4], test.want)
			}
		})
	}
}

// TestANewPointIsServedAsSoonAsItCanBe steps a gauge and measures how long it takes until it is served, at all phases of the grid of
// points.
func TestANewPointIsServedAsSoonAsItCanBe(t *testing.T) {
	for after := range 10 {
		s := newStage(t)
		s.sysdig.Store().SetLag(5 * time.Second)
		s.registry.PutConnection(registry.Connection{Name: "default", Interval: 10 * time.Second, IngestionLag: 5 * time.Second, Heartbeat: heartbeat(), Source: s.client()})
		stepped := noon.Add(time.Minute + time.Duration(after)*time.Second)
		s.fillWith("gauge", "web", "web-0", func(at time.Time) float64 {
			if at.Before(stepped) {
				return 1
			}
			return 2
		})
		web := s.bind("web", metricNamed("gauge"), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.TimeAggregation = v1alpha1.TimeLast })
		s.run(stepped.Sub(noon), func() { s.wantValue(web, 1) })
		served := time.Duration(0)
		s.run(30*time.Second, func() {
			if sample, _ := s.serve(web); served == 0 && sample.Value == 2 {
				served = s.clk.Now().Sub(stepped)
			}
		})
		// At most a point's distance until it is measured, the lag, and half a second.
		if served == 0 || served > 15500*time.Millisecond {
			t.Errorf("a step %d s after a point was served after %s", after, served)
		}
	}
}

// TestALagIsMeasuredAndFollowed lets ingestion take 47 s where 30 are expected, and then 20.
func TestALagIsMeasuredAndFollowed(t *testing.T) {
	s := newStage(t)
	s.connectWithin(60)
	s.load("web", 1, perPod)
	web := s.bind("web")
	s.sysdig.Store().SetLag(47 * time.Second)
	s.run(5*time.Minute, func() {})
	s.wantValue(web, perPod)
	if lag := s.usage().IngestionLag; lag < 47*time.Second || lag > 57*time.Second {
		t.Errorf("the status would show a lag of %s, want 47 s to 57 s", lag)
	}
	s.sysdig.Store().SetLag(20 * time.Second)
	s.run(2*time.Minute, func() {})
	if lag := s.usage().IngestionLag; lag != 30*time.Second {
		t.Errorf("the status would show a lag of %s, want what is expected", lag)
	}
	if late := s.clk.Now().Sub(s.sampleOf(web).Time); late > 70*time.Second {
		t.Errorf("the sample is %s old", late)
	}
}

// TestManyNewBindingsDelayNobody lets a tenant make 300 bindings of 15 queries in 30 s, beside 20 queries that use most of the quota.
func TestManyNewBindingsDelayNobody(t *testing.T) {
	s := newStage(t)
	s.sysdig.SetRequestsPerMinute(80)
	s.connectWithin(80)
	old := s.shapes(20)
	s.run(2*time.Minute, func() {})
	made := 0
	s.run(30*time.Second, func() {
		for range 40 {
			if made == 300 {
				break
			}
			name := fmt.Sprintf("new_metric_%02d", made%15)
			s.fillIn(fmt.Sprint("new-", made%30), name, perPod*10)
			s.bind("web", metricNamed(name), in(fmt.Sprint("new-", made%30)), func(b *v1alpha1.SysdigMetricBinding) { b.Name = fmt.Sprint("new-", made) })
			made++
		}
		s.tick() // as when the registry wakes the loop
		for _, d := range old {
			s.wantValue(d, perPod)
		}
	})
	s.run(5*time.Minute, func() {
		for _, d := range old {
			s.wantValue(d, perPod)
			if late := s.clk.Now().Sub(s.sampleOf(d).Received); late > time.Minute+interval {
				t.Fatalf("at %s a binding that was there was not asked for %s", s.clk.Now().Sub(noon), late)
			}
		}
	})
	if got := s.statuses(noon); got[429] > 0 {
		t.Errorf("answers: %v", got)
	}
	if counts := s.registry.Count(); counts[""] != 20+made {
		t.Errorf("standings %v, want %d served", counts, 20+made)
	}
}
