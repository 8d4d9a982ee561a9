package query

import (
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// Call is one HTTP request to Sysdig: PromQL for a time, or a question to the data API.
type Call struct {
	PromQL string
	At     time.Time
	// Data is nil when the call is PromQL.
	Data *sysdig.DataRequest
}

// Reply is the answer to a Call, by its API.
type Reply struct {
	Answer sysdig.Answer
	Data   sysdig.DataAnswer
}

// Line leads to Sysdig.
type Line struct {
	// Send sends one Call. Its error ends what is being asked.
	Send func(Call) (Reply, error)
	// Segments is how many segments the data API is asked for at a time.
	Segments int
}

// Ask asks what requests that go Together are about, and returns the answer to each of them: its series by value and, marked by
// partLabel, by the time of the newest point, whichever API gave it.
func (l Line) Ask(requests []Request, at time.Time) ([]sysdig.Answer, error) {
	if requests[0].Shape.Value().Scope.AsksData() {
		return l.askData(requests, at)
	}
	answers := make([]sysdig.Answer, len(requests))
	for i := range requests {
		reply, err := l.Send(Call{PromQL: requests[i].PromQL, At: at})
		if err != nil {
			return nil, err
		}
		answers[i] = reply.Answer
	}
	return answers, nil
}

// Listen asks for a heartbeat. The answer is that to its PromQL, whichever API gave it.
func (l Line) Listen(h Heartbeat, needs Needs, at time.Time) (sysdig.Answer, error) {
	if h.Scope.AsksData() {
		return l.listenData(h, needs, at)
	}
	reply, err := l.Send(Call{PromQL: h.PromQL(needs), At: at})
	return reply.Answer, err
}

// Calls is how many HTTP requests it takes at least to ask what a request is about.
func (r *Request) Calls() int {
	if r.Shape.Value().Scope.AsksData() {
		return 2
	}
	return 1
}

// maxColumns is how many metrics one question to the data API carries at most.
const maxColumns = 20

// family is what requests must have in common to go together. It is comparable.
type family struct {
	key  Key
	pods bool
}

// family of a request to the Prometheus API is its own.
func (r *Request) family() family {
	s := r.Shape.Value()
	if !s.Scope.AsksData() {
		return family{key: r.Key}
	}
	f := family{key: r.Key, pods: s.keepsPods()}
	s.Metric, s.Time = "", ""
	if s.Group != "" { // rows are the same, however their pods are reduced
		s.Group = metric.Sum
	}
	f.key.Shape = s.ID()
	return f
}

// Together splits what asks requests into groups that are asked together, in order. Each costs one question, however many metrics
// it is about. The Prometheus API takes one metric at a time.
func Together[T any](asks []T, request func(*T) *Request) [][]T {
	var groups [][]T
	open := map[family]int{}
	columns := map[family]columns{}
	for _, ask := range asks {
		r := request(&ask)
		f := r.family()
		i, ok := open[f]
		if !ok || !columns[f].fits(r) {
			i = len(groups)
			groups = append(groups, nil)
			open[f], columns[f] = i, newColumns()
		}
		columns[f].add(r)
		groups[i] = append(groups[i], ask)
	}
	return groups
}

// columns are the metrics of one question: none of them may be in it twice.
type columns struct {
	times   map[string]string // by metric, the time aggregation
	filters map[string]bool
}

func newColumns() columns { return columns{times: map[string]string{}, filters: map[string]bool{}} }

// fits tells whether one more request can go with the others.
func (c columns) fits(r *Request) bool {
	s := r.Shape.Value()
	length := len(r.filter)
	for text := range c.filters {
		length += len(text)
	}
	was, has := c.times[s.Metric]
	return length <= maxQueryLength && (has && was == s.dataTime() || !has && len(c.times) < maxColumns)
}

func (c columns) add(r *Request) {
	s := r.Shape.Value()
	if s.Scope.AsksData() {
		c.times[s.Metric] = s.dataTime()
		c.filters[r.filter] = true
	}
}
