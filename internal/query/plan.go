package query

import (
	"cmp"
	"slices"
)

// maxQueryLength leaves room below the 50,000 characters that Sysdig's Prometheus API takes.
const maxQueryLength = 48_000

// maxNamedObjects is up to how many different objects a request names them; beyond that the namespaces must do.
const maxNamedObjects = 20

// Request is one query and the questions that its answer answers.
type Request struct {
	Shape     Shape
	PromQL    string
	Questions []Question
}

// Plan merges questions into requests: one per shape, confined to the namespaces (and the objects, when they are few)
// that are wanted, and split when the query would be too long. The order is that of the first question of each shape.
func Plan(questions []Question) []Request {
	var order []Shape
	byShape := map[Shape][]Question{}
	for _, q := range questions {
		if _, ok := byShape[q.Shape]; !ok {
			order = append(order, q.Shape)
		}
		byShape[q.Shape] = append(byShape[q.Shape], q)
	}
	requests := make([]Request, 0, len(order))
	for _, shape := range order {
		requests = append(requests, shape.requests(byShape[shape])...)
	}
	return requests
}

func (s Shape) requests(questions []Question) []Request {
	if s.Grain == Raw {
		return []Request{{Shape: s, PromQL: s.PromQL, Questions: questions}}
	}
	promQL := s.promQL(s.narrow(questions))
	if len(promQL) <= maxQueryLength || len(questions) == 1 {
		return []Request{{Shape: s, PromQL: promQL, Questions: questions}}
	}
	slices.SortStableFunc(questions, func(a, b Question) int { return cmp.Compare(a.View.Namespace, b.View.Namespace) })
	half := len(questions) / 2
	return append(s.requests(questions[:half]), s.requests(questions[half:])...)
}

// narrow collects the namespaces and, when they are few, the objects that the questions are about. A view by selector
// names no object: its pods come and go.
func (s Shape) narrow(questions []Question) narrow {
	var n narrow
	for _, q := range questions {
		n.namespaces = append(n.namespaces, q.View.Namespace)
		n.workloads = append(n.workloads, q.View.Workload)
		n.pods = append(n.pods, q.View.Pod)
	}
	n.namespaces = distinct(n.namespaces)
	n.workloads, n.pods = fewNames(n.workloads), fewNames(n.pods)
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
