package sysdig

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// fixture is one case of the files in sysdigtest/testdata.
type fixture struct {
	Name     string
	Status   int
	Body     json.RawMessage
	BodyText string
}

func fixtures(t testing.TB, file string) []fixture {
	t.Helper()
	raw, err := os.ReadFile("sysdigtest/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []fixture }
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	for i, c := range all.Cases {
		if c.BodyText != "" {
			all.Cases[i].Body = json.RawMessage(c.BodyText)
		}
	}
	return all.Cases
}

func TestRecordedAnswers(t *testing.T) {
	want := map[string]*Answer{
		"matrix_numeric_ts": nil, "matrix_string_ts": nil, "scalar_inf": nil, // no instant vectors
		"vector_numeric_ts": {Series: []Series{{Labels: map[string]string{}, Value: 0.58, Time: time.Unix(1744272414, 0).UTC()}}},
		"vector_string_ts": {
			Series:   []Series{{Labels: map[string]string{"instance": "minikube"}, Value: 1, Time: time.Unix(1749637701, 0).UTC()}},
			Warnings: []string{},
		},
	}
	seen := 0
	for _, c := range fixtures(t, "prometheus-responses.json") {
		t.Run(c.Name, func(t *testing.T) {
			expected, known := want[c.Name]
			if !known {
				t.Fatal("no expectation for this answer")
			}
			seen++
			got, err := decode(c.Body)
			if (err == nil) != (expected != nil) || (expected != nil && !reflect.DeepEqual(got, *expected)) {
				t.Errorf("got %+v, %v; want %+v", got, err, expected)
			}
		})
	}
	if seen != len(want) {
		t.Errorf("%d answers, want %d", seen, len(want))
	}
}

func TestRecordedErrors(t *testing.T) {
	want := map[string]string{
		"gateway_rejects_token": "Unauthorized: Sysdig answered HTTP 401: cannot verify credentials",
		"spring_style_401":      "Unauthorized: Sysdig answered HTTP 401: Unauthorized",
		"prometheus_401":        "Unauthorized: Sysdig answered HTTP 401: Unauthorized",
		"ibm_iam_only_instance": "Unauthorized: Sysdig answered HTTP 403: Not enough privileges to complete the action: Access is denied",
		"prometheus_bad_query":  "Rejected: Sysdig answered HTTP 400: unknown position: parse error: no expression found in input",
		"prometheus_bad_range":  "Rejected: Sysdig answered HTTP 422: Invalid time range",
		"prometheus_gone":       "Unavailable: Sysdig answered HTTP 410: This API endpoint is not supported.",
		"rate_limited":          "RateLimited: Sysdig answered HTTP 429: Too many requests",
		"prometheus_500":        "Unavailable: Sysdig answered HTTP 500: error writing response",
	}
	for _, c := range fixtures(t, "error-responses.json") {
		t.Run(c.Name, func(t *testing.T) {
			if c.Status == http.StatusOK { // an error inside of a success
				if got, err := decode(c.Body); err == nil {
					t.Errorf("got %+v", got)
				}
				return
			}
			if c.Status == 0 { // the source does not tell
				c.Status = http.StatusForbidden
			}
			f := statusFailure(c.Status, http.Header{}, bodyMessage(bytes.NewReader(c.Body)), strings.Clone)
			if got := string(f.Reason) + ": " + f.Full(); got != want[c.Name] {
				t.Errorf("got %q, want %q", got, want[c.Name])
			}
		})
	}
}

func TestDecode(t *testing.T) {
	vector := func(points string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + points + `]}}`
	}
	point := func(value string) string { return vector(`{"metric":{"a":"b"},"value":` + value + `}`) }
	good := map[string]struct {
		body  string
		value float64
		at    int64
	}{
		"a fraction of a second":      {point(`[1744272414.781,"1"]`), 1, 1744272414781},
		"a time as text":              {point(`["1744272414.5","1"]`), 1, 1744272414500},
		"a value as a number":         {point(`[1,2.5]`), 2.5, 1000},
		"an exponent":                 {point(`[1,"1e-7"]`), 1e-7, 1000},
		"a time with an exponent":     {point(`[1.744272414e+09,"1"]`), 1, 1744272414000},
		"infinity":                    {point(`[1,"+Inf"]`), math.Inf(1), 1000},
		"minus infinity":              {point(`[1,"-Inf"]`), math.Inf(-1), 1000},
		"more than a float can hold":  {point(`[1,"1e999"]`), math.Inf(1), 1000},
		"the first second of all":     {point(`[0,"1"]`), 1, 0},
		"no labels":                   {vector(`{"value":[1,"3"]}`), 3, 1000},
		"fields that are not known":   {vector(`{"metric":{},"value":[1,"3"],"histogram":null,"x":[{}]}`), 3, 1000},
		"the last second of all ages": {point(`[253402300799,"1"]`), 1, 253402300799000},
	}
	for name, test := range good {
		t.Run(name, func(t *testing.T) {
			got, err := decode([]byte(test.body))
			if err != nil || len(got.Series) != 1 || got.Series[0].Value != test.value || got.Series[0].Time.UnixMilli() != test.at {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	bad := map[string]string{
		"no body": "", "null": "null", "a list": "[]", "text": "ok", "a number": "1", "a truncated document": point(`[1,"1"]`)[:40],
		"no status": `{"data":{"resultType":"vector","result":[]}}`, "another status": `{"status":"partial","data":{"resultType":"vector","result":[]}}`,
		"no data": `{"status":"success"}`, "null as data": `{"status":"success","data":null}`, "no result": `{"status":"success","data":{"resultType":"vector"}}`,
		"a scalar": `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`, "no type": `{"status":"success","data":{"result":[]}}`,
		"a result that is an object": `{"status":"success","data":{"resultType":"vector","result":{}}}`,
		"no value":                   vector(`{"metric":{}}`), "null as value": vector(`{"value":null}`), "an empty point": point(`[]`), "a point of one part": point(`[1]`),
		"a point of three parts": point(`[1,"1","1"]`), "a negative time": point(`[-1,"1"]`), "a time that is no number": point(`["NaN","1"]`),
		"a time without end": point(`["Inf","1"]`), "a time of the year 10000": point(`[253402300800,"1"]`), "no number": point(`[1,"one"]`),
		"an empty text as value": point(`[1,""]`), "null in a point": point(`[1,null]`), "a list in a point": point(`[1,[1]]`), "true": point(`[1,true]`),
		"a series that is null": vector(`null`), "one good and one bad": vector(`{"value":[1,"1"]},{"value":[1]}`), "a label that is a number": vector(`{"metric":{"a":1},"value":[1,"1"]}`),
		"a histogram instead of a value": vector(`{"metric":{},"histogram":[1,{"count":"1"}]}`),
	}
	for name, body := range bad {
		t.Run(name, func(t *testing.T) {
			if got, err := decode([]byte(body)); err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, file := range []string{"prometheus-responses.json", "error-responses.json"} {
		for _, c := range fixtures(f, file) {
			f.Add([]byte(c.Body))
		}
	}
	f.Add([]byte(`{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":["1e9","NaN"]}]}}`))
	last := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decode(body)
		if err != nil {
			if got.Series != nil || got.Warnings != nil {
				t.Fatalf("an error and an answer: %+v, %v", got, err)
			}
			return
		}
		if len(got.Series) > len(body) || len(got.Warnings) > len(body) {
			t.Fatalf("%d series and %d warnings from %d bytes", len(got.Series), len(got.Warnings), len(body))
		}
		for _, s := range got.Series {
			if s.Time.Before(time.Unix(0, 0)) || !s.Time.Before(last) {
				t.Fatalf("a series of %s", s.Time)
			}
		}
	})
}

func FuzzStatusFailure(f *testing.F) {
	for _, c := range fixtures(f, "error-responses.json") {
		f.Add(c.Status, "30", []byte(c.Body))
	}
	f.Add(429, "99999999999", []byte("<html>\x00\xff"))
	f.Add(503, "-1", []byte(`{"message":"secret secret"}`))
	const secret = "secret"
	redact := func(text string) string { return strings.ReplaceAll(text, secret, "") }
	f.Fuzz(func(t *testing.T, status int, retryAfter string, body []byte) {
		got := statusFailure(status, http.Header{"Retry-After": {retryAfter}}, bodyMessage(bytes.NewReader(body)), redact)
		if got.Reason != metric.Unauthorized && got.Reason != metric.RateLimited && got.Reason != metric.Rejected && got.Reason != metric.Unavailable {
			t.Fatalf("reason %q", got.Reason)
		}
		if len(got.Detail) > 400 || !utf8.ValidString(got.Detail) || strings.ContainsFunc(got.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("detail %q", got.Detail)
		}
		if got.RetryAfter < 0 || got.RetryAfter > 4*time.Hour {
			t.Fatalf("retry after %s", got.RetryAfter)
		}
	})
}
