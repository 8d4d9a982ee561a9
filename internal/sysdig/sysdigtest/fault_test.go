package sysdigtest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// wantHealthy checks that the server works again at once.
func (h *harness) wantHealthy() {
	h.t.Helper()
	h.ClearFault()
	if got := h.query("vector(1)").one(h.t); got != "1" {
		h.t.Errorf("after the fault: %s, want 1", got)
	}
}

func TestADelayedAnswerComesWhenTheClockSaysSo(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDelay, Delay: 45 * time.Second})
	answer := h.async("query", heartbeat)
	eventually(t, "the request waits", h.clk.HasWaiters)
	h.clk.Step(44 * time.Second)
	select {
	case res := <-answer:
		t.Fatalf("answer before its time: %s", res.body)
	default:
	}
	h.clk.Step(time.Second)
	wantStatus(t, <-answer, http.StatusOK)
	eventually(t, "the log says when", func() bool {
		log := h.Requests()
		return log[0].Answered.Sub(log[0].At) == 45*time.Second
	})
	h.wantHealthy()
}

func TestAHangingRequestEndsWithTheServer(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	answer := h.async("query", heartbeat)
	eventually(t, "the request arrives", func() bool { return h.RequestCount() == 1 })
	h.wantHealthy()
	select {
	case res := <-answer:
		t.Fatalf("the hanging request got an answer: %s", res.body)
	default:
	}
	h.Close()
	if res := <-answer; res.status != 0 {
		t.Errorf("status %d, want a broken connection", res.status)
	}
}

func TestAHangingRequestEndsWithItsClient(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	h.http.Timeout = 20 * time.Millisecond
	if res, err := h.try(h.request(http.MethodGet, "query", heartbeat)); err == nil {
		t.Errorf("status %d, want a timeout", res.status)
	}
	h.http.Timeout = ample
	h.wantHealthy()
}

func TestAConnectionIsReset(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultReset})
	_, err := h.try(h.request(http.MethodPost, "query", heartbeat))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want a connection reset", err)
	}
	if log := h.Requests(); log[0].Status != 0 || !log[0].Answered.IsZero() || log[0].Fault != sysdigtest.FaultReset {
		t.Errorf("log %+v", log[0])
	}
	h.wantHealthy()
}

func TestATruncatedBodyEndsEarly(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultTruncate})
	for _, encoding := range []string{"", "identity"} {
		res, err := h.try(h.request(http.MethodGet, "query", heartbeat, func(r *http.Request) {
			if encoding != "" {
				r.Header.Set("Accept-Encoding", encoding)
			}
		}))
		if !errors.Is(err, io.ErrUnexpectedEOF) || res.status != http.StatusOK {
			t.Errorf("encoding %q: status %d, error %v, want an unexpected end", encoding, res.status, err)
		}
	}
	h.wantHealthy()
}

func TestAStatusComesWithItsBodyWhateverTheToken(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, f := range []sysdigtest.Fault{
		{Status: http.StatusInternalServerError, Body: `{"status":"error","errorType":"server_error","error":"error writing response"}`},
		{Status: http.StatusBadGateway, Body: "<html>bad</html>", ContentType: "text/html"},
		{Status: http.StatusServiceUnavailable},
		{Status: http.StatusGatewayTimeout, Body: "upstream timed out", ContentType: "text/plain"},
		{Status: http.StatusTooManyRequests, Body: `{"type":"too_many_requests"}`, RetryAfter: 14400 * time.Second},
		{Status: http.StatusForbidden},
	} {
		t.Run(fmt.Sprint(f.Status), func(t *testing.T) {
			f.Kind = sysdigtest.FaultStatus
			h.SetFault(f)
			res := h.get("query", heartbeat, withToken("wrong"))
			wantStatus(t, res, f.Status)
			wantType := f.ContentType
			if f.Body != "" && wantType == "" {
				wantType = "application/json;charset=utf-8"
			}
			if got := res.header.Get("Content-Type"); res.body != f.Body || got != wantType {
				t.Errorf("body %q of type %q, want %q of type %q", res.body, got, f.Body, wantType)
			}
			if got := res.header.Get("Retry-After"); (got == "14400") != (f.RetryAfter > 0) {
				t.Errorf("Retry-After %q", got)
			}
		})
	}
	h.wantHealthy()
}

func TestADrippingBodyArrivesByteByByte(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDrip, Delay: time.Second})
	resp, err := h.http.Do(h.request(http.MethodGet, "query", heartbeat, func(r *http.Request) {
		r.Header.Set("Accept-Encoding", "identity")
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got strings.Builder
	for range 8 {
		eventually(t, "the server waits", h.clk.HasWaiters)
		h.clk.Step(time.Second)
		var b [2]byte
		n, err := resp.Body.Read(b[:])
		if err != nil || n != 1 {
			t.Fatalf("%d bytes, %v, want 1", n, err)
		}
		got.Write(b[:n])
	}
	if got.String() != `{"status` {
		t.Errorf("body %q", got.String())
	}
	h.wantHealthy()
}

func TestARedirectToAnotherServerShowsWhetherTheTokenFollows(t *testing.T) {
	h, other := serve(t, sysdigtest.Options{}), serve(t, sysdigtest.Options{})
	// Go's client drops the header when the host name changes, not when only the port does.
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: elsewhere + "/prometheus/api/v1/query?query=vector(2)"})
	wantStatus(t, h.get("query", heartbeat), http.StatusUnauthorized)
	if log := other.Requests(); len(log) != 1 || log[0].Token != "" {
		t.Errorf("the other server saw %+v, want one request without a token", log)
	}
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: other.URL, Status: http.StatusPermanentRedirect})
	h.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res := h.get("query", heartbeat)
	wantStatus(t, res, http.StatusPermanentRedirect)
	if got := res.header.Get("Location"); got != other.URL {
		t.Errorf("location %q, want %q", got, other.URL)
	}
	h.wantHealthy()
}

func TestAnEmptyAnswerIsASuccessWithoutData(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultEmpty})
	if got := h.query("x").body; got != `{"status":"success","data":{"resultType":"vector","result":[]}}` {
		t.Errorf("body %s", got)
	}
	got := h.get("query_range", rangeOf("x", noon, noon, "10")).body
	if got != `{"status":"success","data":{"resultType":"matrix","result":[]}}` {
		t.Errorf("body %s", got)
	}
	wantStatus(t, h.get("label/__name__/values", nil), http.StatusOK, `"data":[]`)
	wantStatus(t, h.get("metadata", nil), http.StatusOK, `"data":{}`)
	wantStatus(t, h.get("query", heartbeat, withToken("wrong")), http.StatusUnauthorized)
	h.wantHealthy()
}

func TestNaNReplacesValuesAndNotTimes(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultNaN})
	for query, want := range map[string]string{
		"sum(sum_over_time(x[1m])) / 60": "NaN",
		"x":                              "NaN",
		"max(timestamp(x))":              seconds(noon),
	} {
		if got := h.query(query).one(t); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	h.wantHealthy()
	if got := h.query("x").one(t); got != "1" {
		t.Errorf("after the fault: %s, want 1", got)
	}
}

func TestOldPointsFreezeTheNewestVisibleTime(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints})
	h.clk.Step(time.Minute)
	h.fill("x", nil, 1)
	if got := h.query("timestamp(x)").one(t); got != seconds(noon) {
		t.Errorf("newest point at %s, want %s", got, seconds(noon))
	}
	h.wantHealthy()
	if got := h.query("timestamp(x)").one(t); got != seconds(noon.Add(time.Minute)) {
		t.Errorf("newest point after the fault at %s, want the present", got)
	}
}

func TestWarningsAreAddedToANormalAnswer(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultWarnings, Body: "partial data"})
	res := h.query("vector(3)")
	if got := res.one(t); got != "3" || fmt.Sprint(res.Warnings) != "[partial data]" {
		t.Errorf("value %s, warnings %q", got, res.Warnings)
	}
	h.wantHealthy()
}

func TestGarbageIsASuccessThatIsNotJSON(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultGarbage})
	res := h.get("query", heartbeat)
	wantStatus(t, res, http.StatusOK, "<html>")
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":`, ContentType: "application/json"})
	if res := h.get("query", heartbeat); res.body != `{"status":` {
		t.Errorf("body %q", res.body)
	}
	h.wantHealthy()
}

func TestAFaultMeetsOnlyTheRequestsItNames(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(
		sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500, Query: "poison"},
		sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 502, Route: "label"},
		sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 503, Route: "query", Times: 2},
	)
	poison := url.Values{"query": {"poison + 1"}}
	for i, want := range []int{503, 503, 200} {
		if got := h.get("query", heartbeat).status; got != want {
			t.Errorf("request %d: status %d, want %d", i, got, want)
		}
	}
	wantStatus(t, h.get("query", poison), 500)
	wantStatus(t, h.get("series", url.Values{"match[]": {"poison"}}), 500)
	wantStatus(t, h.get("label/a/values", nil), 502)
	wantStatus(t, h.get("labels", nil), 200)
	if got := h.FaultCount(); got != 5 {
		t.Errorf("%d requests met a fault, want 5", got)
	}
	h.wantHealthy()
	if got := h.FaultCount(); got != 0 {
		t.Errorf("%d requests met a fault after clearing, want 0", got)
	}
}
