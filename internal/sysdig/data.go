package sysdig

import (
	"context"
	"time"
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
	return DataAnswer{}, ctx.Err()
}

// Clause confines a label to some values, or to all but those.
type Clause struct {
	Label  string
	Values []string
	Not    bool
}

// Filter writes clauses as a filter of the data API. The error names what cannot be written.
func Filter(clauses []Clause) (string, error) {
	return "", nil
}
