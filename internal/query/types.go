package query

import (
	"time"

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
	// Labels are the label names of the installation.
	Labels Labels
}

// Labels are the PromQL labels of Kubernetes objects.
type Labels struct{ Cluster, Namespace, WorkloadType, Workload, Pod string }

// Shape is what two questions must have in common to be answered by one request. It is comparable and used as a map key.
type Shape struct {
	Scope Scope
	Grain Grain

	// Of typed sources.
	Metric     string
	Time       v1alpha1.TimeAggregation
	Cumulative bool
	Group      v1alpha1.GroupAggregation // empty when the pods are reduced by the view
	Window     time.Duration
	Where      string // canonical PromQL matchers, each with a leading comma

	// Of raw PromQL, which is shared only within one namespace.
	PromQL      string // confined, and completed by a time vector for each of its selectors
	Selectors   int    // how many time vectors
	ObjectLabel string
	Namespace   string
}

// View picks one number out of the answer to a shape. It is comparable.
type View struct {
	Namespace string
	// Workload and WorkloadType pick a row by workload.
	Workload, WorkloadType string
	// Pod picks one row by pod.
	Pod string
	// Selector picks rows by pod: the pods it selects now or selected within the window. Group reduces them.
	Selector string
	Group    v1alpha1.GroupAggregation
	// Object is the value of the object label of raw PromQL.
	Object string
}

// Question is what one binding asks. Two equal questions have the same answer: an edit that leaves the question alone
// keeps the sample, any other edit starts over.
type Question struct {
	Shape      Shape
	View       View
	Multiplier float64
}

// Definition is a compiled binding: the question, the claim under which the answer is served, and how.
type Definition struct {
	// Binding, UID, Created and Generation identify the binding. The oldest binding (Created, then UID) keeps a claim
	// that several make.
	Binding    types.NamespacedName
	UID        types.UID
	Created    time.Time
	Generation int64

	Claim  metric.Claim
	Object metric.Object
	Policy metric.Policy

	// Refused says why the question cannot be asked; the claim answers it. Nil: Question is set.
	Refused  *metric.Failure
	Question Question
	// Query is the PromQL that asks this question alone, for humans.
	Query string
}

// Outcome is how one attempt to answer a question ended.
type Outcome struct {
	Question Question
	// Reading has either a sample or a failure, and the times of the attempt.
	Reading metric.Reading
}
