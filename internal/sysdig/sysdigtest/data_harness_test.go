package sysdigtest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// ask is the body of a call of the data API.
type ask map[string]any

// with returns the body with one more field.
func (a ask) with(field string, value any) ask {
	a = maps.Clone(a)
	a[field] = value
	return a
}

// metrics of a body: keys, and values as id:time:group.
func metrics(names ...string) []map[string]any {
	var list []map[string]any
	for _, n := range names {
		parts := strings.Split(n, ":")
		m := map[string]any{"id": parts[0]}
		if len(parts) > 1 {
			m["aggregations"] = map[string]string{"time": parts[1], "group": parts[2]}
		}
		list = append(list, m)
	}
	return list
}

// minute asks for the minute before noon.
func minute(names ...string) ask {
	return ask{
		"start": noon.Add(-time.Minute).Unix(), "end": noon.Unix(), "dataSourceType": "container", "metrics": metrics(names...),
	}
}

// rowOf is one row as it travels.
type rowOf struct {
	T *int64
	D []any
}

// told is an answer of the data API.
type told struct {
	result
	Data       []rowOf
	Start, End int64
	Errors     []struct {
		Reason, Message, Field string
		RejectedValue          any
	}
}

func (h *harness) post(path string, body string, change ...func(*http.Request)) told {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	for _, c := range change {
		c(req)
	}
	res := told{result: h.do(req)}
	// Answers without rows leave the fields empty.
	_ = json.Unmarshal([]byte(res.body), &res)
	return res
}

// tryData asks the data API.
func (h *harness) tryData(a ask, change ...func(*http.Request)) told {
	h.t.Helper()
	return h.post("/api/data", encode(h.t, a), change...)
}

// data asks the data API and expects success.
func (h *harness) data(a ask, change ...func(*http.Request)) told {
	h.t.Helper()
	res := h.tryData(a, change...)
	if res.status != http.StatusOK {
		h.t.Fatalf("%v: status %d: %s", a, res.status, res.body)
	}
	return res
}

// rows writes rows as "t: cells", with seconds since the start of the answer for t.
func (r told) rows() []string {
	out := []string{}
	for _, row := range r.Data {
		var cells []string
		for _, c := range row.D {
			if f, ok := c.(float64); ok {
				c = strconv.FormatFloat(f, 'g', 6, 64)
			}
			cells = append(cells, fmt.Sprint(c))
		}
		line := strings.Join(cells, " ")
		if row.T != nil {
			line = fmt.Sprintf("%d: %s", *row.T-r.Start, line)
		}
		out = append(out, line)
	}
	return out
}

func wantRows(t *testing.T, res told, want ...string) {
	t.Helper()
	if got := res.rows(); !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// wantRefused checks that the request was refused for a field, with the fragments in the message.
func wantRefused(t *testing.T, res told, field string, fragments ...string) {
	t.Helper()
	if res.status != http.StatusBadRequest || len(res.Errors) != 1 || res.Errors[0].Field != field {
		t.Errorf("status %d, errors %+v, want one about %s: %s", res.status, res.Errors, field, res.body)
		return
	}
	for _, f := range fragments {
		if !strings.Contains(res.Errors[0].Message, f) {
			t.Errorf("message %q lacks %q", res.Errors[0].Message, f)
		}
	}
}

const (
	requests = sysdigtest.MetricHTTPRequests
	podKey   = "kubernetes.pod.name"
)

// at appends points to a series: seconds before noon and values.
func (h *harness) at(name string, labels map[string]string, points map[int]float64) {
	lset := map[string]string{"__name__": name}
	maps.Copy(lset, labels)
	for before, v := range points {
		h.Store().Append(lset, noon.Add(-time.Duration(before)*time.Second), v)
	}
}

func pod(name string) map[string]string { return map[string]string{sysdigtest.LabelPod: name} }
