package metric_test

import (
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// TestTheSamePointsAreNeverNewer has the skew of Sysdig's clock learned anew between two answers about the same points.
func TestTheSamePointsAreNeverNewer(t *testing.T) {
	sysdigs := start.Add(10 * time.Minute)
	of := func(point time.Time, skew time.Duration) *metric.Sample {
		return &metric.Sample{Time: point.Add(-skew), Skew: skew, Received: start}
	}
	for name, test := range map[string]struct {
		old, sample *metric.Sample
		newer       bool
	}{
		"the same points":                     {of(sysdigs, 0), of(sysdigs, 0), false},
		"the next point":                      {of(sysdigs, 0), of(sysdigs.Add(10*time.Second), 0), true},
		"the same points by a smaller skew":   {of(sysdigs, 11*time.Minute), of(sysdigs, 10*time.Minute), false},
		"the same points by a larger skew":    {of(sysdigs, 10*time.Minute), of(sysdigs, 11*time.Minute), false},
		"the next point by another skew":      {of(sysdigs, 0), of(sysdigs.Add(10*time.Second), 10*time.Minute), true},
		"an earlier point by another skew":    {of(sysdigs, 10*time.Minute), of(sysdigs.Add(-10*time.Second), 0), false},
		"the same, reckoned from other times": {&metric.Sample{Time: time.Now().Round(0)}, &metric.Sample{Time: time.Now().Add(-time.Hour)}, false},
	} {
		if got := test.sample.Newer(test.old); got != test.newer {
			t.Errorf("%s: newer %v", name, got)
		}
	}
}
