package query

import (
	"slices"
	"strings"
)

// metricNames are dotted names whose PromQL form does not follow the rule of promQLName. From Sysdig's pages "Metrics
// Available in Monitor Light" and "Additional Metrics Values Available in Troubleshooting".
func metricNames(dotted string) (string, bool) {
	switch dotted {
	case "host.error.count":
		return "sysdig_container_syscall_error_count", true
	case "uptime":
		return "sysdig_container_up", true
	case "container.count":
		return "sysdig_container_count", true
	}
	return "", false
}

// promQLName turns a metric name of either notation into the PromQL one. The rule for dotted names: the container scope,
// dots become underscores, and the unit word bytes moves to the end (net.bytes.in: sysdig_container_net_in_bytes). JVM
// metrics carry the prefix jmx instead. Any other name without a dot is a PromQL name already.
func promQLName(name string) string {
	if known, ok := metricNames(name); ok {
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
	return "sysdig_container_" + strings.Join(words, "_")
}

// labelName turns a label of either notation into the PromQL one: the labels of Kubernetes objects by the connection's
// table, the rest by rule (kubernetes.x.y: kube_x_y; dots become underscores).
func (l Labels) labelName(name string) string {
	switch name {
	case "kubernetes.cluster.name":
		return l.Cluster
	case "kubernetes.namespace.name":
		return l.Namespace
	case "kubernetes.workload.type":
		return l.WorkloadType
	case "kubernetes.workload.name":
		return l.Workload
	case "kubernetes.pod.name":
		return l.Pod
	case "kubernetes.statefulSet.name":
		return "kube_statefulset_name"
	case "kubernetes.daemonSet.name":
		return "kube_daemonset_name"
	case "kubernetes.replicaSet.name":
		return "kube_replicaset_name"
	case "host.hostName":
		return "host_hostname"
	}
	if rest, ok := strings.CutPrefix(name, "kubernetes."); ok {
		name = "kube_" + rest
	}
	return strings.ReplaceAll(name, ".", "_")
}
