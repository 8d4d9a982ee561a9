package sysdigtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

func TestParametersComeByGetQueryStringAndForm(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	params := url.Values{"query": {"vector(7)"}, "time": {seconds(noon)}}
	form := func(r *http.Request) {
		r.URL.RawQuery = ""
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(params.Encode()))
		r.ContentLength = int64(len(params.Encode()))
	}
	for name, req := range map[string]*http.Request{
		"GET":                    h.request(http.MethodGet, "query", params),
		"POST with query string": h.request(http.MethodPost, "query", params),
		"POST with form":         h.request(http.MethodPost, "query", nil, form),
	} {
		if got := h.do(req).one(t); got != "7" {
			t.Errorf("%s: %s, want 7", name, got)
		}
	}
	h.SetSwitches(sysdigtest.Switches{QueryStringOnly: true})
	wantStatus(t, h.do(h.request(http.MethodPost, "query", nil, form)), http.StatusBadRequest, "bad_data")
	wantStatus(t, h.do(h.request(http.MethodPost, "query", params)), http.StatusOK)
}

func TestTimestampsAreNumbersOrStrings(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 0.58)
	whole, odd := noon.Add(-time.Minute), noon.Add(-time.Minute+500*time.Millisecond)

	numbers := h.queryAt("x", whole)
	if got, want := string(numbers.Data.Result[0].Value[0]), seconds(whole); got != want {
		t.Errorf("timestamp %s, want the integer %s", got, want)
	}
	if got, want := string(h.queryAt("x", odd).Data.Result[0].Value[0]), seconds(odd); got != want || !strings.HasSuffix(got, ".5") {
		t.Errorf("timestamp %s, want the fraction %s", got, want)
	}
	h.SetSwitches(sysdigtest.Switches{StringTimestamps: true})
	strs := h.queryAt("x", whole)
	if got, want := string(strs.Data.Result[0].Value[0]), `"`+seconds(whole)+`"`; got != want {
		t.Errorf("timestamp %s, want the string %s", got, want)
	}
	rows := h.get("query_range", rangeOf("x", noon.Add(-time.Minute), noon, "30"))
	if got := string(rows.Data.Result[0].Values[0][0]); got != `"`+seconds(noon.Add(-time.Minute))+`"` {
		t.Errorf("timestamp %s in a range, want a string", got)
	}
}

func rangeOf(query string, start, end time.Time, step string) url.Values {
	return url.Values{"query": {query}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {step}}
}

func TestAnswersHaveTheShapeOfTheFixtures(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for name, query := range map[string]string{"vector_numeric_ts": "vector(0.58)", "scalar_inf": "scalar(vector(1)) / 0"} {
		body, _ := fixture(t, "prometheus-responses.json", name)
		if got, want := shape(t, h.query(query).body), shape(t, encode(t, body)); got != want {
			t.Errorf("%s: shape %s, want %s", name, got, want)
		}
	}
	body, _ := fixture(t, "prometheus-responses.json", "matrix_numeric_ts")
	got := h.get("query_range", rangeOf("vector(0.58)", noon.Add(-5*time.Minute), noon, "60")).body
	if got, want := shape(t, got), shape(t, encode(t, body)); got != want {
		t.Errorf("matrix: shape %s, want %s", got, want)
	}
	if got := h.query("no_such_metric").body; got != `{"status":"success","data":{"resultType":"vector","result":[]}}` {
		t.Errorf("no data: %s", got)
	}
}

func TestValuesAreStrings(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for query, want := range map[string]string{
		"vector(0.58)":     "0.58",
		"vector(0) / 0":    "NaN",
		"vector(1) / 0":    "+Inf",
		"vector(-1) / 0":   "-Inf",
		"vector(1e30)":     "1e+30",
		"vector(25e-9)":    "2.5e-08",
		"vector(0)":        "0",
		"vector(12345678)": "12345678",
	} {
		if got := h.query(query).one(t); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	var text struct{ Data struct{ Result [2]any } }
	if err := json.Unmarshal([]byte(h.query(`"hello"`).body), &text); err != nil || text.Data.Result[1] != "hello" {
		t.Errorf("string: %v, %v", text, err)
	}
}

func TestTheInstantLookBackIsFiveMinutes(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.clk.Step(4 * time.Minute)
	if got := len(h.query("x").Data.Result); got != 1 {
		t.Errorf("%d series 4 minutes after the last point, want 1", got)
	}
	h.clk.Step(time.Minute)
	if got := len(h.query("x").Data.Result); got != 0 {
		t.Errorf("%d series 5 minutes after the last point, want none", got)
	}
}

func TestEndpointsThatSysdigLacksAreGone(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	body, _ := fixture(t, "error-responses.json", "prometheus_gone")
	for _, route := range []string{
		"status/buildinfo", "status/config", "targets", "targets/metadata", "alertmanagers", "format_query",
		"parse_query", "query_exemplars", "admin/tsdb/snapshot", "notifications",
	} {
		res := h.get(route, nil)
		wantStatus(t, res, http.StatusGone)
		var got map[string]any
		if err := json.Unmarshal([]byte(res.body), &got); err != nil || encode(t, got) != encode(t, body) {
			t.Errorf("%s: %s (%v)", route, res.body, err)
		}
	}
}

func TestUnknownPathsAreNotFoundInPlainText(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, route := range []string{"querys", "label/a/b/values", "label//values", "label/a", ""} {
		res := h.get(route, nil)
		wantStatus(t, res, http.StatusNotFound, "404 page not found")
		if got := res.header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
			t.Errorf("%s: content type %q", route, got)
		}
	}
}

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, req := range []*http.Request{
		h.request(http.MethodDelete, "query", heartbeat),
		h.request(http.MethodPost, "label/a/values", nil),
		h.request(http.MethodPost, "metadata", nil),
	} {
		wantStatus(t, h.do(req), http.StatusMethodNotAllowed)
	}
}

func TestMistakesInTheRequestAreBadData(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	empty, _ := fixture(t, "error-responses.json", "prometheus_bad_query")
	wantStatus(t, h.get("query", nil), http.StatusBadRequest, empty["error"].(string), `"errorType":"bad_data"`)
	for name, params := range map[string]url.Values{
		"unbalanced":   {"query": {"sum(x"}},
		"unknown name": {"query": {"summ(x)"}},
		"bad time":     {"query": {"x"}, "time": {"yesterday"}},
		"bad limit":    {"query": {"x"}, "limit": {"-1"}},
		"bad timeout":  {"query": {"x"}, "timeout": {"soon"}},
	} {
		res := h.get("query", params)
		if res.status != http.StatusBadRequest || res.ErrorType != "bad_data" || res.Error == "" {
			t.Errorf("%s: status %d, %s", name, res.status, res.body)
		}
	}
	for name, params := range map[string]url.Values{
		"no step":   {"query": {"x"}, "start": {"1"}, "end": {"2"}},
		"no start":  {"query": {"x"}, "end": {"2"}, "step": {"1"}},
		"step of 0": {"query": {"x"}, "start": {"1"}, "end": {"2"}, "step": {"0"}},
		"bad step":  {"query": {"x"}, "start": {"1"}, "end": {"2"}, "step": {"often"}},
	} {
		res := h.get("query_range", params)
		if res.status != http.StatusBadRequest || res.ErrorType != "bad_data" {
			t.Errorf("%s: status %d, %s", name, res.status, res.body)
		}
	}
}

func TestARangeThatEndsBeforeItStartsIsAnExecutionError(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	res := h.get("query_range", rangeOf("x", noon, noon.Add(-time.Second), "10"))
	body, _ := fixture(t, "error-responses.json", "prometheus_bad_range")
	wantStatus(t, res, http.StatusUnprocessableEntity)
	var got map[string]any
	if err := json.Unmarshal([]byte(res.body), &got); err != nil || encode(t, got) != encode(t, body) {
		t.Errorf("body %s, want %s", res.body, encode(t, body))
	}
}

func TestAnErrorOfTheEngineIsAnExecutionError(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", map[string]string{"a": "1"}, 1)
	h.fill("x", map[string]string{"a": "2"}, 1)
	res := h.get("query", url.Values{"query": {"x * on() x"}})
	wantStatus(t, res, http.StatusUnprocessableEntity, `"errorType":"execution"`, "many-to-many")
}

func TestRangesAreOpenOnTheLeftUnlessSwitched(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 100)
	const rate = "sum_over_time(x[1m]) / 60"
	onGrid, offGrid := noon.Add(-time.Minute), noon.Add(-55*time.Second)

	for _, at := range []time.Time{onGrid, offGrid} {
		if got := h.queryAt(rate, at).one(t); got != "10" {
			t.Errorf("open range at %s: %s, want 10", at, got)
		}
	}
	h.SetSwitches(sysdigtest.Switches{ClosedRanges: true})
	if got := h.queryAt(rate, onGrid).one(t); got != "11.666666666666666" {
		t.Errorf("closed range on the grid: %s, want one sixth too much", got)
	}
	if got := h.queryAt(rate, offGrid).one(t); got != "10" {
		t.Errorf("closed range off the grid: %s, want 10", got)
	}
}

func TestTimesAreRFC3339OrSeconds(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, at := range []string{noon.Format(time.RFC3339), seconds(noon), seconds(noon) + ".000"} {
		res := h.get("query", url.Values{"query": {"time()"}, "time": {at}})
		wantStatus(t, res, http.StatusOK, seconds(noon))
	}
	wantStatus(t, h.get("query", url.Values{"query": {"time()"}}), http.StatusOK, seconds(noon))
	wantStatus(t, h.get("query_range", rangeOf("time()", noon.Add(-time.Hour), noon, "5m")), http.StatusOK)
}
