package query

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// notation is one name in the two notations that Sysdig uses: dotted in its data API and Form editor, and PromQL's.
type notation struct{ dotted, promQL string }

// metricNames are the metrics of Sysdig's containers whose names in the two notations do not follow from each other by rule, or
// whose dotted name cannot be told from the PromQL one. From Sysdig's pages "Metrics Available in Monitor Light" and
// "Additional Metrics Values Available in Troubleshooting".
func metricNames() []notation {
	return []notation{
		{"host.error.count", "sysdig_container_syscall_error_count"},
		{"uptime", "sysdig_container_up"},
		{"container.count", "sysdig_container_count"},
	}
}

// labelNames are the labels that both notations have, apart from those that follow by the rule of promQLLabel. From official
// code of Sysdig's (MCP server, Terraform provider) and, for the sets, from alert definitions that are in use.
func labelNames() []notation {
	return []notation{
		{"kubernetes.cluster.name", "kube_cluster_name"},
		{"kubernetes.namespace.name", "kube_namespace_name"},
		{"kubernetes.workload.name", "kube_workload_name"},
		{"kubernetes.workload.type", "kube_workload_type"},
		{"kubernetes.pod.name", "kube_pod_name"},
		{"kubernetes.node.name", "kube_node_name"},
		{"kubernetes.deployment.name", "kube_deployment_name"},
		{"kubernetes.statefulSet.name", "kube_statefulset_name"},
		{"kubernetes.daemonSet.name", "kube_daemonset_name"},
		{"kubernetes.replicaSet.name", "kube_replicaset_name"},
		{"kubernetes.service.name", "kube_service_name"},
		{"container.name", "container_name"},
		{"host.hostName", "host_hostname"},
		{"host.mac", "host_mac"},
		{"net.http.url", "net_http_url"},
		{"net.http.method", "net_http_method"},
		{"net.http.statusCode", "net_http_statusCode"},
		{"net.http.statusCode", "net_http_statuscode"}, // as metrics by status code are spelled
	}
}

// serviceLabel is the label of Services in the data API. No metric of the Prometheus API has one.
const serviceLabel = "kubernetes.service.name"

// find returns the other notation of a name; empty when the table does not have it.
func find(table []notation, name string, of, other func(notation) string) string {
	if i := slices.IndexFunc(table, func(n notation) bool { return of(n) == name }); i >= 0 {
		return other(table[i])
	}
	return ""
}

func dotted(n notation) string { return n.dotted }
func promQL(n notation) string { return n.promQL }

const (
	containerPrefix = "sysdig_container_"
	hostPrefix      = "sysdig_host_"
)

// promQLName turns a metric name of either notation into the PromQL one. The rule for dotted names: the container scope,
// dots become underscores, and the unit word bytes moves to the end (net.bytes.in: sysdig_container_net_in_bytes). JVM
// metrics carry the prefix jmx instead. Any other name without a dot is a PromQL name already.
func promQLName(name string) string {
	if known := find(metricNames(), name, dotted, promQL); known != "" {
		return known
	}
	if !strings.Contains(name, ".") {
		return name
	}
	words := strings.Split(name, ".")
	if words[0] == "jvm" {
		return "jmx_" + strings.Join(words, "_")
	}
	if i := slices.Index(words, "bytes"); i >= 0 {
		words = append(slices.Delete(words, i, i+1), "bytes")
	}
	return containerPrefix + strings.Join(words, "_")
}

// dataName turns a metric name of either notation into the dotted one, and tells which entity reports it. The names of the data
// API do not say that, so a PromQL name of a host is the dotted name and the source host. The unit word bytes moves back behind
// the first word. A PromQL name that no rule covers, such as that of a scraped metric, is the same in both.
func dataName(name string) (id, source string) {
	source = "container"
	if strings.Contains(name, ".") {
		return name, source
	}
	if rest, ok := strings.CutPrefix(name, hostPrefix); ok {
		name, source = containerPrefix+rest, "host"
	}
	if known := find(metricNames(), name, promQL, dotted); known != "" {
		return known, source
	}
	for _, rule := range []struct{ prefix, root string }{{containerPrefix, ""}, {"jmx_jvm_", "jvm."}} {
		if rest, ok := strings.CutPrefix(name, rule.prefix); ok {
			words := strings.Split(rest, "_")
			if last := len(words) - 1; rule.root == "" && last > 1 && words[last] == "bytes" {
				words = slices.Insert(words[:last], 1, "bytes")
			}
			return rule.root + strings.Join(words, "."), source
		}
	}
	return name, source
}

// promQLLabel turns a label of either notation into the PromQL one; the rule is kubernetes.x.y: kube_x_y, and dots become
// underscores.
func promQLLabel(name string) string {
	if known := find(labelNames(), name, dotted, promQL); known != "" {
		return known
	}
	if rest, ok := strings.CutPrefix(name, "kubernetes."); ok {
		name = "kube_" + rest
	}
	return strings.ReplaceAll(name, ".", "_")
}

// dataLabel turns a label of either notation into the dotted one. What no rule covers is the same in both: newer stores take
// PromQL's labels in the data API too.
func dataLabel(name string) string {
	if known := find(labelNames(), name, promQL, dotted); known != "" {
		return known
	}
	for _, rule := range []struct{ prefix, root string }{{"kube_pod_label_", "kubernetes.pod.label."}, {"agent_tag_", "agent.tag."}} {
		if rest, ok := strings.CutPrefix(name, rule.prefix); ok {
			return rule.root + rest
		}
	}
	return name
}

// naming turns the labels of bindings into those of a scope's API.
type naming struct {
	Scope
	// told are the data API's labels by their PromQL names, as Sysdig tells them.
	told map[string]string
}

// label turns a label of either notation: the labels of Kubernetes objects by the connection's table, the rest as Sysdig tells or
// else by rule.
func (n naming) label(name string) string {
	usual := promQLLabel(name)
	if n.AsksData() {
		usual = cmp.Or(n.told[name], dataLabel(name))
	}
	return cmp.Or(n.Labels.own(usual), n.Labels.own(promQLLabel(name)), usual)
}

// Untold tells whether a binding names a label that only Sysdig can translate for the data API.
func Untold(b *v1alpha1.SysdigMetricBinding) bool {
	m := b.Spec.Source.Metric
	if m == nil {
		return false
	}
	untold := func(name string) bool { return !strings.Contains(name, ".") && dataLabel(name) == name }
	return slices.ContainsFunc(m.Where, func(f v1alpha1.LabelFilter) bool { return untold(f.Label) }) ||
		slices.ContainsFunc(m.Dimensions, func(d v1alpha1.Dimension) bool { return untold(string(d)) })
}

// own is the label of this installation for a label in the usual spelling of either notation; empty for all but those in the
// table.
func (l Labels) own(usual string) string {
	switch usual {
	case "kubernetes.cluster.name", "kube_cluster_name":
		return l.Cluster
	case "kubernetes.namespace.name", "kube_namespace_name":
		return l.Namespace
	case "kubernetes.workload.type", "kube_workload_type":
		return l.WorkloadType
	case "kubernetes.workload.name", "kube_workload_name":
		return l.Workload
	case "kubernetes.pod.name", "kube_pod_name":
		return l.Pod
	}
	return ""
}
