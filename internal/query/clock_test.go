package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// TestWhatIsReadIsDatedByOurClock reads one answer as it comes from Sysdigs whose clocks differ.
func TestWhatIsReadIsDatedByOurClock(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		d := query.Compile(binding(external), connection(), query.Target{})
		request := query.Plan([]query.Question{d.Question}, query.Whole)[0]
		answer := sysdig.Answer{Series: []sysdig.Series{value(7), timeOf(30*time.Second - ahead)}}
		skewed := query.Attempt{At: attempt.At.Add(ahead), Received: noon, Skew: ahead}
		reading := request.Read(answer, skewed, nil)[0].Reading
		s := reading.Sample
		if s == nil {
			t.Fatalf("%s ahead: %v", ahead, reading.Failure)
		}
		measured := noon.Add(-30 * time.Second)
		if !s.Time.Equal(measured) || !s.Latest().Time.Equal(measured) || !s.Series[0].Time.Equal(measured) || s.Age(noon) != 30*time.Second {
			t.Errorf("%s ahead: %+v", ahead, s)
		}
		failed := request.Fail(metric.Failf(metric.Unavailable, "down"), skewed)[0].Reading
		if !reading.Asked.Equal(attempt.At) || !failed.Asked.Equal(attempt.At) {
			t.Errorf("%s ahead: asked about %s and %s", ahead, reading.Asked, failed.Asked)
		}
	}
}

// TestPodsOfAServiceAreThoseOfTheWindowByOurClock has the index of pods asked for as much of the past as is between the window's begin
// and now.
func TestPodsOfAServiceAreThoseOfTheWindowByOurClock(t *testing.T) {
	d := query.Compile(binding(target("v1", "Service", "web")), connection(), service)
	request := query.Plan([]query.Question{d.Question}, query.Whole)[0]
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		past := &lookedBack{}
		request.Read(sysdig.Answer{}, query.Attempt{At: attempt.At.Add(ahead), Received: noon, Skew: ahead}, past)
		if past.window != 85*time.Second {
			t.Errorf("%s ahead: it looks back for %s", ahead, past.window)
		}
	}
}

// lookedBack is a cluster that notes how far back its pods are asked for.
type lookedBack struct{ window time.Duration }

func (l *lookedBack) Selected(_, _ string, window time.Duration) ([]string, *metric.Failure) {
	l.window = window
	return nil, nil
}

func (l *lookedBack) Services(string, string) map[string]string { return nil }

func (l *lookedBack) Ready(string, string, time.Time) map[metric.Workload][]string { return nil }

// TestAnAgeSurvivesThatOurClockIsSet looks for the monotonic reading, which Go computes ages with.
func TestAnAgeSurvivesThatOurClockIsSet(t *testing.T) {
	d := query.Compile(binding(external), connection(), query.Target{})
	request := query.Plan([]query.Question{d.Question}, query.Whole)[0]
	now := time.Now()
	measured := sysdig.Series{Labels: timeOf(0).Labels, Value: float64(now.Add(-30 * time.Second).Unix())}
	s := request.Read(sysdig.Answer{Series: []sysdig.Series{value(7), measured}}, query.Attempt{At: now.Add(-25 * time.Second), Received: now}, nil)[0].Reading.Sample
	if !strings.Contains(s.Time.String(), " m=") {
		t.Errorf("the sample is of %s: its age would be what the clock is set to", s.Time)
	}
}
