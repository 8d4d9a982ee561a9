package query_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

func TestThePromQLOfTypedSources(t *testing.T) {
	const (
		x       = `sysdig_container_net_http_request_count{kube_namespace_name="shop",kube_cluster_name="c1"`
		web     = x + `,kube_workload_name="web"}`
		rowW    = `kube_namespace_name, kube_workload_type, kube_workload_name`
		timeOf  = ` or label_replace(max by (%s) (timestamp(%s)), "sysdig_metrics_part", "time", "", "")`
		podOf   = `sum by (kube_namespace_name, kube_workload_type, kube_workload_name, kube_pod_name) `
		service = x + `}`
	)
	workload := func(group, over string) string {
		return group + ` by (` + rowW + `) (` + podOf + `(` + fmt.Sprintf(over, web) + `))` + fmt.Sprintf(timeOf, rowW, web)
	}
	cumulative := func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.CounterType = v1alpha1.CounterCumulative
	}
	delta := func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.CounterType = v1alpha1.CounterDelta }
	window := func(d time.Duration) edit {
		return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Window.Duration = d }
	}
	rate := aggregated(v1alpha1.TimeRate, v1alpha1.GroupAverage)
	tests := map[string]struct {
		edits []edit
		want  string
	}{
		"the rate of a delta counter":        {[]edit{rate}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"a counter said to be delta":         {[]edit{rate, delta}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"the rate of a cumulative counter":   {[]edit{rate, cumulative}, workload("avg", `rate(%s[1m])`)},
		"the sum of a delta counter":         {[]edit{aggregated(v1alpha1.TimeSum, v1alpha1.GroupSum)}, workload("sum", `sum_over_time(%s[1m])`)},
		"the sum of a cumulative counter":    {[]edit{aggregated(v1alpha1.TimeSum, v1alpha1.GroupSum), cumulative}, workload("sum", `increase(%s[1m])`)},
		"the average of a gauge":             {[]edit{aggregated(v1alpha1.TimeAverage, v1alpha1.GroupAverage)}, workload("avg", `avg_over_time(%s[1m])`)},
		"the smallest of a gauge":            {[]edit{aggregated(v1alpha1.TimeMin, v1alpha1.GroupMin)}, workload("min", `min_over_time(%s[1m])`)},
		"the largest of a gauge":             {[]edit{aggregated(v1alpha1.TimeMax, v1alpha1.GroupMax)}, workload("max", `max_over_time(%s[1m])`)},
		"the last point of a gauge":          {[]edit{aggregated(v1alpha1.TimeLast, v1alpha1.GroupAverage)}, workload("avg", `last_over_time(%s[1m])`)},
		"a window of an hour":                {[]edit{window(time.Hour)}, workload("avg", `sum_over_time(%s[1h]) / 3600`)},
		"a window of a minute and a half":    {[]edit{window(90 * time.Second)}, workload("avg", `sum_over_time(%s[1m30s]) / 90`)},
		"a StatefulSet":                      {[]edit{target("apps/v1", "StatefulSet", "web")}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"a PromQL name":                      {[]edit{func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = "http_requests_total" }, rate, cumulative}, strings.ReplaceAll(workload("avg", `rate(%s[1m])`), "sysdig_container_net_http_request_count", "http_requests_total")},
		"a Service: the view reduces":        {[]edit{target("v1", "Service", "web")}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, service)},
		"a Pod":                              {[]edit{target("v1", "Pod", "web-0")}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + x + `,kube_pod_name="web-0"}[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, x+`,kube_pod_name="web-0"}`)},
		"a namespace":                        {[]edit{target("v1", "Namespace", "")}, `avg by (kube_namespace_name) (sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name`, service)},
		"another kind with a filter":         {[]edit{target("networking.k8s.io/v1", "Ingress", "front"), where("ingress", v1alpha1.FilterIn, "front")}, `avg by (kube_namespace_name) (sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + x + `,ingress="front"}[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name`, x+`,ingress="front"}`)},
		"filters are in order and each once": {[]edit{where("net.http.statusCode", v1alpha1.FilterNotIn, "500", "404", "500"), where("a", v1alpha1.FilterIn, "x"), where("a", v1alpha1.FilterIn, "x")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a="x",net_http_statusCode!~"404|500"}`)},
		"a filter that excludes one value":   {[]edit{where("a", v1alpha1.FilterNotIn, "x")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a!="x"}`)},
		"filter values are no expressions":   {[]edit{where("a", v1alpha1.FilterIn, ".*", "x|y")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a=~"\\.\\*|x\\|y"}`)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(test.edits...), connection())
			if d.Query != test.want {
				t.Errorf("got\n%s\nwant\n%s", d.Query, test.want)
			}
			parse(t, d.Query)
		})
	}
}

// TestEveryCombinationParses goes through all aggregations and kinds.
func TestEveryCombinationParses(t *testing.T) {
	kinds := []edit{
		target("apps/v1", "Deployment", "w"), target("apps/v1", "DaemonSet", "w"), target("v1", "Service", "w"), target("v1", "Pod", "w"), target("v1", "Namespace", ""),
	}
	old := func(c *v1alpha1.SysdigConnection) {
		c.Spec.LabelNames = v1alpha1.LabelNames{Cluster: "cluster", Namespace: "kubernetes_namespace_name", WorkloadType: "by", Workload: "on", Pod: "offset"}
	}
	all := func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName, c.Spec.AllClusters = "", true }
	seen := map[string]bool{}
	for _, c := range []*v1alpha1.SysdigConnection{connection(), connection(old), connection(all)} {
		for _, kind := range kinds {
			for _, time := range []v1alpha1.TimeAggregation{"Average", "Sum", "Rate", "Min", "Max", "Last"} {
				for _, group := range []v1alpha1.GroupAggregation{"Average", "Sum", "Min", "Max"} {
					for _, counter := range []v1alpha1.CounterType{"", "Cumulative"} {
						d := compile(t, binding(kind, aggregated(time, group), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.CounterType = counter }), c)
						seen[d.Query] = true
						for _, matchers := range selectors(parse(t, d.Query)) {
							scope := d.Question.Shape.Scope
							if !confined(matchers, scope.Labels.Namespace, "shop") || (scope.Cluster != "" && !confined(matchers, scope.Labels.Cluster, scope.Cluster)) {
								t.Errorf("%s is not confined", d.Query)
							}
						}
					}
				}
			}
		}
	}
	// The workload kinds differ in the view only, and so do the group aggregations of Services and Pods; counters matter for Rate and Sum.
	if want := 3 * 8 * (4 + 1 + 1 + 4); len(seen) != want {
		t.Errorf("%d different queries, want %d", len(seen), want)
	}
}

func TestNames(t *testing.T) {
	for dotted, want := range map[string]string{
		"net.http.request.count": "sysdig_container_net_http_request_count", "net.bytes.in": "sysdig_container_net_in_bytes",
		"net.bytes.total": "sysdig_container_net_total_bytes", "memory.bytes.used": "sysdig_container_memory_used_bytes",
		"cpu.cores.used.percent": "sysdig_container_cpu_cores_used_percent", "fs.bytes.free": "sysdig_container_fs_free_bytes",
		"host.error.count": "sysdig_container_syscall_error_count", "uptime": "sysdig_container_up", "container.count": "sysdig_container_count",
		"jvm.heap.used": "jmx_jvm_heap_used", "http_requests_total": "http_requests_total", "job:rate:sum": "job:rate:sum", "up": "up",
		"net.sql.request.time": "sysdig_container_net_sql_request_time", "thread.count": "sysdig_container_thread_count",
	} {
		d := compile(t, binding(func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = dotted }), connection())
		if got := d.Question.Shape.Metric; got != want {
			t.Errorf("%s became %s, want %s", dotted, got, want)
		}
	}
	for dotted, want := range map[string]string{
		"kubernetes.workload.type": "kube_workload_type", "kubernetes.workload.name": "kube_workload_name", "kubernetes.pod.name": "kube_pod_name",
		"kubernetes.node.name": "kube_node_name", "kubernetes.deployment.name": "kube_deployment_name", "kubernetes.statefulSet.name": "kube_statefulset_name",
		"kubernetes.daemonSet.name": "kube_daemonset_name", "kubernetes.replicaSet.name": "kube_replicaset_name", "host.hostName": "host_hostname",
		"agent.tag.x": "agent_tag_x", "kubernetes.pod.label.app": "kube_pod_label_app", "net.http.statusCode": "net_http_statusCode", "container_name": "container_name",
	} {
		d := compile(t, binding(where(dotted, v1alpha1.FilterIn, "v")), connection())
		if got := d.Question.Shape.Where; got != `,`+want+`="v"` {
			t.Errorf("%s became %s, want %s", dotted, got, want)
		}
	}
}
