package sysdigtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

func TestAQueryOverMoreThanTenMetricNamesIsRejected(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	var terms []string
	for i := range 11 {
		name := fmt.Sprintf("metric_%02d", i)
		terms = append(terms, name)
		h.fill(name, map[string]string{"app": "a"}, 1)
	}
	rejected := []string{strings.Join(terms, " or "), `{__name__=~"metric_.*"}`, `sum({app="a"})`}
	for _, query := range rejected {
		wantStatus(t, h.get("query", url.Values{"query": {query}}), http.StatusUnprocessableEntity, "execution")
	}
	wantStatus(t, h.get("query_range", rangeOf(rejected[1], noon, noon, "10")), http.StatusUnprocessableEntity)
	for _, query := range []string{strings.Join(terms[:10], " or "), `{__name__=~"metric_0.*"}`} {
		if got := len(h.query(query).Data.Result); got == 0 {
			t.Errorf("%s: no result", query)
		}
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusTooManyRequests} {
		h.SetSwitches(sysdigtest.Switches{RejectStatus: status})
		wantStatus(t, h.get("query", url.Values{"query": {rejected[0]}}), status)
	}
}

func TestAQueryWithoutAggregationIsCutWithAWarning(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fillMany("x", 1001)
	res := h.query("x")
	if len(res.Data.Result) != 1000 || len(res.Warnings) == 0 {
		t.Errorf("%d series, warnings %q, want 1000 and a warning", len(res.Data.Result), res.Warnings)
	}
	res = h.query(`x{kube_pod_name!="pod-00000"}`)
	if len(res.Data.Result) != 1000 || len(res.Warnings) != 0 {
		t.Errorf("%d series, warnings %q, want 1000 and no warning", len(res.Data.Result), res.Warnings)
	}
	res = h.query("sum by (kube_pod_name) (x)")
	if len(res.Data.Result) != 1001 || len(res.Warnings) != 0 {
		t.Errorf("%d series of an aggregation, warnings %q, want 1001 and no warning", len(res.Data.Result), res.Warnings)
	}
}

func TestAnAggregationIsCutSilently(t *testing.T) {
	h := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{Segments: 5}})
	h.fillMany("x", 6)
	res := h.query("sum by (kube_pod_name) (x)")
	if len(res.Data.Result) != 5 || len(res.Warnings) != 0 {
		t.Errorf("%d series, warnings %q, want 5 and no warning", len(res.Data.Result), res.Warnings)
	}
}

func TestTheLimitParameterCutsTheAnswer(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fillMany("x", 6)
	res := h.get("query", url.Values{"query": {"sum by (kube_pod_name) (x)"}, "limit": {"4"}})
	if len(res.Data.Result) != 4 || len(res.Warnings) == 0 {
		t.Errorf("%d series, warnings %q, want 4 and a warning", len(res.Data.Result), res.Warnings)
	}
}

func TestMoreThanFifteenHundredSamplesPerSeriesAreRejected(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	end := noon.Add(1499 * 10 * time.Second)
	wantStatus(t, h.get("query_range", rangeOf("vector(1)", noon, end, "10")), http.StatusOK)
	end = end.Add(10 * time.Second)
	wantStatus(t, h.get("query_range", rangeOf("vector(1)", noon, end, "10")), http.StatusUnprocessableEntity)
}

func TestAQueryLongerThanFiftyThousandCharactersIsRefused(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	query := "vector(1)" + strings.Repeat(" ", 50_000-len("vector(1)"))
	wantStatus(t, h.get("query", url.Values{"query": {query}}), http.StatusOK)
	wantStatus(t, h.get("query", url.Values{"query": {query + " "}}), http.StatusBadRequest, "bad_data")
}

func TestQueriesBeyondTheConcurrentOnesAreRefused(t *testing.T) {
	h := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{ConcurrentQueries: 1}})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDelay, Delay: time.Minute, Query: "slow"})
	slow := h.async("query", url.Values{"query": {`vector(1) or slow`}})
	eventually(t, "the slow query runs", h.clk.HasWaiters)

	wantStatus(t, h.get("query", heartbeat), http.StatusTooManyRequests)
	wantStatus(t, h.get("labels", nil), http.StatusOK)
	h.clk.Step(time.Minute)
	wantStatus(t, <-slow, http.StatusOK)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
}

func TestATimeoutAboveTwoMinutesIsTwoMinutes(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDelay, Delay: 3 * time.Minute})
	for asked, step := range map[string]time.Duration{"10m": 2 * time.Minute, "": 2 * time.Minute, "30s": 30 * time.Second, "5": 5 * time.Second} {
		params := url.Values{"query": {"vector(1)"}}
		if asked != "" {
			params.Set("timeout", asked)
		}
		slow := h.async("query", params)
		eventually(t, "the slow query runs", h.clk.HasWaiters)
		h.clk.Step(step)
		wantStatus(t, <-slow, http.StatusServiceUnavailable, `"errorType":"timeout"`)
	}
}

// async sends a request whose answer arrives on the channel; a failure of the transport has status 0.
func (h *harness) async(route string, params url.Values) <-chan result {
	req := h.request(http.MethodGet, route, params)
	out := make(chan result, 1)
	go func() {
		res, err := h.try(req)
		if err != nil {
			res.body = err.Error()
		}
		out <- res
	}()
	return out
}
