package sysdigtest

import (
	"slices"
	"strings"
)

// The classic API names metrics and labels with dots, the Prometheus API with underscores. This file is the stand-in's
// knowledge of both. It is written after Sysdig's pages "Metrics Available in Monitor Light", "Additional Metrics Values Available in
// Troubleshooting" and "Metrics Not Available in Essentials Mode", and shares nothing with the client's table, so that each checks the
// other.

// Sources of metrics, the values of dataSourceType.
const (
	sourceHost      = "host"
	sourceContainer = "container"
)

// name is one label or metric in both notations.
type name struct{ dotted, promQL string }

// labelTable returns the labels whose notations do not follow from each other.
func labelTable() []name {
	return []name{
		{"kubernetes.cluster.name", LabelCluster},
		{"kubernetes.namespace.name", LabelNamespace},
		{"kubernetes.workload.name", LabelWorkloadName},
		{"kubernetes.workload.type", LabelWorkloadType},
		{"kubernetes.pod.name", LabelPod},
		{"kubernetes.node.name", LabelNode},
		{"kubernetes.service.name", LabelService},
		{"kubernetes.deployment.name", "kube_deployment_name"},
		{"kubernetes.statefulSet.name", "kube_statefulset_name"},
		{"kubernetes.daemonSet.name", "kube_daemonset_name"},
		{"kubernetes.replicaSet.name", "kube_replicaset_name"},
		{"container.name", LabelContainer},
		{"container.id", "container_id"},
		{"container.image", "container_image"},
		{"host.hostName", "host_hostname"},
		{"host.mac", "host_mac"},
		{"net.http.method", LabelMethod},
		{"net.http.url", "net_http_url"},
		{"net.http.statusCode", "net_http_statuscode"},
		{"cloudProvider.region", "cloud_provider_region"},
	}
}

// labelFamilies returns the beginnings of labels whose rest is the user's.
func labelFamilies() []name {
	return []name{
		{"kubernetes.pod.label.", "kube_pod_label_"},
		{"container.label.", "container_label_"},
		{"agent.tag.", "agent_tag_"},
	}
}

// promQLLabel returns the label that the store has for an id in either notation.
func promQLLabel(id string) string {
	for _, l := range labelTable() {
		if l.dotted == id {
			return l.promQL
		}
	}
	for _, f := range labelFamilies() {
		if rest, ok := strings.CutPrefix(id, f.dotted); ok {
			return f.promQL + underscored(rest)
		}
	}
	return id
}

// dottedLabel returns the dotted form of a label of the store; labels of scraped metrics have none but their own name.
func dottedLabel(label string) string {
	for _, l := range labelTable() {
		if l.promQL == label {
			return l.dotted
		}
	}
	for _, f := range labelFamilies() {
		if rest, ok := strings.CutPrefix(label, f.promQL); ok {
			return f.dotted + rest
		}
	}
	return label
}

// documentedLabel tells whether Sysdig knows the label without having seen it.
func documentedLabel(label string) bool { return dottedLabel(label) != label }

// containerOnly tells whether only containers have the label.
func containerOnly(label string) bool { return strings.HasPrefix(label, "container_") }

// underscored replaces what no name in PromQL may hold.
func underscored(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, text)
}

// native describes a metric that Sysdig's agent measures by itself.
type native struct {
	id string
	// kind and unit are the fields metricType and type of its descriptor. Some kinds look wrong; they are Sysdig's.
	kind, unit string
}

// natives returns the documented metrics of the agent.
func natives() []native {
	return []native{
		{"net.http.request.count", kindCounter, "int"},
		{"net.http.error.count", kindCounter, "int"},
		{"net.http.request.time", kindGauge, "relativeTime"},
		{"net.request.count", kindCounter, "int"},
		{"net.request.count.in", kindCounter, "int"},
		{"net.request.count.out", kindCounter, "int"},
		{"net.request.time", kindGauge, "relativeTime"},
		{"net.request.time.in", kindGauge, "relativeTime"},
		{"net.request.time.out", kindGauge, "relativeTime"},
		{"net.error.count", kindCounter, "int"},
		{"net.connection.count.in", kindGauge, "int"},
		{"net.connection.count.out", kindGauge, "int"},
		{"net.connection.count.total", kindGauge, "int"},
		{"net.sql.request.count", kindCounter, "int"},
		{"net.sql.error.count", kindCounter, "int"},
		{"net.sql.request.time", kindGauge, "relativeTime"},
		{"net.mongodb.request.count", kindCounter, "int"},
		{"net.mongodb.error.count", kindCounter, "int"},
		{"net.mongodb.request.time", kindGauge, "relativeTime"},
		{"net.bytes.in", kindCounter, "byte"},
		{"net.bytes.out", kindCounter, "byte"},
		{"net.bytes.total", kindCounter, "byte"},
		{"file.bytes.in", kindCounter, "byte"},
		{"file.bytes.out", kindCounter, "byte"},
		{"file.bytes.total", kindCounter, "byte"},
		{"file.iops.in", kindCounter, "int"},
		{"file.iops.out", kindCounter, "int"},
		{"file.iops.total", kindCounter, "int"},
		{"file.time.in", kindCounter, "relativeTime"},
		{"file.time.out", kindCounter, "relativeTime"},
		{"file.time.total", kindCounter, "relativeTime"},
		{"file.open.count", kindCounter, "int"},
		{"file.error.total.count", kindCounter, "int"},
		{"cpu.used.percent", kindGauge, "%"},
		{"cpu.cores.used", kindGauge, "double"},
		{"cpu.cores.used.percent", kindGauge, "%"},
		{"memory.bytes.used", kindGauge, "byte"},
		{"memory.used.percent", kindGauge, "%"},
		{"memory.bytes.virtual", kindGauge, "byte"},
		{"memory.bytes.available", kindGauge, "byte"},
		{"memory.bytes.total", kindGauge, "byte"},
		{"memory.limit.bytes", kindGauge, "byte"},
		{"memory.limit.used.percent", kindGauge, "%"},
		{"memory.swap.bytes.available", kindGauge, "byte"},
		{"memory.swap.bytes.total", kindGauge, "byte"},
		{"memory.swap.bytes.used", kindGauge, "byte"},
		{"memory.swap.used.percent", kindGauge, "%"},
		{"cpu.quota.used.percent", kindGauge, "%"},
		{"cpu.idle.percent", kindGauge, "%"},
		{"cpu.iowait.percent", kindGauge, "%"},
		{"cpu.nice.percent", kindGauge, "%"},
		{"cpu.stolen.percent", kindGauge, "%"},
		{"cpu.system.percent", kindGauge, "%"},
		{"cpu.user.percent", kindGauge, "%"},
		{"load.average.percpu.1m", kindGauge, "double"},
		{"load.average.percpu.5m", kindGauge, "double"},
		{"load.average.percpu.15m", kindGauge, "double"},
		{"system.uptime", kindGauge, "double"},
		{"fs.used.percent", kindGauge, "%"},
		{"fs.bytes.used", kindGauge, "byte"},
		{"fs.bytes.free", kindGauge, "byte"},
		{"fs.bytes.total", kindGauge, "byte"},
		{"fs.free.percent", kindGauge, "%"},
		{"fs.largest.used.percent", kindGauge, "%"},
		{"fs.root.used.percent", kindGauge, "%"},
		{"fs.inodes.total.count", kindGauge, "int"},
		{"fs.inodes.used.count", kindGauge, "int"},
		{"fs.inodes.used.percent", kindGauge, "%"},
		{"thread.count", kindGauge, "int"},
		{"proc.count", kindGauge, "int"},
		{"host.error.count", kindCounter, "int"},
		{"uptime", kindGauge, "double"},
		{"container.count", kindGauge, "int"},
		{"jvm.heap.used", kindCounter, "byte"},
		{"jvm.heap.max", kindCounter, "byte"},
		{"jvm.heap.committed", kindCounter, "byte"},
	}
}

const (
	kindCounter = "counter"
	kindGauge   = "gauge"
)

// promQLMetric returns the metric that the store has for an id in either notation.
func promQLMetric(id, source string) string {
	prefix := "sysdig_" + source + "_"
	switch {
	case id == "host.error.count":
		return prefix + "syscall_error_count"
	case id == "uptime":
		return prefix + "up"
	case id == "container.count":
		return "sysdig_container_count"
	case strings.HasPrefix(id, "jvm."):
		return "jmx_" + underscored(id)
	case !strings.Contains(id, "."):
		return id
	}
	words := strings.Split(id, ".")
	i := slices.Index(words, "bytes")
	if last := len(words) - 1; i < 0 && last > 0 && id != "file.iops.total" && // which Sysdig's page has like that
		slices.Contains([]string{"in", "out", "total"}, words[last]) && slices.Contains([]string{"count", "iops", "time"}, words[last-1]) {
		i = last - 1
	}
	if i >= 0 { // the unit goes last
		unit := words[i]
		words = append(slices.Delete(words, i, i+1), unit)
	}
	return prefix + underscored(strings.Join(words, "_"))
}

// dottedMetric returns the id of a metric of the store in the classic API; scraped metrics have none but their own name.
func dottedMetric(metric string) native {
	for _, n := range natives() {
		if promQLMetric(n.id, sourceHost) == metric || promQLMetric(n.id, sourceContainer) == metric {
			return n
		}
	}
	return native{id: metric}
}

// sourceOf returns the source in the name of a metric of the store; empty for metrics of any source.
func sourceOf(metric string) string {
	for _, source := range []string{sourceHost, sourceContainer} {
		if strings.HasPrefix(metric, "sysdig_"+source+"_") {
			return source
		}
	}
	return ""
}
