package sysdig_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

func free() error { return nil }

// numbered returns n names, in order.
func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("m%06d", i)
	}
	return names
}

func values(t *testing.T, names []string, warnings ...string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"status": "success", "data": names, "warnings": warnings})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestMetricNames(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want []string
	}{
		"some":               {`{"status":"success","data":["up","a"]}`, []string{"a", "up"}},
		"none":               {`{"status":"success","data":[]}`, []string{}},
		"one twice":          {`{"status":"success","data":["up","up"]}`, []string{"up"}},
		"one below a limit":  {values(t, numbered(4_999)), numbered(4_999)},
		"one above a limit":  {values(t, numbered(5_001)), numbered(5_001)},
		"no warnings either": {`{"status":"success","warnings":[],"data":["up"]}`, []string{"up"}},
	} {
		s := answering(t, say(http.StatusOK, test.body))
		got, err := s.client(t).MetricNames(t.Context(), free)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %d names, %v; want %d", name, len(got), err, len(test.want))
		}
		if paths := s.paths(); !reflect.DeepEqual(paths, []string{"/prometheus/api/v1/label/__name__/values?limit=200000"}) {
			t.Errorf("%s: asked %s", name, paths)
		}
	}
}

func TestAListOfNamesThatIsCutIsNone(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		reason metric.Reason
	}{
		"the server says so":        {values(t, []string{"up"}, "results truncated\ndue to limit "+token), metric.Truncated},
		"the limit by default":      {values(t, numbered(5_000)), metric.Truncated},
		"another round number":      {values(t, numbered(10_000)), metric.Truncated},
		"more than anybody can use": {values(t, numbered(200_001)), metric.Truncated},
		"no list":                   {`{"status":"success"}`, metric.Unavailable},
		"null":                      {`{"status":"success","data":null}`, metric.Unavailable},
		"no success":                {`{"status":"error","error":"` + token + `","data":[]}`, metric.Unavailable},
		"a number as a name":        {`{"status":"success","data":[1]}`, metric.Unavailable},
		"half of a document":        {`{"status":"success","data":["up"`, metric.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, say(http.StatusOK, test.body)).client(t).MetricNames(t.Context(), free)
			wantFailure(t, err, test.reason)
			if got != nil {
				t.Errorf("got %d names", len(got))
			}
		})
	}
}

// catalog answers pages of names as they are at each request. No page is longer than the cap.
func catalog(t *testing.T, most int, lists ...[]string) *site {
	t.Helper()
	request := 0
	return answering(t, func(w http.ResponseWriter, r *http.Request) {
		names := lists[min(request, len(lists)-1)]
		request++
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		page := []map[string]any{}
		for _, name := range names[min(offset, len(names)):min(offset+min(limit, most), len(names))] {
			page = append(page, map[string]any{"id": name, "metricType": "counter", "canMonitor": false})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"total": len(names), "offset": offset, "metricDescriptors": page})
	})
}

func TestDescriptorsAreReadToTheLastPage(t *testing.T) {
	all := numbered(12)
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(names, name) })
	}
	for name, test := range map[string]struct {
		most     int
		lists    [][]string
		requests int
		missing  []string
	}{
		"one page":                                   {5_000, [][]string{all}, 1, nil},
		"pages shorter than was asked for":           {5, [][]string{all}, 3, nil},
		"pages that end with the list":               {4, [][]string{all}, 3, nil},
		"some appear in front of what was read":      {5, [][]string{without("m000001"), all}, 3, []string{"m000001"}},
		"some appear behind what was read":           {5, [][]string{without("m000009"), all}, 3, nil},
		"some that were read vanish":                 {5, [][]string{all, without("m000001", "m000002")}, 4, nil},
		"some that were not read vanish":             {5, [][]string{all, without("m000009")}, 4, []string{"m000009"}},
		"all that is left to read vanishes":          {6, [][]string{all, all[:6]}, 3, all[6:]},
		"so many vanish that the offset is too high": {6, [][]string{all, all[:3]}, 3, all[6:]},
	} {
		t.Run(name, func(t *testing.T) {
			s := catalog(t, test.most, test.lists...)
			taken := 0
			got, err := s.client(t).Descriptors(t.Context(), func() error { taken++; return nil })
			if want := without(test.missing...); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
			if n := len(s.asked()); n != test.requests || taken != n {
				t.Errorf("%d requests of which %d were counted, want %d: %s", n, taken, test.requests, s.paths())
			}
		})
	}
	s := catalog(t, 5_000, numbered(0))
	if got, err := s.client(t).Descriptors(t.Context(), free); err != nil || len(got) != 0 {
		t.Errorf("got %s, %v", got, err)
	}
	if paths := s.paths(); !reflect.DeepEqual(paths, []string{"/api/v2/metrics/descriptors?limit=5000&offset=0"}) {
		t.Errorf("asked %s", paths)
	}
}

func TestDescriptorsThatDoNotAllComeAreNone(t *testing.T) {
	page := func(total int, names ...string) string {
		list := make([]string, len(names))
		for i, name := range names {
			list[i] = fmt.Sprintf(`{"id":%q}`, name)
		}
		return fmt.Sprintf(`{"total":%d,"metricDescriptors":[%s]}`, total, strings.Join(list, ","))
	}
	for name, test := range map[string]struct {
		body     string
		reason   metric.Reason
		requests int
	}{
		"an empty page":             {page(3), metric.Truncated, 1},
		"the first page for all":    {page(4, "a", "b"), metric.Truncated, 2},
		"pages without end":         {page(100_000, "a"), metric.Truncated, 200},
		"more than anybody can use": {page(200_001, "a"), metric.Truncated, 1},
		"no total":                  {`{"metricDescriptors":[{"id":"a"}]}`, metric.Unavailable, 1},
		"no page":                   {`{"total":1}`, metric.Unavailable, 1},
		"an error":                  {`{"errors":[{"reason":"x"}]}`, metric.Unavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, say(http.StatusOK, test.body))
			got, err := s.client(t).Descriptors(t.Context(), free)
			wantFailure(t, err, test.reason)
			if n := len(s.asked()); got != nil || n != test.requests {
				t.Errorf("got %s after %d requests, want %d", got, n, test.requests)
			}
		})
	}
}

func TestOldInstallationsAreAskedTheOldWay(t *testing.T) {
	legacy := `{"net.http.request.count":{"id":"net.http.request.count","type":"int"},"cpu.used.percent":null}`
	for status, want := range map[int][]string{500: {"cpu.used.percent", "net.http.request.count"}, 501: nil, 502: nil, 503: nil, 404: nil, 401: nil} {
		taken := 0
		s := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/data/metrics" {
				_, _ = io.WriteString(w, legacy)
				return
			}
			w.WriteHeader(status)
		})
		got, err := s.client(t).Descriptors(t.Context(), func() error { taken++; return nil })
		if (err == nil) != (want != nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: got %s, %v; want %s", status, got, err, want)
		}
		if want != nil && (taken != 2 || s.paths()[1] != "/api/data/metrics?light=true") {
			t.Errorf("%d were counted: %s", taken, s.paths())
		}
	}
	s := answering(t, func(w http.ResponseWriter, r *http.Request) { // an installation that is not old, on a bad day
		if r.URL.Query().Get("offset") != "0" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, `{"total":2,"metricDescriptors":[{"id":"a"}]}`)
	})
	_, err := s.client(t).Descriptors(t.Context(), free)
	wantFailure(t, err, metric.Unavailable, "HTTP 500")
	if len(s.asked()) != 2 {
		t.Errorf("asked %s", s.paths())
	}
}

func TestLabelNames(t *testing.T) {
	labels := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"id":"l.%d","publicId":"l_%d"}`, i, i)
		}
		return `{"allLabels":[` + strings.Join(list, ",") + `]}`
	}
	for name, test := range map[string]struct {
		status int
		body   string
		want   int
		reason metric.Reason
	}{
		"some":                     {200, labels(3), 3, ""},
		"none":                     {200, labels(0), 0, ""},
		"one below the limit":      {200, labels(5_999), 5_999, ""},
		"as many as the limit":     {200, labels(6_000), 0, metric.Truncated},
		"some without a name":      {200, `{"allLabels":[{"id":"a"},{"publicId":"b"},{"id":"l.0","publicId":"l_0"}]}`, 1, ""},
		"no list":                  {200, `{}`, 0, metric.Unavailable},
		"no permission":            {403, `{}`, 0, metric.Unauthorized},
		"an error":                 {500, `{}`, 0, metric.Unavailable},
		"not there, which is fine": {404, `404 page not found`, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, say(test.status, test.body))
			got, err := s.client(t).LabelNames(t.Context(), free)
			if test.reason != "" {
				wantFailure(t, err, test.reason)
			}
			if (err == nil) != (test.reason == "") || (got == nil) != (test.want < 0 || test.reason != "") || len(got) != max(test.want, 0) {
				t.Errorf("got %d labels (nil: %t), %v", len(got), got == nil, err)
			}
			if test.want > 0 && got["l.0"] != "l_0" {
				t.Errorf("got %s", got)
			}
			if paths := s.paths(); !reflect.DeepEqual(paths, []string{"/api/v3/labels/?limit=6000"}) {
				t.Errorf("asked %s", paths)
			}
		})
	}
}

func TestARequestThatMayNotBeMadeEndsTheCall(t *testing.T) {
	enough := errors.New("enough")
	s := catalog(t, 5, numbered(50))
	client := s.client(t)
	calls := map[string]func(take func() error) (any, error){
		"metrics of PromQL":       func(take func() error) (any, error) { return client.MetricNames(t.Context(), take) },
		"metrics of the data API": func(take func() error) (any, error) { return client.Descriptors(t.Context(), take) },
		"labels":                  func(take func() error) (any, error) { return client.LabelNames(t.Context(), take) },
	}
	for name, call := range calls {
		before := len(s.asked())
		got, err := call(func() error { return enough })
		if !errors.Is(err, enough) || !reflect.ValueOf(got).IsNil() || len(s.asked()) != before {
			t.Errorf("%s: got %v, %v after %d requests", name, got, err, len(s.asked())-before)
		}
	}
	before, left := len(s.asked()), 3
	_, err := client.Descriptors(t.Context(), func() error {
		if left--; left < 0 {
			return enough
		}
		return nil
	})
	if n := len(s.asked()) - before; !errors.Is(err, enough) || n != 3 {
		t.Errorf("got %v after %d requests, want 3", err, n)
	}
}

// TestCatalogAddressesKeepTheirPrefix: IBM has /api before the Prometheus API, and proxies have prefixes of their own.
func TestCatalogAddressesKeepTheirPrefix(t *testing.T) {
	s := answering(t, say(http.StatusNotFound, ""))
	client := s.client(t, func(c *sysdig.Config) {
		c.QueryURL, _ = sysdig.QueryURL("", s.URL+"/sysdig/api", "/api/prometheus")
		c.DataURL, _ = sysdig.DataURL("", s.URL+"/sysdig/api")
	})
	_, _ = client.MetricNames(t.Context(), free)
	_, _ = client.Descriptors(t.Context(), free)
	_, _ = client.LabelNames(t.Context(), free)
	for i, want := range []string{"/sysdig/api/prometheus/api/v1/label/__name__/values", "/sysdig/api/v2/metrics/descriptors", "/sysdig/api/v3/labels/"} {
		if got := s.asked()[i].URL.Path; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
}
