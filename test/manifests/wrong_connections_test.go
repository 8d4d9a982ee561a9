package manifests_test

import "strings"

const rightConnection = `
apiVersion: autoscaling.sysdigmetrics.dev/v1alpha1
kind: SysdigConnection
metadata: {name: right}
spec:
  endpoint: {region: us2}
  clusterName: my-cluster
  tokenSecretRef: {name: sysdig-api}
`

var wrongConnections = []wrong{
	{
		"neither a region nor a URL", `{endpoint: {region: null}}`,
		"spec.endpoint", "set exactly one of region (Sysdig SaaS, such as us2) and url (on-premises or IBM Cloud, such as https://sysdig.example.com)",
	},
	{
		"both a region and a URL", `{endpoint: {url: "https://sysdig.example.com"}}`,
		"spec.endpoint", "set exactly one of region",
	},
	{
		"a selector of namespaces with an unknown operator", `{allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: Is, values: [web]}]}}}`,
		"spec.allowedNamespaces.selector.matchExpressions[0].operator", `supported values: "In", "NotIn", "Exists", "DoesNotExist"`,
	},
	{
		"a namespace's label whose value is too long", `{allowedNamespaces: {from: Selector, selector: {matchLabels: {team: ` + strings.Repeat("x", 64) + `}}}}`,
		"spec.allowedNamespaces.selector.matchLabels", "a value of at most 63",
	},
	{
		"an unknown region", `{endpoint: {region: us9}}`,
		"spec.endpoint.region", `supported values: "us1", "us2", "us3", "us4", "eu1", "eu2", "au1", "me2", "in1", "jp1"`,
	},
	{
		"a URL without TLS", url("http://sysdig.example.com"),
		"spec.endpoint.url", "must be an https:// address with a host: the token is never sent in the clear",
	},
	{
		"a host without a scheme", url("sysdig.example.com"),
		"spec.endpoint.url", "must be an https:// address with a host",
	},
	{
		"a URL with credentials", url("https://user:secret@sysdig.example.com"),
		"spec.endpoint.url", "must not hold credentials, a query or a fragment: the token comes from tokenSecretRef",
	},
	{
		"a URL with a query", url("https://sysdig.example.com/?token=secret"),
		"spec.endpoint.url", "must not hold credentials, a query or a fragment",
	},
	{
		"an address from a browser", url("https://app.sysdigcloud.com/#/dashboards"),
		"spec.endpoint.url", "of an address from a browser what begins with ? or # is left out",
	},
	{
		"an address of a page", url("https://app.sysdigcloud.com/default.html"),
		"spec.endpoint.url", "must be the address of Sysdig's API, not of a page: write what is in front of it, such as https://app.sysdigcloud.com",
	},
	{
		"an address of the API's reference", url("https://sysdig.example.com/monitor/apidocs/"),
		"spec.endpoint.url", "must be the address of Sysdig's API, not of a page",
	},
	{
		"a Prometheus path with a trailing slash", `{endpoint: {prometheusPath: /prometheus/}}`,
		"spec.endpoint.prometheusPath", "must be a path such as /prometheus, or /api/prometheus on IBM Cloud, without a trailing slash",
	},
	{
		"a CA bundle in base64", `{endpoint: {caBundle: LS0tLS1CRUdJTg==}}`,
		"spec.endpoint.caBundle", "must hold PEM certificates that begin with -----BEGIN CERTIFICATE-----",
	},
	{
		"the mark of times as a label name", `{labelNames: {pod: sysdig_metrics_part}}`,
		"spec.labelNames.pod", "is set by the operator: it marks the times of values",
	},
	{
		"the token in a header", `{endpoint: {headers: [{name: Authorization, value: Bearer secret}]}}`,
		"spec.endpoint.headers[0].name", "or begin with X-Sysdig-",
	},
	{
		"the token in a header in lower case", `{endpoint: {headers: [{name: authorization, value: Bearer secret}]}}`,
		"spec.endpoint.headers[0].name", "the token belongs in tokenSecretRef",
	},
	{
		"a header that ends a request", `{endpoint: {headers: [{name: Transfer-Encoding, value: chunked}]}}`,
		"spec.endpoint.headers[0].name", "must be IBMInstanceID, SysdigTeamID, TeamID, SysdigProduct, or begin with X-Sysdig-",
	},
	{
		"a header for a proxy", `{endpoint: {headers: [{name: Proxy-Authorization, value: Basic abc}]}}`,
		"spec.endpoint.headers[0].name", "others are for the operator or for what is on the way",
	},
	{
		"a header that says who asks", `{endpoint: {headers: [{name: X-Forwarded-For, value: 127.0.0.1}]}}`,
		"spec.endpoint.headers[0].name", "or begin with X-Sysdig-",
	},
	{
		"a header that makes another connection", `{endpoint: {headers: [{name: upgrade, value: h2c}]}}`,
		"spec.endpoint.headers[0].name", "must be IBMInstanceID, SysdigTeamID, TeamID, SysdigProduct, or begin with X-Sysdig-",
	},
	{
		"a header that asks for another address", `{endpoint: {headers: [{name: X-Original-URL, value: /api/token}]}}`,
		"spec.endpoint.headers[0].name", "others are for the operator or for what is on the way",
	},
	{
		"a header with a colon", `{endpoint: {headers: [{name: "SysdigTeamID:", value: "1"}]}}`,
		"spec.endpoint.headers[0].name", "must be an HTTP header name: letters, digits and dashes",
	},
	{
		"a header with a line break", `{endpoint: {headers: [{name: SysdigTeamID, value: "1\r\nHost: other"}]}}`,
		"spec.endpoint.headers[0].value", "must be printable ASCII",
	},
	{
		"neither a cluster name nor all clusters", `{clusterName: null}`,
		"spec", "set clusterName to the value of Sysdig's cluster label, so that every query is confined to this cluster, or say allClusters: true",
	},
	{
		"both a cluster name and all clusters", `{allClusters: true}`,
		"spec", "exactly one of the two",
	},
	{
		"namespaces by selector, without a selector", `{allowedNamespaces: {from: Selector}}`,
		"spec.allowedNamespaces", "from: Selector needs a selector",
	},
	{
		"all namespaces, with a selector", `{allowedNamespaces: {from: All, selector: {matchLabels: {team: a}}}}`,
		"spec.allowedNamespaces", "selector goes with from: Selector",
	},
	{
		"a selector without from", `{allowedNamespaces: {selector: {matchLabels: {team: a}}}}`,
		"spec.allowedNamespaces", "selector goes with from: Selector",
	},
	{
		"a quota without room for a query", `{quota: {requestsPerMinute: 1}}`,
		"spec.quota.requestsPerMinute", "must be between 2 (a heartbeat and one query) and 4096",
	},
	{
		"a quota beyond Sysdig's", `{quota: {requestsPerMinute: 5000}}`,
		"spec.quota.requestsPerMinute", "the highest limit that Sysdig knows",
	},
	{
		"a quota in words", `{quota: {requestsPerMinute: many}}`,
		"spec.quota.requestsPerMinute", "must be of type integer",
	},
	{
		"no query for any namespace", `{quota: {queriesPerNamespace: 0}}`,
		"spec.quota.queriesPerNamespace", "must be between 1 and 1000; to allow a namespace nothing, leave it out of allowedNamespaces",
	},
	{
		"an anomaly of one binding", `{massAnomaly: {bindings: 1}}`,
		"spec.massAnomaly.bindings", "must be between 2 and 100000; to believe every fall at once, set hold to 0s",
	},
	{
		"an anomaly of no part of the bindings", `{massAnomaly: {percent: 0}}`,
		"spec.massAnomaly.percent", "must be between 1 and 100; to believe every fall at once, set hold to 0s",
	},
	{
		"an anomaly that is never believed", `{massAnomaly: {hold: 48h}}`,
		"spec.massAnomaly.hold", "must be between 0s and 24h",
	},
	{
		"an interval of a second", `{interval: 1s}`,
		"spec.interval", "must be between 10s and 10m: Sysdig stores one point every 10 seconds",
	},
	{
		"an interval that is a bare number", `{interval: 30}`,
		"spec.interval", "must be of type string",
	},
	{
		"a negative lag", `{ingestionLag: -5s}`,
		"spec.ingestionLag", "must be a duration such as 30s or 2m, without a sign or a fraction",
	},
	{
		"a heartbeat that is a query", `{heartbeatMetric: "sum(up)"}`,
		"spec.heartbeatMetric", "must be a metric name such as sysdig_container_up or uptime",
	},
	{
		"more pods than there are", `{coverage: {minimum: 120}}`,
		"spec.coverage.minimum", "must be a percentage between 1 and 100, or 0 to serve values whatever part of the pods the agents see",
	},
	{
		"fewer pods than none", `{coverage: {minimum: -1}}`,
		"spec.coverage.minimum", "must be a percentage between 1 and 100",
	},
	{
		"a part of pods as a string", `{coverage: {minimum: 80%}}`,
		"spec.coverage.minimum", "must be of type integer",
	},
	{
		"a lag of an hour", `{ingestionLag: 1h}`,
		"spec.ingestionLag", "must be between 0s and 5m",
	},
	{
		"a Secret without a name", `{tokenSecretRef: {name: ""}}`,
		"spec.tokenSecretRef.name", "should be at least 1 chars long",
	},
	{
		"a Secret whose name is a command", `{tokenSecretRef: {name: "a; kubectl delete ns a"}}`,
		"spec.tokenSecretRef.name", "must be the name of a Secret: small letters, digits, dashes and dots",
	},
	{
		"a key of a Secret that is a path", `{tokenSecretRef: {key: a/b}}`,
		"spec.tokenSecretRef.key", "must be a key of a Secret: letters, digits, dashes, dots and underscores",
	},
	{
		"a Secret of a namespace of choice", `{tokenSecretRef: {namespace: kube-system}}`,
		"spec.tokenSecretRef.namespace", "unknown field",
	},
	{
		"a token in the spec", `{token: secret}`,
		"spec.token", "unknown field",
	},
	{
		"an API that there is not", `{api: Graphite}`,
		"spec.api", `supported values: "Prometheus", "Data"`,
	},
	{
		"fewer segments than Sysdig returns by itself", `{api: Data, dataAPI: {segmentsPerRequest: 5}}`,
		"spec.dataAPI.segmentsPerRequest", "must be between 10 and 10000",
	},
	{
		"more segments than can be read", `{api: Data, dataAPI: {segmentsPerRequest: 10001}}`,
		"spec.dataAPI.segmentsPerRequest", "must be between 10 and 10000",
	},
	{
		"a rate from the mean of the points", `{api: Data, dataAPI: {rateFrom: avg}}`,
		"spec.dataAPI.rateFrom", `supported values: "timeAvg", "sum"`,
	},
	{
		"an exchange of keys without TLS", `{endpoint: {iam: {url: "http://iam.cloud.ibm.com/identity/token"}}}`,
		"spec.endpoint.iam.url", "must be an https:// address with a host: the API key is never sent in the clear",
	},
	{
		"an exchange of keys with the key in its address", `{endpoint: {iam: {url: "https://iam.cloud.ibm.com/identity/token?apikey=secret"}}}`,
		"spec.endpoint.iam.url", "must not hold credentials, a query or a fragment: the API key comes from tokenSecretRef",
	},
	{
		"an address as one number", url("https://2130706433"),
		"spec.endpoint.url", "must have a name as host, or an address in the usual form",
	},
	{
		"an address with octal parts", url("https://0177.0.0.1/api"),
		"spec.endpoint.url", "must have a name as host, or an address in the usual form",
	},
	{
		"an address in hexadecimal", url("https://0x7f000001:443"),
		"spec.endpoint.url", "must have a name as host, or an address in the usual form",
	},
	{
		"a short address", url("https://127.1"),
		"spec.endpoint.url", "must have a name as host, or an address in the usual form",
	},
	{
		"an address with a dot behind it", url("https://127.0.0.1."),
		"spec.endpoint.url", "must have a name as host, or an address in the usual form",
	},
	{
		"a host with a zone", url("https://[fe80::1%25eth0]"),
		"spec.endpoint.url", "must be a plain host name or address",
	},
	{
		"a host in other letters", url("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"),
		"spec.endpoint.url", "must be a plain host name or address",
	},
	{
		"port 0", url("https://sysdig.example.com:0"),
		"spec.endpoint.url", "with a port from 1 to 65535",
	},
	{
		"a port above all", url("https://sysdig.example.com:65536/"),
		"spec.endpoint.url", "with a port from 1 to 65535",
	},
	{
		"a port far above all", url("https://sysdig.example.com:70000"),
		"spec.endpoint.url", "with a port from 1 to 65535",
	},
	{
		"an exchange of keys at one number", `{endpoint: {iam: {url: "https://2130706433/identity/token"}}}`,
		"spec.endpoint.iam.url", "must have a name as host",
	},
	{
		"a label name in the Form editor's spelling", `{labelNames: {namespace: kubernetes.namespace.name}}`,
		"spec.labelNames.namespace", "must be a PromQL label name such as kube_namespace_name: letters, digits and underscores",
	},
}

// url is the change from a region to this URL.
func url(url string) string { return `{endpoint: {region: null, url: "` + url + `"}}` }
