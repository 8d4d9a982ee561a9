package sysdigtest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// queryData is the data of an answer to a query.
type queryData struct {
	Type   parser.ValueType `json:"resultType"`
	Result []any            `json:"result"`
}

// isList tells whether Result is a list of series, and not a time and a value.
func (d queryData) isList() bool {
	return d.Type == parser.ValueTypeVector || d.Type == parser.ValueTypeMatrix
}

type wireSample struct {
	Metric labels.Labels `json:"metric"`
	Value  []any         `json:"value"`
}

type wireSeries struct {
	Metric labels.Labels `json:"metric"`
	Values [][]any       `json:"values"`
}

func encodeValue(v parser.Value, stringTimes bool) queryData {
	data := queryData{Type: v.Type(), Result: []any{}}
	switch v := v.(type) {
	case promql.Vector:
		for _, s := range v {
			data.Result = append(data.Result, wireSample{s.Metric, wirePoint(s.T, s.F, stringTimes)})
		}
	case promql.Matrix:
		for _, s := range v {
			points := make([][]any, 0, len(s.Floats))
			for _, p := range s.Floats {
				points = append(points, wirePoint(p.T, p.F, stringTimes))
			}
			data.Result = append(data.Result, wireSeries{s.Metric, points})
		}
	case promql.Scalar:
		data.Result = wirePoint(v.T, v.V, stringTimes)
	case promql.String:
		data.Result = []any{wireTime(v.T, stringTimes), v.V}
	}
	return data
}

func wirePoint(t int64, v float64, stringTimes bool) []any {
	return []any{wireTime(t, stringTimes), wireFloat(v)}
}

// wireTime encodes milliseconds as seconds, with a fraction only when there is one.
func wireTime(ms int64, asString bool) any {
	s := strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
	if asString {
		return s
	}
	return json.Number(s)
}

// wireFloat encodes a value as Prometheus does: with an exponent only when it is very small or very large.
func wireFloat(v float64) string {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) && !math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'e', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// parseTime reads an RFC 3339 time or seconds since the epoch; an empty string gives the fallback.
func parseTime(s string, fallback time.Time) (time.Time, error) {
	if s == "" {
		return fallback, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < math.MaxInt64/1e6 {
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
	}
	return t, nil
}

// parseDuration reads a Prometheus duration or seconds; an empty string gives 0.
func parseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < math.MaxInt64/1e9 {
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
	}
	return time.Duration(d), nil
}
