package sysdig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// DataRequest is one question to Sysdig's data API, POST /api/data.
type DataRequest struct {
	// Start and End are the window, in whole seconds. They are times of Sysdig's clock.
	Start, End time.Time
	// Sampling is the width of a bucket; 0 asks for one value per segment that summarizes the window.
	Sampling time.Duration
	// Source is the entity that is measured: container or host.
	Source string
	// Filter confines the question; see Filter. Empty confines nothing.
	Filter string
	// Keys are the labels that tell segments apart.
	Keys []string
	// Values are the metrics, none of them twice.
	Values []DataValue
	// From and To are the segments to return, both inclusive and counted from 0.
	From, To int
}

// DataValue is a metric and how it is reduced: first over the window or bucket of each entity, then over the entities of a segment.
type DataValue struct {
	Metric string
	// Time is avg, timeAvg, sum, min, max or rateOfChange; Group is avg, sum, min or max.
	Time, Group string
}

// DataAnswer is the answer to a DataRequest.
type DataAnswer struct {
	Rows []DataRow
	// Start and End are the window that was answered for, which Sysdig may have rounded.
	Start, End time.Time
	// RateLimit and Date are those of Answer.
	RateLimit int
	Date      time.Time
}

// DataRow is one segment, of one bucket when there was a sampling.
type DataRow struct {
	// Time is the end of the bucket; zero when there was no sampling.
	Time time.Time
	// Keys are the values of DataRequest.Keys; empty when a label does not apply.
	Keys []string
	// Values are those of DataRequest.Values; NaN when there is no sample.
	Values []float64
}

// Data asks the data API. The error is a *metric.Failure.
func (c *Client) Data(ctx context.Context, request DataRequest) (DataAnswer, error) {
	body, err := encodeData(request)
	if err != nil {
		return DataAnswer{}, metric.AsFailure(fmt.Errorf("writing the question: %w", err))
	}
	var answer DataAnswer
	q := question{method: http.MethodPost, target: c.config.DataURL, body: string(body), kind: "application/json"}
	head, err := c.ask(ctx, q, func(body *stream) (err error) {
		answer, err = decodeData(body, request)
		return err
	})
	if head.status == http.StatusNotFound {
		err = notThere(err)
	}
	answer.RateLimit, answer.Date = head.rateLimit, head.date
	return answer, err
}

// notThere says what a missing data API speaks of: the connection, not the metric.
func notThere(err error) *metric.Failure {
	f := metric.AsFailure(err)
	missing := *f
	missing.Detail = f.Full() + "; is the data API (spec.api of the connection) there, at spec.endpoint?"
	return &missing
}

// dataBody is the body of a DataRequest.
type dataBody struct {
	Start          int64        `json:"start"`
	End            int64        `json:"end"`
	Sampling       int64        `json:"sampling,omitempty"`
	Metrics        []dataColumn `json:"metrics"`
	Filter         string       `json:"filter,omitempty"`
	DataSourceType string       `json:"dataSourceType,omitempty"`
	Paging         dataPaging   `json:"paging"`
}

type dataColumn struct {
	ID string `json:"id"`
	// Aggregations tell a value from a key, which must have none.
	Aggregations *dataAggregations `json:"aggregations,omitempty"`
}

type dataAggregations struct {
	Time  string `json:"time,omitempty"`
	Group string `json:"group,omitempty"`
}

// dataPaging is always sent: without it Sysdig returns ten segments and does not say so.
type dataPaging struct {
	From int `json:"from"`
	To   int `json:"to"`
}

func encodeData(r DataRequest) ([]byte, error) {
	body := dataBody{
		Start: r.Start.Unix(), End: r.End.Unix(), Sampling: int64(r.Sampling / time.Second), Metrics: make([]dataColumn, 0, len(r.Keys)+len(r.Values)),
		Filter: r.Filter, DataSourceType: r.Source, Paging: dataPaging{From: r.From, To: r.To},
	}
	for _, key := range r.Keys {
		body.Metrics = append(body.Metrics, dataColumn{ID: key})
	}
	for _, value := range r.Values {
		body.Metrics = append(body.Metrics, dataColumn{ID: value.Metric, Aggregations: &dataAggregations{Time: value.Time, Group: value.Group}})
	}
	return json.Marshal(body)
}

// dataRowBytes is what a row takes in a list that grows, in bytes; dataCellBytes each of its cells.
const dataRowBytes, dataCellBytes = 200, 16

// segmentReader reads an answer of the data API.
type segmentReader struct {
	labelReader
	request DataRequest
	answer  DataAnswer
	// start and end are the window of the answer, and at the time of the entry that is read.
	start, end, at *float64
	// keys and values are the cells of the row that is read, and column is the next one.
	keys   []string
	values []float64
	column int
	// most is how many rows there may be.
	most   int
	fields []field
}

// decodeData reads a successful answer to q. It returns an error unless that is one complete answer. The error may hold text of the
// answer that is not redacted.
func decodeData(s *stream, q DataRequest) (DataAnswer, error) {
	r := &segmentReader{
		labelReader: newLabelReader(s), request: q, most: mostRows(q), keys: make([]string, len(q.Keys)), values: make([]float64, len(q.Values)),
	}
	r.fields = []field{{"t", s.optional(&r.at)}, {"d", r.readCells}}
	err := s.document(
		field{"data", r.readData}, field{"start", s.optional(&r.start)}, field{"end", s.optional(&r.end)}, field{"errors", r.readErrors},
	)
	switch {
	case err != nil:
		return DataAnswer{}, fmt.Errorf("decoding the answer: %w", err)
	case r.answer.Rows == nil || r.start == nil || r.end == nil: // no data is written as [], so what is missing or null is not that
		return DataAnswer{}, errors.New("the answer lacks its data or its window")
	}
	if r.answer.Start, err = unixTime(*r.start); err != nil {
		return DataAnswer{}, fmt.Errorf("the start of the window: %w", err)
	}
	if r.answer.End, err = unixTime(*r.end); err != nil {
		return DataAnswer{}, fmt.Errorf("the end of the window: %w", err)
	}
	return r.answer, nil
}

// mostRows is how many rows an answer may have: one more of each kind than was asked for, so that whoever counts them sees it.
func mostRows(q DataRequest) int {
	buckets := 1
	if q.Sampling > 0 {
		buckets = int(q.End.Sub(q.Start)/q.Sampling) + 1
	}
	return (q.To - q.From + 2) * (buckets + 1)
}

func (r *segmentReader) readErrors() error {
	text, are, err := r.errors()
	if err == nil && are {
		err = fmt.Errorf("%w: %s", errRefused, text)
	}
	return err
}

func (r *segmentReader) readData() error {
	if is, err := r.null(); is || err != nil {
		return err
	}
	r.answer.Rows = []DataRow{}
	return r.list(r.readEntry)
}

// readEntry reads the rows of one entry: one in every answer that was recorded, where d is a flat list, and any number in the oldest
// documentation, where d is a list of lists.
func (r *segmentReader) readEntry() error {
	first := len(r.answer.Rows)
	r.at = nil
	if err := r.stream.fields(r.fields...); err != nil {
		return fmt.Errorf("row %d: %w", first, err)
	}
	if len(r.answer.Rows) == first {
		return fmt.Errorf("row %d has no cells", first)
	}
	at, err := bucketEnd(r.at, r.request)
	if err != nil {
		return fmt.Errorf("row %d: %w", first, err)
	}
	for i := first; i < len(r.answer.Rows); i++ {
		r.answer.Rows[i].Time = at
	}
	return nil
}

// bucketEnd is the time of a row. A time without a sampling, or none with one, answers another question.
func bucketEnd(seconds *float64, r DataRequest) (time.Time, error) {
	if (seconds != nil) != (r.Sampling != 0) {
		return time.Time{}, fmt.Errorf("a time is there: %t, for a sampling of %s", seconds != nil, r.Sampling)
	}
	if seconds == nil {
		return time.Time{}, nil
	}
	return unixTime(*seconds)
}

func (r *segmentReader) readCells() error {
	r.column = 0
	nested := false
	err := r.list(func() error {
		c, err := r.peek()
		switch {
		case err != nil:
			return err
		case c == '[' && r.column == 0:
			nested = true
			if err := r.list(r.readCell); err != nil {
				return err
			}
			return r.endRow()
		case nested:
			return errors.New("a cell follows a list")
		}
		return r.readCell()
	})
	if err != nil || nested {
		return err
	}
	return r.endRow()
}

// readCell reads the next cell of a row.
func (r *segmentReader) readCell() (err error) {
	column := r.column
	r.column++
	switch value := column - len(r.keys); {
	case value >= len(r.values):
		return fmt.Errorf("more cells than %d keys and %d values", len(r.keys), len(r.values))
	case value >= 0:
		r.values[value], err = r.readValue()
	default:
		r.keys[column], err = r.readKey(r.request.Keys[column])
	}
	if err != nil {
		return fmt.Errorf("column %d %w", column, err)
	}
	return nil
}

// readKey reads a text, or null where a label does not apply.
func (r *segmentReader) readKey(label string) (string, error) {
	if is, err := r.null(); is || err != nil {
		return "", err
	}
	key, err := r.value(label)
	if err != nil {
		return "", fmt.Errorf("holds no text: %w", err)
	}
	return key, nil
}

// readValue reads a number, or null where there is no sample.
func (r *segmentReader) readValue() (float64, error) {
	c, err := r.peek()
	switch {
	case err != nil:
		return 0, err
	case c == 'n':
		return math.NaN(), r.word("null")
	case c == '"':
		return 0, errors.New("holds text")
	}
	number, err := r.numeric()
	if err != nil {
		return 0, fmt.Errorf("holds no number: %w", err)
	}
	return number, nil
}

// endRow adds the row whose cells were read.
func (r *segmentReader) endRow() error {
	if r.column != len(r.keys)+len(r.values) {
		return fmt.Errorf("%d cells for %d keys and %d values", r.column, len(r.keys), len(r.values))
	}
	if len(r.answer.Rows) == r.most {
		return metric.Failf(metric.Truncated, "the answer has more than the %d rows that were asked for; is spec.endpoint of the connection the data API of Sysdig?", r.most)
	}
	r.column = 0
	r.answer.Rows = append(r.answer.Rows, DataRow{Keys: slices.Clone(r.keys), Values: slices.Clone(r.values)})
	return r.hold(dataRowBytes + dataCellBytes*(len(r.keys)+len(r.values)))
}
