package query

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// notation is one name in the two notations that Sysdig uses: dotted in its data API and Form editor, and PromQL's.
type notation struct{ dotted, promQL string }

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

// promQLName turns a metric name of either notation into the PromQL one. The rule for dotted names that the table does not have: the
// container scope, dots become underscores, and the unit word bytes moves to the end (a.bytes.in: sysdig_container_a_in_bytes). JVM
// metrics carry the prefix jmx instead. Any other name without a dot is a PromQL name already.
func promQLName(name string) string {
	switch m, ok := sysdigMetric(name); {
	case ok && m.dotted == name && m.promQL != "":
		return m.promQL
	case !strings.Contains(name, "."):
		return name
	}
	words := strings.Split(name, ".")
	if words[0] == "jvm" {
		return "jmx_" + strings.Join(words, "_")
	}
	return containerPrefix + strings.Join(unitLast(words), "_")
}

// unitLast moves the unit word bytes to the end of a name.
func unitLast(words []string) []string {
	if i := slices.Index(words, "bytes"); i >= 0 {
		return append(slices.Delete(words, i, i+1), "bytes")
	}
	return words
}

// dataName turns a metric name of either notation into the dotted one, and tells which entity reports it. The names of the data
// API do not say that, so a PromQL name of a host is the dotted name and the source host. By the rule for names that the table does not
// have, the unit word bytes moves back behind the first word. A name that no rule covers, such as that of a scraped metric or of a
// program, is the same in both.
func dataName(name string) (id, source string) {
	source = sourceOf(name)
	if strings.Contains(name, ".") {
		return name, source
	}
	m, ok := sysdigMetric(name)
	if rest, host := strings.CutPrefix(name, hostPrefix); host && !ok {
		name = containerPrefix + rest
		m, ok = sysdigMetric(name)
	}
	if ok && (name == m.dotted || !strings.HasPrefix(name, "sysdig_") || strings.HasPrefix(name, containerPrefix) || source == sourceHost) {
		return m.dotted, source
	}
	return dottedByRule(name), source
}

// dottedByRule is the inverse of the rule of promQLName.
func dottedByRule(name string) string {
	if rest, ok := strings.CutPrefix(name, "jmx_jvm_"); ok {
		return "jvm." + strings.ReplaceAll(rest, "_", ".")
	}
	rest, ok := strings.CutPrefix(name, containerPrefix)
	if !ok {
		return name
	}
	words := strings.Split(rest, "_")
	if words[len(words)-1] != "bytes" {
		words = unitLast(words) // as it is in PromQL
	}
	if last := len(words) - 1; last > 1 && words[last] == "bytes" {
		words = slices.Insert(words[:last], 1, "bytes")
	}
	return strings.Join(words, ".")
}

const (
	sourceContainer = "container"
	sourceHost      = "host"
)

// sourceOf is the entity that reports a metric.
func sourceOf(name string) string {
	if strings.HasPrefix(promQLName(name), hostPrefix) {
		return sourceHost
	}
	return sourceContainer
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

// naming turns the names of bindings into those of a scope's API, by what Sysdig tells of them.
type naming struct {
	Scope
	// metrics and told are Target.Metrics and Target.Labels.
	metrics []string
	told    map[string]string
}

// metric turns the name of a metric, and tells which entity reports it; empty for the Prometheus API, whose names tell it. Of a dotted
// name that Sysdig's pages translate in several ways it is the one that there is.
func (n naming) metric(name string) (id, source string) {
	if n.AsksData() {
		return dataName(name)
	}
	id = promQLName(name)
	if m, ok := sysdigMetric(name); ok && m.dotted == name {
		for _, spelling := range append([]string{id}, m.others...) {
			if _, there := slices.BinarySearch(n.metrics, spelling); there {
				return spelling, ""
			}
		}
	}
	return id, ""
}

// absentFrom is why a metric cannot be asked of an API: Sysdig has it in the data API only.
func absentFrom(api v1alpha1.API, field, name string) *metric.Failure {
	if m, ok := sysdigMetric(name); ok && m.promQL == "" && api != v1alpha1.APIData {
		return metric.Failf(metric.Rejected, "%s: Sysdig's Prometheus API has no %s; use another metric, or a connection with api Data", field, name)
	}
	return nil
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

// Untold tells whether a binding has a name that only Sysdig can translate for an API: a label for the data API, or a metric for which
// Sysdig's pages have several names.
func Untold(b *v1alpha1.SysdigMetricBinding, api v1alpha1.API) bool {
	m := b.Spec.Source.Metric
	if m == nil {
		return false
	}
	if api != v1alpha1.APIData {
		of, ok := sysdigMetric(m.Name)
		return ok && of.dotted == m.Name && len(of.others) > 0
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
