package manifests_test

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

func TestSamplesAreAccepted(t *testing.T) {
	out := kubectl(t, "apply", "--server-side", "--dry-run=server", "-k", config+"/samples", "-o", "name")
	for _, want := range []string{
		"service/flask", "deployment.apps/flask", "horizontalpodautoscaler.autoscaling/flask",
		"sysdigmetricbinding.autoscaling.sysdigmetrics.dev/flask-requests",
		"sysdigmetricbinding.autoscaling.sysdigmetrics.dev/flask-deployment-requests",
		"sysdigmetricbinding.autoscaling.sysdigmetrics.dev/namespace-requests",
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("kubectl applied\n%swant %s among it", out, want)
		}
	}
	out = kubectl(t, "apply", "--server-side", "--dry-run=server", "-f", config+"/samples/connection.yaml", "-o", "name")
	if want := "sysdigconnection.autoscaling.sysdigmetrics.dev/default\n"; out != want {
		t.Errorf("kubectl applied %q, want %q", out, want)
	}
}

func TestRightBindingsAreAccepted(t *testing.T) {
	accept(t, objects.Resource(bindings).Namespace("default"), rightBinding, map[string]string{
		"a Namespace without a name":       `{target: {kind: Namespace, name: null}}`,
		"a Pod":                            `{target: {kind: Pod}}`,
		"a StatefulSet":                    `{target: {apiVersion: apps/v1, kind: StatefulSet}}`,
		"PromQL of an Ingress":             `{target: {apiVersion: networking.k8s.io/v1, kind: Ingress}, source: {metric: null, promQL: {query: sum(up)}}}`,
		"an Ingress with a filter":         `{target: {apiVersion: networking.k8s.io/v1, kind: Ingress}, source: {metric: {where: [{label: host, operator: In, values: [a.example.com]}]}}}`,
		"a Cumulative counter's total":     `{source: {metric: {name: http_requests_total, timeAggregation: Sum, counterType: Cumulative}}}`,
		"a scraped counter's rate":         `{source: {metric: {name: http_requests_total, counterType: Cumulative}}}`,
		"the shortest window of it":        `{source: {metric: {name: http_requests_total, counterType: Cumulative, window: 20s}}}`,
		"a counter that is said to be one": `{source: {metric: {name: orders, counterType: Delta, window: 10s}}}`,
		"an agent's counter, said to be":   `{source: {metric: {counterType: Delta}}}`,
		"the total of an agent's counter":  `{source: {metric: {timeAggregation: Sum}}}`,
		"an agent's counter in PromQL's":   `{source: {metric: {name: sysdig_container_net_http_request_count}}}`,
		"an agent's counter, of hosts":     `{source: {metric: {name: sysdig_host_net_request_count, timeAggregation: Sum}}}`,
		"a scraped gauge":                  `{source: {metric: {name: queue_depth, timeAggregation: Last}}}`,
		"a gauge in PromQL's spelling":     `{source: {metric: {name: sysdig_container_cpu_cores_used, timeAggregation: Average}}}`,
		"the shortest window":              `{source: {metric: {window: 10s}}}`,
		"the longest window, in minutes":   `{source: {metric: {window: 60m}}}`,
		"a window of mixed units":          `{source: {metric: {window: 1m30s}}}`,
		"eight filters":                    where(`&f {label: code, operator: NotIn, values: ["500"]}, *f, *f, *f, *f, *f, *f, *f`),
		"a negative, tiny multiplier":      `{multiplier: "-1e-9"}`,
		"a value for no data":              `{onNoData: {action: Value, value: "0"}}`,
		"the least maxAge":                 `{maxAge: 20s}`,
		"the greatest maxAge":              `{maxAge: 15m}`,
		"a served name of the Form editor": `{metricName: net.http.request.count}`,
		"suspended":                        `{suspend: true}`,
		"a least value":                    `{bounds: {min: "0"}}`,
		"a greatest value":                 `{bounds: {max: "6e4"}}`,
		"one plausible value":              `{bounds: {min: "-0.5", max: "-0.5"}}`,
		"bounds on both sides of 0":        `{bounds: {min: "-1e-3", max: "60000"}}`,
	})
}

func TestRightExternalMetricsAreAccepted(t *testing.T) {
	accept(t, objects.Resource(bindings).Namespace("default"), rightBinding, map[string]string{
		"of a metric":                          `{target: null}`,
		"of a metric, with filters":            `{target: null, source: {metric: {where: [{label: queue, operator: In, values: [orders]}]}}}`,
		"of a metric, with dimensions":         `{target: null, source: {metric: {dimensions: [net.http.method, net_http_statusCode, queue]}}}`,
		"of the workloads of a metric":         `{target: null, source: {metric: {dimensions: [kube_workload_name]}}}`,
		"of PromQL":                            `{target: null, ` + promQL(`{query: sum(up)}`),
		"of PromQL, with dimensions":           `{target: null, ` + promQL(`{query: sum by (queue) (depth), dimensions: [queue]}`),
		"with a value for no data":             `{target: null, onNoData: {action: Value, value: "0"}}`,
		"with bounds":                          `{target: null, bounds: {max: "1e6"}}`,
		"with the longest name of a dimension": `{target: null, source: {metric: {dimensions: [` + strings.Repeat("m", 63) + `]}}}`,
	})
}

func TestRightSelectorsAreAccepted(t *testing.T) {
	const rollout = `apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: null`
	accept(t, objects.Resource(bindings).Namespace("default"), rightBinding, map[string]string{
		"Pods by label":                        selecting("Pod", `{matchLabels: {app: web}}`),
		"Pods by every operator":               expression("Pod", `{key: app, operator: In, values: [a, b]}, {key: tier, operator: NotIn, values: [db]}, {key: team, operator: Exists}, {key: example.com/batch, operator: DoesNotExist, values: []}`),
		"Pods with a label without a value":    selecting("Pod", `{matchLabels: {canary: ""}}`),
		"all Pods":                             selecting("Pod", `{}`),
		"Pods with dimensions":                 `{target: {kind: Pod, name: null, selector: {}}, source: {metric: {dimensions: [net.http.method]}}}`,
		"Pods by PromQL":                       `{target: {kind: Pod, name: null, selector: {}}, ` + promQL(`{query: depth, objectLabel: kube_pod_name}`),
		"Pods that are an error without data":  `{target: {kind: Pod, name: null, selector: {}}, onNoData: {action: Error}}`,
		"all Services":                         selecting("Service", `{}`),
		"Services, and a value for no data":    `{target: {kind: Service, name: null, selector: {}}, onNoData: {action: Value, value: "0"}}`,
		"Services with dimensions and where":   `{target: {kind: Service, name: null, selector: {}}, source: {metric: {dimensions: [net.http.method], where: [{label: code, operator: NotIn, values: ["500"]}]}}}`,
		"StatefulSets":                         `{target: {apiVersion: apps/v1, kind: StatefulSet, name: null, selector: {matchLabels: {app: db}}}}`,
		"Deployments, with bounds":             `{target: {apiVersion: apps/v1, kind: Deployment, name: null, selector: {}}, bounds: {min: "0"}}`,
		"all DaemonSets":                       `{target: {apiVersion: apps/v1, kind: DaemonSet, name: null, selector: {}}}`,
		"a custom kind by PromQL":              `{target: {` + rollout + `, selector: {matchLabels: {app: web}}}, ` + promQL(`{query: sum by (rollout) (requests), objectLabel: rollout}`),
		"a custom kind, with dimensions":       `{target: {` + rollout + `, selector: {}}, ` + promQL(`{query: "sum by (rollout, method) (requests)", objectLabel: rollout, dimensions: [method]}`),
		"a Namespace of another group":         `{target: {apiVersion: example.com/v1, kind: Namespace, name: orders}, ` + promQL(`{query: sum(up)}`),
		"Namespaces of another group":          `{target: {apiVersion: example.com/v1, kind: Namespace, name: null, selector: {}}, ` + promQL(`{query: sum by (ns) (up), objectLabel: ns}`),
		"one of a custom kind, by PromQL":      `{target: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web}, ` + promQL(`{query: sum(requests)}`),
		"sixteen expressions, the most of all": expression("Pod", `&e {key: app, operator: Exists}`+strings.Repeat(", *e", 15)),
	})
}

func TestRightConnectionsAreAccepted(t *testing.T) {
	const bundle = `caBundle: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"`
	accept(t, objects.Resource(connections), rightConnection, map[string]string{
		"all clusters":                        `{clusterName: null, allClusters: true}`,
		"all clusters said to be false":       `{allClusters: false}`,
		"on premises, with its own CA":        `{endpoint: {region: null, url: "https://sysdig.example.com:8443", ` + bundle + `}}`,
		"a URL with a trailing slash":         url("https://sysdig.example.com/"),
		"the highest port":                    url("https://sysdig.example.com:65535"),
		"a port of five digits":               url("https://sysdig.example.com:59999/api"),
		"IBM Cloud":                           `{endpoint: {region: null, url: "https://eu-de.monitoring.cloud.ibm.com", prometheusPath: /api/prometheus, headers: [{name: IBMInstanceID, value: 3f2a-11}, {name: SysdigTeamID, value: "42"}]}}`,
		"no path in front of PromQL's":        `{endpoint: {prometheusPath: ""}}`,
		"namespaces by selector":              `{allowedNamespaces: {from: Selector, selector: {matchLabels: {team: a}}}}`,
		"a fast rhythm without lag":           `{interval: 10s, ingestionLag: 0s}`,
		"a slow rhythm with a great lag":      `{interval: 10m, ingestionLag: 5m}`,
		"label names of an older store":       `{labelNames: {namespace: kubernetes_namespace_name}}`,
		"the token under another key":         `{tokenSecretRef: {key: api-token}}`,
		"every region's spelling, here jp1":   `{endpoint: {region: jp1}}`,
		"a cluster name with capital letters": `{clusterName: Prod_EU/1}`,
		"the data API":                        `{api: Data}`,
		"the data API, with all of its own":   `{api: Data, dataAPI: {segmentsPerRequest: 10000, rateFrom: sum}}`,
		"a heartbeat in the Form editor's":    `{api: Data, heartbeatMetric: cpu.used.percent}`,
		"API keys of IBM Cloud":               `{endpoint: {iam: {}}}`,
		"API keys of another IBM Cloud":       `{endpoint: {iam: {url: "https://private.iam.cloud.ibm.com/identity/token"}}}`,
	})
}

// accept creates the objects without keeping them.
func accept(t *testing.T, resource dynamic.ResourceInterface, right string, changes map[string]string) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) { create(t, resource, changed(t, right, change)) })
	}
}

// create returns the object as the API server would store it.
func create(t *testing.T, resource dynamic.ResourceInterface, object *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	stored, err := resource.Create(t.Context(), object, options)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestDefaultsOfABinding(t *testing.T) {
	stored := create(t, objects.Resource(bindings).Namespace("default"), parse(t, rightBinding))
	want := parse(t, `
connectionRef: {name: default}
target: {apiVersion: v1, kind: Service, name: web}
source: {metric: {name: net.http.request.count, timeAggregation: Rate, groupAggregation: Average, window: 1m}}
multiplier: "1"
onNoData: {action: Error}
maxAge: 2m
`)
	equal(t, stored.Object["spec"], want.Object)
}

func TestDefaultsOfAConnection(t *testing.T) {
	stored := create(t, objects.Resource(connections), parse(t, rightConnection))
	want := parse(t, `
endpoint: {region: us2, prometheusPath: /prometheus}
api: Prometheus
dataAPI: {segmentsPerRequest: 500, rateFrom: timeAvg}
clusterName: my-cluster
tokenSecretRef: {name: sysdig-api, key: token}
allowedNamespaces: {from: All}
interval: 30s
ingestionLag: 30s
heartbeatMetric: sysdig_container_up
coverage: {minimum: 80}
quota: {requestsPerMinute: 60, queriesPerNamespace: 20}
massAnomaly: {bindings: 10, percent: 50, hold: 10m}
labelNames:
  cluster: kube_cluster_name
  namespace: kube_namespace_name
  workloadType: kube_workload_type
  workload: kube_workload_name
  pod: kube_pod_name
`)
	equal(t, stored.Object["spec"], want.Object)
}

func equal(t *testing.T, got any, want map[string]any) {
	t.Helper()
	if !reflect.DeepEqual(got, any(want)) {
		t.Errorf("the stored spec is\n%v\nwant\n%v", got, want)
	}
}
