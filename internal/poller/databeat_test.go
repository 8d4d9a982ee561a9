package poller_test

import (
	"fmt"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// The tests of this file are those of the heartbeat that do not depend on PromQL, of the data API.

func TestByDataALongLagDelaysValuesAndLeavesThemWhole(t *testing.T) {
	for _, lag := range []time.Duration{35 * time.Second, 55 * time.Second, 70 * time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			s := newDataStage(t)
			s.sysdig.Store().SetLag(lag)
			s.sysdig.Store().SetPartialNewest(0.5)
			s.load("web", 20, perPod)
			web := s.bind("web", sumOfPods)
			for range 12 {
				s.run(interval+time.Second, func() { s.wantValue(web, 20*perPod) })
			}
			if u := s.usage(); u.IngestionLag < lag-10*time.Second {
				t.Errorf("the status would show a lag of %s, it is %s", u.IngestionLag, lag)
			}
		})
	}
}

// TestByDataIngestionThatStopsIsStaleAndNeverNoData: no data would be answered with 0 here. The control has ingestion go on, and the
// data be gone.
func TestByDataIngestionThatStopsIsStaleAndNeverNoData(t *testing.T) {
	s := newDataStage(t)
	s.load("web", 1, perPod)
	web := s.bind("web", orZero)
	s.run(interval, func() { s.wantValue(web, perPod) })
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints})
	for _, stopped := range []time.Duration{maxAge + interval, 10 * time.Minute} {
		s.run(stopped, func() {
			if sample, failure := s.serve(web); failure == nil && sample.Value != perPod || failure != nil && failure.Reason != metric.Stale {
				t.Fatalf("at %s: %v, %v", s.clk.Since(noon), sample, failure)
			}
		})
		s.wantReason(web, metric.Stale)
	}
	s.sysdig.ClearFault()
	s.run(time.Minute, func() {})
	s.wantValue(web, perPod)
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultEmpty, Query: "http_request"})
	s.run(maxAge+2*interval, func() {})
	s.wantValue(web, 0)
}

// TestByDataAGapIsNoFall lets all agents stop for six minutes, and half of them.
func TestByDataAGapIsNoFall(t *testing.T) {
	const pods = 4
	always, outage := []span{{before, after}}, []span{{before, time.Minute}, {6 * time.Minute, after}}
	for name, test := range map[string]struct {
		half    [2][]span
		minimum int
		control float64
	}{
		"of all":                {[2][]span{outage, outage}, 80, pods * perPod},
		"of half":               {[2][]span{always, outage}, 80, pods * perPod},
		"of half, nobody looks": {[2][]span{always, outage}, 0, pods * perPod / 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newDataStage(t, covered(test.minimum))
			for i := range pods {
				s.watched(fmt.Sprint("web-", i), -time.Hour, test.half[i%2]...)
			}
			web := s.bind("web", sumOfPods, orZero)
			lowest, partial := s.lowest(web, 8*time.Minute)
			if test.minimum == 0 {
				if lowest > test.control+0.01 {
					t.Errorf("without the rule the lowest value is %v, want %v", lowest, test.control)
				}
				return
			}
			if lowest < pods*perPod*5/6 || partial == 0 {
				t.Errorf("the lowest value is %v, and Partial is answered %d times", lowest, partial)
			}
			if lowest, partial = s.lowest(web, 3*time.Minute); lowest != pods*perPod || partial > 0 {
				t.Errorf("afterwards the lowest value is %v, and Partial is answered %d times", lowest, partial)
			}
		})
	}
}

// TestByDataAWindowThatIsNotCoveredIsStale lets no agent of the whole cluster report for six minutes.
func TestByDataAWindowThatIsNotCoveredIsStale(t *testing.T) {
	s := newDataStage(t, func(c *registry.Connection) { c.Heartbeat.Metric = "gap_up" })
	for _, one := range []span{{before, 0}, {6 * time.Minute, after}} {
		for _, name := range []string{"gap_up", sysdigtest.MetricHTTPRequests} {
			sysdigtest.Fill(s.sysdig.Store(), map[string]string{
				"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelPod: "web-0",
				sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web",
			}, noon.Add(one.from), noon.Add(one.until), func(time.Time) float64 { return perPod * 10 })
		}
	}
	web := s.bind("web", windowOf(5*time.Minute))
	stale := false
	s.run(13*time.Minute, func() {
		sample, failure := s.serve(web)
		if failure == nil && sample.Value < perPod*29/30 || failure != nil && failure.Reason != metric.Stale && failure.Reason != metric.Pending {
			t.Fatalf("at %s: %v, %v", s.clk.Since(noon), sample, failure)
		}
		stale = stale || failure != nil && s.clk.Since(noon) > 8*time.Minute
	})
	if !stale {
		t.Error("the window was always covered: the test shows nothing")
	}
	s.wantValue(web, perPod)
}

func TestByDataASkewOfTheClockIsLearnedFromDate(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 47 * time.Second, 10 * time.Minute} {
		t.Run(ahead.String(), func(t *testing.T) {
			clk := clocktesting.NewFakeClock(noon)
			c := &clocks{sysdigs: sysdigtest.NewSkewed(clk, ahead), ours: sysdigtest.NewSkewed(clk, 0)}
			server := sysdigtest.New(sysdigtest.Options{Clock: c.sysdigs, Tokens: []string{token}})
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			c.stage = newStageOn(t, clk, c.ours, server)
			c.byData = true
			c.fill(sysdigtest.MetricUp, "heart", "heart-0", 1)
			c.fillWith("gauge", "web", "web-0", func(at time.Time) float64 { return at.Add(-ahead).Sub(noon).Seconds() })
			c.connectData()
			c.gauge = c.bind("web", metricNamed("gauge"), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.TimeAggregation = v1alpha1.TimeLast })
			for range 90 {
				c.second()
				c.wantFresh()
			}
			if u := c.usage(); !u.ClockKnown || (u.ClockSkew-ahead).Abs() > time.Second {
				t.Errorf("the status would show a skew of %s", u.ClockSkew)
			}
			if beats, _ := c.posts(noon.Add(time.Second)); len(beats) > 4 { // one a round, once the skew is known
				t.Errorf("%d heartbeats in a minute and a half", len(beats))
			}
		})
	}
}
