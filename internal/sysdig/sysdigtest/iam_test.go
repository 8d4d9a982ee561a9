package sysdigtest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	apiKey   = "ibm-api-key-of-the-test"
	instance = "11111111-2222-4333-8444-555555555555"
	grant    = "urn:ibm:params:oauth:grant-type:apikey"
)

func serveIBM(t *testing.T, o sysdigtest.Options) *harness {
	t.Helper()
	o.IBM = &sysdigtest.IBM{InstanceID: instance, APIKeys: []string{apiKey}, TokenLifetime: 90 * time.Second}
	h := serve(t, o)
	h.fill(requests, map[string]string{sysdigtest.LabelCluster: "c1"}, 10)
	h.fill(requests, map[string]string{sysdigtest.LabelCluster: "c2"}, 20)
	return h
}

// issued is an answer of the identity service.
type issued struct {
	result
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	Expiration   int64
}

func (h *harness) token(form url.Values) (got issued) {
	h.t.Helper()
	res := h.post("/identity/token", form.Encode(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Del("Authorization")
	})
	got.result = res.result
	_ = json.Unmarshal([]byte(res.body), &got)
	return got
}

func (h *harness) liveToken() string {
	h.t.Helper()
	got := h.token(url.Values{"grant_type": {grant}, "apikey": {apiKey}})
	if got.status != http.StatusOK || got.AccessToken == "" {
		h.t.Fatalf("status %d: %s", got.status, got.body)
	}
	return got.AccessToken
}

// as sends a token of IAM with headers, given as names and values.
func as(token string, headers ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
}

var sumOfRequests = minute("net.http.request.count:sum:sum")

// S6.
func TestTheIdentityServiceChangesAKeyForAToken(t *testing.T) {
	h := serveIBM(t, sysdigtest.Options{})
	got := h.token(url.Values{"grant_type": {grant}, "apikey": {apiKey}, "response_type": {"cloud_iam"}})
	wantStatus(t, got.result, http.StatusOK)
	if got.ExpiresIn != 90 || got.Expiration != noon.Unix()+90 || got.TokenType != "Bearer" || got.RefreshToken == "" {
		t.Errorf("answer %+v", got)
	}
	for what, form := range map[string]url.Values{
		"another key":   {"grant_type": {grant}, "apikey": {"wrong"}},
		"no key":        {"grant_type": {grant}},
		"another grant": {"grant_type": {"password"}, "apikey": {apiKey}},
		"no grant":      {"apikey": {apiKey}},
	} {
		t.Run(what, func(t *testing.T) { wantStatus(t, h.token(form).result, http.StatusBadRequest, "errorMessage") })
	}
	inURL := h.post("/identity/token?"+url.Values{"grant_type": {grant}, "apikey": {apiKey}}.Encode(), "")
	wantStatus(t, inURL.result, http.StatusBadRequest)
	h.path = "/identity/"
	wantStatus(t, h.get("token", nil), http.StatusMethodNotAllowed)
	for _, r := range h.Requests() {
		if strings.Contains(encode(t, r), apiKey) {
			t.Errorf("the log holds the key: %+v", r)
		}
	}
	wantStatus(t, serve(t, sysdigtest.Options{}).token(nil).result, http.StatusNotFound)
}

// S6.
func TestACallNeedsALiveTokenAndTheInstance(t *testing.T) {
	h := serveIBM(t, sysdigtest.Options{})
	live := h.liveToken()
	for _, path := range []string{"/prometheus/api/v1/", "/api/prometheus/api/v1/"} {
		h.path = path
		wantStatus(t, h.get("query", heartbeat, as(live, "IBMInstanceID", instance)), http.StatusOK)
		wantStatus(t, h.get("query", heartbeat, as(live)), http.StatusUnauthorized)
	}
	wantRows(t, h.data(sumOfRequests, as(live, "IBMInstanceID", instance)), "180")
	wantStatus(t, h.tryData(sumOfRequests, as(live)).result, http.StatusUnauthorized)
	wantStatus(t, h.tryData(sumOfRequests, as(live, "IBMInstanceID", "another")).result, http.StatusUnauthorized)
	wantStatus(t, h.tryData(sumOfRequests, as(apiKey, "IBMInstanceID", instance)).result, http.StatusUnauthorized)

	h.clk.Step(89 * time.Second)
	second := h.liveToken()
	if second == live {
		t.Error("the same token again")
	}
	wantStatus(t, h.tryData(sumOfRequests, as(live, "IBMInstanceID", instance)).result, http.StatusOK)
	h.clk.Step(time.Second)
	wantStatus(t, h.tryData(sumOfRequests, as(live, "IBMInstanceID", instance)).result, http.StatusUnauthorized)
	wantStatus(t, h.tryData(sumOfRequests, as(second, "IBMInstanceID", instance)).result, http.StatusOK)

	h.RevokeAPIKey(apiKey)
	wantStatus(t, h.tryData(sumOfRequests, as(second, "IBMInstanceID", instance)).result, http.StatusUnauthorized)
	wantStatus(t, h.token(url.Values{"grant_type": {grant}, "apikey": {apiKey}}).result, http.StatusBadRequest)
	h.AddAPIKey(apiKey)
	wantRows(t, h.data(sumOfRequests, as(h.liveToken(), "IBMInstanceID", instance)), "180")
}

// S6.
func TestATeamMayBeChosenByItsNumber(t *testing.T) {
	h := serveIBM(t, sysdigtest.Options{})
	h.AddTeam("7", sysdigtest.WithLabel(sysdigtest.LabelCluster, "c1"))
	live := h.liveToken()
	wantRows(t, h.data(sumOfRequests, as(live, "IBMInstanceID", instance, "SysdigTeamID", "7")), "60")
	wantRows(t, h.data(sumOfRequests, as(live, "IBMInstanceID", instance, "TeamID", "7")), "180")
	wantStatus(t, h.tryData(sumOfRequests, as(live, "IBMInstanceID", instance, "SysdigTeamID", "8")).result, http.StatusUnauthorized)
}

// S6.
func TestAnInstanceMayRefuseSysdigsOwnTokens(t *testing.T) {
	documented, _ := fixture(t, "error-responses.json", "ibm_iam_only_instance")
	h := serveIBM(t, sysdigtest.Options{})
	wantRows(t, h.data(sumOfRequests), "180")
	for status, want := range map[int]int{0: http.StatusForbidden, http.StatusUnauthorized: http.StatusUnauthorized} {
		h.SetSwitches(sysdigtest.Switches{IAMOnly: true, DeniedStatus: status})
		res := h.tryData(sumOfRequests)
		wantStatus(t, res.result, want)
		var body map[string]any
		if err := json.Unmarshal([]byte(res.body), &body); err != nil || encode(t, body) != encode(t, documented) {
			t.Errorf("body %s, documented %v", res.body, documented)
		}
		wantRows(t, h.data(sumOfRequests, as(h.liveToken(), "IBMInstanceID", instance)), "180")
		wantStatus(t, h.tryData(sumOfRequests, withToken("wrong")).result, http.StatusUnauthorized)
	}
}

func TestTheTokensOfAKeyShareItsBudget(t *testing.T) {
	h := serveIBM(t, sysdigtest.Options{RequestsPerMinute: 2})
	for range 2 {
		h.data(sumOfRequests, as(h.liveToken(), "IBMInstanceID", instance))
	}
	fresh := as(h.liveToken(), "IBMInstanceID", instance)
	wantStatus(t, h.tryData(sumOfRequests, fresh).result, http.StatusTooManyRequests)
	h.SetRequestsPerMinute(60)
	h.clk.Step(time.Second)
	wantStatus(t, h.tryData(sumOfRequests, fresh).result, http.StatusOK)
}

func TestOnlyAFaultThatNamesTheIdentityServiceMeetsIt(t *testing.T) {
	h := serveIBM(t, sysdigtest.Options{})
	f := sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusServiceUnavailable}
	h.SetFault(f)
	h.liveToken()
	f.Route = "identity/token"
	h.SetFault(f)
	wantStatus(t, h.token(url.Values{"grant_type": {grant}, "apikey": {apiKey}}).result, http.StatusServiceUnavailable)
	wantRows(t, h.data(sumOfRequests), "180")
}
