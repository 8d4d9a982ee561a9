package sysdigtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// dataRequest is a question that is sent without expecting an answer.
func (h *harness) dataRequest(a ask) *http.Request {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.URL+"/api/data", strings.NewReader(encode(h.t, a)))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// S10.
func TestFaultsOfTheNetworkMeetTheDataAPI(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum")

	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultReset})
	if _, err := h.try(h.dataRequest(question)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want a connection reset", err)
	}
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultTruncate})
	if _, err := h.try(h.dataRequest(question)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want an unexpected end", err)
	}
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusBadGateway, Body: "<html>", ContentType: "text/html"})
	wantStatus(t, h.tryData(question, withToken("wrong")).result, http.StatusBadGateway, "<html>")
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultGarbage})
	wantStatus(t, h.tryData(question).result, http.StatusOK, "<html>")
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: "https://elsewhere.example/"})
	h.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	wantStatus(t, h.tryData(question).result, http.StatusFound)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	h.http.Timeout = 20 * time.Millisecond
	if res, err := h.try(h.dataRequest(question)); err == nil {
		t.Errorf("status %d, want a timeout", res.status)
	}
	h.http.Timeout = ample
	h.ClearFault()
	wantRows(t, h.data(question), "60")
}

func TestAFaultMeetsTheRouteOrTheMetricThatItNames(t *testing.T) {
	broken := sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusInternalServerError}
	for what, c := range map[string]struct {
		route, query string
		data, promQL int
	}{
		"the data API":            {"data", "", 500, 200},
		"the Prometheus API":      {"query", "", 200, 500},
		"the metric in any name":  {"", requests, 500, 500},
		"the metric's dotted one": {"", "net.http.request.count", 500, 200},
		"a word in the filter":    {"", "shop", 500, 200},
		"another metric":          {"", "sysdig_host_net_http_request_count", 200, 200},
	} {
		t.Run(what, func(t *testing.T) {
			h := serve(t, sysdigtest.Options{})
			h.fill(requests, nil, 10)
			f := broken
			f.Route, f.Query = c.route, c.query
			h.SetFault(f)
			question := minute("net.http.request.count:sum:sum").with("filter", `kubernetes.namespace.name != "shop"`)
			wantStatus(t, h.tryData(question).result, c.data)
			wantStatus(t, h.get("query", map[string][]string{"query": {requests}}), c.promQL)
		})
	}
}

// Outages of data have to look the same through both APIs: the drills run against either.
func TestTheSameOutageShowsInBothAPIs(t *testing.T) {
	half, end := noon.Add(-30*time.Second), noon.Add(-10*time.Second)
	onlyA := sysdigtest.WithLabel(sysdigtest.LabelPod, "a")
	for what, c := range map[string]struct {
		begin func(*harness)
		want  map[string]string
	}{
		"none":            {func(*harness) {}, map[string]string{"a": "60", "b": "120"}},
		"empty":           {func(h *harness) { h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultEmpty}) }, map[string]string{}},
		"zeros":           {veils(sysdigtest.Veil{Zero: true}), map[string]string{"a": "0", "b": "0"}},
		"half missing":    {veils(sysdigtest.Veil{Covers: onlyA}), map[string]string{"b": "120"}},
		"decay":           {veils(sysdigtest.Veil{From: half}), map[string]string{"a": "20", "b": "40"}},
		"gap":             {veils(sysdigtest.Veil{From: half, Until: end}), map[string]string{"a": "40", "b": "80"}},
		"everything gone": {func(h *harness) { h.Store().Forget() }, map[string]string{}},
		"a longer lag":    {func(h *harness) { h.Store().SetLag(25 * time.Second) }, map[string]string{"a": "30", "b": "60"}},
		"not a number":    {func(h *harness) { h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultNaN}) }, map[string]string{"a": "NaN", "b": "NaN"}},
	} {
		t.Run(what, func(t *testing.T) {
			h := serve(t, sysdigtest.Options{})
			h.fill(requests, pod("a"), 10)
			h.fill(requests, pod("b"), 20)
			c.begin(h)
			promQL := h.queryAt("sum by (kube_pod_name) (sum_over_time("+requests+"[1m]))", noon.Add(5*time.Second)).by(sysdigtest.LabelPod)
			data := map[string]string{}
			for _, row := range h.data(minute(podKey, "net.http.request.count:sum:sum")).Data {
				// JSON has no word for what is not a number.
				value := "NaN"
				if row.D[1] != nil {
					value = encode(t, row.D[1])
				}
				data[row.D[0].(string)] = value
			}
			if encode(t, promQL) != encode(t, c.want) || encode(t, data) != encode(t, c.want) {
				t.Errorf("PromQL says %v, the data API %v, want %v", promQL, data, c.want)
			}
		})
	}
}

func veils(all ...sysdigtest.Veil) func(*harness) {
	return func(h *harness) { h.Store().SetVeils(all...) }
}

func TestFrozenPointsAreTheNewestOfTheDataAPIToo(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints})
	h.clk.Step(time.Minute)
	h.fill(requests, nil, 10)
	question := ask{"last": 30, "dataSourceType": "container", "metrics": metrics("net.http.request.count:sum:sum")}
	if res := h.data(question); res.End != noon.Unix() {
		t.Errorf("the window ends at %d, want the frozen %d", res.End, noon.Unix())
	}
	ahead := minute("net.http.request.count:sum:sum").with("start", noon.Unix()).with("end", noon.Unix()+60)
	wantRows(t, h.data(ahead))
	h.ClearFault()
	wantRows(t, h.data(ahead), "60")
	if res := h.data(question); res.End != noon.Unix()+60 {
		t.Errorf("the window ends at %d after the fault", res.End)
	}
}

func TestTheDateOfAnAnswerIsThatOfTheSkewedClock(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	skewed := sysdigtest.NewSkewed(h.clk, 10*time.Minute)
	other := sysdigtest.New(sysdigtest.Options{Clock: skewed, Tokens: []string{token}, Lag: -1})
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	h.Server = other
	sysdigtest.Fill(other.Store(), map[string]string{"__name__": requests}, noon, noon.Add(10*time.Minute), func(time.Time) float64 { return 10 })
	res := h.data(ask{"last": 60, "dataSourceType": "container", "metrics": metrics("net.http.request.count:sum:sum")})
	if date := res.header.Get("Date"); date != skewed.Now().UTC().Format(http.TimeFormat) || res.End != skewed.Now().Unix() {
		t.Errorf("date %s, window to %d", date, res.End)
	}
}
