package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SysdigConnectionSpec says how to reach one Sysdig Monitor team and who may use it.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusterName) != (has(self.allClusters) && self.allClusters)",message="set clusterName to the value of Sysdig's cluster label, so that every query is confined to this cluster, or say allClusters: true; exactly one of the two"
type SysdigConnectionSpec struct {
	// Endpoint is where Sysdig Monitor is.
	Endpoint Endpoint `json:"endpoint"`

	// API is which of Sysdig's APIs is asked: Prometheus, or Data for installations that do not have it. Data answers typed sources
	// only, not promQL, and no counters of type Cumulative.
	// +optional
	// +kubebuilder:default=Prometheus
	API API `json:"api,omitempty"`

	// DataAPI holds what only matters with api: Data.
	// +optional
	// +kubebuilder:default={}
	DataAPI DataAPI `json:"dataAPI,omitzero"`

	// ClusterName is the value of Sysdig's cluster label for this cluster. Every query is confined to it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClusterName string `json:"clusterName,omitempty"`

	// AllClusters lifts the confinement to one cluster. Only for accounts that hold a single cluster without a cluster label.
	// +optional
	AllClusters bool `json:"allClusters,omitempty"`

	// TokenSecretRef names the Secret that holds the Sysdig API token or, with endpoint.iam, an API key of IBM Cloud. The Secret is always
	// read from the operator's own namespace. It has to be of type sysdigmetrics.dev/token, and to list in its annotation
	// sysdigmetrics.dev/hosts each host that this connection leads to: a connection can never send a stranger's Secret away, nor a token
	// to where it does not belong. White space around the token is ignored.
	TokenSecretRef SecretKeyReference `json:"tokenSecretRef"`

	// AllowedNamespaces says whose bindings may use this connection.
	// +optional
	// +kubebuilder:default={from: All}
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitzero"`

	// Interval is the time between two rounds of questions, one rhythm for all bindings of the connection.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",message="must be a duration such as 30s or 2m, without a sign or a fraction"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(ms|s|m|h))+$') || (duration(self) >= duration('10s') && duration(self) <= duration('10m'))",message="must be between 10s and 10m: Sysdig stores one point every 10 seconds"
	Interval metav1.Duration `json:"interval,omitzero"`

	// IngestionLag is how long a point usually takes from the agent to the query API. Queries are asked for the newest 10-second
	// point that is older than this, never for the server's now: a window that is not complete yet reads too low.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",message="must be a duration such as 30s or 2m, without a sign or a fraction"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(ms|s|m|h))+$') || (duration(self) >= duration('0s') && duration(self) <= duration('5m'))",message="must be between 0s and 5m"
	IngestionLag metav1.Duration `json:"ingestionLag,omitzero"`

	// HeartbeatMetric is a metric, in PromQL's or in dotted spelling, that every pod reports every 10 seconds. The time of its newest point tells how far ingestion
	// has come: when that is behind ingestionLag, queries wait with it, and when it stops, nothing new is believed.
	// +optional
	// +kubebuilder:default=sysdig_container_up
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_][a-zA-Z0-9_]*([.:][a-zA-Z0-9_]+)*$')",message="must be a metric name such as sysdig_container_up or uptime"
	HeartbeatMetric string `json:"heartbeatMetric,omitempty"`

	// Coverage says how many of a target's pods Sysdig's agents have to see.
	// +optional
	// +kubebuilder:default={}
	Coverage Coverage `json:"coverage,omitzero"`

	// Quota bounds what is asked of Sysdig.
	// +optional
	// +kubebuilder:default={}
	Quota Quota `json:"quota,omitzero"`

	// MassAnomaly says when values that vanish, or become exactly 0, together are taken for a failure of the monitoring: their
	// bindings then answer errors for a while, so that HPAs leave the replicas alone. A value that falls and is not 0 is always
	// believed at once.
	// +optional
	// +kubebuilder:default={}
	MassAnomaly MassAnomaly `json:"massAnomaly,omitzero"`

	// LabelNames are the PromQL labels that this Sysdig installation uses. Leave it out unless the store is older than 2022. With
	// api: Data the usual ones stand for their dotted names, and others are sent as they are.
	// +optional
	// +kubebuilder:default={}
	LabelNames LabelNames `json:"labelNames,omitzero"`
}

// API is one of Sysdig's APIs for metrics.
// +kubebuilder:validation:Enum=Prometheus;Data
type API string

// The APIs.
const (
	// APIPrometheus is the Prometheus API, /prometheus/api/v1/query.
	APIPrometheus API = "Prometheus"
	// APIData is the classic data API, /api/data.
	APIData API = "Data"
)

// DataAPI holds what is not the same in all installations of the data API.
type DataAPI struct {
	// SegmentsPerRequest is how many segments, such as workloads or pods, are asked for at a time. Sysdig returns 10 when nobody
	// asks for more, and documents no upper limit; what does not fit is asked in further requests.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:XValidation:rule="self >= 10 && self <= 10000",message="must be between 10 and 10000"
	SegmentsPerRequest int32 `json:"segmentsPerRequest,omitempty"`

	// RateFrom is the time aggregation that rates are made from: timeAvg, which Sysdig calls Rate and which is a number per second
	// already, or sum, which is divided by the seconds of the window. Both are the same where Sysdig stores the count of each
	// 10 seconds; choose the other one when rates are off by a factor of ten.
	// +optional
	// +kubebuilder:default=timeAvg
	RateFrom RateFrom `json:"rateFrom,omitempty"`
}

// RateFrom is a time aggregation of the data API.
// +kubebuilder:validation:Enum=timeAvg;sum
type RateFrom string

// What rates are made from.
const (
	RateFromTimeAvg RateFrom = "timeAvg"
	RateFromSum     RateFrom = "sum"
)

// Endpoint is where Sysdig Monitor is: a SaaS region or a URL.
//
// +kubebuilder:validation:XValidation:rule="has(self.region) != has(self.url)",message="set exactly one of region (Sysdig SaaS, such as us2) and url (on-premises or IBM Cloud, such as https://sysdig.example.com)"
type Endpoint struct {
	// Region is a Sysdig SaaS region.
	// +optional
	// +kubebuilder:validation:Enum=us1;us2;us3;us4;eu1;eu2;au1;me2;in1;jp1
	Region string `json:"region,omitempty"`

	// URL is the base address of a Sysdig Monitor, with or without a trailing slash, /api, or the path of either API such as /prometheus.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''",message="must be an https:// address with a host: the token is never sent in the clear"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.contains('?') && !self.contains('#')",message="must not hold credentials, a query or a fragment: the token comes from tokenSecretRef, and of an address from a browser what begins with ? or # is left out"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*/(.*/)?([^/]*[.]html|apidocs|login)/*$')",message="must be the address of Sysdig's API, not of a page: write what is in front of it, such as https://app.sysdigcloud.com"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://([^/]*[.])?(0[xX][0-9a-fA-F]*|[0-9]+)[.]?(:[0-9]*)?(/.*)?$') || self.matches('^https://(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}(:[0-9]*)?(/.*)?$')",message="must have a name as host, or an address in the usual form such as 192.0.2.10"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*[^A-Za-z0-9.:/_@?#\\\\[\\\\]-]') && !self.matches('^https://[^/]*:(0*|[0-9]{6,}|6553[6-9]|655[4-9][0-9]|65[6-9][0-9][0-9]|6[6-9][0-9]{3}|[7-9][0-9]{4})(/.*)?$')",message="must be a plain host name or address, with a port from 1 to 65535 if any"
	URL string `json:"url,omitempty"`

	// PrometheusPath is the path in front of /api/v1/query.
	// +optional
	// +kubebuilder:default="/prometheus"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^(/[A-Za-z0-9._~-]+)*$')",message="must be a path such as /prometheus, or /api/prometheus on IBM Cloud, without a trailing slash"
	PrometheusPath string `json:"prometheusPath,omitempty"`

	// CABundle holds PEM certificates of a private certificate authority. Without it the system's authorities are trusted.
	// There is no way to switch verification off.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="must hold PEM certificates that begin with -----BEGIN CERTIFICATE-----"
	CABundle string `json:"caBundle,omitempty"`

	// IAM says that the Secret holds an API key of IBM Cloud, which is exchanged for access tokens that live for an hour.
	// +optional
	IAM *IAM `json:"iam,omitempty"`

	// Headers are sent with every request: IBMInstanceID, SysdigTeamID, TeamID, SysdigProduct, and those that begin with X-Sysdig-. They
	// are no place for secrets.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Headers []Header `json:"headers,omitempty"`
}

// IAM is where API keys of IBM Cloud are exchanged.
type IAM struct {
	// URL is the address that gives access tokens.
	// +optional
	// +kubebuilder:default="https://iam.cloud.ibm.com/identity/token"
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''",message="must be an https:// address with a host: the API key is never sent in the clear"
	// +kubebuilder:validation:XValidation:rule="!self.contains('@') && !self.contains('?') && !self.contains('#')",message="must not hold credentials, a query or a fragment: the API key comes from tokenSecretRef"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://([^/]*[.])?(0[xX][0-9a-fA-F]*|[0-9]+)[.]?(:[0-9]*)?(/.*)?$') || self.matches('^https://(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}(:[0-9]*)?(/.*)?$')",message="must have a name as host, or an address in the usual form such as 192.0.2.10"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*[^A-Za-z0-9.:/_@?#\\\\[\\\\]-]') && !self.matches('^https://[^/]*:(0*|[0-9]{6,}|6553[6-9]|655[4-9][0-9]|65[6-9][0-9][0-9]|6[6-9][0-9]{3}|[7-9][0-9]{4})(/.*)?$')",message="must be a plain host name or address, with a port from 1 to 65535 if any"
	URL string `json:"url,omitempty"`
}

// Coverage says how many of a target's pods Sysdig's agents have to see.
type Coverage struct {
	// Minimum is how many percent of the pods of a target that were ready for the whole window have to report heartbeatMetric in
	// it. Below that the answer is Partial, an error, because what is missing would read as less load. Pods that are younger than
	// the window are never missing. It holds for targets made of pods: workloads, Services, Pods. 0 switches it off.
	// +optional
	// +kubebuilder:default=80
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 100",message="must be a percentage between 1 and 100, or 0 to serve values whatever part of the pods the agents see"
	Minimum *int32 `json:"minimum,omitempty"`
}

// Quota bounds what is asked of Sysdig.
type Quota struct {
	// RequestsPerMinute is how many requests all replicas of the operator together may send in a minute. Sysdig may allow fewer and
	// says so in the header X-RateLimit-Limit or by HTTP 429; then that holds. When it does not carry spec.interval, all queries
	// are asked less often, alike; status.requests shows how often.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:XValidation:rule="self >= 2 && self <= 4096",message="must be between 2 (a heartbeat and one query) and 4096, the highest limit that Sysdig knows"
	RequestsPerMinute int32 `json:"requestsPerMinute,omitempty"`

	// QueriesPerNamespace is how many different queries the bindings of one namespace may need, so that no tenant uses up the
	// requests of the others. Bindings that differ only in their target need one query. The oldest bindings keep theirs.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 1000",message="must be between 1 and 1000; to allow a namespace nothing, leave it out of allowedNamespaces"
	QueriesPerNamespace int32 `json:"queriesPerNamespace,omitempty"`
}

// MassAnomaly says when values that fall together are not believed, and for how long.
type MassAnomaly struct {
	// Bindings is how many bindings have to fall together at least.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:XValidation:rule="self >= 2 && self <= 100000",message="must be between 2 and 100000; to believe every fall at once, set hold to 0s"
	Bindings int32 `json:"bindings,omitempty"`

	// Percent is which part of the bindings whose value was not 0 has to fall together at least.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 100",message="must be between 1 and 100; to believe every fall at once, set hold to 0s"
	Percent int32 `json:"percent,omitempty"`

	// Hold is for how long at most they answer errors; then it is believed. 0s believes every fall at once.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}(ms|s|m|h))+$')",message="must be a duration such as 30s or 2m, without a sign or a fraction"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]{1,6}(ms|s|m|h))+$') || duration(self) <= duration('24h')",message="must be between 0s and 24h"
	Hold metav1.Duration `json:"hold,omitzero"`
}

// Header is one HTTP header.
type Header struct {
	// Name of the header.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9-]+$')",message="must be an HTTP header name: letters, digits and dashes"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[A-Za-z0-9-]+$') || self.lowerAscii() in ['ibminstanceid', 'sysdigteamid', 'teamid', 'sysdigproduct'] || self.lowerAscii().matches('^x-sysdig-[a-z0-9-]+$')",message="must be IBMInstanceID, SysdigTeamID, TeamID, SysdigProduct, or begin with X-Sysdig-: others are for the operator or for what is on the way; the token belongs in tokenSecretRef"
	Name string `json:"name"`
	// Value of the header.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[\\\\x20-\\\\x7e]+$')",message="must be printable ASCII"
	Value string `json:"value"`
}

// SecretKeyReference names one key of a Secret in the operator's namespace.
type SecretKeyReference struct {
	// Name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a Secret: small letters, digits, dashes and dots"
	Name string `json:"name"`
	// Key within the Secret.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[A-Za-z0-9._-]+$')",message="must be a key of a Secret: letters, digits, dashes, dots and underscores"
	Key string `json:"key,omitempty"`
}

// NamespacesFrom says how namespaces are chosen.
// +kubebuilder:validation:Enum=All;Selector
type NamespacesFrom string

const (
	// NamespacesFromAll allows every namespace.
	NamespacesFromAll NamespacesFrom = "All"
	// NamespacesFromSelector allows the namespaces whose labels match the selector.
	NamespacesFromSelector NamespacesFrom = "Selector"
)

// AllowedNamespaces says whose bindings may use a connection.
//
// +kubebuilder:validation:XValidation:rule="(self.from == 'Selector') == has(self.selector)",message="selector goes with from: Selector, and from: Selector needs a selector"
type AllowedNamespaces struct {
	// From is All or Selector.
	// +kubebuilder:default=All
	// +optional
	From NamespacesFrom `json:"from,omitempty"`
	// Selector picks namespaces by their labels.
	// +optional
	Selector *ObjectSelector `json:"selector,omitempty"`
}

// LabelNames are the PromQL labels under which Sysdig files what it knows of Kubernetes objects.
type LabelNames struct {
	// Cluster is the label of the cluster's name.
	// +optional
	// +kubebuilder:default=kube_cluster_name
	Cluster LabelName `json:"cluster,omitempty"`
	// Namespace is the label of the namespace.
	// +optional
	// +kubebuilder:default=kube_namespace_name
	Namespace LabelName `json:"namespace,omitempty"`
	// WorkloadType is the label of the workload's kind, in lower case: deployment, statefulset, daemonset.
	// +optional
	// +kubebuilder:default=kube_workload_type
	WorkloadType LabelName `json:"workloadType,omitempty"`
	// Workload is the label of the workload's name.
	// +optional
	// +kubebuilder:default=kube_workload_name
	Workload LabelName `json:"workload,omitempty"`
	// Pod is the label of the pod's name.
	// +optional
	// +kubebuilder:default=kube_pod_name
	Pod LabelName `json:"pod,omitempty"`
}

// LabelName is a PromQL label name.
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z_][a-zA-Z0-9_]*$')",message="must be a PromQL label name such as kube_namespace_name: letters, digits and underscores"
// +kubebuilder:validation:XValidation:rule="self != 'sysdig_metrics_part'",message="is set by the operator: it marks the times of values; choose another label"
type LabelName string

// SysdigConnectionStatus is what the operator knows of a connection.
type SysdigConnectionStatus struct {
	// ObservedGeneration is the generation of the spec that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Requests is what the bindings cost, in requests to Sysdig.
	// +optional
	Requests *RequestStatus `json:"requests,omitempty"`

	// Queries are the most expensive queries of this connection, the dearest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Queries []QueryStatus `json:"queries,omitempty"`

	// Conditions: Accepted (the spec and its Secret are usable), Ready (Sysdig answered the last round), WithinQuota (the quota
	// carries spec.interval), Plausible (what Sysdig says is believed), ClockInStep (Sysdig's clock and the operator's agree; a
	// skew is corrected for), CredentialReady (Sysdig accepts the token) and ClusterSeen (Sysdig has something of clusterName).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RequestStatus is what the bindings of a connection cost. All figures are requests in a minute unless they say otherwise.
type RequestStatus struct {
	// Wanted is what all replicas together would send at spec.interval.
	Wanted int32 `json:"wanted"`
	// Allowed is what all replicas together may send: spec.quota.requestsPerMinute, or less when Sysdig allows less.
	Allowed int32 `json:"allowed"`
	// Used is what the replica that writes this status has sent in the last minute.
	Used int32 `json:"used"`
	// Refused is how many requests that replica had to put off in the last minute, because the quota had no room.
	Refused int32 `json:"refused"`
	// Replicas is how many replicas share the quota.
	Replicas int32 `json:"replicas"`
	// EffectiveInterval is how often each query is asked: spec.interval, or longer when the quota does not carry it.
	EffectiveInterval string `json:"effectiveInterval"`
	// IngestionLag is how old the newest points are that can be asked for: spec.ingestionLag, or longer when ingestion is behind it.
	IngestionLag string `json:"ingestionLag"`
}

// QueryStatus is one query and what it costs.
type QueryStatus struct {
	// Name is the metric and how it is reduced, or the binding that wrote the PromQL.
	Name string `json:"name"`
	// RequestsPerRound is in how many requests it is asked; more than one when an answer would be too large.
	RequestsPerRound int32 `json:"requestsPerRound"`
	// Series is how many series the last answers held.
	Series int32 `json:"series"`
	// Bindings is how many bindings need it.
	Bindings int32 `json:"bindings"`
	// AskedBy are some of them, as namespace/name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
	AskedBy []string `json:"askedBy,omitempty"`
	// State says why it is not asked at the moment, or what is wrong with it.
	// +optional
	State string `json:"state,omitempty"`
}

// SysdigConnection is one Sysdig Monitor team that bindings may ask. The platform team owns it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sconn,categories=autoscaling
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.endpoint.region`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.endpoint.url`
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterName`
// +kubebuilder:printcolumn:name="Interval",type=string,JSONPath=`.spec.interval`
// +kubebuilder:printcolumn:name="Effective",type=string,JSONPath=`.status.requests.effectiveInterval`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SysdigConnection struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec   SysdigConnectionSpec   `json:"spec"`
	Status SysdigConnectionStatus `json:"status,omitzero"`
}

// SysdigConnectionList is a list of SysdigConnections.
//
// +kubebuilder:object:root=true
type SysdigConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []SysdigConnection `json:"items"`
}
