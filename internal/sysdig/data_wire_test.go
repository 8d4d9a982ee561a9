package sysdig_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// site is a server with TLS that answers by hand and remembers what it was asked.
type site struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

// answering starts a site.
func answering(t *testing.T, handler http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.mu.Lock()
		s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
		s.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// asked returns the requests until now.
func (s *site) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// paths returns the paths with query strings of the requests until now.
func (s *site) paths() []string {
	paths := []string{}
	for _, r := range s.asked() {
		paths = append(paths, r.URL.String())
	}
	return paths
}

func (s *site) bundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// client returns a client of both APIs of the site.
func (s *site) client(t *testing.T, change ...func(*sysdig.Config)) *sysdig.Client {
	t.Helper()
	query, err := sysdig.QueryURL("", s.URL, "/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	data, err := sysdig.DataURL("", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := sysdig.Config{QueryURL: query, DataURL: data, Token: token, CABundle: s.bundle(), UserAgent: "operator/1", Timeout: ample}
	for _, edit := range change {
		edit(&c)
	}
	client, err := sysdig.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// say answers every request alike.
func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "300")
		w.Header().Set("Date", noon.Format(http.TimeFormat))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// cores asks for the cores that each pod used in the last minute before noon.
func cores() sysdig.DataRequest {
	return sysdig.DataRequest{
		Start: noon.Add(-time.Minute), End: noon, Sampling: 10 * time.Second, Source: "container", Filter: `kubernetes.namespace.name = "shop"`,
		Keys: []string{"kubernetes.pod.name"}, Values: []sysdig.DataValue{{Metric: "cpu.cores.used", Time: "avg", Group: "sum"}}, To: 499,
	}
}

func TestDataOverTheWire(t *testing.T) {
	s := answering(t, say(http.StatusOK, `{"data":[{"t":1930132800,"d":["web-1",0.25]}],"start":1930132740,"end":1930132800}`))
	client := s.client(t, func(c *sysdig.Config) {
		c.Headers = http.Header{"Ibminstanceid": {"one"}, "Authorization": {"Bearer other"}, "Content-Type": {"text/plain"}}
	})
	got, err := client.Data(t.Context(), cores())
	want := sysdig.DataAnswer{
		Rows:  []sysdig.DataRow{{Time: noon, Keys: []string{"web-1"}, Values: []float64{0.25}}},
		Start: noon.Add(-time.Minute), End: noon, RateLimit: 300, Date: noon,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	asked := s.asked()[0]
	if asked.Method != http.MethodPost || asked.URL.String() != "/api/data" {
		t.Errorf("asked by %s %s", asked.Method, asked.URL)
	}
	for header, want := range map[string]string{
		"Authorization": "Bearer " + token, "User-Agent": "operator/1", "IBMInstanceID": "one", "Accept": "application/json", "Content-Type": "application/json",
	} {
		if values := asked.Header.Values(header); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", header, values, want)
		}
	}
	const sent = `{"start":1930132740,"end":1930132800,"sampling":10,"metrics":[{"id":"kubernetes.pod.name"},{"id":"cpu.cores.used","aggregations":{"time":"avg","group":"sum"}}],` +
		`"filter":"kubernetes.namespace.name = \"shop\"","dataSourceType":"container","paging":{"from":0,"to":499}}`
	if s.bodies[0] != sent {
		t.Errorf("sent %s\nwant %s", s.bodies[0], sent)
	}
}

func TestTheStatusOfTheDataAPIDecidesTheReason(t *testing.T) {
	for status, reason := range map[int]metric.Reason{
		400: metric.Rejected, 401: metric.Unauthorized, 403: metric.Unauthorized, 404: metric.Unavailable, 410: metric.Unavailable,
		422: metric.Rejected, 429: metric.RateLimited, 500: metric.Unavailable, 503: metric.Unavailable, 201: metric.Unavailable,
	} {
		body := fmt.Sprintf(`{"errors":[{"reason":"why","message":"Bearer %s\nhappened"}]}`, token)
		s := answering(t, say(status, body))
		got, err := s.client(t).Data(t.Context(), cores())
		f := wantFailure(t, err, reason, fmt.Sprintf("HTTP %d: why: Bearer [token] happened", status))
		if names := strings.Contains(f.Full(), "spec.api"); names != (status == 404) {
			t.Errorf("%d: %q", status, f.Full())
		}
		if got.Rows != nil || got.RateLimit != 300 || !got.Date.Equal(noon) {
			t.Errorf("%d: got %+v", status, got)
		}
		if n := len(s.asked()); n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
	}
}

func TestWhatIsNoAnswerOfTheDataAPI(t *testing.T) {
	long := strings.Repeat("x", 400)
	for name, test := range map[string]struct {
		body   string
		reason metric.Reason
		text   string
	}{
		"an error within a success": {`{"errors":[{"reason":"Metric not found","message":"'x' is none for ` + token + `"}]}`, metric.Rejected, "Metric not found: 'x' is none for [token]"},
		"a long error":              {`{"errors":[{"reason":"` + long + token + `"}]}`, metric.Rejected, "refuses"},
		"an empty error":            {`{"errors":[{}],"data":[],"start":1,"end":2}`, metric.Rejected, "refuses"},
		"nothing":                   {``, metric.Unavailable, "could not be read"},
		"a page":                    {`<html>` + token, metric.Unavailable, "could not be read"},
		"no data":                   {`{"start":1,"end":2}`, metric.Unavailable, "lacks its data"},
		"a value that is an echo":   {`{"data":[{"t":1,"d":["web-1","` + token + `"]}],"start":1,"end":2}`, metric.Unavailable, "column 1 holds text"},
		"too much":                  {`{"data":[],"start":1,"end":2}` + strings.Repeat(" ", 32<<20), metric.Truncated, "32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, say(http.StatusOK, test.body))
			got, err := s.client(t).Data(t.Context(), cores())
			wantFailure(t, err, test.reason, test.text)
			if got.Rows != nil || got.RateLimit != 300 || !got.Date.Equal(noon) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestADataRequestEndsInTime(t *testing.T) {
	done := make(chan struct{})
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow/api/data" {
			_, _ = io.WriteString(w, `{"data":[`)
			w.(http.Flusher).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-done:
		}
		panic(http.ErrAbortHandler) // a body that ends well, after its reader has left, may still get there
	})
	defer close(done)
	for _, path := range []string{"/api/data", "/slow/api/data"} {
		client := s.client(t, func(c *sysdig.Config) {
			c.Timeout = 100 * time.Millisecond
			c.DataURL = &url.URL{Scheme: "https", Host: c.DataURL.Host, Path: path}
		})
		_, err := client.Data(t.Context(), cores())
		wantFailure(t, err, metric.Unavailable, "in time")
	}
}
