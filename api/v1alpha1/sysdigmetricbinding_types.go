package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SysdigMetricBindingSpec says which Sysdig metric describes which object, and under which name an HPA finds it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.target) || has(self.target.selector) || !has(self.source.metric) || (has(self.source.metric.where) && size(self.source.metric.where) > 0) || (self.target.apiVersion in ['v1'] && self.target.kind in ['Service', 'Pod', 'Namespace']) || (self.target.apiVersion == 'apps/v1' && self.target.kind in ['Deployment', 'StatefulSet', 'DaemonSet']) || !self.target.apiVersion.matches('^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$') || !self.target.kind.matches('^[A-Z][A-Za-z0-9]*$')",message="Sysdig has labels for the targets Service, Pod and Namespace of v1, and Deployment, StatefulSet and DaemonSet of apps/v1; for another target add source.metric.where to say which series describe it, or use source.promQL"
// +kubebuilder:validation:XValidation:rule="!has(self.target) || !has(self.target.selector) || self.target.kind == 'Namespace' || !self.target.kind.matches('^[A-Z][A-Za-z0-9]*$') || !self.target.apiVersion.matches('^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$') || (has(self.source.promQL) && has(self.source.promQL.objectLabel)) || (has(self.source.metric) && ((self.target.apiVersion in ['v1'] && self.target.kind in ['Service', 'Pod']) || (self.target.apiVersion == 'apps/v1' && self.target.kind in ['Deployment', 'StatefulSet', 'DaemonSet'])))",message="with target.selector the answer has to tell the objects apart: Sysdig has labels for Service and Pod of v1, and Deployment, StatefulSet and DaemonSet of apps/v1; for others, and for source.promQL, set source.promQL.objectLabel"
// +kubebuilder:validation:XValidation:rule="has(self.target) || !has(self.source.promQL) || !has(self.source.promQL.objectLabel)",message="source.promQL.objectLabel needs a target whose name the label holds; an external metric keeps labels apart with source.promQL.dimensions"
// +kubebuilder:validation:XValidation:rule="!has(self.target) || !has(self.target.selector) || self.target.kind != 'Pod' || !has(self.onNoData) || self.onNoData.action != 'Value'",message="onNoData: Value does not go with Pods metrics: a silent pod is left out, and the HPA then errs on the safe side; a number for it would be a guess"
type SysdigMetricBindingSpec struct {
	// ConnectionRef names the SysdigConnection to ask.
	// +optional
	// +kubebuilder:default={name: default}
	ConnectionRef ConnectionReference `json:"connectionRef,omitzero"`

	// Target is what the value describes: one object (the HPA's describedObject), or by selector all objects of a kind, each
	// with its own value; kind Pod by selector is for the HPA's type Pods. Leave it out for an external metric.
	// +optional
	Target *Target `json:"target,omitempty"`

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

	// Bounds are what a value has to lie within, after the multiplier. A breach is Implausible and never served.
	// +optional
	Bounds *Bounds `json:"bounds,omitempty"`

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

// Target is one object in the binding's namespace, all objects of a kind that a selector matches, or that namespace itself.
//
// +kubebuilder:validation:XValidation:rule="self.kind == 'Namespace' && self.apiVersion == 'v1' ? !has(self.name) && !has(self.selector) : has(self.name) != has(self.selector)",message="set exactly one of name and selector, except for kind Namespace of v1, which always means the binding's own namespace and takes neither"
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
	// Selector matches objects by their labels, also those that are made later. {} matches all of the kind in the namespace.
	// +optional
	Selector *ObjectSelector `json:"selector,omitempty"`
}

// ObjectSelector matches objects by their labels; all that it says has to hold. It reads like any label selector of
// Kubernetes.
type ObjectSelector struct {
	// MatchLabels are labels and the values that they have to have.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && size(self[key]) <= 63)",message="a label has a key of at most 317 characters and a value of at most 63"
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
	// MatchExpressions are further conditions.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []LabelRequirement `json:"matchExpressions,omitempty"`
}

// LabelRequirement is a condition on one label.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="In and NotIn need values; Exists and DoesNotExist take none"
type LabelRequirement struct {
	// Key of the label.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`
	// Operator is In, NotIn, Exists or DoesNotExist.
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`
	// Values to compare with.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	Values []string `json:"values,omitempty"`
}

// LabelSelector is the selector as the libraries of Kubernetes know it; nil, which selects nothing, when there is none.
func (s *ObjectSelector) LabelSelector() *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	selector := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, r := range s.MatchExpressions {
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: r.Key, Operator: r.Operator, Values: r.Values})
	}
	return selector
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
// +kubebuilder:validation:XValidation:rule="!(self.timeAggregation in ['Rate', 'Sum']) || has(self.counterType) || !self.name.matches('^[a-zA-Z_][a-zA-Z0-9_:]*$') || self.name.matches('^sysdig_(container|host|program|connection)_')",message="counterType is needed, because this name does not tell how the counter is stored, as Sysdig's own such as net.http.request.count do: set Cumulative when its points only rise until a restart, as those of counters scraped from Prometheus endpoints do (most names end in _total), and Delta when each point is the count of its interval, as those of StatsD are; plotted in Sysdig, the one climbs and the other goes up and down. For a gauge set timeAggregation Average"
// +kubebuilder:validation:XValidation:rule="!has(self.counterType) || self.counterType != 'Cumulative' || !(self.name.contains('.') || self.name.matches('^sysdig_(container|host|program|connection)_'))",message="counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta. A counter that is scraped from a Prometheus endpoint goes by its name there, which has no dots, such as http_requests_total"
// +kubebuilder:validation:XValidation:rule="!has(self.counterType) || self.counterType != 'Cumulative' || !self.window.matches('^([0-9]{1,6}(ms|s|m|h))+$') || duration(self.window) >= duration('20s')",message="a Cumulative counter needs two points in its window, and points come every 10s at best: set window to 20s or more, and to twice the scrape interval at least, such as 2m when it is 60s"
type MetricSource struct {
	// Name of the metric: dotted as in Sysdig's Form editor (net.http.request.count) or as in PromQL
	// (sysdig_container_net_http_request_count).
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_][a-zA-Z0-9_]*([.:][a-zA-Z0-9_]+)*$')",message="must be a metric name such as net.http.request.count or sysdig_container_cpu_cores_used; a query goes into source.promQL"
	Name string `json:"name"`

	// TimeAggregation reduces the points of the window.
	TimeAggregation TimeAggregation `json:"timeAggregation"`

	// CounterType says how a counter is stored: Delta (Sysdig's own counters, and the default of those) or Cumulative (scraped ones).
	// Rate and Sum of a metric that is not Sysdig's own need it.
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

	// Dimensions are labels that are kept apart, so that the HPA's metric.selector can pick among their values. They go by the
	// name given here. An external metric has one item for each combination, and the HPA adds them up. An object has at most
	// 100 combinations.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	Dimensions []Dimension `json:"dimensions,omitempty"`
}

// Dimension is a label that is kept apart.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z]([a-zA-Z0-9_.]*[a-zA-Z0-9])?$')",message="must be a label such as net.http.method: at most 63 letters, digits, '.' and '_', beginning with a letter and ending with a letter or digit, as in the selectors of Kubernetes"
// +kubebuilder:validation:XValidation:rule="!(self in ['kubernetes.namespace.name', 'kube_namespace_name', 'kubernetes.cluster.name', 'kube_cluster_name'])",message="is set by the operator: a binding sees its own namespace in the connection's cluster"
// +kubebuilder:validation:XValidation:rule="self != 'sysdig_metrics_part'",message="is set by the operator: it marks the times of values; choose another label"
type Dimension string

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
	// +kubebuilder:validation:XValidation:rule="self != 'sysdig_metrics_part'",message="is set by the operator: it marks the times of values; choose another label"
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
	// series, or one for each object when objectLabel is set and for each combination of the dimensions. @ and offset are
	// refused: a sample has to be of now. It has at most 8192 bytes, looks back 24 hours and nests 40 deep at most.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Query string `json:"query"`
	// ObjectLabel is the label of the answer that holds the target's name.
	// +optional
	ObjectLabel LabelName `json:"objectLabel,omitempty"`
	// Dimensions are labels of the answer that are kept apart, so that the HPA's metric.selector can pick among their values.
	// An external metric has one item for each combination, and the HPA adds them up.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('.')",message="must be a label of PromQL, with '_' in place of '.'"
	Dimensions []Dimension `json:"dimensions,omitempty"`
}

// Bounds are limits of a value.
//
// +kubebuilder:validation:XValidation:rule="has(self.min) || has(self.max)",message="set min, max or both"
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || !self.min.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$') || !self.max.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$') || double(self.min) <= double(self.max)",message="min must not be greater than max"
type Bounds struct {
	// Min is the least value that is plausible.
	// +optional
	Min Decimal `json:"min,omitempty"`
	// Max is the greatest value that is plausible.
	// +optional
	Max Decimal `json:"max,omitempty"`
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
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^-?[0-9]{1,15}([.][0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$')",message="must be a decimal number in quotes, such as \"0.001\" or \"-5\""
type Decimal string

// Observed is the last value that was served.
type Observed struct {
	// Value as an HPA reads it: of Pods metrics the mean of the pods, of an external metric the sum of its items.
	Value string `json:"value"`
	// Time of the newest point behind the value, by the operator's clock; of an assumed value, that of the answer without data.
	Time metav1.Time `json:"time"`
	// Assumed tells that nobody has measured the value: it is that of onNoData.
	// +optional
	Assumed bool `json:"assumed,omitempty"`
	// Measured is, of an assumed value, when the last value was measured; empty when none ever was.
	// +optional
	Measured *metav1.Time `json:"measured,omitempty"`
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

	// Target is what the value describes: kind/name, kind[selector], or external.
	// +optional
	Target string `json:"target,omitempty"`

	// Objects is how many of the objects that the selector matches have a fresh value: 4/5. Only for a target by selector.
	// +optional
	Objects string `json:"objects,omitempty"`

	// MetricPath is what to paste after kubectl get --raw to see what the HPA sees.
	// +optional
	MetricPath string `json:"metricPath,omitempty"`

	// Query is the PromQL that answers this binding. Bindings of the same shape are asked together; the answer is the same. A query
	// of more than 2,048 bytes is shortened, and says so.
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
// +kubebuilder:printcolumn:name="Objects",type=string,JSONPath=`.status.objects`
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
