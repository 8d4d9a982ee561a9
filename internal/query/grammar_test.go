package query_test

import "strings"

// writer writes PromQL as bytes say. When they end it takes the first of what there is to choose from.
type writer struct{ entropy []byte }

func (w *writer) below(n int) int {
	if len(w.entropy) == 0 {
		return 0
	}
	first := int(w.entropy[0])
	w.entropy = w.entropy[1:]
	return first % n
}

func (w *writer) one(of ...string) string { return of[w.below(len(of))] }

// vector writes an instant vector that is no deeper than told.
func (w *writer) vector(depth int) string {
	if depth == 0 {
		return w.selector()
	}
	inner := func() string { return w.vector(depth - 1) }
	switch w.below(16) {
	case 0, 1:
		return w.selector()
	case 2, 3, 4:
		return w.one("sum", "avg", "min", "max", "count", "group", "stddev") + w.grouping() + "(" + inner() + ")"
	case 5:
		return w.one("topk", "bottomk", "quantile", "limitk") + w.grouping() + "(" + w.scalar(depth-1) + ", " + inner() + ")"
	case 6:
		return "count_values(" + w.label() + ", " + inner() + ")"
	case 7, 8:
		return "(" + inner() + w.one(" + ", " - ", " * ", " / ", " > ", " == ", " > bool ", " ^ ") + w.matching() + inner() + ")"
	case 9:
		return "(" + inner() + w.one(" or ", " and ", " unless ") + w.one("", "on () ", "on (kube_pod_name) ", "ignoring (kube_namespace_name) ") + inner() + ")"
	case 10:
		return "(" + inner() + w.one(" + ", " * ", " > ", " < bool ") + w.scalar(depth-1) + ")"
	case 11:
		return w.overTime(depth)
	case 12:
		return "label_replace(" + inner() + ", " + w.label() + ", " + w.one(`"$1"`, `"bank"`, `"shop"`, `""`) + ", " + w.label() + ", " + w.one(`"(.*)"`, `".*"`, `"bank"`, `""`) + ")"
	case 13:
		return "label_join(" + inner() + ", " + w.label() + ", \"/\", " + w.label() + ", " + w.label() + ")"
	case 14:
		return w.one("-", "-", "abs", "abs", "sort", "timestamp", "timestamp", "sgn", "ceil", "histogram_count", "info", "absent", "day_of_week") + "(" + inner() + ")"
	default:
		return w.one("((", "clamp((", "sum(max(", "vector(scalar(", "absent((") + inner() + w.one("))", "))", "), 1, 5)")
	}
}

func (w *writer) overTime(depth int) string {
	function := w.one("sum", "max", "last", "count", "present", "absent") + "_over_time("
	if w.below(2) == 0 {
		return function + w.selector() + w.one("[1m]", "[1m]", "[1m]", "[10s]", "[20m]", "[1m] offset 1m", "[1m] @ end()") + ")"
	}
	return function + w.vector(depth-1) + w.one("[1m:10s]", "[1m:10s]", "[30s:]", "[5m:1m]", "[1m:10s] offset 10s") + ")"
}

func (w *writer) scalar(depth int) string {
	switch w.below(5) {
	case 0, 1:
		return w.one("1", "0", "2", "-1", "0.5", "+Inf", "NaN", "1e3", "0x10")
	case 2:
		return "(" + w.scalar(0) + w.one(" + ", " * ", " / ") + w.scalar(0) + ")"
	case 3:
		return w.one("1m", "3", "-7", "1_0", "time()", "pi()")
	default:
		return "scalar(" + w.vector(max(depth-1, 0)) + ")"
	}
}

func (w *writer) selector() string {
	name := w.one("x", "x", "x", "y", "y", "gone", "flip", "flop", "took_bucket", "")
	matchers := make([]string, 0, 4)
	if name == "" {
		matchers = append(matchers, w.one(`"utf8.metric"`, `__name__="x"`, `__name__=~"x|y"`, `__name__="x",__name__=~".+"`, `kube_pod_name="web-0"`))
	}
	for range max(w.below(5)-2, 0) {
		matchers = append(matchers, w.name()+w.one("=", "!=", "=~", "!~")+w.value())
	}
	selector := name + "{" + strings.Join(matchers, ",") + w.one("}", "}", ",}")
	return selector + w.one("", "", "", "", "", "", "", "", "", "", "", "", "", " offset 1m", " @ start()", " # x\n")
}

func (w *writer) name() string {
	return w.one("kube_pod_name", "kube_namespace_name", `"kube_namespace_name"`, `"kubernetes.namespace.name"`, "kube_cluster_name", "namespace", "node", "le", partLabel)
}

func (w *writer) value() string {
	return w.one(`"shop"`, `"web-0"`, `"bank"`, `"c1"`, `"c2"`, `".*"`, `".+"`, `""`, `"shop|bank"`, "'\\x62ank'", "`bank`", `"\"} or x{a=\""`)
}

func (w *writer) label() string {
	return w.one(`"who"`, `"kube_namespace_name"`, `"kube_cluster_name"`, `"kube_workload_name"`, `"`+partLabel+`"`, `"__name__"`, `"kube_pod_name"`)
}

func (w *writer) grouping() string {
	return w.one("", " by (kube_workload_name) ", " by (kube_namespace_name) ", " without (kube_pod_name) ", " by (who) ", ` by ("kube_cluster_name") `, " by () ")
}

func (w *writer) matching() string {
	return w.one("", "on () ", "on () group_left () ", "on (kube_pod_name) ", "on (kube_pod_name) group_left (kube_namespace_name) ", "ignoring (kube_namespace_name, kube_workload_name) ", "on (kube_workload_name) group_right () ")
}
