package sysdig

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
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

const (
	// maxRows is how many series, or segments of the data API, an answer may have: the most that Sysdig returns of an aggregation
	// (Service Limits).
	maxRows = 100_000
	// maxWarnings is how many warnings are kept.
	maxWarnings = 8
	// seriesBytes is what a series takes in a list that grows, in bytes, beside its labels.
	seriesBytes = 100
)

// vectorReader reads what the Prometheus API wraps a vector into.
type vectorReader struct {
	labelReader
	answer              Answer
	status, fault, kind string
	// listed is set when there is a result. An empty vector is written as [], so one that is missing or null must not pass for "no data".
	listed bool
	// row is the series that is read, and valued set when its value was.
	row    Series
	valued bool
	fields []field
}

var errNoVector = errors.New("the answer holds no vector")

// decodeAnswer reads a successful answer. It returns an error unless that is one complete vector. The error may hold text of the answer
// that is not redacted.
func decodeAnswer(s *stream) (Answer, error) {
	r := &vectorReader{labelReader: newLabelReader(s)}
	r.fields = []field{{"metric", r.readLabels}, {"value", r.readPoint}}
	err := s.document(
		field{"status", s.into(&r.status)}, field{"error", s.into(&r.fault)}, field{"warnings", r.readWarnings}, field{"data", r.readData},
	)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("decoding the answer: %w", err)
	case r.status != "success":
		return Answer{}, fmt.Errorf("the answer has status %s and error %s", r.status, r.fault)
	case r.kind != "vector" || !r.listed:
		return Answer{}, errNoVector
	}
	return r.answer, nil
}

func (r *vectorReader) readWarnings() error {
	var err error
	r.answer.Warnings, err = r.warnings()
	return err
}

// warnings reads a list of warnings. The first few tell as much as all.
func (s *stream) warnings() (warnings []string, err error) {
	if is, err := s.null(); is || err != nil {
		return nil, err
	}
	warnings = []string{}
	err = s.list(func() error {
		if len(warnings) == maxWarnings {
			return s.skip()
		}
		warning, err := s.words()
		warnings = append(warnings, warning)
		return err
	})
	return warnings, err
}

func (r *vectorReader) readData() error {
	if is, err := r.null(); is || err != nil {
		return err
	}
	return r.stream.fields(field{"resultType", r.into(&r.kind)}, field{"result", r.readResult})
}

func (r *vectorReader) readResult() error {
	if is, err := r.null(); is || err != nil {
		return err
	}
	if r.kind != "" && r.kind != "vector" {
		return errNoVector
	}
	r.listed, r.answer.Series = true, []Series{}
	return r.list(r.readSeries)
}

func (r *vectorReader) readSeries() error {
	n := len(r.answer.Series)
	if n == maxRows {
		return metric.Failf(metric.Truncated, "the answer has more than %d series, the most that Sysdig returns; let the query return fewer", maxRows)
	}
	r.row, r.valued = Series{}, false
	if err := r.stream.fields(r.fields...); err != nil {
		return fmt.Errorf("series %d: %w", n, err)
	}
	if !r.valued {
		return fmt.Errorf("series %d has no value", n)
	}
	r.answer.Series = append(r.answer.Series, r.row)
	return r.hold(seriesBytes)
}

func (r *vectorReader) readLabels() (err error) {
	r.row.Labels, err = r.labels()
	return err
}

// readPoint reads [time, "value"]. Sysdig writes times as numbers and, by its OpenAPI document, as strings.
func (r *vectorReader) readPoint() error {
	parts := 0
	if err := r.list(func() error {
		number, err := r.numeric()
		switch parts++; {
		case err != nil:
			return err
		case parts == 1:
			r.row.Time, err = unixTime(number)
		case parts == 2:
			r.row.Value = number
		default:
			err = errors.New("it has more than 2 parts")
		}
		return err
	}); err != nil {
		return fmt.Errorf("part %d of a point: %w", max(parts, 1), err)
	}
	if r.valued = parts == 2; !r.valued {
		return fmt.Errorf("a point has %d parts, want 2", parts)
	}
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

// parseFloat reads a number. What is too large for a float is an infinity, which nobody takes for a value.
func parseFloat(text []byte) (float64, error) {
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !(errors.Is(err, strconv.ErrRange) && math.IsInf(value, 0)) {
		return 0, fmt.Errorf("%s is not a number", text)
	}
	return value, nil
}
