package query_test

import "strings"

// trick is a query that may try to reach others, or to make a number out of nothing.
type trick struct {
	name, query string
	// label is the objectLabel.
	label string
	// refused is part of the refusal; empty when the query is confined.
	refused string
	// leaks is set when the query as it is written is answered with what belongs to others.
	leaks bool
}

// What refusals advise.
const (
	ownOnly   = "a binding sees series of"
	noData    = "say in spec.onNoData what to serve then"
	nameOne   = "name one metric"
	ofNow     = "a value has to be of now"
	joinThem  = "join them with"
	plainTime = "write the range as a plain duration"
	listed    = "docs/sysdigmetricbinding.md lists"
)

// tricks are about namespace shop of cluster c1.
func tricks() []trick {
	return []trick{
		// Selectors.
		{name: "everything", query: `sum(x)`, leaks: true},
		{name: "another namespace", query: `sum(x{kube_namespace_name="bank"})`, refused: ownOnly, leaks: true},
		{name: "all namespaces", query: `sum(x{kube_namespace_name=~".*"})`, leaks: true},
		{name: "either namespace", query: `sum(x{kube_namespace_name=~"shop|bank"})`, leaks: true},
		{name: "all but the own namespace", query: `sum(x{kube_namespace_name!="shop"})`, refused: ownOnly, leaks: true},
		{name: "all but another namespace", query: `sum(x{kube_namespace_name!="mint"})`, leaks: true},
		{name: "a pattern that excludes the own namespace", query: `sum(x{kube_namespace_name!~"shop"})`, refused: ownOnly, leaks: true},
		{name: "two namespaces at once", query: `sum(x{kube_namespace_name="shop",kube_namespace_name="bank"})`, refused: ownOnly},
		{name: "two namespaces at once, the own one last", query: `sum(x{kube_namespace_name="bank",kube_namespace_name="shop"})`, refused: ownOnly},
		{name: "no namespace", query: `sum(x{kube_namespace_name=""})`, refused: ownOnly, leaks: true},
		{name: "a namespace by prefix", query: `sum(x{kube_namespace_name=~"shop.*"})`, leaks: true},
		{name: "a namespace without regard to case", query: `sum(x{kube_namespace_name=~"(?i)SHOP"})`, leaks: true},
		{name: "a namespace by an escape", query: `sum(x{kube_namespace_name="\x62ank"})`, refused: ownOnly, leaks: true},
		{name: "a namespace in back quotes", query: "sum(x{kube_namespace_name=`bank`})", refused: ownOnly, leaks: true},
		{name: "a namespace in single quotes", query: `sum(x{kube_namespace_name='bank'})`, refused: ownOnly, leaks: true},
		{name: "a namespace that is a pattern of all", query: `sum(x{kube_namespace_name=".*"})`, refused: ownOnly, leaks: true},
		{name: "another cluster", query: `sum(x{kube_cluster_name="c2"})`, refused: ownOnly, leaks: true},
		{name: "all clusters", query: `sum(x{kube_cluster_name=~".+"})`, leaks: true},
		{name: "no cluster", query: `sum(x{kube_cluster_name!~".+"})`, refused: ownOnly, leaks: true},
		{name: "all but the own cluster", query: `sum(x{kube_cluster_name!="c1"})`, refused: ownOnly, leaks: true},
		{name: "a label in quotes", query: `sum(x{"kube_namespace_name"="bank"})`, refused: ownOnly, leaks: true},
		{name: "the dotted spelling of a label", query: `sum(x{"kubernetes.namespace.name"="bank"})`, refused: ownOnly},
		{name: "the dotted spelling, of what others have", query: `sum({"x","kubernetes.namespace.name"="shop"})`, leaks: true},
		{name: "another label of that meaning", query: `sum(x{namespace="shop"})`, leaks: true},
		{name: "a label by an escape", query: `sum(x{"kube_namespace_n\u0061me"="bank"})`, refused: ownOnly, leaks: true},
		{name: "a label that looks alike", query: `sum(x{"kube_nаmespace_name"=""})`, leaks: true},
		{name: "a label of any letters", query: `sum(x{"äpp.name"=""})`, leaks: true},
		{name: "a metric in quotes", query: `sum({"utf8.metric"})`, leaks: true},
		{name: "a metric by its label", query: `sum({__name__="x"})`, leaks: true},
		{name: "a metric by its label in quotes", query: `sum({"__name__"="x"})`, leaks: true},
		{name: "a metric that only others have", query: `sum(gone)`, leaks: true},
		{name: "two names", query: `sum({__name__="x",__name__="y"})`},
		{name: "a pattern of names", query: `sum({__name__=~"x|y"})`, refused: nameOne, leaks: true},
		{name: "a pattern of one name", query: `sum({__name__=~"x"})`, refused: nameOne, leaks: true},
		{name: "a name and a pattern of names", query: `sum({__name__="x",__name__=~".+"})`, leaks: true},
		{name: "all names but one", query: `sum({__name__!="nope",kube_pod_name="web-0"})`, refused: nameOne, leaks: true},
		{name: "no name", query: `sum({kube_namespace_name="bank"})`, refused: nameOne, leaks: true},
		{name: "an empty name", query: `sum({__name__="",kube_namespace_name="bank"})`, refused: nameOne},
		{name: "a matcher with a comma behind it", query: `sum(x{kube_namespace_name="bank",})`, refused: ownOnly, leaks: true},

		// What joins series.
		{name: "an alternative", query: `sum(gone) or sum(x)`, leaks: true},
		{name: "an alternative of another namespace", query: `sum(x) or sum(x{kube_namespace_name="bank"})`, refused: ownOnly, leaks: true},
		{name: "what others do not have", query: `x unless on (kube_pod_name) x{kube_cluster_name="c2"}`, refused: ownOnly, leaks: true},
		{name: "the rest of others", query: `sum(x unless on (kube_pod_name) flip)`, leaks: true},
		{name: "what others have too", query: `sum(x and on (kube_pod_name) gone)`, leaks: true},
		{name: "a match on the pod", query: `sum(x * on (kube_pod_name) y)`},
		{name: "a match on nothing", query: `sum(sum(x) * on () sum(y))`, leaks: true},
		{name: "a match that ignores the namespace", query: `sum(x * ignoring (kube_namespace_name, kube_cluster_name) group_left () y)`},
		{name: "group_left of a label of others", query: `sum(sum by (kube_workload_name) (x) * on () group_left (kube_pod_name) max(gone))`, leaks: true},
		{name: "group_left", query: `sum(x * on (kube_namespace_name, kube_pod_name) group_left () max by (kube_namespace_name, kube_pod_name) (y))`, leaks: true},
		{name: "group_right", query: `sum(max by (kube_pod_name) (gone) * on (kube_pod_name) group_right () x)`, leaks: true},
		{name: "a bool with what others have", query: `sum(x) > bool sum(gone)`},
		{name: "a fill of what is missing", query: `sum(x) + fill(0) sum(gone)`, refused: "parse error"},

		// What writes labels.
		{name: "a forged namespace", query: `sum by (kube_namespace_name) (label_replace(x, "kube_namespace_name", "bank", "", ""))`, label: "kube_namespace_name"},
		{name: "a forged namespace that matches", query: `sum(label_replace(x, "kube_namespace_name", "shop", "kube_namespace_name", "bank"))`},
		{name: "a forged name", query: `sum(label_replace(x, "__name__", "gone", "", ""))`, leaks: true},
		{name: "a joined namespace", query: `sum(label_join(x, "kube_namespace_name", "", "kube_pod_name"))`},
		{name: "a joined label of others", query: `sum by (who) (label_join(x, "who", "/", "kube_namespace_name", "kube_pod_name"))`, label: "who", leaks: true},
		{name: "a match on a forged label", query: `sum(x * on (who) group_left () sum by (who) (label_replace(gone, "who", "", "", "")))`, leaks: true},
		{name: "counted values", query: `count_values("kube_namespace_name", x)`, leaks: true},
		{name: "a forged time", query: `sum(x) or label_replace(sum(x) * 0 + 2e9, "sysdig_metrics_part", "0", "", "")`, refused: "set by the operator", leaks: true},
		{name: "a forged time by an escape", query: `label_join(sum(x), "sysdig_metrics_\u0070art", "", "a")`, refused: "set by the operator", leaks: true},
		{name: "a forged time by counting", query: `count_values(("sysdig_metrics_part"), x)`, refused: "set by the operator", leaks: true},
		{name: "a row for each namespace", query: `sum by (kube_namespace_name) (x)`, label: "kube_namespace_name", leaks: true},
		{name: "a row for each namespace in quotes", query: `sum by ("kube_namespace_name") (x)`, leaks: true},
		{name: "all labels but some", query: `sum without (kube_pod_name, kube_workload_name) (x)`, leaks: true},
		{name: "a row for each object", query: `sum by (kube_workload_name) (x)`, label: "kube_workload_name", leaks: true},

		// Values out of nothing.
		{name: "a constant as fallback", query: `sum(gone) or vector(0)`, refused: noData, leaks: true},
		{name: "a constant as fallback on no labels", query: `sum(gone) or on () vector(0)`, refused: noData, leaks: true},
		{name: "a constant that is a scalar", query: `sum(gone) or vector(scalar(sum(x)))`, refused: noData, leaks: true},
		{name: "a constant added", query: `sum(x) * 0 + time()`, refused: noData},
		{name: "absent", query: `absent(flip)`, refused: noData, leaks: true},
		{name: "absent over time", query: `absent_over_time(flip[5m])`, refused: noData, leaks: true},
		{name: "absent inside of a subquery", query: `sum_over_time(absent(flip)[1m:10s])`, refused: noData, leaks: true},
		{name: "absent as an alternative", query: `sum(x{kube_pod_name="web-0"}) or absent(flip)`, refused: noData, leaks: true},
		{name: "the hour", query: `hour()`, refused: noData},
		{name: "the day of a value", query: `day_of_month(x)`, refused: noData, leaks: true},
		{name: "pi", query: `sum(x) * pi()`, refused: noData, leaks: true},
		{name: "a fallback of what is there", query: `sum(gone) or sum(x) * 0`, leaks: true},
		{name: "a fallback by a range", query: `sum(gone) or sum(count_over_time(x[20m])) * 0`, leaks: true},
		{name: "a bool of nothing", query: `sum(x) > bool scalar(gone)`},
		{name: "a scalar of nothing", query: `sum(x) + scalar(flip)`, leaks: true},
		{name: "a bound of nothing", query: `clamp_min(sum(x), scalar(flip))`, leaks: true},
		{name: "a number", query: `42`, refused: "scalar"},
		{name: "a text", query: `"bank"`, refused: "string"},

		// Other times.
		{name: "@ a time", query: `sum(x @ 1930000000)`, refused: ofNow},
		{name: "@ start()", query: `sum(x @ start())`, refused: ofNow, leaks: true},
		{name: "@ end()", query: `sum(rate(x[1m] @ end()))`, refused: ofNow},
		{name: "@ of a subquery", query: `max_over_time(sum(x)[5m:10s] @ end())`, refused: ofNow, leaks: true},
		{name: "offset", query: `sum(x offset 5m)`, refused: ofNow, leaks: true},
		{name: "a negative offset", query: `sum(x offset -5m)`, refused: ofNow, leaks: true},
		{name: "offset inside of a subquery", query: `max_over_time(sum(x offset 1m)[5m:10s])`, refused: ofNow, leaks: true},
		{name: "offset in a comment", query: "sum(x) # offset 5m", leaks: true},

		// Ranges and subqueries.
		{name: "a range", query: `sum(sum_over_time(x[1m]))`, leaks: true},
		{name: "a range of all", query: `sum(max_over_time(x{kube_namespace_name=~".+"}[20m]))`, leaks: true},
		{name: "a subquery", query: `max_over_time(sum(x)[1m:10s])`, leaks: true},
		{name: "a subquery without a step", query: `max_over_time(sum(x)[1m:])`, leaks: true},
		{name: "subqueries in subqueries", query: `max_over_time(sum_over_time(sum(x)[1m:10s])[30s:10s])`, leaks: true},
		{name: "another namespace in a subquery", query: `max_over_time(sum(x{kube_namespace_name="bank"})[1m:10s])`, refused: ownOnly, leaks: true},
		{name: "a range that is computed", query: `sum(rate(x[1m + 1m]))`, refused: plainTime},
		{name: "a prediction", query: `sum(predict_linear(x[5m], 3600))`, leaks: true},

		// Functions and aggregations.
		{name: "info", query: `sum(info(x))`, refused: joinThem},
		{name: "info of labels", query: `sum(info(x, {k8s_cluster_name=~".+"}))`, refused: joinThem},
		{name: "limitk", query: `sum(limitk(1, x))`, refused: "use topk"},
		{name: "limit_ratio", query: `sum(limit_ratio(0.5, x))`, refused: "use topk"},
		{name: "topk", query: `sum(topk(1, x))`, leaks: true},
		{name: "topk by a number of others", query: `sum(topk(scalar(count(x)), x))`, leaks: true},
		{name: "bottomk without the namespace", query: `sum(bottomk without (kube_namespace_name) (1, x))`, leaks: true},
		{name: "a quantile of a number of others", query: `quantile(scalar(sum(flip)), x)`, leaks: true},
		{name: "count", query: `count(x)`, leaks: true},
		{name: "group", query: `group(gone)`},
		{name: "a deviation", query: `stddev(x)`, leaks: true},
		{name: "the order", query: `sum(sort_desc(x))`, leaks: true},
		{name: "the order by a label", query: `sum(sort_by_label(x, "kube_namespace_name"))`, refused: listed},
		{name: "a quantile of a histogram", query: `sum(histogram_quantile(0.9, sum by (le) (rate(took_bucket[1m]))))`},
		{name: "a quantile of buckets", query: `sum(histogram_quantile(0.5, sum by (le) (took_bucket)))`, leaks: true},
		{name: "the time of a point", query: `max(timestamp(gone))`},
		{name: "the time of a point, in brackets", query: `max(timestamp(((x{kube_namespace_name="bank"}))))`, refused: ownOnly},
		{name: "a function nobody knows", query: `frobnicate(x)`, refused: "unknown function"},
		{name: "trigonometry", query: `sum(sin(x))`, refused: listed, leaks: true},

		// Syntax.
		{name: "a comment that ends the query", query: "sum(x{kube_namespace_name=\"bank\"} # })\n)", refused: ownOnly, leaks: true},
		{name: "a comment in a matcher", query: "sum(x{kube_namespace_name= # \"shop\"\n\"bank\"})", refused: ownOnly, leaks: true},
		{name: "a text that ends the selector", query: `sum(x{kube_pod_name="\"} or x{a=\""})`},
		{name: "a text that ends the query", query: `sum(label_replace(x, "a", "\") or vector(1) #", "", ""))`, leaks: true},
		{name: "a zero byte", query: "sum(x{kube_pod_name!=\"\\x00\"})", leaks: true},
		{name: "text that is no UTF-8", query: `sum(x{kube_pod_name!="\xff"})`, leaks: true},
		{name: "a line separator", query: `sum(x{kube_pod_name!="\u2028"})`, leaks: true},
		{name: "another line", query: "sum(x)\n\t or\r\n sum(gone)", leaks: true},
		{name: "keywords in capitals", query: `SUM BY (kube_namespace_name) (x) OR SUM(gone)`, label: "kube_namespace_name", leaks: true},
		{name: "a metric called like a keyword", query: `sum({"sum"} or {"by"} or x)`, leaks: true},
		{name: "signs", query: `---sum(x)`, leaks: true},
		{name: "two queries", query: `sum(x); sum(gone)`, refused: "parse error"},
		{name: "a selector that is not closed", query: `sum(x{kube_namespace_name="bank"`, refused: "parse error"},
		{name: "a variable of the user interface", query: `sum(x{kube_pod_name!="$__scope"})`, refused: "variable of dashboards", leaks: true},
		{name: "a variable in place of matchers", query: `sum(x{$__scope})`, refused: "variable of dashboards"},
		{name: "a template", query: `sum(x{{kube_namespace_name="bank"}})`, refused: "parse error"},
		{name: "very deep", query: strings.Repeat("sum(", 300) + "x" + strings.Repeat(")", 300), refused: "nest it less", leaks: true},
		{name: "very deep brackets", query: "sum" + strings.Repeat("(", 2000) + "x" + strings.Repeat(")", 2000), refused: "nest it less", leaks: true},
		{name: "very long", query: `sum(x{kube_pod_name=~"` + strings.Repeat("nope|", 1500) + `web-0"})`, leaks: true},
		{name: "very many", query: strings.Repeat("sum(x) + ", 200) + "sum(gone)", refused: "nest it less", leaks: true},
		{name: "deep", query: strings.Repeat("sum(", 30) + "x" + strings.Repeat(")", 30), leaks: true},
		{name: "many", query: strings.Repeat("sum(x) + ", 30) + "sum(gone)", leaks: true},
		{name: "long", query: `sum(x{kube_pod_name=~"` + strings.Repeat("nope|", 300) + `web-0"})`, leaks: true},
		{name: "very many selectors", query: `sum(a or b or c or d or e or f or g or h or i or j or x)`, refused: "at most 10"},
	}
}
