package metric_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

func selector(t *testing.T, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept is a sample whose series are kept apart by method and code.
func kept(t *testing.T, m metric.Measure, series ...metric.Series) *metric.Sample {
	t.Helper()
	s, failure := metric.NewSample(m, series, true, start, start.Add(30*time.Second), time.Minute)
	if failure != nil {
		t.Fatal(failure)
	}
	return s
}

// request is a series of a pod. A label without a value is one that the series lacks.
func request(pod, method, code string, raw float64) metric.Series {
	set := labels.Set{}
	if method != "" {
		set["method"] = method
	}
	if code != "" {
		set["code"] = code
	}
	return metric.Series{Pod: pod, Labels: set, Raw: raw}
}

var dimensions = []string{"code", "method"}

func TestSelect(t *testing.T) {
	mean := kept(t, grouped(metric.Average),
		request("p", "GET", "200", 10), request("p", "GET", "500", 2), request("p", "PUT", "200", 4),
		request("q", "GET", "200", 20), request("q", "", "200", 1))
	raw := kept(t, open, request("", "GET", "200", 1), request("", "GET", "500", 2), request("", "PUT", "200", 4))
	sick := kept(t, grouped(metric.Sum), request("p", "GET", "200", math.NaN()), request("p", "PUT", "200", 4))
	items := kept(t, outside(open), request("", "GET", "200", 1), request("", "PUT", "200", 4))
	below := kept(t, outside(open), request("", "GET", "200", -1), request("", "PUT", "200", 4))
	tests := map[string]struct {
		sample   *metric.Sample
		measure  metric.Measure
		selector string
		value    float64
		reason   metric.Reason
		text     string
	}{
		"nothing is selected: all of it":         {sample: mean, measure: grouped(metric.Average), value: 18.5},
		"equality":                               {sample: mean, measure: grouped(metric.Average), selector: "method=GET", value: 16},
		"two equalities":                         {sample: mean, measure: grouped(metric.Average), selector: "method=GET,code=200", value: 15},
		"a pod without such series is no zero":   {sample: mean, measure: grouped(metric.Average), selector: "method=PUT", value: 4},
		"in":                                     {sample: mean, measure: grouped(metric.Average), selector: "method in (GET, PUT)", value: 18},
		"notin matches what lacks the label too": {sample: mean, measure: grouped(metric.Average), selector: "method notin (GET)", value: 2.5},
		"unequal":                                {sample: mean, measure: grouped(metric.Average), selector: "code!=200", value: 2},
		"exists":                                 {sample: mean, measure: grouped(metric.Average), selector: "method", value: 18},
		"does not exist":                         {sample: mean, measure: grouped(metric.Average), selector: "!method", value: 1},
		"no series matches":                      {sample: mean, measure: grouped(metric.Average), selector: "method=DELETE", reason: metric.NoData, text: "no series matches metric.selector method=DELETE"},
		"a label that is no dimension":           {sample: mean, measure: grouped(metric.Average), selector: "method=GET,path=x", reason: metric.Rejected, text: "names path, which this binding does not keep apart: its dimensions are code, method"},
		"a label that must not exist and is none either": {sample: mean, measure: grouped(metric.Average), selector: "!path", reason: metric.Rejected, text: "names path"},
		"raw: one series":                               {sample: raw, measure: open, selector: "code=500", value: 2},
		"raw: several are one too many":                 {sample: raw, measure: open, selector: "method=GET", reason: metric.Implausible, text: "differ in code;"},
		"raw: all of them":                              {sample: raw, measure: open, reason: metric.Implausible, text: "there are 3 series where one is needed; they differ in code and method"},
		"a sick series spoils the whole":                {sample: sick, measure: grouped(metric.Sum), reason: metric.Implausible, text: "NaN"},
		"a sick series spoils what it is in":            {sample: sick, measure: grouped(metric.Sum), selector: "code=200", reason: metric.Implausible, text: "NaN"},
		"a sick series does no harm to others":          {sample: sick, measure: grouped(metric.Sum), selector: "method=PUT", value: 4},
		"external: items that match":                    {sample: items, measure: outside(open), selector: "method=PUT", value: 4},
		"external: the sum of all":                      {sample: items, measure: outside(open), value: 5},
		"external: a negative item spoils the sum":      {sample: below, measure: outside(open), reason: metric.Implausible, text: "negative"},
		"external: a negative item does others no harm": {sample: below, measure: outside(open), selector: "method=PUT", value: 4},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, failure := test.sample.Select(selector(t, test.selector), dimensions, test.measure)
			if test.reason != "" {
				if got != nil || failure == nil || failure.Reason != test.reason || !strings.Contains(failure.Message, test.text) {
					t.Errorf("got %v, %v; want %s with %q", got, failure, test.reason, test.text)
				}
				return
			}
			if failure != nil || got.Value != test.value || got.Milli != int64(test.value*1000) {
				t.Fatalf("got %v, %v; want %v", got, failure, test.value)
			}
			if !got.Time.Equal(start) || !got.Received.Equal(start.Add(30*time.Second)) || got.Window != time.Minute {
				t.Errorf("the times are lost: %+v", got)
			}
		})
	}
}

func TestSelectKeepsWhatMatches(t *testing.T) {
	all := kept(t, outside(open), request("", "GET", "200", 1), request("", "PUT", "200", 4), request("", "GET", "500", 1.0/3))
	got, failure := all.Select(selector(t, "method=GET"), dimensions, outside(open))
	if failure != nil || len(got.Series) != 2 || got.Series[0].Milli != 1000 || got.Series[1].Milli != 334 || got.Milli != 1334 {
		t.Errorf("got %+v, %v", got, failure)
	}
	if len(all.Series) != 3 || all.Milli != 5334 {
		t.Errorf("the sample was changed: %+v", all)
	}
	for _, nothing := range []labels.Selector{nil, labels.Everything()} {
		if got, failure := all.Select(nothing, dimensions, outside(open)); got != all || failure != nil {
			t.Errorf("got %v, %v; want the sample itself", got, failure)
		}
	}
	if _, failure := all.Select(selector(t, "method=GET"), nil, outside(open)); failure == nil || !strings.Contains(failure.Message, "it has no dimensions") {
		t.Errorf("got %v", failure)
	}
}

func TestWhatIsPickedIsAsOldAsItsNewestPoint(t *testing.T) {
	at := func(s metric.Series, age time.Duration) metric.Series {
		s.Time = start.Add(-age)
		return s
	}
	all := kept(t, grouped(metric.Sum), at(request("p", "GET", "200", 1), 0), at(request("p", "PUT", "200", 2), time.Minute), at(request("q", "PUT", "500", 3), 2*time.Minute), request("q", "HEAD", "", 4))
	for text, age := range map[string]time.Duration{"": 0, "method=GET": 0, "method=PUT": time.Minute, "code=500": 2 * time.Minute, "method=HEAD": 0} {
		if got, failure := all.Select(selector(t, text), dimensions, grouped(metric.Sum)); failure != nil || !got.Time.Equal(start.Add(-age)) {
			t.Errorf("%q: got %+v, %v; want it %s old", text, got, failure, age)
		}
	}
}

// TestALabelThatNoSeriesHasIsNoMissingValue: a misspelled dimension must not look like a queue that is empty.
func TestALabelThatNoSeriesHasIsNoMissingValue(t *testing.T) {
	m := metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1), External: true}
	s, failure := metric.NewSample(m, []metric.Series{{Raw: 1000}, {Raw: 2, Labels: labels.Set{"queue": "mail"}}}, true, start, start, time.Minute)
	if failure != nil {
		t.Fatal(failure)
	}
	for text, want := range map[string]metric.Reason{"queu=orders": metric.Implausible, "queue=orders": metric.NoData, "queue=mail,queu=x": metric.Implausible} {
		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, failure := s.Select(selector, []string{"queue", "queu"}, m); failure == nil || failure.Reason != want {
			t.Errorf("%s: got %v, %v; want %s", text, got, failure, want)
		}
	}
}

// TestASingleNumberThatIsNoneIsNoSample: it must not take the place of a good one.
func TestASingleNumberThatIsNoneIsNoSample(t *testing.T) {
	m := metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1), External: true}
	if s, failure := metric.NewSample(m, []metric.Series{{Raw: math.NaN()}}, true, start, start, time.Minute); s != nil || failure == nil {
		t.Errorf("got %+v, %v", s, failure)
	}
}
