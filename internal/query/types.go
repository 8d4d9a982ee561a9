package query

import (
	"fmt"
	"strings"
	"time"
	"unique"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// Grain is what one row of a shape's answer stands for.
type Grain string

const (
	// ByWorkload has one row per namespace, workload type and workload.
	ByWorkload Grain = "Workload"
	// ByPod has one row per namespace and pod.
	ByPod Grain = "Pod"
	// ByService has one row per namespace and Service. Only the data API has it.
	ByService Grain = "Service"
	// ByNamespace has one row per namespace.
	ByNamespace Grain = "Namespace"
	// Raw is whatever the PromQL returns, one row per value of the object label.
	Raw Grain = "Raw"
)

// Scope is where a shape's answer comes from: questions to different accounts or clusters never meet.
type Scope struct {
	// Connection is the name of the SysdigConnection.
	Connection string
	// Endpoint is the address of the account and the headers that choose a team. It is here so that switching the account is
	// a new question.
	Endpoint string
	// Cluster confines every selector; empty for all clusters.
	Cluster string
	// API is which of Sysdig's APIs is asked.
	API v1alpha1.API
	// RateFrom is the time aggregation that the data API makes rates from; empty for the Prometheus API.
	RateFrom v1alpha1.RateFrom
	// Labels are the label names of the installation.
	Labels Labels
}

// Labels are the labels of Kubernetes objects, in the notation of the API.
type Labels struct{ Cluster, Namespace, WorkloadType, Workload, Pod string }

// ShapeID stands for a shape, the same for equal ones. Questions hold it in place of the shape: it is as small as a pointer,
// and thousands of questions share what they have in common.
type ShapeID = unique.Handle[Shape]

// ID stands for the shape.
func (s Shape) ID() ShapeID { return unique.Make(s) }

// Shape is what two questions must have in common to be answered by one request. It is comparable.
type Shape struct {
	Scope Scope
	Grain Grain

	// Window is the stretch of time that values summarize: of raw PromQL its longest range, zero when it has none.
	Window time.Duration

	// Of typed sources.
	Metric     string
	Source     string // the entity that reports the metric; empty for the Prometheus API, whose names tell it
	Time       v1alpha1.TimeAggregation
	Cumulative bool
	Group      metric.Aggregation // empty when the rows are of pods and reduced by the view
	Where      string             // canonical: PromQL matchers, each with a leading comma, or a filter of the data API

	// Of raw PromQL, which is shared only within one namespace.
	PromQL      string // confined, and completed by a time vector for each of its selectors
	Selectors   int    // how many time vectors
	Filters     bool   // it may leave out rows of which there are points
	ObjectLabel string
	Namespace   string

	// Named are the metrics that a raw query names, each on a line.
	Named string

	// Dimensions are the labels that are kept apart, of both kinds of sources.
	Dimensions dimensions
}

// Metrics are the names of the metrics that are asked for.
func (s Shape) Metrics() []string {
	if s.Grain == Raw {
		return strings.FieldsFunc(s.Named, func(r rune) bool { return r == '\n' })
	}
	return []string{s.Metric}
}

// String names the shape for people: the metric and how it is reduced. Raw PromQL is not shown: it belongs to its namespace.
func (s Shape) String() string {
	if s.Grain == Raw {
		return "promQL of namespace " + s.Namespace
	}
	name := fmt.Sprintf("%s(%s[%s]) by %s", s.Time, s.Metric, model.Duration(s.Window), s.Grain)
	if s.Group != "" {
		name = fmt.Sprintf("%s %s", s.Group, name)
	}
	if s.Where != "" {
		name += " where " + strings.TrimPrefix(s.Where, ",")
	}
	return name
}

// maxDimensions is that of the API.
const maxDimensions = 3

// dimensions are names or values of labels; empty where there are fewer.
type dimensions [maxDimensions]string

// View picks one number out of the answer to a shape, or with All one for each object. It is comparable.
type View struct {
	Namespace string
	// All picks one number for each object of the namespace.
	All bool
	// Workload and WorkloadType pick a row by workload.
	Workload, WorkloadType string
	// Pod picks one row by pod.
	Pod string
	// Service picks a row by Service, where there are such rows.
	Service string
	// ByService picks rows by pod: those of the pods that a Service selects now or selected within the window. Selector is
	// that of the Service; with All it is a selector of Services, or of pods when they are the objects.
	ByService bool
	Selector  string
	// Object is the value of the object label of raw PromQL.
	Object string
	// Dimensions are the names under which the shape's dimensions are served.
	Dimensions dimensions
}

// Question is what one binding asks. Two equal questions have the same answer: an edit that leaves the question alone
// keeps the sample, any other edit starts over.
type Question struct {
	Shape   ShapeID
	View    View
	Measure metric.Measure
}

// Dimensions are the labels that the answer keeps apart, by the names under which they are served.
func (q Question) Dimensions() []string { return q.View.Dimensions.list() }

func (d dimensions) list() []string {
	for i, name := range d {
		if name == "" {
			return d[:i]
		}
	}
	return d[:]
}

// Definition is a compiled binding: the question, the claim under which the answer is served, and how.
type Definition struct {
	// Binding, UID, Created and Generation identify the binding. The oldest binding (Created, then UID) keeps a claim
	// that several make.
	Binding    types.NamespacedName
	UID        types.UID
	Created    time.Time
	Generation int64

	Claim metric.Claim
	// Object is what the value describes. Of a set, its name is empty; of an external metric, all of it.
	Object metric.Object
	// Selector matches the objects of a set; nil otherwise.
	Selector labels.Selector
	Policy   metric.Policy
	// Observed is the value that the binding's status showed when it was compiled; nil when there was none of this generation.
	Observed *metric.Sample

	// Refused says why the question cannot be asked; the claim answers it. Nil: Question is set. Final: it is because of the
	// binding's own text, so that nothing but an edit of it changes that.
	Refused  *metric.Failure
	Final    bool
	Question Question
}

// Query is the PromQL that asks the question alone, for humans; empty when it is refused.
func (d Definition) Query() string {
	if d.Refused != nil || d.Question.Shape == (ShapeID{}) {
		return ""
	}
	return d.Question.alone()
}

// Outcome is how one attempt to answer a question ended.
type Outcome struct {
	Question Question
	// Reading has either a sample or a failure, and the times of the attempt. When the question is about all objects it has
	// no sample: those are in Objects.
	Reading metric.Reading
	// Objects is what was found of each object when the question is about all; nil otherwise and when the attempt failed.
	// What is not in it has no data.
	Objects map[string]Found
}

// Found is what one attempt found of one object: a sample or a failure.
type Found struct {
	Sample  *metric.Sample
	Failure *metric.Failure
	// Floor is that of a Reading.
	Floor *metric.Sample
}
