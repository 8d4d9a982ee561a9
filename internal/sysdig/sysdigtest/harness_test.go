package sysdigtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const token = "00000000-aaaa-4000-8000-000000000001"

// ample is how long what is well may take, on a machine with much else to do.
const ample = 2 * time.Minute

// noon is when every test starts: on the grid of points, where the edges of windows show.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// harness is a listening server on a fake clock.
type harness struct {
	*sysdigtest.Server
	t    *testing.T
	clk  *clocktesting.FakeClock
	http *http.Client
	path string
}

// serve starts a server without lag unless the options say otherwise.
func serve(t *testing.T, o sysdigtest.Options) *harness {
	t.Helper()
	clk := clocktesting.NewFakeClock(noon)
	o.Clock = clk
	if o.Lag == 0 {
		o.Lag = -1
	}
	o.Tokens = append(o.Tokens, token)
	h := &harness{
		Server: sysdigtest.New(o),
		t:      t,
		clk:    clk,
		http:   &http.Client{Timeout: ample, Transport: &http.Transport{}},
		path:   o.PathPrefix + "/prometheus/api/v1/",
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.http.CloseIdleConnections)
	t.Cleanup(h.Close)
	return h
}

// result is an answer as a client reads it.
type result struct {
	status int
	header http.Header
	body   string

	Status    string
	ErrorType string
	Error     string
	Warnings  []string
	Data      struct {
		ResultType string
		Result     []struct {
			Metric map[string]string
			Value  []json.RawMessage
			Values [][]json.RawMessage
		}
	}
}

func (h *harness) request(method, route string, params url.Values, change ...func(*http.Request)) *http.Request {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.URL+h.path+route+"?"+params.Encode(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for _, c := range change {
		c(req)
	}
	return req
}

func (h *harness) try(req *http.Request) (result, error) {
	resp, err := h.http.Do(req)
	if err != nil {
		return result{}, fmt.Errorf("request: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	res := result{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if err != nil {
		return res, fmt.Errorf("body: %w", err)
	}
	// Answers that are no list of series leave Data empty.
	_ = json.Unmarshal(body, &res)
	return res, nil
}

func (h *harness) do(req *http.Request) result {
	h.t.Helper()
	res, err := h.try(req)
	if err != nil {
		h.t.Fatal(err)
	}
	return res
}

func (h *harness) get(route string, params url.Values, change ...func(*http.Request)) result {
	h.t.Helper()
	return h.do(h.request(http.MethodGet, route, params, change...))
}

// queryAt asks an instant query and expects success.
func (h *harness) queryAt(query string, at time.Time, change ...func(*http.Request)) result {
	h.t.Helper()
	res := h.get("query", url.Values{"query": {query}, "time": {seconds(at)}}, change...)
	if res.status != http.StatusOK {
		h.t.Fatalf("%s: status %d: %s", query, res.status, res.body)
	}
	return res
}

func (h *harness) query(query string, change ...func(*http.Request)) result {
	h.t.Helper()
	return h.queryAt(query, h.clk.Now(), change...)
}

// by returns the values of a vector by one label.
func (r result) by(label string) map[string]string {
	out := map[string]string{}
	for _, s := range r.Data.Result {
		out[s.Metric[label]] = unquote(s.Value[1])
	}
	return out
}

// one returns the value of a vector of one element.
func (r result) one(t *testing.T) string {
	t.Helper()
	if len(r.Data.Result) != 1 {
		t.Fatalf("%d results, want one: %s", len(r.Data.Result), r.body)
	}
	return unquote(r.Data.Result[0].Value[1])
}

func unquote(raw json.RawMessage) string {
	s, err := strconv.Unquote(string(raw))
	if err != nil {
		return "not a string: " + string(raw)
	}
	return s
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
}

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// fill adds a constant series that ends at the present of the clock.
func (h *harness) fill(name string, labels map[string]string, v float64) {
	lset := map[string]string{"__name__": name}
	maps.Copy(lset, labels)
	now := h.clk.Now()
	sysdigtest.Fill(h.Store(), lset, now.Add(-10*time.Minute), now, func(time.Time) float64 { return v })
}

// fillMany adds n series of one metric, named by the label kube_pod_name.
func (h *harness) fillMany(name string, n int) {
	for i := range n {
		h.fill(name, map[string]string{"kube_pod_name": fmt.Sprintf("pod-%05d", i)}, 1)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func wantStatus(t *testing.T, res result, status int, fragments ...string) {
	t.Helper()
	if res.status != status {
		t.Errorf("status %d, want %d: %s", res.status, status, res.body)
	}
	for _, f := range fragments {
		if !strings.Contains(res.body, f) {
			t.Errorf("body lacks %q: %s", f, res.body)
		}
	}
}

// fixture returns one case of a file in testdata by its name.
func fixture(t *testing.T, file, name string) (body map[string]any, text string) {
	t.Helper()
	var all struct {
		Cases []struct {
			Name     string
			Body     map[string]any
			BodyText string
		}
	}
	readJSON(t, file, &all)
	for _, c := range all.Cases {
		if c.Name == name {
			return c.Body, c.BodyText
		}
	}
	t.Fatalf("%s has no case %q", file, name)
	return nil, ""
}

// readJSON reads a file in testdata.
func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// shape returns the JSON types of a document, without the values of strings and numbers.
func shape(t *testing.T, document string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		t.Fatalf("%v: %s", err, document)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
			return v
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
			return v
		default:
			return fmt.Sprintf("%T", v)
		}
	}
	b, err := json.Marshal(walk(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
