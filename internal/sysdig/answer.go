package sysdig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Answer is the answer to an instant query.
type Answer struct {
	Series []Series
	// Warnings say that the answer is incomplete: Sysdig cuts lists that are too long and tells so here.
	Warnings []string
	// RateLimit is how many requests a minute Sysdig allows, as the header X-RateLimit-Limit says; 0 when it does not say. It is
	// there also when the request failed.
	RateLimit int
	// Date is when the answer was made, by the clock of who made it, to the second; zero when the header is missing or cannot be
	// read. It is there also when the request failed.
	Date time.Time
}

// Series is one row of an answer: its labels and one value.
type Series struct {
	Labels map[string]string
	// Value may be NaN or an infinity.
	Value float64
	// Time is the time that the query was evaluated for, not that of a point.
	Time time.Time
}

// envelope is what every endpoint of the Prometheus API wraps its answer into.
type envelope struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Data      *struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric json.RawMessage `json:"metric"`
			Value  point           `json:"value"`
		} `json:"result"`
	} `json:"data"`
}

// decode reads the body of a successful answer. It returns an error unless the body is one complete vector. The error may
// hold text of the body, neither bounded nor redacted.
func decode(body []byte) (Answer, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return Answer{}, fmt.Errorf("decoding the answer: %w", err)
	}
	if e.Status != "success" {
		return Answer{}, fmt.Errorf("the answer has status %s and error %s", e.Status, e.Error)
	}
	// An empty vector is written as [], so a result that is missing or null is not one: it must not pass for "no data".
	if e.Data == nil || e.Data.ResultType != "vector" || e.Data.Result == nil {
		return Answer{}, errors.New("the answer holds no vector")
	}
	answer := Answer{Warnings: e.Warnings, Series: make([]Series, len(e.Data.Result))}
	var labels labelReader
	for i, r := range e.Data.Result {
		if !r.Value.set {
			return Answer{}, fmt.Errorf("series %d has no value", i)
		}
		of, err := labels.read(r.Metric)
		if err != nil {
			return Answer{}, fmt.Errorf("decoding the labels of series %d: %w", i, err)
		}
		answer.Series[i] = Series{Labels: of, Value: r.Value.value, Time: r.Value.time}
	}
	return answer, nil
}

// point is [time, "value"]. Sysdig writes times as numbers and, by its OpenAPI document, as strings.
type point struct {
	time  time.Time
	value float64
	set   bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(data []byte) error {
	// data is valid JSON, and there are many points: they are taken apart by hand. Neither part may hold a comma.
	inner, ok := bytes.CutPrefix(data, []byte("["))
	if !ok {
		return fmt.Errorf("a point is no list")
	}
	first, second, ok := bytes.Cut(bytes.TrimSuffix(inner, []byte("]")), []byte(","))
	if !ok || bytes.IndexByte(second, ',') >= 0 {
		return fmt.Errorf("a point has %d parts, want 2", bytes.Count(inner, []byte(","))+1)
	}
	seconds, err := parseNumber(bytes.TrimSpace(first))
	if err != nil {
		return fmt.Errorf("the time of a point: %w", err)
	}
	at, err := unixTime(seconds)
	if err != nil {
		return fmt.Errorf("the time of a point: %w", err)
	}
	value, err := parseNumber(bytes.TrimSpace(second))
	if err != nil {
		return fmt.Errorf("the value of a point: %w", err)
	}
	*p = point{time: at, value: value, set: true}
	return nil
}

// unixTime is the time of a sample, to the millisecond.
func unixTime(seconds float64) (time.Time, error) {
	// Times beyond the year 9999 are no times of samples, and overflow an int64 of milliseconds.
	if math.IsNaN(seconds) || seconds < 0 || seconds > 253402300799 {
		return time.Time{}, fmt.Errorf("%v is no time of a sample", seconds)
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
}

// parseNumber reads a JSON number, or a JSON string that holds one.
func parseNumber(raw json.RawMessage) (float64, error) {
	inner, isText := bytes.CutPrefix(raw, []byte(`"`))
	switch {
	case !isText:
		return parseFloat(string(raw))
	case bytes.IndexByte(inner, '\\') < 0:
		return parseFloat(string(bytes.TrimSuffix(inner, []byte(`"`))))
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return 0, err
	}
	return parseFloat(text)
}

// parseFloat reads a number. What is too large for a float is an infinity, which nobody takes for a value.
func parseFloat(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil && !(errors.Is(err, strconv.ErrRange) && math.IsInf(value, 0)) {
		return 0, fmt.Errorf("%s is not a number", text)
	}
	return value, nil
}
