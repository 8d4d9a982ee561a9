package sysdigtest

import (
	"cmp"
	"net/http"
	"time"

	"k8s.io/utils/clock"
)

// Options configure a [Server]. The zero value is a server on the system's clock that refuses every token.
type Options struct {
	// Clock is the server's only source of time; the system's clock by default.
	Clock clock.Clock
	// Tokens are accepted from the start and see every series; [Server.AddToken] adds tokens with a narrower view.
	Tokens []string
	// PathPrefix stands before /prometheus, as /api does at IBM Cloud Monitoring. Other paths answer 404. The classic API is
	// under /api; a prefix stands before that, too, unless it ends in /api itself.
	PathPrefix string
	// Lag is the ingestion lag; 0 means [DefaultLag], a negative value no lag. [Store.SetLag] changes it later.
	Lag time.Duration
	// RequestsPerMinute is the request budget of each token; 0 means unlimited.
	RequestsPerMinute int
	// Limits are the service limits; fields that are 0 get the documented defaults.
	Limits Limits
	// IBM makes the server an instance of IBM Cloud Monitoring; nil for none.
	IBM *IBM
	// Switches choose between behaviours that are undocumented or differ between installations.
	Switches Switches
}

// Limits are the service limits of Sysdig's Prometheus API. The defaults come from Sysdig's page "Prometheus Public API
// Service Limits" and its OpenAPI document, except where a field says otherwise.
type Limits struct {
	// QueryCharacters is the longest query text; 50,000 characters.
	QueryCharacters int
	// MetricNames is how many different metric names one query may scan; 10.
	MetricNames int
	// PlainSeries is how many series a query without aggregation returns before it is cut with a warning; 1,000.
	PlainSeries int
	// Segments is how many series an aggregation returns before it is cut silently; 100,000.
	Segments int
	// SamplesPerSeries is how many samples a range query may ask for per series; 1,500.
	SamplesPerSeries int
	// ConcurrentQueries is how many queries and series calls may run at a time, others get 429; 200.
	ConcurrentQueries int
	// Timeout is the longest and the default query timeout; 2 minutes.
	Timeout time.Duration
	// Matches is how many match[] parameters a call may carry; 100.
	Matches int
	// MatchCharacters is the longest match[] parameter; 255 characters.
	MatchCharacters int
	// Series is how many label sets the series endpoint returns at most; 10,000.
	Series int
	// LabelValues is how many label values are returned when the call sets no limit; 5,000.
	LabelValues int

	// DataSamples is how many buckets a call of the data API may ask for; 600, by Sysdig's old documentation of it.
	DataSamples int
	// DataTimeout is when the server gives a call of the classic API up; 30 s, by "Working with the Data API".
	DataTimeout time.Duration
	// Timelines are the resolutions that the data API offers, finest first; those of IBM Cloud Monitoring by default. What is
	// stored is kept for [Retention] only.
	Timelines []Timeline
	// Descriptors is the longest page of metric descriptors, whatever a call asks for; 0 means no such limit, and Sysdig
	// documents none.
	Descriptors int
}

// Timeline is a resolution of the data API.
type Timeline struct {
	// Sampling is the width of its buckets, in whole seconds.
	Sampling time.Duration
	// Kept is how far it reaches back.
	Kept time.Duration
}

// ibmTimelines are those of "About IBM Cloud Monitoring".
func ibmTimelines() []Timeline {
	const day = 24 * time.Hour
	return []Timeline{
		{10 * time.Second, 4 * time.Hour}, {time.Minute, 2 * day}, {10 * time.Minute, 14 * day}, {time.Hour, 60 * day}, {day, 450 * day},
	}
}

func (l Limits) withDefaults() Limits {
	if l.Timelines == nil {
		l.Timelines = ibmTimelines()
	}
	return Limits{
		QueryCharacters:   cmp.Or(l.QueryCharacters, 50_000),
		MetricNames:       cmp.Or(l.MetricNames, 10),
		PlainSeries:       cmp.Or(l.PlainSeries, 1_000),
		Segments:          cmp.Or(l.Segments, 100_000),
		SamplesPerSeries:  cmp.Or(l.SamplesPerSeries, 1_500),
		ConcurrentQueries: cmp.Or(l.ConcurrentQueries, 200),
		Timeout:           cmp.Or(l.Timeout, 2*time.Minute),
		Matches:           cmp.Or(l.Matches, 100),
		MatchCharacters:   cmp.Or(l.MatchCharacters, 255),
		Series:            cmp.Or(l.Series, 10_000),
		LabelValues:       cmp.Or(l.LabelValues, 5_000),
		DataSamples:       cmp.Or(l.DataSamples, 600),
		DataTimeout:       cmp.Or(l.DataTimeout, 30*time.Second),
		Timelines:         l.Timelines,
		Descriptors:       l.Descriptors,
	}
}

// UnauthorizedBody selects the body of a 401 answer. All of them were seen or specified for Sysdig.
type UnauthorizedBody string

const (
	// UnauthorizedPrometheus is the body of the OpenAPI document for Prometheus paths, and the default.
	UnauthorizedPrometheus UnauthorizedBody = ""
	// UnauthorizedGateway is what the gateway was recorded to send: JSON declared as text/plain, connection closed.
	UnauthorizedGateway UnauthorizedBody = "gateway"
	// UnauthorizedPlatform is the body of the OpenAPI document for platform paths.
	UnauthorizedPlatform UnauthorizedBody = "platform"
	// UnauthorizedEmpty is no body at all.
	UnauthorizedEmpty UnauthorizedBody = "empty"
	// UnauthorizedHTML is the page of a proxy.
	UnauthorizedHTML UnauthorizedBody = "html"
)

// Switches choose between behaviours that are undocumented or differ between installations.
type Switches struct {
	// StringTimestamps sends sample times as strings, as the OpenAPI examples show them, instead of numbers.
	StringTimestamps bool
	// QueryStringOnly ignores form bodies: the OpenAPI document declares no body for POST.
	QueryStringOnly bool
	// ClosedRanges includes the sample at the left edge of a range or look-back, as Prometheus 2 did. The engine widens
	// each range by 1 ms for it, which range functions that extrapolate (rate, increase) see as well.
	ClosedRanges bool
	// Unauthorized selects the body of 401 answers.
	Unauthorized UnauthorizedBody
	// RejectStatus is the status of a query that exceeds a limit, which is not documented; 422 by default.
	RejectStatus int
	// RetryAfter is sent with 429 answers; 0 sends no such header. Sysdig documents 1 second to 4 hours.
	RetryAfter time.Duration
	// OddContentEncoding labels answers, which stay uncompressed, "text/plain; gzip; charset=utf8".
	OddContentEncoding bool
	// IAMOnly refuses Sysdig's own tokens on an instance of IBM's, with DeniedStatus, which is not documented; 403 by default.
	IAMOnly      bool
	DeniedStatus int
	// Classic are the switches of the classic API.
	Classic ClassicSwitches
}

// ClassicSwitches choose between behaviours of the classic API, /api/data and the lists of metrics and labels.
type ClassicSwitches struct {
	// ErrorStatus is the status of a request that is refused, which nobody has recorded; 400 by default.
	ErrorStatus int
	// NestedRows sends the rows of a bucket as lists in one list, as the oldest documentation has it.
	NestedRows bool
	// ExtraFields adds fields to answers that no documentation names.
	ExtraFields bool
	// NullGaps sends a bucket without a point as a row with null; otherwise such a bucket has no row.
	NullGaps bool
	// LastFromNow measures the window of last back from the clock, not from the newest visible bucket.
	LastFromNow bool
	// AnyCase compares the names of aggregations without regard to case.
	AnyCase bool
	// FilterOr accepts or in filters: one official source has it, another says that the API refuses it.
	FilterOr bool
	// FilterQuotedOnly refuses values of filters without quotes, as Sysdig announced.
	FilterQuotedOnly bool
	// StoredPoints makes the aggregation over time ineffective at a sampling of [Interval]: the point counts as it is stored.
	StoredPoints bool
	// TimeAvgPerInterval divides timeAvg by the number of intervals in the window, not by its seconds. No recording proves
	// either.
	TimeAvgPerInterval bool
	// EmptyBeyondTimeline answers without data when a window reaches back further than the timeline of its sampling; such a
	// request is refused otherwise.
	EmptyBeyondTimeline bool
	// DottedOnly refuses the names of PromQL, as an old store does.
	DottedOnly bool
	// OldBackend answers 500 to requests for metric descriptors: only the older list of metrics is there.
	OldBackend bool
	// RecordedDescriptors lists the metrics of a recorded answer in place of those in the store.
	RecordedDescriptors bool
}

func (s Switches) withDefaults() Switches {
	s.RejectStatus = cmp.Or(s.RejectStatus, http.StatusUnprocessableEntity)
	s.DeniedStatus = cmp.Or(s.DeniedStatus, http.StatusForbidden)
	s.Classic.ErrorStatus = cmp.Or(s.Classic.ErrorStatus, http.StatusBadRequest)
	return s
}
