package poller_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// dater is a Sysdig, or a proxy before it, that writes another Date into its answers.
type dater struct {
	registry.Source
	// date changes the Date of the heartbeat with a number, counted from 0, and of the answers after it.
	date func(beat int, date time.Time) time.Time
	beat int
}

func (d *dater) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	answer, err := d.Source.Query(ctx, promQL, at)
	answer.Date = d.date(d.beat, answer.Date)
	if isHeartbeat(promQL) {
		d.beat++
	}
	return answer, err
}

// dateless is what the operator would know of clocks if it did not look: it is the control.
func dateless(source registry.Source) registry.Source {
	return &dater{Source: source, date: func(int, time.Time) time.Time { return time.Time{} }}
}

func honest(source registry.Source) registry.Source { return source }

// clocks is a stage on which the clocks of Sysdig and of the operator may be wrong.
type clocks struct {
	*stage
	sysdigs, ours *sysdigtest.Skewed
	gauge         query.Definition
}

// newClocks has a gauge that shows, by a right clock, the seconds since noon.
func newClocks(t *testing.T, ahead time.Duration, wrap func(registry.Source) registry.Source) *clocks {
	t.Helper()
	clk := clocktesting.NewFakeClock(noon)
	c := &clocks{sysdigs: sysdigtest.NewSkewed(clk, ahead), ours: sysdigtest.NewSkewed(clk, 0)}
	server := sysdigtest.New(sysdigtest.Options{Clock: c.sysdigs, Tokens: []string{token}})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	c.stage = newStageOn(t, clk, c.ours, server)
	c.fill(sysdigtest.MetricUp, "heart", "heart-0", 1)
	c.fillWith("gauge", "web", "web-0", func(at time.Time) float64 { return at.Add(-ahead).Sub(noon).Seconds() })
	c.connect(wrap(c.client()))
	c.gauge = c.bind("web", metricNamed("gauge"), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.TimeAggregation = v1alpha1.TimeLast })
	return c
}

// second lets one pass.
func (c *clocks) second() {
	c.tick()
	c.clk.Step(time.Second)
}

// age is how old the value is that is served, in truth and as it is said to be; zero when none is.
func (c *clocks) age() (truth, said time.Duration, failure *metric.Failure) {
	c.t.Helper()
	sample, failure := c.serve(c.gauge)
	if failure != nil {
		return 0, 0, failure
	}
	return c.clk.Now().Sub(noon.Add(time.Duration(sample.Value * float64(time.Second)))), sample.Age(c.ours.Now()), nil
}

// wantFresh expects a value that is as fresh as it can be, and that says how old it is.
func (c *clocks) wantFresh() { c.t.Helper(); c.wantFreshWithin(2 * time.Second) }

// wantFreshWithin lets it be wrong by so much about its age. A value is at most as old as one and a half
// intervals, until the rounds have found to the grid, the lag, a point that has not come yet, and the step of the clock.
func (c *clocks) wantFreshWithin(slack time.Duration) {
	c.t.Helper()
	truth, said, failure := c.age()
	if failure != nil || truth > 86*time.Second || (said-truth).Abs() > slack {
		c.t.Fatalf("at %s: the value is %s old and said to be %s old, %v", c.clk.Now().Sub(noon), truth, said, failure)
	}
}

// wantHonest expects no value, or one that is not old.
func (c *clocks) wantHonest() {
	c.t.Helper()
	if truth, said, _ := c.age(); truth > maxAge || said < truth-2*time.Second {
		c.t.Fatalf("at %s: the value is %s old and said to be %s old", c.clk.Now().Sub(noon), truth, said)
	}
}

func TestAConstantSkewIsCorrectedFromTheFirstRoundOn(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, -47 * time.Second, -7 * time.Second, -3 * time.Second, 0, 3 * time.Second, 7 * time.Second, 47 * time.Second, 10 * time.Minute} {
		t.Run(ahead.String(), func(t *testing.T) {
			c := newClocks(t, ahead, honest)
			c.tick()
			small, sent, slack := ahead.Abs() < 5*time.Second, 3, 2*time.Second
			if small {
				sent, slack = 2, 5*time.Second
			}
			c.wantSent(sent)
			for range 180 {
				c.wantFreshWithin(slack)
				c.second()
			}
			// A heartbeat and a question per round, and the second look at the clock.
			if got := c.sysdig.RequestCount(); got > sent+2*6 {
				t.Errorf("%d requests in 3 minutes", got)
			}
			u := c.usage()
			if off := (u.ClockSkew - ahead).Abs(); !u.ClockKnown || small && u.ClockSkew != 0 || !small && off > time.Second {
				t.Errorf("a skew of %s is shown as %s, %v", ahead, u.ClockSkew, u.ClockKnown)
			}
			if u.IngestionLag != interval {
				t.Errorf("the lag is measured as %s", u.IngestionLag)
			}
			if got, err := testutil.GatherAndCount(c.metrics, "sysdig_metrics_clock_skew_seconds"); got != 1 || err != nil {
				t.Errorf("%d gauges, %v", got, err)
			}
		})
	}
}

func TestRoundsFollowSysdigsPoints(t *testing.T) {
	for _, ahead := range []time.Duration{-33 * time.Second, 7 * time.Second, 605 * time.Second} {
		c := newClocks(t, ahead, honest)
		for range 180 {
			c.second()
		}
		for i, r := range c.questions()[2:] { // the first ones find to the grid
			if late := r.At.Sub(noon) % (10 * time.Second); late < 0 || late > 2*time.Second {
				t.Errorf("%s ahead: round %d begins %s after a point", ahead, i+2, late)
			}
		}
	}
}

func TestALagIsMeasuredBySysdigsClock(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		c := newClocks(t, ahead, honest)
		c.sysdig.Store().SetLag(47 * time.Second)
		for range 300 {
			c.second()
		}
		if lag := c.usage().IngestionLag; lag < 46*time.Second || lag > 58*time.Second {
			t.Errorf("%s ahead: the lag is measured as %s", ahead, lag)
		}
	}
}

// TestWithoutLookingAtTheClockASkewDoesHarm is the control.
func TestWithoutLookingAtTheClockASkewDoesHarm(t *testing.T) {
	c := newClocks(t, -10*time.Minute, dateless)
	for range 180 {
		c.second()
		c.wantReason(c.gauge, metric.Stale)
	}
	c = newClocks(t, 10*time.Minute, dateless)
	for range 180 {
		c.second()
		if truth, said, failure := c.age(); truth < 10*time.Minute || said > maxAge {
			t.Fatalf("the value is %s old and said to be %s old, %v", truth, said, failure)
		}
	}
	if u := c.usage(); u.ClockKnown || u.ClockSkew != 0 {
		t.Errorf("a skew of %s is known, %v", u.ClockSkew, u.ClockKnown)
	}
	if got, err := testutil.GatherAndCount(c.metrics, "sysdig_metrics_clock_skew_seconds"); got != 0 || err != nil {
		t.Errorf("%d gauges, %v", got, err)
	}
}

// TestWhenOurClockIsSetNothingOldIsServed has NTP correct our clock, or spoil it.
func TestWhenOurClockIsSetNothingOldIsServed(t *testing.T) {
	for _, jump := range []time.Duration{-10 * time.Minute, -time.Minute, -20 * time.Second, 20 * time.Second, time.Minute, 10 * time.Minute} {
		t.Run(jump.String(), func(t *testing.T) {
			c := newClocks(t, 0, honest)
			for range 100 {
				c.second()
				c.wantFresh()
			}
			for _, is := range []time.Duration{jump, 0} {
				c.ours.Set(is)
				for range 40 { // our clock alone tells now how old a sample is
					c.second()
					if truth, _, _ := c.age(); truth > maxAge {
						t.Fatalf("at %s the value is %s old", c.clk.Now().Sub(noon), truth)
					}
				}
				for range 60 {
					c.second()
					c.wantFresh()
				}
				if off := (c.usage().ClockSkew + is).Abs(); off > time.Second {
					t.Errorf("our clock is %s ahead, and Sysdig's is shown as %s ahead", is, c.usage().ClockSkew)
				}
			}
		})
	}
}

// TestWhenOurClockIsSetWithoutLookingAtSysdigs is the control.
func TestWhenOurClockIsSetWithoutLookingAtSysdigs(t *testing.T) {
	for _, jump := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		c := newClocks(t, 0, dateless)
		for range 60 {
			c.second()
		}
		c.ours.Set(jump)
		for range 180 {
			c.second()
		}
		truth, _, failure := c.age()
		if lie := truth > maxAge; lie != (jump < 0) || lie == (failure != nil) {
			t.Errorf("%s ahead: the value is %s old, %v", jump, truth, failure)
		}
	}
}

// TestWhenSysdigsClockIsSetNothingOldIsServed has its points jump with it, so that windows over the jump are not covered.
func TestWhenSysdigsClockIsSetNothingOldIsServed(t *testing.T) {
	c := newClocks(t, 0, honest)
	for range 100 {
		c.second()
		c.wantFresh()
	}
	c.sysdigs.Set(10 * time.Minute) // what it holds of these ten minutes is from the future
	for range 300 {
		c.second()
		if truth, said, failure := c.age(); failure == nil && said > maxAge {
			t.Fatalf("at %s the value is %s old and said to be %s old", c.clk.Now().Sub(noon), truth, said)
		}
	}
	if got := c.usage().ClockSkew; (got - 10*time.Minute).Abs() > time.Second {
		t.Errorf("the skew is shown as %s", got)
	}
	c.sysdigs.Set(0) // its points come a second time: they are believed when they are newer than all before
	for range 900 {
		c.second()
		c.wantHonest()
	}
	c.wantFresh()
}

func TestAWrongDateChangesNothing(t *testing.T) {
	at := func(beats func(int) bool, off time.Duration) func(int, time.Time) time.Time {
		return func(beat int, date time.Time) time.Time {
			if beats(beat) {
				return date.Add(off)
			}
			return date
		}
	}
	first := func(beat int) bool { return beat == 0 }
	third := func(beat int) bool { return beat == 2 }
	always := func(int) bool { return true }
	for name, date := range map[string]func(int, time.Time) time.Time{
		"the first, ahead":  at(first, 10*time.Minute),
		"the first, behind": at(first, -10*time.Minute),
		"one, ahead":        at(third, 10*time.Minute),
		"one, behind":       at(third, -10*time.Minute),
		"every second":      at(func(beat int) bool { return beat%2 == 0 }, 10*time.Minute),
		"all, differently": func(beat int, date time.Time) time.Time {
			return date.Add(time.Duration(beat%3+1) * 10 * time.Minute)
		},
		// Points that are newer than Sysdig's clock are a contradiction, although the Dates agree.
		"all, behind": at(always, -10*time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			c := newClocks(t, 0, func(source registry.Source) registry.Source { return &dater{Source: source, date: date} })
			for range 180 {
				c.tick()
				c.wantFresh()
				c.clk.Step(time.Second)
			}
			if got := c.usage().ClockSkew; got != 0 {
				t.Errorf("a skew of %s is shown", got)
			}
		})
	}
}

// TestDatesThatLieTogetherCostValuesAndTellNoLie has all of them say that Sysdig is ahead: nobody can know better.
func TestDatesThatLieTogetherCostValuesAndTellNoLie(t *testing.T) {
	lies := func(_ int, date time.Time) time.Time { return date.Add(10 * time.Minute) }
	c := newClocks(t, 0, func(source registry.Source) registry.Source { return &dater{Source: source, date: lies} })
	for range 180 {
		c.second()
		c.wantReason(c.gauge, metric.Stale)
	}
}

func TestASkewBelongsToItsEndpoint(t *testing.T) {
	c := newClocks(t, 10*time.Minute, honest)
	c.second()
	c.wantFresh()
	c.connect(c.client()) // another token
	c.second()
	c.wantSent(5)
	other := registry.Connection{Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: dateless(c.client())}
	other.Heartbeat.Scope.Endpoint = "https://other.example.com"
	c.registry.PutConnection(other)
	shape := c.gauge.Question.Shape.Value()
	shape.Scope = other.Heartbeat.Scope
	c.gauge.Question.Shape = shape.ID()
	c.registry.Put(c.gauge)
	c.second()
	if u := c.usage(); u.ClockKnown || u.ClockSkew != 0 {
		t.Errorf("of another account a skew of %s is known", u.ClockSkew)
	}
}

func TestAQuestionThatIsRefusedForItsTimeIsAskedAtAnother(t *testing.T) {
	c := newClocks(t, -10*time.Minute, honest)
	c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 400, Times: 1})
	c.tick()
	c.wantSent(3)
	c.wantFresh()
}

func TestAFailureOfTheConnectionIsNotAskedAgainForItsDate(t *testing.T) {
	for _, status := range []int{401, 429, 500} {
		c := newClocks(t, 10*time.Minute, honest)
		c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: status})
		c.tick()
		c.wantSent(1)
	}
}
