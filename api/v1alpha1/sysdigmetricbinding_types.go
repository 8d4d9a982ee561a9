package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SysdigMetricBindingSpec says which Sysdig metric describes which object, and under which name an HPA finds it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.source.metric) || (has(self.source.metric.where) && size(self.source.metric.where) > 0) || (self.target.apiVersion in ['v1'] && self.target.kind in ['Service', 'Pod', 'Namespace']) || (self.target.apiVersion == 'apps/v1' && self.target.kind in ['Deployment', 'StatefulSet', 'DaemonSet']) || !self.target.apiVersion.matches('^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$') || !self.target.kind.matches('^[A-Z][A-Za-z0-9]*$')",message="Sysdig has labels for the targets Service, Pod and Namespace of v1, and Deployment, StatefulSet and DaemonSet of apps/v1; for another target add source.metric.where to say which series describe it, or use source.promQL"
type SysdigMetricBindingSpec struct {
	// ConnectionRef names the SysdigConnection to ask.
	// +optional
	// +kubebuilder:default={name: default}
	ConnectionRef ConnectionReference `json:"connectionRef,omitzero"`

	// Target is the object that the value describes; the HPA's describedObject.
	Target Target `json:"target"`

	// MetricName is the name that the HPA uses. Default: the binding's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$')",message="must be lower case letters, digits, '-', '_' and '.', because clients lower-case it and it is part of a URL; for example net.http.request.count"
	MetricName string `json:"metricName,omitempty"`

	// Source is what to ask Sysdig.
	Source Source `json:"source"`

	// Multiplier is applied to the value, for example "0.000001" to turn nanoseconds into milliseconds.
	// +optional
	// +kubebuilder:default="1"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$') || double(self) != 0.0",message="must not be 0: every value would be 0 and the HPA would shrink the workload; use suspend: true to stop serving"
	Multiplier Decimal `json:"multiplier,omitempty"`

	// OnNoData says what a successful, complete and empty answer means.
	// +optional
	// +kubebuilder:default={action: Error}
	OnNoData OnNoData `json:"onNoData,omitzero"`

	// MaxAge is the age beyond which a sample is never served.
	// +optional
	// +kubebuilder:default="2m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",message="must be a duration such as 30s or 2m, without a sign or a fraction"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(ms|s|m|h))+$') || (duration(self) >= duration('20s') && duration(self) <= duration('15m'))",message="must be between 20s and 15m; it has to cover the connection's interval and ingestionLag"
	MaxAge metav1.Duration `json:"maxAge,omitzero"`

	// Suspend makes the metric answer an error, so that the HPA holds the replicas.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ConnectionReference names a SysdigConnection.
type ConnectionReference struct {
	// Name of the SysdigConnection.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// Target is one object in the binding's namespace, or that namespace itself.
//
// +kubebuilder:validation:XValidation:rule="(self.kind == 'Namespace') != has(self.name)",message="name is required, except for kind Namespace, which always means the binding's own namespace and takes no name"
type Target struct {
	// APIVersion of the object, such as v1 or apps/v1.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$')",message="must be a version such as v1, or group/version such as apps/v1"
	APIVersion string `json:"apiVersion"`
	// Kind of the object, such as Service or Deployment.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z][A-Za-z0-9]*$')",message="must be a kind such as Service or Deployment: singular, beginning with a capital letter"
	Kind string `json:"kind"`
	// Name of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the name of one object: lower case letters, digits, '-' and '.'"
	Name string `json:"name,omitempty"`
}

// Source is what to ask Sysdig: a metric by name, or raw PromQL.
//
// +kubebuilder:validation:XValidation:rule="has(self.metric) != has(self.promQL)",message="set exactly one of metric and promQL"
type Source struct {
	// Metric asks for one Sysdig metric and says how to aggregate it.
	// +optional
	Metric *MetricSource `json:"metric,omitempty"`
	// PromQL asks a query, confined to the connection's cluster and the binding's namespace.
	// +optional
	PromQL *PromQLSource `json:"promQL,omitempty"`
}

// TimeAggregation reduces the points of a series within the window to one number.
// +kubebuilder:validation:Enum=Average;Sum;Rate;Min;Max;Last
type TimeAggregation string

// Time aggregations.
const (
	// TimeAverage is the mean of the points.
	TimeAverage TimeAggregation = "Average"
	// TimeSum is the total over the window: the sum of the points of a Delta counter, the increase of a Cumulative one.
	TimeSum TimeAggregation = "Sum"
	// TimeRate is TimeSum per second.
	TimeRate TimeAggregation = "Rate"
	// TimeMin is the smallest point.
	TimeMin TimeAggregation = "Min"
	// TimeMax is the largest point.
	TimeMax TimeAggregation = "Max"
	// TimeLast is the newest point.
	TimeLast TimeAggregation = "Last"
)

// CounterType says how a counter is stored.
// +kubebuilder:validation:Enum=Delta;Cumulative
type CounterType string

// Counter types.
const (
	// CounterDelta is a count per agent interval, as Sysdig's own counters are.
	CounterDelta CounterType = "Delta"
	// CounterCumulative only ever rises, as counters scraped from Prometheus endpoints do.
	CounterCumulative CounterType = "Cumulative"
)

// GroupAggregation reduces the pods of the target to one number. Containers of a pod are always summed first.
// +kubebuilder:validation:Enum=Average;Sum;Min;Max
type GroupAggregation string

// Group aggregations.
const (
	// GroupAverage is the mean over the pods. The one that converges with an HPA target of type Value.
	GroupAverage GroupAggregation = "Average"
	// GroupSum is the total over the pods. Pair it with an HPA target of type AverageValue.
	GroupSum GroupAggregation = "Sum"
	// GroupMin is the smallest pod.
	GroupMin GroupAggregation = "Min"
	// GroupMax is the largest pod.
	GroupMax GroupAggregation = "Max"
)

// MetricSource asks for one Sysdig metric.
//
// +kubebuilder:validation:XValidation:rule="!has(self.counterType) || self.timeAggregation in ['Rate', 'Sum']",message="counterType only goes with timeAggregation Rate or Sum; leave it out for a gauge"
type MetricSource struct {
	// Name of the metric: dotted as in Sysdig's Form editor (net.http.request.count) or as in PromQL
	// (sysdig_container_net_http_request_count).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_][a-zA-Z0-9_]*([.:][a-zA-Z0-9_]+)*$')",message="must be a metric name such as net.http.request.count or sysdig_container_cpu_cores_used; a query goes into source.promQL"
	Name string `json:"name"`

	// TimeAggregation reduces the points of the window.
	TimeAggregation TimeAggregation `json:"timeAggregation"`

	// CounterType says how a counter is stored: Delta (default; Sysdig's own counters) or Cumulative (scraped ones).
	// +optional
	CounterType CounterType `json:"counterType,omitempty"`

	// GroupAggregation reduces the pods of the target. Average pairs with an HPA target of type Value, Sum with AverageValue.
	// +optional
	// +kubebuilder:default=Average
	GroupAggregation GroupAggregation `json:"groupAggregation,omitempty"`

	// Window is the stretch of time that is looked at.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",message="must be a duration such as 30s or 2m, without a sign or a fraction"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(ms|s|m|h))+$') || (duration(self) >= duration('10s') && duration(self) <= duration('1h') && duration(self).getSeconds() % 10 == 0 && duration(self).getMilliseconds() == duration(self).getSeconds() * 1000)",message="must be between 10s and 1h and a multiple of 10s, the distance between two points of Sysdig"
	Window metav1.Duration `json:"window,omitzero"`

	// Where narrows the series by their labels; all have to match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Where []LabelFilter `json:"where,omitempty"`
}

// FilterOperator compares a label with values.
// +kubebuilder:validation:Enum=In;NotIn
type FilterOperator string

// Filter operators.
const (
	// FilterIn keeps series whose label is one of the values.
	FilterIn FilterOperator = "In"
	// FilterNotIn keeps series whose label is none of the values.
	FilterNotIn FilterOperator = "NotIn"
)

// LabelFilter compares one label with values.
type LabelFilter struct {
	// Label as in Sysdig's Form editor (net.http.statusCode) or as in PromQL (net_http_statusCode).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_][a-zA-Z0-9_.]*$')",message="must be a label such as net.http.statusCode or kube_pod_label_app"
	// +kubebuilder:validation:XValidation:rule="!(self in ['kubernetes.namespace.name', 'kube_namespace_name', 'kubernetes.cluster.name', 'kube_cluster_name', '__name__'])",message="is set by the operator: a binding sees its own namespace in the connection's cluster"
	Label string `json:"label"`
	// Operator is In or NotIn.
	Operator FilterOperator `json:"operator"`
	// Values to compare with.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	Values []string `json:"values"`
}

// PromQLSource asks a PromQL query.
type PromQLSource struct {
	// Query is confined to the connection's cluster and the binding's namespace, whatever it says. It has to return one
	// series, or one series per object when objectLabel is set. @ and offset are refused: a sample has to be of now.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Query string `json:"query"`
	// ObjectLabel is the label of the answer that holds the target's name.
	// +optional
	ObjectLabel LabelName `json:"objectLabel,omitempty"`
}

// NoDataAction says what a successful, complete and empty answer means.
// +kubebuilder:validation:Enum=Error;Value
type NoDataAction string

const (
	// NoDataError answers an error, so that the HPA leaves the replicas alone.
	NoDataError NoDataAction = "Error"
	// NoDataValue serves the given value.
	NoDataValue NoDataAction = "Value"
)

// OnNoData says what to serve when Sysdig answers well and holds nothing. Outages, errors and old data are never NoData.
//
// +kubebuilder:validation:XValidation:rule="(self.action == 'Value') == has(self.value)",message="value goes with action: Value, and action: Value needs a value, such as \"0\""
type OnNoData struct {
	// Action is Error or Value.
	// +optional
	// +kubebuilder:default=Error
	Action NoDataAction `json:"action,omitempty"`
	// Value to serve, in the unit of the metric after the multiplier.
	// +optional
	Value Decimal `json:"value,omitempty"`
}

// Decimal is a decimal number in a string.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$')",message="must be a decimal number in quotes, such as \"0.001\" or \"-5\""
type Decimal string

// Observed is the last value that was served.
type Observed struct {
	// Value as an HPA reads it.
	Value string `json:"value"`
	// Time of the newest point behind the value, by Sysdig's clock.
	Time metav1.Time `json:"time"`
}

// SysdigMetricBindingStatus is what the operator knows of a binding.
type SysdigMetricBindingStatus struct {
	// ObservedGeneration is the generation of the spec that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Accepted (the spec could be turned into a question) and Ready (a fresh value is served).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Observed is the last value that was served.
	// +optional
	Observed *Observed `json:"observed,omitempty"`

	// MetricName is the name that an HPA uses.
	// +optional
	MetricName string `json:"metricName,omitempty"`

	// Target is the object that the value describes, as kind/name.
	// +optional
	Target string `json:"target,omitempty"`

	// MetricPath is what to paste after kubectl get --raw to see what the HPA sees.
	// +optional
	MetricPath string `json:"metricPath,omitempty"`

	// Query is the PromQL that answers this binding. Bindings of the same shape are asked together; the answer is the same.
	// +optional
	Query string `json:"query,omitempty"`
}

// SysdigMetricBinding serves one Sysdig metric of one object to HorizontalPodAutoscalers.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=smb,categories=autoscaling
// +kubebuilder:printcolumn:name="Metric",type=string,JSONPath=`.status.metricName`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.status.target`
// +kubebuilder:printcolumn:name="Value",type=string,JSONPath=`.status.observed.value`
// +kubebuilder:printcolumn:name="Observed",type=date,JSONPath=`.status.observed.time`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SysdigMetricBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec   SysdigMetricBindingSpec   `json:"spec"`
	Status SysdigMetricBindingStatus `json:"status,omitzero"`
}

// ServedName is the metric name that an HPA uses.
func (b *SysdigMetricBinding) ServedName() string {
	if b.Spec.MetricName != "" {
		return b.Spec.MetricName
	}
	return b.Name
}

// SysdigMetricBindingList is a list of SysdigMetricBindings.
//
// +kubebuilder:object:root=true
type SysdigMetricBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []SysdigMetricBinding `json:"items"`
}
