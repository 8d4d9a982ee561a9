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
	// kept apart, a target has a row for each pod and combination, and the view reduces.
	kept := dimensions("net.http.method", "code")
	apart := func(row, selector string) string {
		row += `, kube_pod_name, code, net_http_method`
		return `sum by (` + row + `) (sum_over_time(` + selector + `[1m]) / 60)` + fmt.Sprintf(timeOf, row, selector)
	}
	// scraped is a query about a counter that only rises, of which there may be too few points.
	scraped := func(text, window string) string {
		text += fmt.Sprintf(` or label_replace(max by (%[1]s) (count_over_time(%[2]s[5m])) unless max by (%[1]s) (count_over_time(%[2]s[%[3]s])) >= 2, "sysdig_metrics_part", "few", "", "")`, rowW, web, window)
		return strings.ReplaceAll(text, "sysdig_container_net_http_request_count", "http_requests_total")
	}
	web1 := map[string]string{"app": "web"}
	delta := func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.CounterType = v1alpha1.CounterDelta }
	rate := aggregated(v1alpha1.TimeRate, v1alpha1.GroupAverage)
	tests := map[string]struct {
		edits []edit
		want  string
	}{
		"the rate of a delta counter":        {[]edit{rate}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"a counter said to be delta":         {[]edit{rate, delta}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"the sum of a delta counter":         {[]edit{aggregated(v1alpha1.TimeSum, v1alpha1.GroupSum)}, workload("sum", `sum_over_time(%s[1m])`)},
		"the sum of a cumulative counter":    {[]edit{aggregated(v1alpha1.TimeSum, v1alpha1.GroupSum), cumulative}, scraped(workload("sum", `increase(%s[1m])`), "1m")},
		"the average of a gauge":             {[]edit{aggregated(v1alpha1.TimeAverage, v1alpha1.GroupAverage)}, workload("avg", `avg_over_time(%s[1m])`)},
		"the smallest of a gauge":            {[]edit{aggregated(v1alpha1.TimeMin, v1alpha1.GroupMin)}, workload("min", `min_over_time(%s[1m])`)},
		"the largest of a gauge":             {[]edit{aggregated(v1alpha1.TimeMax, v1alpha1.GroupMax)}, workload("max", `max_over_time(%s[1m])`)},
		"the last point of a gauge":          {[]edit{aggregated(v1alpha1.TimeLast, v1alpha1.GroupAverage)}, workload("avg", `last_over_time(%s[1m])`)},
		"a window of an hour":                {[]edit{window(time.Hour)}, workload("avg", `sum_over_time(%s[1h]) / 3600`)},
		"a window of a minute and a half":    {[]edit{window(90 * time.Second)}, workload("avg", `sum_over_time(%s[1m30s]) / 90`)},
		"a StatefulSet":                      {[]edit{target("apps/v1", "StatefulSet", "web")}, workload("avg", `sum_over_time(%s[1m]) / 60`)},
		"the rate of a cumulative counter":   {[]edit{named("http_requests_total"), rate, cumulative}, scraped(workload("avg", `rate(%s[1m])`), "1m")},
		"a Service: the view reduces":        {[]edit{target("v1", "Service", "web")}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, service)},
		"a Pod":                              {[]edit{target("v1", "Pod", "web-0")}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + x + `,kube_pod_name="web-0"}[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, x+`,kube_pod_name="web-0"}`)},
		"a namespace":                        {[]edit{target("v1", "Namespace", "")}, `avg by (kube_namespace_name) (sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name`, service)},
		"another kind with a filter":         {[]edit{target("networking.k8s.io/v1", "Ingress", "front"), where("ingress", v1alpha1.FilterIn, "front")}, `avg by (kube_namespace_name) (sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + x + `,ingress="front"}[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name`, x+`,ingress="front"}`)},
		"Deployments by selector":            {[]edit{every("apps/v1", "Deployment", web1)}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `,kube_workload_name="web"`, "")},
		"StatefulSets by selector":           {[]edit{every("apps/v1", "StatefulSet", nil)}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `,kube_workload_name="web"`, "")},
		"Services by selector":               {[]edit{every("v1", "Service", web1)}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, service)},
		"Pods by selector":                   {[]edit{every("v1", "Pod", web1)}, `sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60)` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_pod_name`, service)},
		"an external metric":                 {[]edit{external}, `avg by (kube_namespace_name) (sum by (kube_namespace_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name`, service)},
		"an external metric kept apart":      {[]edit{external, kept, aggregated("Max", "Sum")}, `sum by (kube_namespace_name, code, net_http_method) (sum by (kube_namespace_name, code, net_http_method, kube_pod_name) (max_over_time(` + service + `[1m])))` + fmt.Sprintf(timeOf, `kube_namespace_name, code, net_http_method`, service)},
		"an external metric of workloads":    {[]edit{external, dimensions("kubernetes.workload.name")}, `avg by (kube_namespace_name, kube_workload_name) (sum by (kube_namespace_name, kube_workload_name, kube_pod_name) (sum_over_time(` + service + `[1m]) / 60))` + fmt.Sprintf(timeOf, `kube_namespace_name, kube_workload_name`, service)},
		"a Deployment kept apart":            {[]edit{kept, aggregated("Rate", "Max")}, apart(rowW, web)},
		"Deployments kept apart":             {[]edit{every("apps/v1", "Deployment", web1), kept}, apart(rowW, service)},
		"a Service kept apart":               {[]edit{target("v1", "Service", "web"), kept}, apart(`kube_namespace_name`, service)},
		"Services kept apart":                {[]edit{every("v1", "Service", nil), kept}, apart(`kube_namespace_name`, service)},
		"Pods kept apart":                    {[]edit{every("v1", "Pod", web1), kept}, apart(`kube_namespace_name`, service)},
		"a namespace kept apart":             {[]edit{target("v1", "Namespace", ""), kept}, apart(`kube_namespace_name`, service)},
		"the order of dimensions is ours":    {[]edit{dimensions("code", "net_http_method")}, apart(rowW, web)},
		"filters are in order and each once": {[]edit{where("net.http.statusCode", v1alpha1.FilterNotIn, "500", "404", "500"), where("a", v1alpha1.FilterIn, "x"), where("a", v1alpha1.FilterIn, "x")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a="x",net_http_statusCode!~"404|500"}`)},
		"a filter that excludes one value":   {[]edit{where("a", v1alpha1.FilterNotIn, "x")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a!="x"}`)},
		"filter values are no expressions":   {[]edit{where("a", v1alpha1.FilterIn, ".*", "x|y")}, strings.ReplaceAll(workload("avg", `sum_over_time(%s[1m]) / 60`), `"web"}`, `"web",a=~"\\.\\*|x\\|y"}`)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(test.edits...), connection())
			if d.Query() != test.want {
				t.Errorf("got\n%s\nwant\n%s", d.Query(), test.want)
			}
			parse(t, d.Query())
		})
	}
}

// TestEveryCombinationParses goes through all aggregations and kinds.
func TestEveryCombinationParses(t *testing.T) {
	kinds := []edit{
		target("apps/v1", "Deployment", "w"), target("apps/v1", "DaemonSet", "w"), target("v1", "Service", "w"), target("v1", "Pod", "w"), target("v1", "Namespace", ""),
		every("apps/v1", "Deployment", nil), every("apps/v1", "StatefulSet", nil), every("v1", "Service", nil), every("v1", "Pod", nil), external,
	}
	kept := dimensions("bool", "kubernetes.node.name", "group_left")
	for i := range kinds {
		kinds = append(kinds, both(kinds[i], kept))
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
					for _, counter := range []edit{func(*v1alpha1.SysdigMetricBinding) {}, cumulative} {
						if b := binding(counter); b.Spec.Source.Metric.CounterType != "" && time != "Rate" && time != "Sum" {
							continue
						}
						d := compile(t, binding(kind, aggregated(time, group), counter), c)
						seen[d.Query()] = true
						for _, matchers := range selectors(parse(t, d.Query())) {
							scope := d.Question.Shape.Value().Scope
							if !confined(matchers, scope.Labels.Namespace, "shop") || (scope.Cluster != "" && !confined(matchers, scope.Labels.Cluster, scope.Cluster)) {
								t.Errorf("%s is not confined", d.Query())
							}
						}
					}
				}
			}
		}
	}
	// Kinds of workloads differ in the view only, and so do the group aggregations of Services, of Pods, and of whatever is
	// kept apart. A Service is asked like Services and Pods by selector, and a namespace like an external metric, or like its
	// pods when labels are kept apart. Counters matter for Rate and Sum.
	plain := 4 + 4 + 1 + 1 + 4 // a workload, workloads by selector, pods, one Pod, the namespace
	apart := 1 + 1 + 1 + 1 + 4 // the same with the namespace among the pods, and the external metric
	if want := 3 * 8 * (plain + apart); len(seen) != want {
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
		if got := d.Question.Shape.Value().Metric; got != want {
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
		if got := d.Question.Shape.Value().Where; got != `,`+want+`="v"` {
			t.Errorf("%s became %s, want %s", dotted, got, want)
		}
	}
}
