package query

import (
	"hash/fnv"
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// maxQueryLength leaves room below the 50,000 characters that Sysdig's Prometheus API takes.
	maxQueryLength = 48_000
	// maxNamedObjects is up to how many different objects a request names them; beyond that the namespaces must do.
	maxNamedObjects = 20
	// maxDepth is how often a shape is halved at most.
	maxDepth = 16
)

// Key is what one request is about: a shape, or a part of it. It is comparable and stays the same from round to round.
type Key struct {
	Shape ShapeID
	Part  Part
}

// Has tells whether the request would be about a question.
func (k Key) Has(q Question) bool { return q.Shape == k.Shape && k.Part.has(q.View.Namespace) }

// Halves are the two parts of what a request is about.
func (k Key) Halves() [2]Key {
	next := Part{bits: k.Part.bits, depth: k.Part.depth + 1}
	high := next
	high.bits |= 1 << k.Part.depth
	return [2]Key{{k.Shape, next}, {k.Shape, high}}
}

// Part is a share of the namespaces: those whose hash ends with the same bits. The zero Part is all of them. Halving by hash
// leaves the other half alone when namespaces come and go.
type Part struct {
	bits  uint32
	depth uint8
}

// has tells whether a namespace is in the part.
func (p Part) has(namespace string) bool {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(namespace)) // it never fails
	return hash.Sum32()&(1<<p.depth-1) == p.bits
}

// Request is one query and the questions that its answer answers.
type Request struct {
	Key
	// PromQL is empty for the data API, which has a filter in its place.
	PromQL    string
	filter    string
	Questions []Question
}

// maxWindow is the longest of typed sources.
const maxWindow = time.Hour

// Window is the stretch of time that has to be covered by points; zero for raw PromQL without ranges. Ranges of raw PromQL are
// as anybody likes: of longer ones the last hour has to do, and they count in steps, so that all connections together have few
// different windows.
func (r *Request) Window() time.Duration {
	window := min(r.Shape.Value().Window, maxWindow)
	return (window + metric.Step - 1).Truncate(metric.Step)
}

// Divisible tells whether the request can be halved: it asks about more than one namespace.
func (r *Request) Divisible() bool {
	return r.Part.depth < maxDepth && r.shared()
}

// shared tells whether the request asks for more than one namespace.
func (r *Request) shared() bool {
	return slices.ContainsFunc(r.Questions, func(q Question) bool { return q.View.Namespace != r.Questions[0].View.Namespace })
}

// Plan merges questions into requests: one per shape, confined to the namespaces (and the objects, when they are few)
// that are wanted. It is halved by namespace when halved says so, and when the query would be too long. The order is that of
// the first question of each shape. Requests may share the list of questions, which must not be changed then.
func Plan(questions []Question, halved func(Key) bool) []Request {
	if len(questions) > 0 && !slices.ContainsFunc(questions, func(q Question) bool { return q.Shape != questions[0].Shape }) {
		return requestsOf(Key{Shape: questions[0].Shape}, questions, halved)
	}
	var order []ShapeID
	byShape := map[ShapeID][]Question{}
	for _, q := range questions {
		if _, ok := byShape[q.Shape]; !ok {
			order = append(order, q.Shape)
		}
		byShape[q.Shape] = append(byShape[q.Shape], q)
	}
	requests := make([]Request, 0, len(order))
	for _, shape := range order {
		requests = append(requests, requestsOf(Key{Shape: shape}, byShape[shape], halved)...)
	}
	return requests
}

// Whole halves nothing that Sysdig could take as a whole.
func Whole(Key) bool { return false }

// alone is the query that asks one question.
func (q Question) alone() string { return Plan([]Question{q}, Whole)[0].text() }

// text is the query as people read it.
func (r *Request) text() string {
	if r.Shape.Value().Scope.AsksData() {
		return r.dataText()
	}
	return r.PromQL
}

func requestsOf(key Key, questions []Question, halved func(Key) bool) []Request {
	request := Request{Key: key, Questions: questions}
	divisible := request.Divisible()
	if !divisible || !halved(key) {
		request.PromQL, request.filter = textsOf(key.Shape.Value(), questions)
		if !divisible || len(request.text()) <= maxQueryLength {
			return []Request{request}
		}
	}
	var requests []Request
	for _, half := range key.Halves() {
		within := slices.DeleteFunc(slices.Clone(questions), func(q Question) bool { return !half.Has(q) })
		if len(within) > 0 {
			requests = append(requests, requestsOf(half, within, halved)...)
		}
	}
	return requests
}

// textsOf are what a request asks with, by its API.
func textsOf(s Shape, questions []Question) (promQL, filter string) {
	switch {
	case s.Scope.AsksData():
		return "", filterOf(s, questions)
	case s.Grain == Raw:
		return s.PromQL, ""
	}
	return s.promQL(s.narrow(questions)), ""
}

// narrow collects the namespaces and, when they are few, the objects that the questions are about. A view by selector
// names no object: its pods come and go.
func (s Shape) narrow(questions []Question) narrow {
	var n narrow
	for _, q := range questions {
		n.namespaces = append(n.namespaces, q.View.Namespace)
		n.workloads = append(n.workloads, q.View.Workload)
		n.pods = append(n.pods, q.View.Pod)
		n.services = append(n.services, q.View.Service)
	}
	n.namespaces = distinct(n.namespaces)
	n.workloads, n.pods, n.services = fewNames(n.workloads), fewNames(n.pods), fewNames(n.services)
	return n
}

func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// fewNames returns the distinct names, or none when they are many or one of them is missing.
func fewNames(names []string) []string {
	names = distinct(names)
	if len(names) > maxNamedObjects || slices.Contains(names, "") {
		return nil
	}
	return names
}
