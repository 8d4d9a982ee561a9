package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// scrape adds points of a counter that rises by 10 a second. every is how far apart the points of a series are.
func (s *sysdigStage) scrape(name, queue string, every, from, until time.Duration) {
	set := map[string]string{
		"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop",
		sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: "web-" + queue, "queue": queue,
	}
	for at := noon.Add(-until - (from-until)/every*every); !at.After(noon.Add(-until)); at = at.Add(every) {
		s.Store().Append(set, at, 10*at.Sub(noon.Add(-time.Hour)).Seconds())
	}
}

// TestTooFewPointsAreNotNoData has counters whose points are far apart. onNoData does not answer for them; it does for those of which there
// is nothing, and for those that have stopped.
func TestTooFewPointsAreNotNoData(t *testing.T) {
	const hour = time.Hour
	s := newSysdig(t)
	s.scrape("minutely_total", "a", time.Minute, hour, 0)
	s.scrape("half_total", "a", 30*time.Second, hour, 0)
	s.scrape("half_depth", "a", 30*time.Second, hour, 20*time.Second)
	s.scrape("slow_depth", "a", 2*time.Minute, hour, 105*time.Second)
	s.scrape("young_total", "a", 10*time.Second, 30*time.Second, 30*time.Second)
	s.scrape("stopped_total", "a", 10*time.Second, hour, 4*time.Minute)
	s.scrape("sysdig_container_net_http_request_count", "a", 30*time.Second, hour, 20*time.Second)
	rate, sum := aggregated("Rate", "Sum"), aggregated("Sum", "Sum")
	scraped := func(name string, edits ...edit) []edit { return append([]edit{named(name), cumulative}, edits...) }
	of := func(promQL string) []edit { return []edit{raw(promQL, "")} }
	for name, test := range map[string]struct {
		edits  []edit
		object string
		want   string
		words  string
	}{
		"a rate, the default window, points each minute":   {scraped("minutely_total", rate), "", "TooFewPoints", "points each 1m,"},
		"an increase, the same":                            {scraped("minutely_total", sum), "", "TooFewPoints", "set spec.source.metric.window to two scrape intervals or more, 2m at least"},
		"control: two points in the window":                {scraped("minutely_total", rate, window(3*time.Minute)), "", "10, ", ""},
		"a window of 20s, points each 30s":                 {scraped("half_total", rate, window(20*time.Second)), "", "TooFewPoints", "points each 30s,"},
		"a window of 30s, points each 30s":                 {scraped("half_total", rate, window(30*time.Second)), "", "TooFewPoints", "1m at least"},
		"control: a window of a minute and points each 30": {scraped("half_total", rate), "", "10, ", ""},
		"a gauge, a window of 10s":                         {[]edit{named("half_depth"), aggregated("Average", "Sum"), window(10 * time.Second)}, "", "TooFewPoints", "points each 30s,"},
		"a gauge of points each two minutes":               {[]edit{named("slow_depth"), aggregated("Last", "Sum")}, "", "TooFewPoints", "points each 2m30s,"},
		"an agent's own counter, a window of 10s":          {[]edit{rate, window(10 * time.Second)}, "", "TooFewPoints", "points each 30s,"},
		"of a Pod":                                       {scraped("minutely_total", rate, target("v1", "Pod", "web-a")), "", "TooFewPoints", "points each 1m,"},
		"of a Namespace":                                 {scraped("minutely_total", rate, target("v1", "Namespace", "")), "", "TooFewPoints", "points each 1m,"},
		"of an external metric":                          {scraped("minutely_total", rate, external), "", "TooFewPoints", "points each 1m,"},
		"of an external metric with dimensions":          {scraped("minutely_total", rate, external, dimensions("queue")), "", "TooFewPoints", "points each 1m,"},
		"of each Deployment":                             {scraped("minutely_total", rate, every("apps/v1", "Deployment", nil)), "web", "TooFewPoints", "points each 1m,"},
		"a counter that has just begun":                  {scraped("young_total", rate), "", "TooFewPoints", "a single point"},
		"a counter that has stopped":                     {scraped("stopped_total", rate), "", "5, ", ""},
		"a counter that is not there":                    {scraped("gone_total", rate), "", "5, ", ""},
		"PromQL: rate, points each minute":               {of("sum(rate(minutely_total[1m]))"), "", "TooFewPoints", "points each 1m,"},
		"PromQL: increase":                               {of("sum(increase(minutely_total[1m]))"), "", "TooFewPoints", "lengthen the range in spec.source.promQL.query to two scrape intervals or more, 2m at least"},
		"PromQL: irate":                                  {of("sum(irate(minutely_total[1m]))"), "", "TooFewPoints", "points each 1m,"},
		"PromQL: delta":                                  {of("sum(delta(half_depth[20s]))"), "", "TooFewPoints", "points each 30s,"},
		"PromQL: a slope":                                {of("sum(deriv(half_depth[30s]))"), "", "TooFewPoints", "points each 30s,"},
		"PromQL: an average over 10s":                    {of("sum(avg_over_time(half_depth[10s]))"), "", "TooFewPoints", "points each 30s,"},
		"PromQL: a ratio":                                {of("sum(rate(half_total[1m])) / sum(rate(minutely_total[1m]))"), "", "TooFewPoints", "points each 1m,"},
		"PromQL: a ratio that leaves out NaN":            {of("(sum(rate(minutely_total[1m])) / sum(rate(half_total[1m]))) >= 0"), "", "TooFewPoints", "points each 1m,"},
		"PromQL: by object":                              {[]edit{raw("sum by (queue) (rate(minutely_total[1m]))", "queue"), target("apps/v1", "Deployment", "a")}, "", "TooFewPoints", "points each 1m,"},
		"PromQL: each object":                            {[]edit{raw("sum by (queue) (rate(minutely_total[1m]))", "queue"), every("apps/v1", "Deployment", nil)}, "a", "TooFewPoints", "points each 1m,"},
		"PromQL: control, a longer range":                {of("sum(rate(minutely_total[3m]))"), "", "10, ", ""},
		"PromQL: control, the other leg is there":        {of("sum(rate(minutely_total[1m])) or sum(rate(half_total[1m]))"), "", "10, ", ""},
		"PromQL: a comparison that leaves out the value": {of("sum(rate(half_total[1m])) > 1000"), "", "5, ", ""},
		"PromQL: a counter that has stopped":             {of("sum(rate(stopped_total[1m]))"), "", "5, ", ""},
		"PromQL: a counter that is not there":            {of("sum(rate(gone_total[1m]))"), "", "5, ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			edits := append([]edit{noDataIs("5")}, test.edits...)
			if got := s.served(binding(edits...), test.object, ""); !strings.HasPrefix(got, test.want) || !strings.Contains(got, test.words) {
				t.Errorf("got %s; want %s with %q", got, test.want, test.words)
			}
		})
	}
}

// TestAServiceWithTooFewPointsIsNotNoData: its rows are those of its pods.
func TestAServiceWithTooFewPointsIsNotNoData(t *testing.T) {
	s := newSysdig(t)
	s.scrape("minutely_total", "a", time.Minute, time.Hour, 0)
	in := cluster{
		selected: func(string, string, time.Duration) []string { return []string{"web-a"} },
		services: func(string, string) map[string]string { return map[string]string{"front": "app=web"} },
	}
	for name, test := range map[string]struct {
		about edit
		want  string
	}{
		"by name":     {target("v1", "Service", "front"), "TooFewPoints: "},
		"by selector": {every("v1", "Service", nil), "front: TooFewPoints: "},
	} {
		d := compile(t, binding(named("minutely_total"), cumulative, test.about), connection())
		if got := show(s.askOne(d.Question, in)); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// TestASeriesWithTooFewPointsIsNotNoDataBesideOthers has one that an HPA picks by metric.selector.
func TestASeriesWithTooFewPointsIsNotNoDataBesideOthers(t *testing.T) {
	s := newSysdig(t)
	s.scrape("mails_total", "orders", 10*time.Second, time.Hour, 0)
	s.scrape("mails_total", "letters", time.Minute, time.Hour, 0)
	for kind, edits := range map[string][]edit{
		"typed": {named("mails_total"), cumulative, aggregated("Rate", "Sum"), dimensions("queue")},
		"raw":   {raw("sum by (queue) (rate(mails_total[1m]))", ""), dimensions("queue")},
	} {
		for read, want := range map[string]string{"queue=orders": "10, ", "queue=letters": "TooFewPoints: ", "queue=none": "5, "} {
			edits := append([]edit{external, noDataIs(v1alpha1.Decimal("5"))}, edits...)
			if got := s.served(binding(edits...), "", read); !strings.HasPrefix(got, want) {
				t.Errorf("%s by %s: got %s, want %s", kind, read, got, want)
			}
		}
	}
}
