package sysdigtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// list reads an answer whose data is a list.
func list[T any](t *testing.T, res result) []T {
	t.Helper()
	wantStatus(t, res, http.StatusOK)
	var v struct{ Data []T }
	if err := json.Unmarshal([]byte(res.body), &v); err != nil {
		t.Fatalf("%v: %s", err, res.body)
	}
	return v.Data
}

func TestSeriesAreListedByTheirLabels(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", map[string]string{"a": "1"}, 1)
	h.fill("y", map[string]string{"a": "2"}, 1)
	got := list[map[string]string](t, h.get("series", url.Values{"match[]": {`x`, `{a="1"}`}}))
	if len(got) != 1 || got[0]["__name__"] != "x" || got[0]["a"] != "1" {
		t.Errorf("series %v", got)
	}
	early := url.Values{"match[]": {"x"}, "end": {seconds(noon.Add(-20 * time.Minute))}}
	if got := list[map[string]string](t, h.get("series", early)); len(got) != 0 {
		t.Errorf("series %v before the first point, want none", got)
	}
	wantStatus(t, h.get("series", nil), http.StatusBadRequest, "bad_data")
}

func TestListsOfMatchersAreLimited(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	long := "x" + strings.Repeat("y", 254)
	wantStatus(t, h.get("series", url.Values{"match[]": slices.Repeat([]string{long}, 100)}), http.StatusOK)
	wantStatus(t, h.get("series", url.Values{"match[]": {long + "z"}}), http.StatusBadRequest)
	wantStatus(t, h.get("series", url.Values{"match[]": slices.Repeat([]string{"x"}, 101)}), http.StatusBadRequest)
	wantStatus(t, h.get("labels", url.Values{"match[]": {"{"}}), http.StatusBadRequest)
}

func TestTheSeriesListStopsAtItsCapWhateverTheLimit(t *testing.T) {
	h := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{Series: 5}})
	h.fillMany("x", 6)
	for limit, want := range map[string]int{"": 5, "100": 5, "2": 2} {
		res := h.get("series", url.Values{"match[]": {"x"}, "limit": {limit}})
		if got := len(list[map[string]string](t, res)); got != want || len(res.Warnings) == 0 {
			t.Errorf("limit %q: %d series, warnings %q, want %d and a warning", limit, got, res.Warnings, want)
		}
	}
}

func TestLabelNamesIgnoreTheTimeRange(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", map[string]string{"b": "1", "a": "1"}, 1)
	h.fill("y", map[string]string{"c": "1"}, 1)
	got := list[string](t, h.get("labels", url.Values{"match[]": {"x"}, "start": {"1"}, "end": {"2"}}))
	if fmt.Sprint(got) != "[__name__ a b]" {
		t.Errorf("labels %v", got)
	}
	if got := list[string](t, h.get("labels", nil)); fmt.Sprint(got) != "[__name__ a b c]" {
		t.Errorf("labels %v", got)
	}
}

func TestLabelValuesStopAtFiveThousandUnlessALimitIsGiven(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for i := range 5001 {
		h.Store().Append(map[string]string{"__name__": fmt.Sprintf("metric_%04d", i)}, noon, 1)
	}
	if got := len(list[string](t, h.get("label/__name__/values", nil))); got != 5000 {
		t.Errorf("%d names, want 5000", got)
	}
	if got := len(list[string](t, h.get("label/__name__/values", url.Values{"limit": {"6000"}}))); got != 5001 {
		t.Errorf("%d names, want 5001", got)
	}
	if got := len(list[string](t, h.get("label/__name__/values", url.Values{"match[]": {`{__name__=~"metric_1.*"}`}, "start": {"1"}, "end": {"2"}}))); got != 1000 {
		t.Errorf("%d names match, want 1000", got)
	}
}

func TestMetadataNamesTypeAndUnit(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.fill("y_total", nil, 1)
	h.fill("z", nil, 1)
	h.Store().SetMetadata("z", sysdigtest.Metadata{Type: "gauge", Help: "Time.", Unit: "nanoseconds"})
	for metric, want := range map[string]string{
		"x":       `{"x":[{"type":"gauge","help":"","unit":"number"}]}`,
		"y_total": `{"y_total":[{"type":"counter","help":"","unit":"number"}]}`,
		"z":       `{"z":[{"type":"gauge","help":"Time.","unit":"nanoseconds"}]}`,
		"none":    `{}`,
	} {
		wantStatus(t, h.get("metadata", url.Values{"metric": {metric}}), http.StatusOK, `"data":`+want)
	}
	var all struct{ Data map[string]any }
	if err := json.Unmarshal([]byte(h.get("metadata", url.Values{"limit": {"2"}}).body), &all); err != nil || len(all.Data) != 2 {
		t.Errorf("metadata %v (%v), want 2 metrics", all.Data, err)
	}
}

func TestRulesAndAlertsAreEmpty(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	wantStatus(t, h.get("rules", nil), http.StatusOK, `"data":{"groups":[]}`)
	wantStatus(t, h.get("alerts", nil), http.StatusOK, `"data":{"alerts":[]}`)
}
