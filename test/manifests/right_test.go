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
		"a Cumulative counter's total":     `{source: {metric: {timeAggregation: Sum, counterType: Cumulative}}}`,
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
	})
}

func TestRightConnectionsAreAccepted(t *testing.T) {
	const bundle = `caBundle: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"`
	accept(t, objects.Resource(connections), rightConnection, map[string]string{
		"all clusters":                        `{clusterName: null, allClusters: true}`,
		"all clusters said to be false":       `{allClusters: false}`,
		"on premises, with its own CA":        `{endpoint: {region: null, url: "https://sysdig.example.com:8443", ` + bundle + `}}`,
		"a URL with a trailing slash":         url("https://sysdig.example.com/"),
		"IBM Cloud":                           `{endpoint: {region: null, url: "https://eu-de.monitoring.cloud.ibm.com", prometheusPath: /api/prometheus, headers: [{name: IBMInstanceID, value: 3f2a-11}, {name: SysdigTeamID, value: "42"}]}}`,
		"no path in front of PromQL's":        `{endpoint: {prometheusPath: ""}}`,
		"namespaces by selector":              `{allowedNamespaces: {from: Selector, selector: {matchLabels: {team: a}}}}`,
		"a fast rhythm without lag":           `{interval: 10s, ingestionLag: 0s}`,
		"a slow rhythm with a great lag":      `{interval: 10m, ingestionLag: 5m}`,
		"label names of an older store":       `{labelNames: {namespace: kubernetes_namespace_name}}`,
		"the token under another key":         `{tokenSecretRef: {key: api-token}}`,
		"every region's spelling, here jp1":   `{endpoint: {region: jp1}}`,
		"a cluster name with capital letters": `{clusterName: Prod_EU/1}`,
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
clusterName: my-cluster
tokenSecretRef: {name: sysdig-api, key: token}
allowedNamespaces: {from: All}
interval: 30s
ingestionLag: 30s
heartbeatMetric: sysdig_container_up
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
