package sysdig_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const token = "0f9a4c1e-canary-4000-8000-000000000001"

// ample is how long a request may take that is to be answered, on a machine with much else to do.
const ample = 2 * time.Minute

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// serve starts a Sysdig with TLS and one series x{app="a"} of the value 7.5.
func serve(t *testing.T, o sysdigtest.Options) *sysdigtest.Server {
	t.Helper()
	o.Clock, o.Lag, o.Tokens = clocktesting.NewFakeClock(noon), -1, []string{token}
	s := sysdigtest.New(o)
	if err := s.StartTLS(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	sysdigtest.Fill(s.Store(), map[string]string{"__name__": "x", "app": "a"}, noon.Add(-time.Minute), noon, func(time.Time) float64 { return 7.5 })
	return s
}

// connect returns a client of a server that trusts it. change edits the configuration before.
func connect(t *testing.T, s *sysdigtest.Server, change ...func(*sysdig.Config)) *sysdig.Client {
	t.Helper()
	address, err := sysdig.QueryURL("", s.URL, "/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	c := sysdig.Config{QueryURL: address, Token: token, CABundle: s.CABundle(), UserAgent: "operator/1", Timeout: ample}
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

// wantFailure expects an error that is fit for a condition: its reason, one bounded line, and no token. The fragments are of what the
// platform team reads.
func wantFailure(t *testing.T, err error, reason metric.Reason, fragments ...string) *metric.Failure {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", reason)
	}
	for cause := err; cause != nil; {
		if strings.Contains(cause.Error(), token) || strings.Contains(cause.Error(), token[:12]) {
			t.Errorf("the token is in the error: %v", cause)
		}
		unwrapper, ok := cause.(interface{ Unwrap() error })
		if !ok {
			break
		}
		cause = unwrapper.Unwrap()
	}
	f := metric.AsFailure(err)
	if f.Reason != reason {
		t.Errorf("got %v, want %s", f, reason)
	}
	for _, text := range []string{f.Message, f.Detail} {
		if len(text) > 500 || strings.ContainsAny(text, "\r\n\t\x00\x1b") || strings.Contains(text, token[:12]) {
			t.Errorf("the text has %d bytes: %q", len(text), text)
		}
	}
	for _, fragment := range fragments {
		if !strings.Contains(f.Full(), fragment) {
			t.Errorf("%q lacks %q", f.Full(), fragment)
		}
	}
	return f
}

func TestAValueComesWithItsLabelsAndTime(t *testing.T) {
	at := noon.Add(-5*time.Second + 250*time.Millisecond)
	want := sysdig.Answer{Series: []sysdig.Series{{Labels: map[string]string{"app": "a"}, Value: 7.5, Time: at}}, RateLimit: 4096, Date: noon}
	for name, switches := range map[string]sysdigtest.Switches{
		"numbers as times":          {},
		"strings as times":          {StringTimestamps: true},
		"an odd content encoding":   {OddContentEncoding: true},
		"closed ranges of a window": {ClosedRanges: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, sysdigtest.Options{Switches: switches})
			got, err := connect(t, s).Query(t.Context(), "last_over_time(x[1m])", at)
			if err != nil {
				t.Fatal(err)
			}
			delete(got.Series[0].Labels, "__name__")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if sent := s.Requests()[0].Time; sent != "1930132795.25" {
				t.Errorf("asked about %s", sent)
			}
		})
	}
}

func TestWhatSysdigAllowsIsToldAlsoWithAFailure(t *testing.T) {
	s := serve(t, sysdigtest.Options{RequestsPerMinute: 2})
	client := connect(t, s)
	for i, want := range []metric.Reason{"", "", metric.RateLimited} {
		got, err := client.Query(t.Context(), "x", noon)
		if got.RateLimit != 2 || (err == nil) != (want == "") || err != nil && metric.AsFailure(err).Reason != want {
			t.Errorf("request %d: %+v, %v; want the limit, and %q", i, got, err, want)
		}
	}
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	if got, err := connect(t, s, func(c *sysdig.Config) { c.Timeout = 50 * time.Millisecond }).Query(t.Context(), "x", noon); got.RateLimit != 0 || err == nil {
		t.Errorf("without an answer: %+v, %v", got, err)
	}
}

func TestTheClockOfWhoAnswersIsToldAlsoWithAFailure(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	for name, test := range map[string]struct {
		fault sysdigtest.Fault
		want  time.Time
	}{
		"an answer":            {sysdigtest.Fault{}, noon},
		"an error":             {sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusUnprocessableEntity}, noon},
		"a page of a proxy":    {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage}, noon},
		"no answer":            {sysdigtest.Fault{Kind: sysdigtest.FaultReset}, time.Time{}},
		"a body that is cut":   {sysdigtest.Fault{Kind: sysdigtest.FaultTruncate}, noon},
		"another address":      {sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, URL: "/elsewhere"}, time.Time{}},
		"an answer that warns": {sysdigtest.Fault{Kind: sysdigtest.FaultWarnings, Body: "cut"}, noon},
	} {
		s.SetFault(test.fault)
		if got, _ := connect(t, s).Query(t.Context(), "x", noon); !got.Date.Equal(test.want) {
			t.Errorf("%s: the clock shows %s, want %s", name, got.Date, test.want)
		}
	}
}

func TestADateThatIsMissingOrNoneSaysNothing(t *testing.T) {
	for _, date := range []string{"", "yesterday", "1930132795"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil
			if date != "" {
				w.Header().Set("Date", date)
			}
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
		}))
		t.Cleanup(proxy.Close)
		address, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		client, err := sysdig.NewClient(sysdig.Config{QueryURL: address, Token: token, UserAgent: "operator/1", Timeout: ample})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := client.Query(t.Context(), "x", noon); err != nil || !got.Date.IsZero() {
			t.Errorf("Date %q: %s, %v", date, got.Date, err)
		}
		client.Close()
	}
}

func TestNumbersThatAreNoNumbersArrive(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	client := connect(t, s)
	for query, want := range map[string]float64{"x * 0 / 0": math.NaN(), "x / 0": math.Inf(1), "-x / 0": math.Inf(-1), "x * 1e300": 7.5e300} {
		got, err := client.Query(t.Context(), query, noon)
		if err != nil || len(got.Series) != 1 {
			t.Fatalf("%s: %+v, %v", query, got, err)
		}
		if v := got.Series[0].Value; v != want && !(math.IsNaN(v) && math.IsNaN(want)) {
			t.Errorf("%s: got %v, want %v", query, v, want)
		}
	}
}

func TestNoDataIsAnEmptyAnswer(t *testing.T) {
	got, err := connect(t, serve(t, sysdigtest.Options{})).Query(t.Context(), "nothing", noon)
	if err != nil || len(got.Series) != 0 || len(got.Warnings) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWarningsAreCleaned(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultWarnings, Body: "cut\n\tshort for " + token})
	got, err := connect(t, s).Query(t.Context(), "x", noon)
	if err != nil || len(got.Warnings) != 1 || got.Warnings[0] != "cut short for [token]" {
		t.Errorf("got %q, %v", got.Warnings, err)
	}
}

func TestWhiteSpaceAroundATokenIsIgnored(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	client := connect(t, s, func(c *sysdig.Config) { c.Token = " \t" + token + "\r\n" })
	if _, err := client.Query(t.Context(), "x", noon); err != nil {
		t.Error(err)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*sysdig.Config)
		reason metric.Reason
	}{
		"no token":                         {func(c *sysdig.Config) { c.Token = "" }, metric.Unauthorized},
		"a token of white space":           {func(c *sysdig.Config) { c.Token = " \n" }, metric.Unauthorized},
		"a token with a line break":        {func(c *sysdig.Config) { c.Token = token + "\nX: y" }, metric.Unauthorized},
		"a token with a blank":             {func(c *sysdig.Config) { c.Token = token + " " + token }, metric.Unauthorized},
		"a token of bytes":                 {func(c *sysdig.Config) { c.Token = token + "\x80\xff" }, metric.Unauthorized},
		"a token with other letters":       {func(c *sysdig.Config) { c.Token = token + "ü" }, metric.Unauthorized},
		"a token with a control character": {func(c *sysdig.Config) { c.Token = token + "\x7f" }, metric.Unauthorized},
		"a bundle that is no PEM":          {func(c *sysdig.Config) { c.CABundle = []byte("trust me") }, metric.Rejected},
		"a bundle without a certificate": {func(c *sysdig.Config) {
			c.CABundle = []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
		}, metric.Rejected},
		"no timeout, which would be for us": {func(c *sysdig.Config) { c.Timeout = 0 }, metric.Unavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := sysdig.Config{Token: token, Timeout: time.Second}
			test.change(&c)
			_, err := sysdig.NewClient(c)
			wantFailure(t, err, test.reason)
		})
	}
}

func TestOnlyTheBundleIsTrusted(t *testing.T) {
	s, other := serve(t, sysdigtest.Options{}), serve(t, sysdigtest.Options{})
	for name, bundle := range map[string][]byte{"the system's authorities": nil, "another authority": other.CABundle()} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, s, func(c *sysdig.Config) { c.CABundle = bundle })
			_, err := client.Query(t.Context(), "x", noon)
			wantFailure(t, err, metric.Unavailable, "caBundle")
			if s.RequestCount() != 0 {
				t.Error("a request was sent")
			}
		})
	}
}

func TestWhatARequestCarries(t *testing.T) {
	var got *http.Request
	var form url.Values
	s := serve(t, sysdigtest.Options{})
	s.Handle("/elsewhere/prometheus/api/v1/query", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got, form = r, r.Form
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
	}))
	client := connect(t, s, func(c *sysdig.Config) {
		c.QueryURL, _ = url.Parse(s.URL + "/elsewhere/prometheus/api/v1/query")
		c.Headers = http.Header{"Ibminstanceid": {"one"}, "Authorization": {"Bearer other"}, "User-Agent": {"other"}}
	})
	for name, query := range map[string]string{"GET": `x{app="a&b=c+d %"}`, "POST": `x{app="` + strings.Repeat("é ", 4000) + `"}`} {
		if _, err := client.Query(t.Context(), query, noon.Add(125*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if got.Method != name || (name == "POST") != (got.URL.RawQuery == "") {
			t.Errorf("got %s with %d bytes of query string, want %s", got.Method, len(got.URL.RawQuery), name)
		}
		want := url.Values{"query": {query}, "time": {"1930132800.125"}, "timeout": {"120s"}}
		if !reflect.DeepEqual(form, want) {
			t.Errorf("got %v, want %v", form, want)
		}
		for header, want := range map[string]string{"Authorization": "Bearer " + token, "User-Agent": "operator/1", "IBMInstanceID": "one", "Accept": "application/json"} {
			if values := got.Header.Values(header); len(values) != 1 || values[0] != want {
				t.Errorf("%s: %q, want %q", header, values, want)
			}
		}
	}
}

func TestALongQueryIsUnderstood(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	got, err := connect(t, s).Query(t.Context(), `x{app=~"a|`+strings.Repeat("b", 10_000)+`"}`, noon)
	if err != nil || len(got.Series) != 1 || s.Requests()[0].Method != http.MethodPost {
		t.Errorf("got %+v, %v by %s", got, err, s.Requests()[0].Method)
	}
}
