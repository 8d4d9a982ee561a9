package sysdigtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dataRequest is the body of a call of the data API, as it is sent.
type dataRequest struct {
	Last           unixSeconds  `json:"last"`
	Start          unixSeconds  `json:"start"`
	End            unixSeconds  `json:"end"`
	Sampling       unixSeconds  `json:"sampling"`
	Metrics        []dataMetric `json:"metrics"`
	Filter         string       `json:"filter"`
	DataSourceType string       `json:"dataSourceType"`
	Paging         dataPaging   `json:"paging"`
}

// dataMetric is one column; without aggregations it is a key of segments.
type dataMetric struct {
	ID           string        `json:"id"`
	Metric       string        `json:"metric"`
	Aggregations *aggregations `json:"aggregations"`
}

type aggregations struct {
	Time  string `json:"time"`
	Group string `json:"group"`
}

type dataPaging struct {
	From *int `json:"from"`
	To   *int `json:"to"`
}

// name is what the request calls the metric: in id, or in metric as some clients do.
func (m dataMetric) name() string {
	if m.ID != "" {
		return m.ID
	}
	return m.Metric
}

// unixSeconds is a number, or a string that holds one; nil when it was absent.
type unixSeconds struct{ value *float64 }

// UnmarshalJSON implements [json.Unmarshaler].
func (u *unixSeconds) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	v, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || math.Abs(v) > math.MaxInt64/1e6 || math.IsNaN(v) {
		return fmt.Errorf("%s is no time in seconds", raw)
	}
	u.value = &v
	return nil
}

func (u unixSeconds) set() bool { return u.value != nil }

// milliseconds is the value, or 0 when it was absent.
func (u unixSeconds) milliseconds() int64 {
	if u.value == nil {
		return 0
	}
	return int64(math.Round(*u.value * 1000))
}

// text is the value as it goes into the log of requests.
func (u unixSeconds) text() string {
	if u.value == nil {
		return ""
	}
	return strconv.FormatFloat(*u.value, 'f', -1, 64)
}

func decodeDataRequest(body []byte) (dataRequest, error) {
	var r dataRequest
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("the body is no request: %w", err)
	}
	return r, nil
}

// promQLNames returns what PromQL calls the metrics of the request.
func (r dataRequest) promQLNames() []string {
	source := r.source()
	names := make([]string, 0, len(r.Metrics))
	for _, m := range r.Metrics {
		if m.Aggregations != nil {
			names = append(names, promQLMetric(m.name(), source))
		} else {
			names = append(names, promQLLabel(m.name()))
		}
	}
	return names
}

// source is what the request measures: hosts, unless it says otherwise or has a key that only containers have.
func (r dataRequest) source() string {
	if r.DataSourceType != "" {
		return r.DataSourceType
	}
	isKey := func(m dataMetric) bool { return containerOnly(promQLLabel(m.name())) }
	inFilter := func(c clause) bool { return containerOnly(promQLLabel(c.label)) }
	// A filter that cannot be read is refused elsewhere.
	f, _ := filterSyntax{or: true, unquoted: true}.parse(r.Filter)
	if slices.ContainsFunc(r.Metrics, isKey) || slices.ContainsFunc(slices.Concat(f...), inFilter) {
		return sourceContainer
	}
	return sourceHost
}

// classicError is an element of the body of all errors of the classic API.
type classicError struct {
	Reason        string `json:"reason"`
	Message       string `json:"message"`
	Field         string `json:"field,omitempty"`
	RejectedValue any    `json:"rejectedValue,omitempty"`
}

func classicFailure(status int, e classicError) answer {
	return jsonAnswer(status, map[string][]classicError{"errors": {e}})
}

// refuse is the answer to a request that the classic API does not accept.
func (c *call) refuse(e classicError) *answer {
	a := classicFailure(c.switches.Classic.ErrorStatus, e)
	return &a
}

func (c *call) invalid(field string, value any, format string, args ...any) *answer {
	return c.refuse(classicError{Reason: "Invalid " + field, Message: fmt.Sprintf(format, args...), Field: field, RejectedValue: value})
}

// unknownMetric has the text that the batch endpoint was seen to send.
func (c *call) unknownMetric(field, id string, agg *aggregations) *answer {
	rejected := map[string]any{"metric": id, "alias": "v0"}
	if agg != nil {
		rejected["aggregations"] = *agg
		rejected["timeAggregation"], rejected["groupAggregation"] = agg.Time, agg.Group
	}
	return c.refuse(classicError{
		Reason:        "Metric not found",
		Message:       fmt.Sprintf("'%s' is not a Sysdig Cloud metric", id),
		Field:         field,
		RejectedValue: []any{rejected},
	})
}

// column is a metric of a question, by the names of the store: a label that is a key, or a metric that is a value.
type column struct {
	label       string
	metric      string
	time, group string
}

// question is a request that passed the checks. Times are milliseconds; a point at start is no part of it.
type question struct {
	start, end int64
	// width is that of a bucket, and sampled tells whether rows carry its end. Otherwise one bucket is the window.
	width    int64
	sampled  bool
	source   string
	filter   filter
	columns  []column
	from, to int
	// empty is a question whose answer has no data whatever is stored.
	empty bool
}

// data answers the data API.
func (s *Server) data(c *call) answer {
	if c.badData != nil {
		return *c.invalid("body", nil, "%v", c.badData)
	}
	v := s.viewOf(c)
	q, refusal := s.question(c, v)
	if refusal != nil {
		return *refusal
	}
	var rows []dataRow
	if !q.empty && c.fault.Kind != FaultEmpty {
		rows = v.rows(q, c.switches.Classic)
	}
	return c.dataAnswer(q, rows)
}

// question checks a request.
func (s *Server) question(c *call, v view) (question, *answer) {
	r := c.data
	q := question{source: r.source(), from: 0, to: 9}
	if q.source != sourceHost && q.source != sourceContainer {
		return q, c.invalid("dataSourceType", r.DataSourceType, "the source is host or container")
	}
	if r.Paging.From != nil {
		q.from = *r.Paging.From
	}
	if r.Paging.To != nil {
		q.to = *r.Paging.To
	}
	if q.from < 0 || q.to < q.from {
		return q, c.invalid("paging", r.Paging, "from %d to %d is no page", q.from, q.to)
	}
	for _, step := range []func(*call, view, *question) *answer{s.chooseWindow, s.chooseColumns, s.chooseFilter} {
		if refusal := step(c, v, &q); refusal != nil {
			return q, refusal
		}
	}
	return q, nil
}

// chooseWindow rounds the window down to its sampling, or to the finest timeline that reaches back far enough.
func (s *Server) chooseWindow(c *call, v view, q *question) *answer {
	r := c.data
	length, end := r.Last.milliseconds(), r.End.milliseconds()
	newest := v.newest
	if c.switches.Classic.LastFromNow {
		newest = s.clk.Now().UnixMilli()
	}
	switch {
	case r.Last.set() && (r.Start.set() || r.End.set()):
		return c.invalid("last", nil, "last excludes start and end")
	case r.Last.set():
		end = newest
	case !r.Start.set() || !r.End.set():
		return c.invalid("start", nil, "last, or start and end, are required")
	default:
		length = end - r.Start.milliseconds()
	}
	if length <= 0 {
		return c.invalid("start", nil, "the window is empty")
	}
	grid, refusal := s.grid(c, end-length, q)
	if refusal != nil {
		return refusal
	}
	q.start, q.end = floor(end-length, grid), floor(end, grid)
	if r.Last.set() {
		// The newest bucket is whole, and so is the length.
		q.start = q.end - floor(length, grid)
	}
	q.width = q.end - q.start
	if q.sampled {
		q.width = grid
		if n := (q.end - q.start) / grid; n > int64(s.limits.DataSamples) {
			return c.invalid("sampling", r.Sampling.text(), "%d samples, more than %d", n, s.limits.DataSamples)
		}
	}
	q.empty = q.empty || q.end <= q.start
	return nil
}

// grid returns what the window's edges are multiples of.
func (s *Server) grid(c *call, start int64, q *question) (int64, *answer) {
	age := time.Duration(s.clk.Now().UnixMilli()-start) * time.Millisecond
	sampling := c.data.Sampling
	if !sampling.set() || sampling.milliseconds() == 0 {
		for _, line := range s.limits.Timelines {
			if age <= line.Kept {
				return line.Sampling.Milliseconds(), nil
			}
		}
		return 0, c.invalid("start", c.data.Start.text(), "no timeline reaches back that far")
	}
	q.sampled = true
	i := slices.IndexFunc(s.limits.Timelines, func(t Timeline) bool { return t.Sampling.Milliseconds() == sampling.milliseconds() })
	if i < 0 {
		return 0, c.invalid("sampling", sampling.text(), "there is no timeline with a sampling of %s s", sampling.text())
	}
	if age > s.limits.Timelines[i].Kept+s.limits.Timelines[i].Sampling {
		if !c.switches.Classic.EmptyBeyondTimeline {
			return 0, c.invalid("sampling", sampling.text(), "data at a sampling of %s s do not reach back that far", sampling.text())
		}
		q.empty = true
	}
	return sampling.milliseconds(), nil
}

// floor is the largest multiple of grid that is not above t.
func floor(t, grid int64) int64 { return t - mod(t, grid) }

func (s *Server) chooseColumns(c *call, _ view, q *question) *answer {
	if len(c.data.Metrics) == 0 {
		return c.invalid("metrics", nil, "no metrics are asked for")
	}
	seen := map[string]bool{}
	for _, m := range c.data.Metrics {
		col, refusal := s.column(c, m, q.source)
		if refusal != nil {
			return refusal
		}
		if seen[col.label+col.metric] {
			return c.invalid("metrics", m.name(), "'%s' is specified more than once", m.name())
		}
		seen[col.label+col.metric] = true
		q.columns = append(q.columns, col)
	}
	return nil
}

func (s *Server) column(c *call, m dataMetric, source string) (column, *answer) {
	id := m.name()
	label, labelKnown := s.labelOf(c, id)
	metric, metricKnown := s.metricOf(c, id, source)
	switch {
	case m.Aggregations == nil && labelKnown:
		return column{label: label}, nil
	case m.Aggregations == nil && metricKnown:
		return column{}, c.invalid("metrics", id, "'%s' is a number and needs aggregations", id)
	case !metricKnown && labelKnown:
		return column{}, c.invalid("metrics", id, "'%s' is no number and has no aggregations", id)
	case !metricKnown:
		return column{}, c.unknownMetric("metrics", id, m.Aggregations)
	}
	agg := *m.Aggregations
	if c.switches.Classic.AnyCase {
		agg.Time, agg.Group = anyCase(agg.Time, timeAggregations()), anyCase(agg.Group, groupAggregations())
	}
	if agg.Group == "" {
		agg.Group = s.defaultGroup(metric)
	}
	if !slices.Contains(timeAggregations(), agg.Time) || !slices.Contains(groupAggregations(), agg.Group) {
		return column{}, c.invalid("metrics", *m.Aggregations, "'%s' has no aggregations %q and %q", id, agg.Time, agg.Group)
	}
	return column{metric: metric, time: agg.Time, group: agg.Group}, nil
}

func anyCase(word string, words []string) string {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return w
		}
	}
	return word
}

// labelOf returns what the store calls a label, and whether Sysdig knows it.
func (s *Server) labelOf(c *call, id string) (string, bool) {
	label := promQLLabel(id)
	if label == id && documentedLabel(label) && c.switches.Classic.DottedOnly {
		return label, false
	}
	return label, documentedLabel(label) || s.store.knowsLabel(label)
}

// metricOf returns what the store calls a metric, and whether Sysdig knows it.
func (s *Server) metricOf(c *call, id, source string) (string, bool) {
	metric := promQLMetric(id, source)
	documented := dottedMetric(metric).kind != ""
	if metric == id && (documented || sourceOf(metric) != "") && c.switches.Classic.DottedOnly {
		return metric, false
	}
	return metric, documented || s.store.knowsMetric(metric)
}

// defaultGroup is the first of the aggregations over a group that the descriptor of a metric has.
func (s *Server) defaultGroup(metric string) string {
	return s.descriptor(metric).GroupAggregations[0]
}

func (s *Server) chooseFilter(c *call, _ view, q *question) *answer {
	syntax := filterSyntax{or: c.switches.Classic.FilterOr, unquoted: !c.switches.Classic.FilterQuotedOnly}
	f, err := syntax.parse(c.data.Filter)
	if err != nil {
		return c.invalid("filter", c.data.Filter, "the filter cannot be read: %v", err)
	}
	q.filter = f
	return f.rename(func(id string) (string, *answer) {
		label, known := s.labelOf(c, id)
		if !known {
			return "", c.unknownMetric("filter", id, nil)
		}
		return label, nil
	})
}

// dataRow is one row of an answer: its bucket's end in seconds, and the cells in the order of the columns.
type dataRow struct {
	end   int64
	cells []any
}

// dataAnswer encodes rows. The order of the fields changes from answer to answer, as nothing depends on it.
func (c *call) dataAnswer(q question, rows []dataRow) answer {
	sw := c.switches.Classic
	timed := func(r dataRow, d any) any {
		end := r.end / 1000
		switch {
		case !q.sampled:
			return struct {
				D any `json:"d"`
			}{d}
		case c.number%2 == 0:
			return struct {
				T int64 `json:"t"`
				D any   `json:"d"`
			}{end, d}
		}
		return struct {
			D any   `json:"d"`
			T int64 `json:"t"`
		}{d, end}
	}
	data := []any{}
	if sw.NestedRows {
		for i := 0; i < len(rows); {
			var cells [][]any
			first := rows[i]
			for ; i < len(rows) && rows[i].end == first.end; i++ {
				cells = append(cells, rows[i].cells)
			}
			data = append(data, timed(first, cells))
		}
	} else {
		for _, r := range rows {
			data = append(data, timed(r, r.cells))
		}
	}
	var extra *extraFields
	if sw.ExtraFields {
		extra = &extraFields{Sampling: q.width / 1000}
	}
	if c.number%2 == 0 {
		return jsonAnswer(http.StatusOK, struct {
			Data  []any `json:"data"`
			Start int64 `json:"start"`
			End   int64 `json:"end"`
			*extraFields
		}{data, q.start / 1000, q.end / 1000, extra})
	}
	return jsonAnswer(http.StatusOK, struct {
		*extraFields
		End   int64 `json:"end"`
		Start int64 `json:"start"`
		Data  []any `json:"data"`
	}{extra, q.end / 1000, q.start / 1000, data})
}

// extraFields are what a client must look past.
type extraFields struct {
	Sampling int64          `json:"sampling"`
	Meta     map[string]any `json:"meta"`
}
