package sysdig_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const mega = 1 << 20

// gzipped is a text, compressed.
func gzipped(text string) []byte {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = io.WriteString(w, text) // a buffer takes all
	_ = w.Close()
	return body.Bytes()
}

// around is a text between two others, again and again until it has some bytes, compressed. Pieces that are compressed one by one
// make one that is.
func around(before, text string, size int, after string) []byte {
	piece := strings.Repeat(text, max(1, mega/len(text)))
	body := append(gzipped(before), bytes.Repeat(gzipped(piece), (size+len(piece)-1)/len(piece))...)
	return append(body, gzipped(after)...)
}

// counted is around with a number in each text.
func counted(before, format string, count int, after string) []byte {
	var text strings.Builder
	text.WriteString(before)
	for i := range count {
		fmt.Fprintf(&text, format, i)
	}
	text.WriteString(after)
	return gzipped(text.String())
}

// bomber is a server that answers everything with one body.
func bomber(t *testing.T, status int, body []byte) *sysdig.Client {
	t.Helper()
	s := serve(t, sysdigtest.Options{})
	s.Handle("/bomb/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	return connect(t, s, func(c *sysdig.Config) {
		c.QueryURL, _ = url.Parse(s.URL + "/bomb/api/v1/query")
		c.DataURL, _ = url.Parse(s.URL + "/bomb/api/data")
	})
}

// allocated is how many bytes are allocated while something runs, by all of the process.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// calls are the ways to ask.
var calls = map[string]func(context.Context, *sysdig.Client) error{
	"query": func(ctx context.Context, c *sysdig.Client) error {
		_, err := c.Query(ctx, "x", noon)
		return err
	},
	"data": func(ctx context.Context, c *sysdig.Client) error {
		_, err := c.Data(ctx, sysdig.DataRequest{
			Start: noon.Add(-time.Minute), End: noon, Keys: []string{"kubernetes.pod.name"}, Values: []sysdig.DataValue{{Metric: "cpu.cores.used", Time: "avg", Group: "sum"}}, To: 999,
		})
		return err
	},
	"metric names": func(ctx context.Context, c *sysdig.Client) error {
		_, err := c.MetricNames(ctx, func() error { return nil })
		return err
	},
	"label values": func(ctx context.Context, c *sysdig.Client) error {
		_, all, err := c.LabelValues(ctx, "kube_cluster_name", func() error { return nil })
		if err == nil && !all {
			err = metric.Failf(metric.Truncated, "not all")
		}
		return err
	},
	"descriptors": func(ctx context.Context, c *sysdig.Client) error {
		_, err := c.Descriptors(ctx, func() error { return nil })
		return err
	},
	"label names": func(ctx context.Context, c *sysdig.Client) error {
		_, err := c.LabelNames(ctx, func() error { return nil })
		return err
	},
}

// TestAnAnswerThatUnpacksToMuchTakesLittle: some kilobytes on the wire unpack to 33 MiB. What is no answer takes no memory, whatever its
// size, and what is too large for one ends early.
func TestAnAnswerThatUnpacksToMuchTakesLittle(t *testing.T) {
	const vector, end = `{"status":"success","data":{"resultType":"vector","result":[`, `]}}`
	const window, list = `{"start":1930132740,"end":1930132800,"data":[`, `{"status":"success","data":[`
	const row = `{"metric":{"a":"b"},"value":[1,"1"]}`
	deep := func(before string) []byte {
		return around(before, `[`, 33*mega, "")
	}
	tests := map[string]struct {
		call   string
		body   []byte
		reason metric.Reason
		text   string
		most   uint64 // bytes
	}{
		"rows without anything":           {"query", around(vector, `{},`, 33*mega, `{}`+end), metric.Unavailable, "has no value", 2 * mega},
		"rows that are null":              {"query", around(vector, `null,`, 33*mega, `null`+end), metric.Unavailable, "", 2 * mega},
		"rows of labels alone":            {"query", around(vector, `{"metric":{"a":"b"}},`, 33*mega, `{}`+end), metric.Unavailable, "has no value", 2 * mega},
		"rows and no end":                 {"query", around(vector, row+`,`, 33*mega, ""), metric.Truncated, "100000 series", 100 * mega},
		"rows of a matrix":                {"query", around(`{"status":"success","data":{"resultType":"matrix","result":[`, `{},`, 33*mega, end), metric.Unavailable, "no vector", 2 * mega},
		"a value of 5 MiB":                {"query", around(vector+`{"metric":{"a":"`, `x`, 5*mega, `"},"value":[1,"1"]}`+end), metric.Truncated, `label "a"`, 2 * mega},
		"a name of 5 MiB":                 {"query", around(vector+`{"metric":{"`, `x`, 5*mega, `":"a"},"value":[1,"1"]}`+end), metric.Truncated, "name of a label", 2 * mega},
		"a value of 5 MiB of escapes":     {"query", around(vector+`{"metric":{"a":"`, `\u00e9`, 5*mega, `"},"value":[1,"1"]}`+end), metric.Truncated, `label "a"`, 2 * mega},
		"a value without end":             {"query", around(vector+`{"metric":{"a":"`, `x`, 33*mega, ""), metric.Truncated, "32 MiB", 2 * mega},
		"many labels":                     {"query", counted(vector+`{"metric":{`, `"l%d":"v",`, 1000, `"a":"b"},"value":[1,"1"]}`+end), metric.Truncated, "labels", 2 * mega},
		"much text in a row":              {"query", counted(vector+`{"metric":{`, `"l%d":"`+strings.Repeat("v", 4000)+`",`, 100, `"a":"b"},"value":[1,"1"]}`+end), metric.Truncated, "labels", 2 * mega},
		"much text in all rows":           {"query", counted(vector, `{"metric":{"l":"`+strings.Repeat("v", 4000)+`%d"},"value":[1,"1"]},`, 4500, row+end), metric.Truncated, "different labels", 40 * mega},
		"a label twice and more":          {"query", around(vector+`{"metric":{`, `"a":"b",`, 33*mega, `"a":"b"},"value":[1,"1"]}`+end), metric.Truncated, "labels", 2 * mega},
		"a long number as value":          {"query", around(vector+`{"value":[1,"`, `1`, 5*mega, `"]}`+end), metric.Unavailable, "number", 2 * mega},
		"a long number as time":           {"query", around(vector+`{"value":[`, `1`, 5*mega, `,"1"]}`+end), metric.Unavailable, "number", 2 * mega},
		"a long number nobody asks for":   {"query", around(`{"x":`, `1`, 5*mega, `}`), metric.Unavailable, "number", 2 * mega},
		"a point of many parts":           {"query", around(vector+`{"value":[`, `1,`, 33*mega, `1]}`+end), metric.Unavailable, "more than 2 parts", 2 * mega},
		"lists in lists":                  {"query", deep(`{"x":`), metric.Unavailable, "within each other", 2 * mega},
		"objects in objects":              {"query", around(`{"x":`, `{"x":`, 33*mega, ""), metric.Unavailable, "within each other", 2 * mega},
		"many warnings":                   {"query", around(`{"status":"success","warnings":[`, `"w",`, 5*mega, `"w"],"data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"many warnings without end":       {"query", around(`{"warnings":[`, `"w",`, 33*mega, ""), metric.Truncated, "32 MiB", 2 * mega},
		"a warning of 5 MiB":              {"query", around(`{"status":"success","warnings":["`, `w`, 5*mega, `"],"data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"many infos":                      {"query", around(`{"status":"success","infos":[`, `"w",`, 5*mega, `"w"],"data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"a status of 5 MiB":               {"query", around(`{"status":"`, `x`, 5*mega, `"}`), metric.Unavailable, "status", 2 * mega},
		"an error of 5 MiB":               {"query", around(`{"status":"error","error":"`, `x`, 5*mega, `"}`), metric.Unavailable, "status error", 2 * mega},
		"a type of 5 MiB":                 {"query", around(`{"status":"success","data":{"resultType":"`, `x`, 5*mega, `","result":[]}}`), metric.Unavailable, "no vector", 2 * mega},
		"blanks and no end":               {"query", around("", " \n", 33*mega, ""), metric.Truncated, "32 MiB", 2 * mega},
		"blanks behind":                   {"query", around(vector+end, " ", 33*mega, ""), metric.Truncated, "32 MiB", 2 * mega},
		"an unknown field of 5 MiB":       {"query", around(`{"x":"`, `x`, 5*mega, `","status":"success","data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"an unknown name of 5 MiB":        {"query", around(`{"`, `x`, 5*mega, `":1,"status":"success","data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"many unknown fields":             {"query", around(`{`, `"x":{"a":[1,2]},`, 5*mega, `"status":"success","data":{"resultType":"vector","result":[]}}`), "", "", 2 * mega},
		"a histogram in place of a value": {"query", around(vector+`{"metric":{},"histogram":[`, `{"a":"b"},`, 5*mega, `1]}`+end), metric.Unavailable, "no value", 2 * mega},
		"the result twice":                {"query", around(vector+row+`],"result":[`, row+`,`, 33*mega, row+end), metric.Unavailable, "twice", 2 * mega},

		"rows of nothing":                {"data", around(window, `{},`, 33*mega, `{}]}`), metric.Unavailable, "no cells", 2 * mega},
		"rows with a time alone":         {"data", around(window, `{"t":1},`, 33*mega, `{}]}`), metric.Unavailable, "no cells", 2 * mega},
		"rows that were not asked for":   {"data", around(window, `{"d":["a",1]},`, 33*mega, `{}]}`), metric.Truncated, "asked for", 4 * mega},
		"nested rows not asked for":      {"data", around(window+`{"d":[`, `["a",1],`, 33*mega, `]}]}`), metric.Truncated, "asked for", 4 * mega},
		"rows of many cells":             {"data", around(window+`{"d":[`, `"a",`, 33*mega, `1]}]}`), metric.Unavailable, "column 1 holds text", 2 * mega},
		"rows of many nulls":             {"data", around(window+`{"d":[`, `null,`, 33*mega, `1]}]}`), metric.Unavailable, "more cells", 2 * mega},
		"nested rows of nothing":         {"data", around(window+`{"d":[`, `[],`, 33*mega, `[]]}]}`), metric.Unavailable, "0 cells", 2 * mega},
		"a key of 5 MiB":                 {"data", around(window+`{"d":["`, `x`, 5*mega, `",1]}]}`), metric.Truncated, "kubernetes.pod.name", 2 * mega},
		"a long number as a value":       {"data", around(window+`{"d":["a",`, `1`, 5*mega, `]}]}`), metric.Unavailable, "number", 2 * mega},
		"a long number as the window":    {"data", around(`{"start":`, `1`, 5*mega, `}`), metric.Unavailable, "number", 2 * mega},
		"many errors":                    {"data", around(`{"errors":[`, `{},`, 5*mega, `{}]}`), metric.Rejected, "", 2 * mega},
		"many errors of null":            {"data", around(`{"errors":[`, `null,`, 5*mega, `{}]}`), metric.Unavailable, "", 2 * mega},
		"an error of 5 MiB in all":       {"data", around(`{"errors":[{"reason":"why","message":"`, `x`, 5*mega, `"}]}`), metric.Rejected, "why", 2 * mega},
		"an error of many fields":        {"data", around(`{"errors":[{`, `"x":1,`, 5*mega, `"reason":"why"}]}`), metric.Rejected, "why", 2 * mega},
		"data that is a list of lists":   {"data", deep(`{"data":`), metric.Unavailable, "", 2 * mega},
		"data and blanks":                {"data", around(window, " ", 33*mega, ""), metric.Truncated, "32 MiB", 2 * mega},
		"an unknown list in an answer":   {"data", around(`{"x":[`, `{},`, 5*mega, `1],"start":1,"end":2,"data":[]}`), "", "", 2 * mega},
		"an unknown value in a row":      {"data", around(window+`{"x":"`, `x`, 5*mega, `","d":["a",1]}]}`), "", "", 2 * mega},
		"names of nothing":               {"metric names", around(list, `"",`, 5*mega, `""]}`), metric.Truncated, "", 32 * mega},
		"names that are null":            {"metric names", around(list, `null,`, 33*mega, `""]}`), metric.Unavailable, "", 2 * mega},
		"names that are objects":         {"metric names", around(list, `{},`, 33*mega, `""]}`), metric.Unavailable, "", 2 * mega},
		"more names than can be held":    {"metric names", around(list, `"metric",`, 5*mega, `"a"]}`), metric.Truncated, "no metric is said to be missing", 48 * mega},
		"long names":                     {"metric names", counted(list, `"`+strings.Repeat("x", 1000)+`%d",`, 20_000, `"a"]}`), metric.Truncated, "no metric is said to be missing", 32 * mega},
		"a metric of 5 MiB":              {"metric names", around(list+`"`, `x`, 5*mega, `"]}`), metric.Truncated, "no metric is said to be missing", 2 * mega},
		"many warnings of names":         {"metric names", around(`{"status":"success","data":[],"warnings":[`, `"w",`, 5*mega, `"w"]}`), metric.Truncated, "incomplete: w", 2 * mega},
		"names and no end":               {"metric names", around(list, `"metric",`, 33*mega, ""), metric.Truncated, "", 48 * mega},
		"more values than were asked":    {"label values", around(list, `"cluster",`, 5*mega, `"a"]}`), metric.Truncated, "not all", 4 * mega},
		"a value too long for a list":    {"label values", around(list+`"`, `x`, 5*mega, `"]}`), metric.Truncated, "not all", 2 * mega},
		"descriptors of nothing":         {"descriptors", around(`{"total":1,"metricDescriptors":[`, `{},`, 33*mega, `{}]}`), metric.Unavailable, "no id", 2 * mega},
		"descriptors that are null":      {"descriptors", around(`{"total":1,"metricDescriptors":[`, `null,`, 33*mega, `{}]}`), metric.Unavailable, "", 2 * mega},
		"more descriptors than can be":   {"descriptors", around(`{"total":1,"metricDescriptors":[`, `{"id":"m"},`, 5*mega, `{"id":"m"}]}`), metric.Truncated, "no metric is said to be missing", 48 * mega},
		"an id of 5 MiB":                 {"descriptors", around(`{"total":1,"metricDescriptors":[{"id":"`, `x`, 5*mega, `"}]}`), metric.Truncated, "no metric is said to be missing", 2 * mega},
		"a description of 5 MiB":         {"descriptors", around(`{"total":1,"metricDescriptors":[{"id":"a","description":"`, `x`, 5*mega, `"}]}`), "", "", 2 * mega},
		"a descriptor of long lists":     {"descriptors", around(`{"total":1,"metricDescriptors":[{"id":"a","namespaces":[`, `"n",`, 5*mega, `1]}]}`), "", "", 2 * mega},
		"more metrics than anybody has":  {"descriptors", around(`{"total":`, `9`, 100, `,"metricDescriptors":[]}`), metric.Unavailable, "number", 2 * mega},
		"labels of nothing":              {"label names", around(`{"allLabels":[`, `{},`, 33*mega, `{}]}`), metric.Truncated, "a limit", 2 * mega},
		"more labels than were asked":    {"label names", counted(`{"allLabels":[`, `{"id":"a.%[1]d","publicId":"a_%[1]d"},`, 7_000, `{}]}`), metric.Truncated, "a limit", 8 * mega},
		"a label of 5 MiB":               {"label names", around(`{"allLabels":[{"publicId":"a","id":"`, `x`, 5*mega, `"}]}`), "", "", 2 * mega},
		"labels of unknown fields":       {"label names", around(`{"allLabels":[{"publicId":"a","id":"b","x":[`, `{},`, 5*mega, `1]}]}`), "", "", 2 * mega},
		"labels in place of a list":      {"label names", deep(`{"allLabels":`), metric.Unavailable, "", 2 * mega},
		"a list of lists of descriptors": {"descriptors", deep(`{"total":1,"metricDescriptors":`), metric.Unavailable, "", 2 * mega},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client := bomber(t, http.StatusOK, test.body)
			var err error
			took := allocated(func() { err = calls[test.call](t.Context(), client) })
			if test.reason == "" && err != nil {
				t.Error(err)
			}
			if test.reason != "" {
				wantFailure(t, err, test.reason, test.text)
			}
			if took > test.most {
				t.Errorf("%d KiB were allocated, more than %d KiB", took>>10, test.most>>10)
			}
		})
	}
}

// TestAnErrorThatUnpacksToMuchTakesLittle asks each API for the body of an error.
func TestAnErrorThatUnpacksToMuchTakesLittle(t *testing.T) {
	for name, body := range map[string][]byte{
		"an endless message": around(`{"message":"`, `x`, 33*mega, `"}`), "errors of nothing": around(`{"errors":[`, `{},`, 33*mega, `{}]}`),
		"lists in lists": around(`{"error":`, `[`, 33*mega, ""), "blanks": around("", " ", 33*mega, `{}`), "numbers": around(`{"error":`, `1`, 33*mega, `}`),
		"errors of text": around(`{"errors":[`, `"x",`, 33*mega, `{}]}`), "a page": around(`<html>`, `<br>`, 33*mega, ""),
	} {
		for _, status := range []int{400, 403, 429, 500} {
			client := bomber(t, status, body)
			for call, ask := range calls {
				var err error
				took := allocated(func() { err = ask(t.Context(), client) })
				if f := metric.AsFailure(err); (call != "label names" || status != 404) && !strings.Contains(f.Message, fmt.Sprint("HTTP ", status)) {
					t.Errorf("%s to %s: %v", name, call, err)
				}
				if took > 2*mega {
					t.Errorf("%s to %s: %d KiB were allocated", name, call, took>>10)
				}
			}
		}
	}
}

// TestATokenThatUnpacksToMuchTakesLittle does the same to IBM Cloud IAM.
func TestATokenThatUnpacksToMuchTakesLittle(t *testing.T) {
	for name, body := range map[string][]byte{
		"an endless token":       around(`{"access_token":"`, `x`, 33*mega, `"}`),
		"a token that is large":  around(`{"expires_in":3600,"access_token":"`, `x`, 32<<10, `"}`),
		"many unknown fields":    around(`{`, `"x":{},`, 33*mega, `"access_token":"a","expires_in":3600}`),
		"lists in lists":         around(`{"x":`, `[`, 33*mega, ""),
		"a life without an end":  around(`{"access_token":"a","expires_in":`, `9`, 33*mega, `}`),
		"blanks":                 around("", " ", 33*mega, ""),
		"a token that is a list": around(`{"access_token":[`, `"a",`, 33*mega, `"a"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, sysdigtest.Options{})
			s.Handle("/iam", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(body)
			}))
			client := connect(t, s, func(c *sysdig.Config) {
				address, _ := url.Parse(s.URL + "/iam")
				c.IAM = &sysdig.IAM{URL: address}
			})
			var err error
			took := allocated(func() { _, err = client.Query(t.Context(), "x", noon) })
			wantFailure(t, err, metric.Unavailable, "no access token")
			if took > 2*mega {
				t.Errorf("%d KiB were allocated", took>>10)
			}
		})
	}
}
