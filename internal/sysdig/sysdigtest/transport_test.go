package sysdigtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

var heartbeat = url.Values{"query": {"vector(1)"}}

func TestTLSIsTrustedThroughTheBundleOnly(t *testing.T) {
	srv := sysdigtest.New(sysdigtest.Options{Tokens: []string{token}})
	if err := srv.StartTLS(); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	h := &harness{Server: srv, t: t, path: "/prometheus/api/v1/"}

	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(srv.CABundle()) {
		t.Fatal("the bundle holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	h.http = &http.Client{Timeout: ample, Transport: transport}
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)

	h.http = &http.Client{Timeout: ample}
	if res, err := h.try(h.request(http.MethodGet, "query", heartbeat)); err == nil {
		t.Errorf("a client without the bundle got status %d, want an error", res.status)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0"} {
		if err := sysdigtest.New(sysdigtest.Options{}).Listen(address, false); err == nil {
			t.Errorf("listening on %s succeeded, want an error", address)
		}
	}
}

func TestAnswersUnderThePathPrefixOnly(t *testing.T) {
	h := serve(t, sysdigtest.Options{PathPrefix: "/api"})
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	h.path = "/prometheus/api/v1/"
	wantStatus(t, h.get("query", heartbeat), http.StatusNotFound)
}

func TestAHandlerBesideTheAPINeedsNoToken(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.Handle("/control/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	h.path = "/control/"
	res := h.get("load", nil, func(r *http.Request) { r.Header.Del("Authorization") })
	wantStatus(t, res, http.StatusNoContent)
	if n := h.RequestCount(); n != 0 {
		t.Errorf("%d requests in the log, want none", n)
	}
}

func TestARefusedTokenGetsTheChosenBody(t *testing.T) {
	spring, _ := fixture(t, "error-responses.json", "prometheus_401")
	_, gateway := fixture(t, "error-responses.json", "gateway_rejects_token")
	for _, c := range []struct {
		body        sysdigtest.UnauthorizedBody
		contentType string
		shape       string
	}{
		{sysdigtest.UnauthorizedPrometheus, "application/json;charset=utf-8", encode(t, spring)},
		{sysdigtest.UnauthorizedGateway, "text/plain; charset=utf-8", gateway},
		{sysdigtest.UnauthorizedPlatform, "application/json;charset=utf-8", `{"type":"","message":"","details":[]}`},
		{sysdigtest.UnauthorizedEmpty, "", ""},
		{sysdigtest.UnauthorizedHTML, "text/html; charset=utf-8", ""},
	} {
		t.Run(string(c.body), func(t *testing.T) {
			h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Unauthorized: c.body}})
			for _, authorization := range []string{"", "Bearer wrong", "Basic " + token, token} {
				res := h.get("query", heartbeat, func(r *http.Request) { r.Header.Set("Authorization", authorization) })
				wantStatus(t, res, http.StatusUnauthorized)
				if got := res.header.Get("Content-Type"); got != c.contentType {
					t.Errorf("%q: content type %q, want %q", authorization, got, c.contentType)
				}
				if c.shape == "" {
					continue
				}
				if got, want := shape(t, res.body), shape(t, c.shape); got != want {
					t.Errorf("%q: body of shape %s, want %s", authorization, got, want)
				}
			}
		})
	}
}

func TestTheGatewayBodyNamesTheRequestID(t *testing.T) {
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Unauthorized: sysdigtest.UnauthorizedGateway}})
	res := h.get("query", heartbeat, withToken("wrong"))
	wantStatus(t, res, http.StatusUnauthorized, res.header.Get("X-Request-Id"))
}

func TestTheSchemeIsComparedWithoutRegardToCase(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		res := h.get("query", heartbeat, func(r *http.Request) { r.Header.Set("Authorization", scheme+" "+token) })
		wantStatus(t, res, http.StatusOK)
	}
}

func TestTokensOfTwoTeamsSeeDifferentSeries(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.AddToken("one", sysdigtest.WithLabel("kube_cluster_name", "c1"))
	h.fill("x", map[string]string{"kube_cluster_name": "c1"}, 1)
	h.fill("x", map[string]string{"kube_cluster_name": "c2"}, 2)

	if got := len(h.query("x").Data.Result); got != 2 {
		t.Errorf("the token of everybody sees %d series, want 2", got)
	}
	if got := h.query("sum(x)", withToken("one")).one(t); got != "1" {
		t.Errorf("the team's sum is %s, want 1", got)
	}
	if got := h.get("label/kube_cluster_name/values", nil, withToken("one")).body; got != `{"status":"success","data":["c1"]}` {
		t.Errorf("the team sees the clusters %s", got)
	}
}

func TestARevokedTokenIsRefusedFromTheNextCallOn(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	h.RevokeToken(token)
	wantStatus(t, h.get("query", heartbeat), http.StatusUnauthorized)
	h.AddToken(token, nil)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
}

func TestAnswersCarryTheHeadersOfTheService(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	res := h.get("query", heartbeat)
	if got := res.header.Get("Content-Type"); got != "application/json;charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	for _, name := range []string{"Set-Cookie", "X-Request-Id", "Vary"} {
		if res.header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
}

func TestAnswersAreCompressedWhenTheRequestAllowsIt(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	// A client that sets the header itself gets the answer as it is on the wire.
	res := h.get("query", heartbeat, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, deflate") })
	if got := res.header.Get("Content-Encoding"); got != "gzip" || res.Status != "" {
		t.Errorf("content encoding %q, body %q", got, res.body)
	}
	res = h.get("query", heartbeat, func(r *http.Request) { r.Header.Set("Accept-Encoding", "identity") })
	if got := res.header.Get("Content-Encoding"); got != "" || res.Status != "success" {
		t.Errorf("content encoding %q, body %q", got, res.body)
	}
}

func TestTheOddContentEncodingLeavesTheBodyPlain(t *testing.T) {
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{OddContentEncoding: true}})
	res := h.get("query", heartbeat)
	if got := res.header.Get("Content-Encoding"); got != "text/plain; gzip; charset=utf8" || res.Status != "success" {
		t.Errorf("content encoding %q, body %q", got, res.body)
	}
}

func TestEveryAnswerNamesTheRateLimit(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 502, Query: "broken"})
	answers := []result{
		h.get("query", heartbeat),
		h.get("query", heartbeat, withToken("wrong")),
		h.get("no-such", nil),
		h.get("status/buildinfo", nil),
		h.get("query", url.Values{"query": {"("}}),
		h.get("query", url.Values{"query": {"broken"}}),
	}
	for _, res := range answers {
		if got := res.header.Get("X-RateLimit-Limit"); got != "4096" {
			t.Errorf("status %d: limit %q, want 4096", res.status, got)
		}
	}
}

func TestTheRequestBudgetRefillsWithTheClock(t *testing.T) {
	h := serve(t, sysdigtest.Options{RequestsPerMinute: 6})
	for range 6 {
		wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	}
	spent := h.get("query", heartbeat)
	wantStatus(t, spent, http.StatusTooManyRequests)
	body, _ := fixture(t, "error-responses.json", "rate_limited")
	if got, want := shape(t, spent.body), shape(t, encode(t, body)); got != want {
		t.Errorf("body of shape %s, want %s", got, want)
	}
	if got := spent.header.Get("X-RateLimit-Limit"); got != "6" {
		t.Errorf("limit %q, want 6", got)
	}
	if got := spent.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After %q, want none", got)
	}
	h.clk.Step(10 * time.Second)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	wantStatus(t, h.get("query", heartbeat), http.StatusTooManyRequests)
}

func TestEachTokenHasItsOwnBudget(t *testing.T) {
	h := serve(t, sysdigtest.Options{RequestsPerMinute: 1})
	h.AddToken("other", nil)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	wantStatus(t, h.get("query", heartbeat), http.StatusTooManyRequests)
	wantStatus(t, h.get("query", heartbeat, withToken("other")), http.StatusOK)
}

func TestTheBudgetCanChangeWhileTheServerRuns(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	h.SetRequestsPerMinute(1)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
	wantStatus(t, h.get("query", heartbeat), http.StatusTooManyRequests)
	h.SetRequestsPerMinute(0)
	wantStatus(t, h.get("query", heartbeat), http.StatusOK)
}

func TestRetryAfterIsSentOnRequest(t *testing.T) {
	h := serve(t, sysdigtest.Options{
		RequestsPerMinute: 1,
		Switches:          sysdigtest.Switches{RetryAfter: 4 * time.Hour},
	})
	h.get("query", heartbeat)
	if got := h.get("query", heartbeat).header.Get("Retry-After"); got != strconv.Itoa(14400) {
		t.Errorf("Retry-After %q, want 14400", got)
	}
}

func TestTheLogOfRequestsShowsNoToken(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.queryAt("vector(1)", noon)
	h.get("labels", nil, func(r *http.Request) { r.Header.Del("Authorization") })

	log := h.Requests()
	if len(log) != 2 || h.RequestCount() != 2 {
		t.Fatalf("%d requests, count %d, want 2", len(log), h.RequestCount())
	}
	first := log[0]
	if first.Query != "vector(1)" || first.Time != seconds(noon) || first.Status != http.StatusOK ||
		!first.At.Equal(noon) || first.Path != "/prometheus/api/v1/query" || first.Token != sysdigtest.Fingerprint(token) {
		t.Errorf("first request: %+v", first)
	}
	if second := log[1]; second.Token != "" || second.Status != http.StatusUnauthorized {
		t.Errorf("second request: %+v", second)
	}
}
