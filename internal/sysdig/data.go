package sysdig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
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
	head, err := c.ask(ctx, q, func(body []byte) (err error) {
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

// dataEnvelope is the answer of the data API.
type dataEnvelope struct {
	Data []struct {
		T *float64  `json:"t"`
		D dataCells `json:"d"`
	} `json:"data"`
	Start  *float64          `json:"start"`
	End    *float64          `json:"end"`
	Errors []json.RawMessage `json:"errors"`
}

// decodeData reads the body of a successful answer to r. It returns an error unless the body is one complete answer. The
// error may hold text of the body, neither bounded nor redacted.
func decodeData(body []byte, r DataRequest) (DataAnswer, error) {
	var e dataEnvelope
	if err := json.Unmarshal(body, &e); err != nil {
		return DataAnswer{}, fmt.Errorf("decoding the answer: %w", err)
	}
	if len(e.Errors) > 0 {
		return DataAnswer{}, fmt.Errorf("%w: %s", errRefused, bodyMessage(body))
	}
	// No data is written as [], so data that is missing or null is not that.
	if e.Data == nil || e.Start == nil || e.End == nil {
		return DataAnswer{}, errors.New("the answer lacks its data or its window")
	}
	answer := DataAnswer{Rows: make([]DataRow, 0, len(e.Data))}
	var err error
	if answer.Start, err = unixTime(*e.Start); err != nil {
		return DataAnswer{}, fmt.Errorf("the start of the window: %w", err)
	}
	if answer.End, err = unixTime(*e.End); err != nil {
		return DataAnswer{}, fmt.Errorf("the end of the window: %w", err)
	}
	for i, segment := range e.Data {
		at, err := bucketEnd(segment.T, r)
		if err != nil {
			return DataAnswer{}, fmt.Errorf("row %d: %w", i, err)
		}
		if len(segment.D) == 0 {
			return DataAnswer{}, fmt.Errorf("row %d has no cells", i)
		}
		for _, cells := range segment.D {
			row, err := dataRow(cells, r)
			if err != nil {
				return DataAnswer{}, fmt.Errorf("row %d: %w", i, err)
			}
			row.Time = at
			answer.Rows = append(answer.Rows, row)
		}
	}
	return answer, nil
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

func dataRow(cells []dataCell, r DataRequest) (DataRow, error) {
	if len(cells) != len(r.Keys)+len(r.Values) {
		return DataRow{}, fmt.Errorf("%d cells for %d keys and %d values", len(cells), len(r.Keys), len(r.Values))
	}
	row := DataRow{Keys: make([]string, len(r.Keys)), Values: make([]float64, len(r.Values))}
	for i, cell := range cells {
		switch {
		case i < len(r.Keys) && (cell.kind == cellText || cell.kind == cellNull):
			row.Keys[i] = cell.text
		case i >= len(r.Keys) && (cell.kind == cellNumber || cell.kind == cellNull):
			row.Values[i-len(r.Keys)] = cell.number
		default:
			return DataRow{}, fmt.Errorf("column %d holds %s", i, cell.kind)
		}
	}
	return row, nil
}

// dataCells are the rows of one entry of the answer: one in every answer that was recorded, where d is a flat list, and any
// number in the oldest documentation, where d is a list of lists.
type dataCells [][]dataCell

// UnmarshalJSON implements json.Unmarshaler.
func (c *dataCells) UnmarshalJSON(data []byte) error {
	inner, isList := bytes.CutPrefix(data, []byte("["))
	if !isList {
		return errors.New("a row is no list")
	}
	if bytes.HasPrefix(bytes.TrimLeft(inner, " \t\r\n"), []byte("[")) {
		return json.Unmarshal(data, (*[][]dataCell)(c))
	}
	var flat []dataCell
	if err := json.Unmarshal(data, &flat); err != nil {
		return err
	}
	*c = dataCells{flat}
	return nil
}

// dataCell is one cell of a row.
type dataCell struct {
	kind cellKind
	text string
	// number is NaN unless the cell is one.
	number float64
}

type cellKind string

const (
	cellNull   cellKind = "null"
	cellText   cellKind = "text"
	cellNumber cellKind = "a number"
)

// UnmarshalJSON implements json.Unmarshaler.
func (c *dataCell) UnmarshalJSON(data []byte) error {
	*c = dataCell{number: math.NaN()}
	var err error
	switch data[0] { // data is valid JSON
	case 'n':
		c.kind = cellNull
	case '"':
		c.kind = cellText
		err = json.Unmarshal(data, &c.text)
	case 't', 'f', '[', '{':
		err = errors.New("a cell is neither text nor number nor null")
	default:
		c.kind = cellNumber
		c.number, err = parseFloat(string(data))
	}
	return err
}
