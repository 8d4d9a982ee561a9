package manifests_test

import "strings"

const rightBinding = `
apiVersion: autoscaling.sysdigmetrics.dev/v1alpha1
kind: SysdigMetricBinding
metadata: {name: right, namespace: default}
spec:
  target: {apiVersion: v1, kind: Service, name: web}
  source: {metric: {name: net.http.request.count, timeAggregation: Rate}}
`

var wrongBindings = []wrong{
	{
		"both metric and PromQL", `{source: {promQL: {query: up}}}`,
		"spec.source", "set exactly one of metric and promQL",
	},
	{
		"neither metric nor PromQL", `{source: {metric: null}}`,
		"spec.source", "set exactly one of metric and promQL",
	},
	{
		"no source", `{source: null}`,
		"spec.source", "Required value",
	},
	{
		"a Service without a name", `{target: {name: null}}`,
		"spec.target", "set exactly one of name and selector, except for kind Namespace",
	},
	{
		"a Service with an empty name", `{target: {name: ""}}`,
		"spec.target.name", "must be the name of one object",
	},
	{
		"a target with a pattern", `{target: {name: "web-*"}}`,
		"spec.target.name", "must be the name of one object: lower case letters, digits, '-' and '.'",
	},
	{
		"a Namespace with a name", `{target: {kind: Namespace, name: default}}`,
		"spec.target", "kind Namespace of v1, which always means the binding's own namespace and takes neither",
	},
	{
		"a kind in lower case", `{target: {kind: service}}`,
		"spec.target.kind", "must be a kind such as Service or Deployment: singular, beginning with a capital letter",
	},
	{
		"a resource with its group in place of a kind", `{target: {kind: deployments.apps}}`,
		"spec.target.kind", "must be a kind such as Service or Deployment",
	},
	{
		"a group without a version", `{target: {apiVersion: apps, kind: Deployment}}`,
		"spec.target.apiVersion", "must be a version such as v1, or group/version such as apps/v1",
	},
	{
		"a target without an API version", `{target: {apiVersion: null}}`,
		"spec.target.apiVersion", "Required value",
	},
	{
		"a Deployment of the core group, by metric and without where", `{target: {kind: Deployment}}`,
		"spec", "Sysdig has labels for the targets Service, Pod and Namespace of v1, and Deployment, StatefulSet and DaemonSet of apps/v1",
	},
	{
		"an Ingress, by metric and without where", `{target: {apiVersion: networking.k8s.io/v1, kind: Ingress}}`,
		"spec", "for another target add source.metric.where to say which series describe it, or use source.promQL",
	},
	{
		"bounds without a bound", `{bounds: {}}`,
		"spec.bounds", "set min, max or both",
	},
	{
		"bounds the wrong way round", `{bounds: {min: "10", max: "2"}}`,
		"spec.bounds", "min must not be greater than max",
	},
	{
		"bounds the wrong way round, below 0 and with an exponent", `{bounds: {min: "-1e-3", max: "-1"}}`,
		"spec.bounds", "min must not be greater than max",
	},
	{
		"a bound in words", `{bounds: {min: none, max: "2"}}`,
		"spec.bounds.min", `must be a decimal number in quotes, such as "0.001" or "-5"`,
	},
	{
		"a bound with a unit", `{bounds: {max: 60s}}`,
		"spec.bounds.max", `must be a decimal number in quotes, such as "0.001" or "-5"`,
	},
	{
		"a bound without quotes", `{bounds: {max: 60000}}`,
		"spec.bounds.max", "must be of type string",
	},
	{
		"an empty bound", `{bounds: {min: "", max: "2"}}`,
		"spec.bounds.min", `must be a decimal number in quotes, such as "0.001" or "-5"`,
	},
	{
		"a metric name in upper case", `{metricName: Requests}`,
		"spec.metricName", "must be lower case letters, digits, '-', '_' and '.'",
	},
	{
		"a metric name with a slash", `{metricName: http/requests}`,
		"spec.metricName", "it is part of a URL; for example net.http.request.count",
	},
	{
		"a misspelled field", `{metricname: requests}`,
		"spec.metricname", "unknown field",
	},
	{
		"a multiplier of 0", `{multiplier: "0"}`,
		"spec.multiplier", "use suspend: true to stop serving",
	},
	{
		"a multiplier of 0.0", `{multiplier: "0.0"}`,
		"spec.multiplier", "use suspend: true to stop serving",
	},
	{
		"a multiplier that is a word", `{multiplier: abc}`,
		"spec.multiplier", `must be a decimal number in quotes, such as "0.001" or "-5"`,
	},
	{
		"a multiplier with a unit", `{multiplier: 100m}`,
		"spec.multiplier", `must be a decimal number in quotes, such as "0.001" or "-5"`,
	},
	{
		"a multiplier without quotes", `{multiplier: 0.001}`,
		"spec.multiplier", "must be of type string",
	},
	{
		"no data means a value that is missing", `{onNoData: {action: Value}}`,
		"spec.onNoData", "action: Value needs a value",
	},
	{
		"no data means an error with a value", `{onNoData: {action: Error, value: "0"}}`,
		"spec.onNoData", "value goes with action: Value",
	},
	{
		"no data means a value, and the action is left out", `{onNoData: {value: "0"}}`,
		"spec.onNoData", "value goes with action: Value",
	},
	{
		"no data means an unknown action", `{onNoData: {action: Zero}}`,
		"spec.onNoData.action", `supported values: "Error", "Value"`,
	},
	{
		"a maxAge below a round of questions", `{maxAge: 5s}`,
		"spec.maxAge", "must be between 20s and 15m",
	},
	{
		"a maxAge of an hour", `{maxAge: 1h}`,
		"spec.maxAge", "must be between 20s and 15m",
	},
	{
		"a maxAge in words", `{maxAge: two minutes}`,
		"spec.maxAge", "must be a duration such as 30s or 2m",
	},
	{
		"a maxAge of a thousand years", `{maxAge: 9000000h}`,
		"spec.maxAge", "must be a duration such as 30s or 2m",
	},
	{
		"a maxAge that is a bare number", `{maxAge: 120}`,
		"spec.maxAge", "must be of type string",
	},
}

var wrongMetrics = []wrong{
	{
		"a window between two points", `{source: {metric: {window: 15s}}}`,
		"spec.source.metric.window", "must be between 10s and 1h and a multiple of 10s",
	},
	{
		"a window of two hours", `{source: {metric: {window: 2h}}}`,
		"spec.source.metric.window", "must be between 10s and 1h",
	},
	{
		"a window with a fraction", `{source: {metric: {window: 1.5s}}}`,
		"spec.source.metric.window", "must be a duration such as 30s or 2m, without a sign or a fraction",
	},
	{
		"a window with odd milliseconds", `{source: {metric: {window: 10s5ms}}}`,
		"spec.source.metric.window", "a multiple of 10s",
	},
	{
		"a counter type with an average", `{source: {metric: {timeAggregation: Average, counterType: Delta}}}`,
		"spec.source.metric", "counterType only goes with timeAggregation Rate or Sum; leave it out for a gauge",
	},
	{
		"a scraped counter's rate, of which nobody says how it is stored", `{source: {metric: {name: http_requests_total}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"its total", `{source: {metric: {name: http_requests_total, timeAggregation: Sum}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"a counter with a name that says nothing", `{source: {metric: {name: orders}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"a recorded rule's rate", `{source: {metric: {name: 'job:requests:sum'}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"a counter of something else of Sysdig's", `{source: {metric: {name: sysdig_agent_events_total}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"a counter with a name like an agent's", `{source: {metric: {name: my_sysdig_container_requests}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"a JMX counter in PromQL's spelling", `{source: {metric: {name: jmx_jvm_class_loaded}}}`,
		"spec.source.metric", "counterType is needed, because this name does not tell how the counter is stored",
	},
	{
		"an agent's counter as Cumulative", `{source: {metric: {counterType: Cumulative}}}`,
		"spec.source.metric", "counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta",
	},
	{
		"its total as Cumulative", `{source: {metric: {timeAggregation: Sum, counterType: Cumulative}}}`,
		"spec.source.metric", "counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta",
	},
	{
		"an agent's counter in PromQL's spelling as Cumulative", `{source: {metric: {name: sysdig_container_net_http_request_count, counterType: Cumulative}}}`,
		"spec.source.metric", "counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta",
	},
	{
		"an agent's counter of hosts as Cumulative", `{source: {metric: {name: sysdig_host_net_request_count, counterType: Cumulative}}}`,
		"spec.source.metric", "counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta",
	},
	{
		"a StatsD counter with dots as Cumulative", `{source: {metric: {name: statsd.orders.count, counterType: Cumulative}}}`,
		"spec.source.metric", "counterType Cumulative does not go with Sysdig's own counters, which hold the count of each interval: leave it out, or set Delta",
	},
	{
		"a window that holds one point of a Cumulative counter", `{source: {metric: {name: http_requests_total, counterType: Cumulative, window: 10s}}}`,
		"spec.source.metric", "a Cumulative counter needs two points in its window, and points come every 10s at best: set window to 20s or more",
	},
	{
		"a time aggregation in Sysdig's spelling", `{source: {metric: {timeAggregation: avg}}}`,
		"spec.source.metric.timeAggregation", `supported values: "Average", "Sum", "Rate", "Min", "Max", "Last"`,
	},
	{
		"no time aggregation", `{source: {metric: {timeAggregation: null}}}`,
		"spec.source.metric.timeAggregation", "Required value",
	},
	{
		"an unknown group aggregation", `{source: {metric: {groupAggregation: Rate}}}`,
		"spec.source.metric.groupAggregation", `supported values: "Average", "Sum", "Min", "Max"`,
	},
	{
		"a query in place of a metric", `{source: {metric: {name: "sum(rate(requests[1m]))"}}}`,
		"spec.source.metric.name", "a query goes into source.promQL",
	},
	{
		"a metric with a label matcher", `{source: {metric: {name: 'requests{code="200"}'}}}`,
		"spec.source.metric.name", "a query goes into source.promQL",
	},
	{
		"a filter on PromQL's namespace label", where(`{label: kube_namespace_name, operator: In, values: [other]}`),
		"spec.source.metric.where[0].label", "is set by the operator: a binding sees its own namespace",
	},
	{
		"a filter on the Form editor's namespace label", where(`{label: kubernetes.namespace.name, operator: In, values: [other]}`),
		"spec.source.metric.where[0].label", "is set by the operator: a binding sees its own namespace",
	},
	{
		"a filter on the cluster's label", where(`{label: kube_cluster_name, operator: NotIn, values: [mine]}`),
		"spec.source.metric.where[0].label", "in the connection's cluster",
	},
	{
		"a label with a dash", where(`{label: app-name, operator: In, values: [web]}`),
		"spec.source.metric.where[0].label", "must be a label such as net.http.statusCode or kube_pod_label_app",
	},
	{
		"a filter without values", where(`{label: code, operator: In, values: []}`),
		"spec.source.metric.where[0].values", "should have at least 1 items",
	},
	{
		"a filter with PromQL's operator", where(`{label: code, operator: "=~", values: [5..]}`),
		"spec.source.metric.where[0].operator", `supported values: "In", "NotIn"`,
	},
	{
		"nine filters", where(`&f {label: code, operator: In, values: ["200"]}, *f, *f, *f, *f, *f, *f, *f, *f`),
		"spec.source.metric.where", "must have at most 8 items",
	},
	{
		"an object label with a dash", `{source: {metric: null, promQL: {query: up, objectLabel: a-b}}}`,
		"spec.source.promQL.objectLabel", "must be a PromQL label name such as kube_namespace_name",
	},
	{
		"an empty query", `{source: {metric: null, promQL: {query: ""}}}`,
		"spec.source.promQL.query", "should be at least 1 chars long",
	},
}

var wrongSelectors = []wrong{
	{
		"a name and a selector", `{target: {selector: {matchLabels: {app: web}}}}`,
		"spec.target", "set exactly one of name and selector",
	},
	{
		"a name and the selector of all", `{target: {selector: {}}}`,
		"spec.target", "set exactly one of name and selector",
	},
	{
		"a Namespace of another group that is not named", `{target: {apiVersion: example.com/v1, kind: Namespace, name: null}, ` + promQL(`{query: up}`),
		"spec.target", "set exactly one of name and selector, except for kind Namespace of v1, which",
	},
	{
		"a Namespace of another group, by name and selector", `{target: {apiVersion: example.com/v1, kind: Namespace, selector: {}}, ` + promQL(`{query: up, objectLabel: ns}`),
		"spec.target", "set exactly one of name and selector, except for kind Namespace of v1, which",
	},
	{
		"a Namespace by selector", `{target: {kind: Namespace, name: null, selector: {}}}`,
		"spec.target", "kind Namespace of v1, which always means the binding's own namespace and takes neither",
	},
	{
		"a selector in the form of a Service's", selecting("Service", `{app: web}`),
		"spec.target.selector.app", "unknown field",
	},
	{
		"a label whose value is a number", selecting("Service", `{matchLabels: {version: 2}}`),
		"spec.target.selector.matchLabels.version", "must be of type string",
	},
	{
		"a label whose value is too long", selecting("Service", `{matchLabels: {app: `+strings.Repeat("x", 64)+`}}`),
		"spec.target.selector.matchLabels", "a label has a key of at most 317 characters and a value of at most 63",
	},
	{
		"a label whose key is too long", selecting("Service", `{matchLabels: {`+strings.Repeat("x", 318)+`: a}}`),
		"spec.target.selector.matchLabels", "a label has a key of at most 317 characters and a value of at most 63",
	},
	{
		"an unknown operator", expression("Service", `{key: app, operator: Is, values: [web]}`),
		"spec.target.selector.matchExpressions[0].operator", `supported values: "In", "NotIn", "Exists", "DoesNotExist"`,
	},
	{
		"an expression without an operator", expression("Service", `{key: app, values: [web]}`),
		"spec.target.selector.matchExpressions[0].operator", "Required value",
	},
	{
		"an expression without a key", expression("Service", `{operator: Exists}`),
		"spec.target.selector.matchExpressions[0].key", "Required value",
	},
	{
		"In without values", expression("Service", `{key: app, operator: In}`),
		"spec.target.selector.matchExpressions[0]", "In and NotIn need values; Exists and DoesNotExist take none",
	},
	{
		"NotIn with no values", expression("Service", `{key: app, operator: NotIn, values: []}`),
		"spec.target.selector.matchExpressions[0]", "In and NotIn need values; Exists and DoesNotExist take none",
	},
	{
		"Exists with values", expression("Service", `{key: app, operator: Exists, values: [web]}`),
		"spec.target.selector.matchExpressions[0]", "In and NotIn need values; Exists and DoesNotExist take none",
	},
	{
		"DoesNotExist with values", expression("Pod", `{key: app, operator: DoesNotExist, values: [web]}`),
		"spec.target.selector.matchExpressions[0]", "In and NotIn need values; Exists and DoesNotExist take none",
	},
	{
		"a kind in lower case, by selector", selecting("pod", `{}`),
		"spec.target.kind", "must be a kind such as Service or Deployment",
	},
	{
		"a group without a version, by selector", `{target: {apiVersion: apps, kind: Deployment, name: null, selector: {}}}`,
		"spec.target.apiVersion", "must be a version such as v1, or group/version such as apps/v1",
	},
	{
		"Ingresses by selector and metric", `{target: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: null, selector: {}}}`,
		"spec", "with target.selector the answer has to tell the objects apart",
	},
	{
		"Ingresses by selector and metric, with where", `{
			target: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: null, selector: {}},
			source: {metric: {where: [{label: host, operator: In, values: [a.example.com]}]}}}`,
		"spec", "for others, and for source.promQL, set source.promQL.objectLabel",
	},
	{
		"Deployments of the core group by selector", selecting("Deployment", `{}`),
		"spec", "Deployment, StatefulSet and DaemonSet of apps/v1",
	},
	{
		"Pods by selector and PromQL, without an object label", `{target: {kind: Pod, name: null, selector: {}}, ` + promQL(`{query: up}`),
		"spec", "for others, and for source.promQL, set source.promQL.objectLabel",
	},
	{
		"an object label of an external metric", `{target: null, ` + promQL(`{query: up, objectLabel: queue}`),
		"spec", "an external metric keeps labels apart with source.promQL.dimensions",
	},
	{
		"a value for silent pods", `{target: {kind: Pod, name: null, selector: {}}, onNoData: {action: Value, value: "0"}}`,
		"spec", "onNoData: Value does not go with Pods metrics: a silent pod is left out",
	},
}

var wrongDimensions = []wrong{
	{
		"four dimensions", dimensions(`[a, b, c, d]`),
		"spec.source.metric.dimensions", "must have at most 3 items",
	},
	{
		"a dimension twice", dimensions(`[net.http.method, net.http.method]`),
		"spec.source.metric.dimensions[1]", "Duplicate value",
	},
	{
		"a dimension with a dash", dimensions(`[http-method]`),
		"spec.source.metric.dimensions[0]", "must be a label such as net.http.method: at most 63 letters, digits, '.' and '_'",
	},
	{
		"a dimension that begins with an underscore", dimensions(`[_method]`),
		"spec.source.metric.dimensions[0]", "beginning with a letter and ending with a letter or digit, as in the selectors of Kubernetes",
	},
	{
		"a dimension that ends with a dot", dimensions(`[net.http.]`),
		"spec.source.metric.dimensions[0]", "ending with a letter or digit",
	},
	{
		"a dimension of 64 characters", dimensions(`[` + strings.Repeat("m", 64) + `]`),
		"spec.source.metric.dimensions[0]", "may not be more than 63 bytes",
	},
	{
		"an empty dimension", dimensions(`[""]`),
		"spec.source.metric.dimensions[0]", "must be a label such as net.http.method",
	},
	{
		"the namespace as a dimension", dimensions(`[kube_namespace_name]`),
		"spec.source.metric.dimensions[0]", "is set by the operator: a binding sees its own namespace in the connection's cluster",
	},
	{
		"the cluster as a dimension, in the Form editor's spelling", dimensions(`[net.http.method, kubernetes.cluster.name]`),
		"spec.source.metric.dimensions[1]", "is set by the operator",
	},
	{
		"a dimension of PromQL with a dot", `{` + promQL(`{query: up, dimensions: [net.http.method]}`),
		"spec.source.promQL.dimensions[0]", "must be a label of PromQL, with '_' in place of '.'",
	},
	{
		"four dimensions of PromQL", `{` + promQL(`{query: up, dimensions: [a, b, c, d]}`),
		"spec.source.promQL.dimensions", "must have at most 3 items",
	},
	{
		"a dimension of PromQL twice", `{` + promQL(`{query: up, dimensions: [a, a]}`),
		"spec.source.promQL.dimensions[1]", "Duplicate value",
	},
	{
		"the mark of times as an object label", `{` + promQL(`{query: up, objectLabel: sysdig_metrics_part}`),
		"spec.source.promQL.objectLabel", "is set by the operator: it marks the times of values",
	},
	{
		"the mark of times as a dimension", dimensions(`[sysdig_metrics_part]`),
		"spec.source.metric.dimensions[0]", "is set by the operator: it marks the times of values",
	},
	{
		"a filter on the mark of times", where(`{label: sysdig_metrics_part, operator: In, values: ["0"]}`),
		"spec.source.metric.where[0].label", "is set by the operator: it marks the times of values",
	},
	{
		"the namespace as a dimension of PromQL", `{` + promQL(`{query: up, dimensions: [kube_namespace_name]}`),
		"spec.source.promQL.dimensions[0]", "is set by the operator",
	},
}

// where is the change to these filters.
func where(filters string) string { return "{source: {metric: {where: [" + filters + "]}}}" }

// selecting is the change to the objects of a core kind that a selector matches.
func selecting(kind, selector string) string {
	return "{target: {kind: " + kind + ", name: null, selector: " + selector + "}}"
}

// expression is the change to the objects of a core kind that one expression matches.
func expression(kind, requirement string) string {
	return selecting(kind, "{matchExpressions: ["+requirement+"]}")
}

// dimensions is the change to these dimensions of a metric.
func dimensions(list string) string { return "{source: {metric: {dimensions: " + list + "}}}" }

// promQL ends a change with a query in place of the metric.
func promQL(source string) string { return "source: {metric: null, promQL: " + source + "}}" }
