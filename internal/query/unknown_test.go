package query_test

import (
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// TestAServiceWithUnknownPodsHasNoNumber: those that are not known may carry the load. A sum of what counts is a lower bound.
func TestAServiceWithUnknownPodsHasNoNumber(t *testing.T) {
	unknown := metric.Failf(metric.Partial, "so many pods came and went")
	svc := target("v1", "Service", "front")
	for name, test := range map[string]struct {
		edits   []edit
		pods    []string
		unknown *metric.Failure
		want    string
		floor   string
	}{
		"all are known":                   {[]edit{svc, aggregated("Rate", "Sum")}, []string{"web-0", "web-1"}, nil, "27, 30s old", "none"},
		"a Sum":                           {[]edit{svc, aggregated("Rate", "Sum")}, []string{"web-0", "web-1"}, unknown, unknown.Error(), "27"},
		"an Average":                      {[]edit{svc, aggregated("Rate", "Average")}, []string{"web-0", "web-1"}, unknown, unknown.Error(), "none"},
		"nothing of those that are known": {[]edit{svc, noDataIs("0")}, nil, unknown, unknown.Error(), "none"},
		"each of several Services":        {[]edit{every("v1", "Service", nil), aggregated("Rate", "Average")}, []string{"web-0"}, unknown, "front: " + unknown.Error(), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSysdig(t)
			s.waves()
			q := compile(t, binding(test.edits...), connection()).Question
			o := s.askOne(q, cluster{
				selected: func(string, string, time.Duration) []string { return test.pods }, unknown: test.unknown,
				services: func(string, string) map[string]string { return map[string]string{"front": "app=web"} },
			})
			if got := show(o); got != test.want || floor(found(o.Reading)) != test.floor {
				t.Errorf("got %s with a floor of %s, want %s with %s", got, floor(found(o.Reading)), test.want, test.floor)
			}
		})
	}
}
