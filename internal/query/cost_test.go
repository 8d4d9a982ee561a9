package query_test

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// within fills a text with repeats, up to the longest query that there is.
func within(head, repeated, tail string) string {
	return head + strings.Repeat(repeated, (8192-len(head)-len(tail))/len(repeated)) + tail
}

// nested repeats what opens and what closes.
func nested(times int, open, inside, closed string) string {
	return strings.Repeat(open, times) + inside + strings.Repeat(closed, times)
}

// mostCompiled is how many bytes may be allocated while a query is compiled.
const mostCompiled = 8 << 20

// measured compiles a binding and tells how many bytes that has allocated.
func measured(b *v1alpha1.SysdigMetricBinding) (query.Definition, uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := query.Compile(b, connection(), query.Target{})
	runtime.ReadMemStats(&after)
	return d, after.TotalAlloc - before.TotalAlloc
}

// tooMuch are queries that would cost too much, here or at Sysdig, and what their refusals say.
func tooMuch() map[string]struct{ query, says string } {
	return map[string]struct{ query, says string }{
		"a text that is too long":                        {"sum(x" + strings.Repeat(" ", 8192) + ")", "at most 8192"},
		"too many names and signs":                       {within("sum(x{", "a!=a,", "})"), "at most 1000"},
		"too many matchers":                              {within("sum(x{", "a!=`b`,", "})"), "at most 1000"},
		"too many labels":                                {within("sum by (", "a,", "b) (x)"), "at most 1000"},
		"too many alternatives":                          {within("sum(", "(x)or", "x)"), "at most 40 deep"},
		"a comment between all":                          {within("sum(", "(x)or#\n", "x)"), "at most 40 deep"},
		"signs":                                          {within("", "-", "x"), "at most 40 deep"},
		"signs before what is refused":                   {within("", "-", "absent(x)"), "at most 40 deep"},
		"signs with gaps":                                {within("", "- +\n", "x"), "at most 40 deep"},
		"brackets":                                       {nested(4000, "(", "x", ")"), "at most 40 deep"},
		"brackets that are not closed":                   {within("", "(", "x"), "at most 40 deep"},
		"brackets around texts":                          {"sum(label_replace(x, " + nested(100, "(", `"a"`, ")") + `, "b", "c", "d"))`, "at most 40 deep"},
		"functions":                                      {nested(900, "abs(", "x", ")"), "at most 40 deep"},
		"aggregations":                                   {nested(900, "sum(", "x", ")"), "at most 40 deep"},
		"powers":                                         {within("x", "^x", ""), "at most 40 deep"},
		"a chain of sums":                                {within("x", "+x", ""), "at most 40 deep"},
		"a chain that grows in brackets":                 {nested(20, "(1 + 1 + 1 + ", "x", ")"), "at most 40 deep"},
		"a chain with lists between":                     {within("x", `+ x{a="1",b="2"}`, ""), "at most 40 deep"},
		"comparisons":                                    {within("x", ">bool 1", ""), "at most 40 deep"},
		"set operators":                                  {within("x", " unless x", ""), "at most 40 deep"},
		"subqueries of subqueries":                       {within("x", "[1m:]", ""), "at most 40 deep"},
		"a duration in brackets":                         {"sum(rate(x[" + nested(2000, "(", "1m", ")") + "]))", "at most 40 deep"},
		"a duration of many":                             {within("sum(rate(x[1m", "+1m", "]))"), "at most 40 deep"},
		"a range of centuries":                           {`sum(rate(x[290y]))`, "at most 24h"},
		"a range of days":                                {`sum(avg_over_time(x[2d]))`, "at most 24h"},
		"a range in seconds":                             {`sum(avg_over_time(x[100000]))`, "at most 24h"},
		"ranges that add up":                             {`max_over_time(sum(rate(x[20h]))[5h:1h])`, "at most 24h"},
		"a subquery of a year":                           {`max_over_time(sum(x)[1y:1ms])`, "at most 24h"},
		"a subquery of milliseconds":                     {`max_over_time(sum(x)[1h:1ms])`, "at most 1500 steps"},
		"a subquery of many steps":                       {`max_over_time(sum(x)[1h:1s])`, "at most 1500 steps"},
		"subqueries of many steps":                       {`max_over_time(max_over_time(sum(x)[10m:10s])[10m:10s])`, "at most 1500 steps"},
		"a subquery of many steps by default":            {`max_over_time(sum(x)[1d:])`, "at most 1500 steps"},
		"a subquery of long ranges":                      {`max_over_time(sum(rate(x[10h]))[1h:1m])`, "at most 100000 points"},
		"a subquery of no duration":                      {`max_over_time(sum(x)[1h:0s])`, "parse error"},
		"a pattern that is large":                        {`sum(x{a=~"` + strings.Repeat("a{0,999}", 1018) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, negated":               {`sum(x{a!~"` + strings.Repeat("a{0,999}", 1018) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, in back quotes":        {"sum(x{a=~`" + strings.Repeat("a{0,999}", 1018) + "`})", "at most 8192 instructions"},
		"a pattern that is large, in single quotes":      {"sum(x{a=~'" + strings.Repeat("a{0,999}", 1018) + "'})", "at most 8192 instructions"},
		"a pattern that is large, by escapes":            {`sum(x{a=~"` + strings.Repeat(`a\x7b0,999\u007d`, 500) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, behind a comment":      {"sum(x{a=~#=\n'" + strings.Repeat("a{0,999}", 1000) + "'})", "at most 8192 instructions"},
		"a pattern that is large, of a name":             {`sum({__name__=~"` + strings.Repeat("a{0,999}", 1000) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, of a label in quotes":  {`sum({"x","a"=~"` + strings.Repeat("a{0,999}", 1000) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, of the own namespace":  {`sum(x{kube_namespace_name=~"` + strings.Repeat("a{0,999}", 1000) + `"})`, "at most 8192 instructions"},
		"a pattern that is large, of what is no query":   {`sum(x{a=~"` + strings.Repeat("a{0,999}", 1000) + `"`, "at most 8192 instructions"},
		"a pattern that is large, of label_replace":      {`sum(label_replace(x,"a","b","c","` + strings.Repeat("a{0,999}", 1000) + `"))`, "at most 8192 instructions"},
		"a pattern that is large, in brackets":           {`sum(label_replace(x,"a","b","c",(("` + strings.Repeat("a{0,999}", 1000) + `"))))`, "at most 8192 instructions"},
		"patterns that are large together":               {within("sum(x{", `a=~"b{0,999}",`, "})"), "at most 8192 instructions"},
		"repeats of repeats":                             {`sum(x{a=~"((((a{9}){9}){9}b){9}c){9}"})`, "invalid"},
		"a pattern of repeats without an end":            {`sum(x{a=~"` + strings.Repeat("(?:abcde){999,}", 3) + `"})`, "at most 8192 instructions"},
		"a pattern of all letters":                       {`sum(x{a=~"` + strings.Repeat(`\\pL`, 1600) + `"})`, "large classes"},
		"a pattern of all letters, in back quotes":       {"sum(x{a=~`" + strings.Repeat(`\pL`, 2000) + "`})", "large classes"},
		"a pattern of no letters":                        {"sum(x{a=~`" + strings.Repeat(`\PL`, 2000) + "`})", "large classes"},
		"a class of all letters":                         {"sum(x{a=~`[" + strings.Repeat(`\pL`, 2000) + "]`})", "large classes"},
		"all letters, again and again":                   {"sum(x{a=~`\\pL{900}`})", "at most 8192 instructions"},
		"letters without regard to case":                 {"sum(x{a=~`(?i)" + strings.Repeat("[\u0080-\U0001E942]", 800) + "`})", "without regard to case"},
		"letters by number without regard to case":       {"sum(x{a=~`(?si)" + strings.Repeat(`[!-\x{1E942}]`, 600) + "`})", "without regard to case"},
		"letters without regard to case, in a group":     {"sum(x{a=~`(?i:" + strings.Repeat("[!-\U0001E942]", 800) + ")`})", "without regard to case"},
		"groups in groups":                               {"sum(x{a=~`" + nested(3000, "(", "a", ")") + "`})", "nests too deeply"},
		"a pattern that is none":                         {`sum(x{a=~"("})`, "missing closing"},
		"a replacement that grows":                       {nested(6, "label_replace(", "x", `,"b","$1$1$1$1$1$1$1$1","b","(.*)")`), "at most 4096"},
		"a replacement that grows by names":              {nested(6, "label_replace(", "x", `,"b","${n}${n}${n}${n}","b","(?P<n>.*)")`), "at most 4096"},
		"a replacement that grows in a match":            {nested(6, "(y * on (b) group_right () label_replace(", "x", `,"b","$1$1$1$1","b","(.*)"))`), "at most 4096"},
		"a replacement that grows through another label": {nested(3, `label_replace(label_replace(`, "x", `,"c","$0$0$0$0","b",".*"),"b","$0$0$0$0","c",".*")`), "at most 4096"},
		"one replacement that grows":                     {`sum by (b) (label_replace(x,"b","` + strings.Repeat("$1", 300) + `","b","(.*)"))`, "at most 4096"},
		"a long replacement":                             {`sum by (b) (label_replace(x,"b","` + strings.Repeat("b", 5000) + `","",""))`, "at most 4096"},
		"a join that grows":                              {nested(8, "label_join(", "x", `,"b","","b","b","b")`), "at most 4096"},
		"a join of many":                                 {within(`label_join(x,"b",""`, `,"b"`, ")"), "at most 1000"},
		"a join of a hundred":                            {`label_join(x,"b",""` + strings.Repeat(`,"a"`, 100) + ")", "at most 4096"},
		"a join of long separators":                      {`label_join(x,"b","` + strings.Repeat("-", 2000) + `","a","a","a","a")`, "at most 4096"},
		"many replacements":                              {nested(11, "label_replace(", "x", `,"b","c","","")`), "at most 10"},
		"a variable in place of matchers":                {`sum(x{$__scope})`, "leave it out"},
		"a variable among matchers":                      {`sum(x{a="b", $__scope})`, "leave it out"},
		"a variable in place of a range":                 {`sum(rate(x[$__interval]))`, "$__interval is a variable of dashboards, which Sysdig's API does not know; write a duration"},
		"a variable of the range in place of a range":    {`sum(rate(x[$__range]))`, "write a duration"},
		"a variable in place of seconds":                 {`sum(sum_over_time(x[1m])) / $__interval_sec`, "write seconds in its place, such as 60"},
		"a variable in place of seconds of the range":    {`sum(sum_over_time(x[1m])) / $__range_sec`, "write seconds in its place, such as 60"},
		"a variable of a user":                           {`sum(x{a="b"}) > $limit`, "$limit is a variable of dashboards, which Sysdig's API does not know; write a value"},
		"a variable in a value":                          {`sum(x{kube_cluster_name="$Cluster"})`, "$Cluster is a variable"},
		"a variable in a pattern":                        {`sum(x{kube_workload_name=~"$workload"})`, "$workload is a variable"},
		"a variable in a pattern, in curly brackets":     {`sum(x{kube_workload_name=~"${workload:regex}"})`, "$workload is a variable"},
		"a variable in a part of a pattern":              {`sum(x{kube_workload_name=~"^$workload-.*"})`, "$workload is a variable"},
		"a variable of the namespace":                    {`sum(x{kube_namespace_name=~"$namespace"})`, "leave the matcher out"},
		"a variable in a value, in curly brackets":       {`sum(x{kube_cluster_name="${Cluster}"})`, "$Cluster is a variable"},
		"a variable that begins a value":                 {`sum(x{job="$job-api"})`, "$job is a variable"},
		"a variable in curly brackets inside a value":    {`sum(x{host="api.${env}.example.com"})`, "$env is a variable"},
		"a variable of the dashboard inside a value":     {`sum(x{host="api-$__scope"})`, "$__scope is a variable"},
		"a scalar":                                {`scalar(sum(x))`, "leave out scalar() and write sum(x)"},
		"a scalar in brackets":                    {`(scalar(sum(x)) / 2)`, "leave out scalar()"},
		"a dotted name":                           {`sum(net.http.request.count)`, "write sysdig_container_net_http_request_count"},
		"a dotted name of bytes":                  {`avg(net.bytes.in{a="b"})`, "write sysdig_container_net_in_bytes"},
		"a dotted label":                          {`sum(x{kubernetes.pod.name="a"})`, "write kube_pod_name"},
		"a dotted label to group by":              {`sum by (kubernetes.workload.name) (x)`, "write kube_workload_name"},
		"a dotted label among others":             {`sum by (a, net.http.method) (x)`, "write net_http_method"},
		"a dotted label to match on":              {`sum(x) * on (kubernetes.pod.name) y`, "write kube_pod_name"},
		"the rate of an own counter":              {`sum(rate(sysdig_container_net_http_request_count[1m]))`, "sum_over_time(sysdig_container_net_http_request_count[1m]) / 60"},
		"the rate of an own counter by its label": {`sum(irate({__name__="sysdig_container_net_http_request_count"}[2m]))`, "sum_over_time(sysdig_container_net_http_request_count[2m]) / 120"},
		"the increase of an own counter":          {`sum(increase(sysdig_host_net_request_count{a="b"}[5m]))`, "write sum_over_time(sysdig_host_net_request_count[5m]) for a counter"},
		"the rate of an own gauge":                {`sum(rate(sysdig_program_cpu_used_percent[1m]))`, "avg_over_time(sysdig_program_cpu_used_percent[1m])"},
		"the difference of an own counter":        {`sum(idelta(sysdig_connection_net_out_bytes[1m]))`, "deriv(sysdig_connection_net_out_bytes[1m])"},
		"the rate of a sum of an own counter":     {`rate(sum(sysdig_container_net_http_request_count)[5m:10s])`, "sum_over_time"},
		"the mark as a matcher":                   {`sum(x{sysdig_metrics_part="0"})`, "set by the operator"},
		"the mark as a label in quotes":           {`sum(x{"sysdig_metrics_part"="0"})`, "set by the operator"},
		"the mark to group by":                    {`max by (sysdig_metrics_part) (x)`, "set by the operator"},
		"the mark to match on":                    {`x * on (sysdig_metrics_part) y`, "set by the operator"},
		"the mark to copy":                        {`x * on (a) group_left (sysdig_metrics_part) y`, "set by the operator"},
		"the mark to leave out":                   {`sum without (sysdig_metrics_part) (x)`, "set by the operator"},
	}
}

// TestQueriesThatCostTooMuchAreRefused in words that say what to write, and at a cost that is bounded.
func TestQueriesThatCostTooMuchAreRefused(t *testing.T) {
	for name, test := range tooMuch() {
		t.Run(name, func(t *testing.T) {
			d, cost := measured(binding(raw(test.query, "")))
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.HasPrefix(d.Refused.Message, "spec.source.promQL.query: ") || !d.Final {
				t.Fatalf("refused by %v, for good: %t", d.Refused, d.Final)
			}
			if !strings.Contains(d.Refused.Message, test.says) {
				t.Errorf("%q lacks %q", d.Refused.Message, test.says)
			}
			if len(d.Refused.Message) > 500 || cost > mostCompiled {
				t.Errorf("it costs %d bytes to say so in %d", cost, len(d.Refused.Message))
			}
		})
	}
}

// real are queries as people have them in dashboards and in triggers of autoscalers.
func real() map[string]string {
	names := make([]string, 60)
	for i := range names {
		names[i] = "checkout-service-eu-west-" + strings.Repeat("blue-", i%3) + string(rune('a'+i%26)) + "-.*"
	}
	alternation := strings.Join(names, "|")
	return map[string]string{
		"a rate":                                   `sum(rate(http_requests_total{job="api",code=~"5.."}[5m]))`,
		"a ratio":                                  `sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) * 100`,
		"a ratio without NaN":                      `(sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))) >= 0`,
		"a quantile":                               `histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{handler!~"/(health|metrics)"}[5m]))) * 1000`,
		"a queue":                                  `sum(rabbitmq_queue_messages_ready{queue=~"orders\\..*"}) by (queue)`,
		"the lag of consumers":                     `sum(kafka_consumergroup_lag{consumergroup="orders",topic=~"orders.v[0-9]+"})`,
		"a counter of Sysdig":                      `sum(sum_over_time(sysdig_container_net_http_request_count{kube_workload_name="web"}[1m])) / 60`,
		"a gauge of Sysdig":                        `avg(avg_over_time(sysdig_container_cpu_used_percent[2m]))`,
		"the slope of a gauge of Sysdig":           `sum(deriv(sysdig_container_memory_used_bytes[10m]))`,
		"a prediction":                             `predict_linear(sum(disk_used_bytes)[1h:1m], 4 * 3600)`,
		"the most of an hour":                      `max_over_time(sum(rate(x[5m]))[1h:1m])`,
		"the most of an hour, by default":          `max_over_time(sum(rate(x[5m]))[1h:])`,
		"the mean of a day":                        `avg_over_time(sum(x)[1d:1m])`,
		"a day":                                    `sum(increase(jobs_total[1d])) / sum(increase(jobs_total[1h]))`,
		"names by label_replace":                   `max by (deployment) (label_replace(kube_pod_info, "deployment", "$1", "pod", "(.*)-[a-f0-9]{8,10}-[a-z0-9]{5}"))`,
		"names by several label_replace":           nested(5, "label_replace(", "kube_pod_info", `, "workload", "$1-$2", "pod", "(.+)-(.+)-[a-z0-9]+")`),
		"names by label_join":                      `sum by (id) (label_join(x, "id", "/", "namespace", "pod", "container"))`,
		"sixty names":                              `sum(rate(http_requests_total{deployment=~"` + alternation + `"}[5m]))`,
		"sixty names, twice":                       `sum(rate(errors_total{deployment=~"` + alternation + `"}[5m])) / sum(rate(requests_total{deployment=~"` + alternation + `"}[5m]))`,
		"a text of eight thousand":                 `sum(x{a=~"` + strings.Repeat("nope|", 1630) + `web-0"})`,
		"without regard to case":                   `sum(rate(logs_total{message=~"(?i).*(timeout|refused|reset by peer).*"}[5m]))`,
		"letters of another script":                `sum(x{stadt=~"Köln|München|東京"})`,
		"a class of letters":                       "sum(x{name=~`\\p{L}+-\\p{Nd}{1,4}`})",
		"words without regard to case":             `sum(x{name=~"(?i)größe|länge"})`,
		"a name in a group":                        `sum(x{name=~"[äöü]+-(?P<id>[0-9a-f]{8})"})`,
		"routes":                                   `histogram_quantile(0.99, sum by (le) (rate(x_bucket{handler=~"/api/v1/(users|orders|carts)(/.*)?"}[5m])))`,
		"dollars that are no variables":            `sum(x{path="/a?b=$1",regex=~"^/v[0-9]+$"})`,
		"a named reference":                        `label_replace(x, "a", "${b}", "c", "(?P<b>.*)")`,
		"the rate of an agent's own metric":        `sum(rate(sysdig_agent_jobs_total[1m]))`,
		"a subquery of a slope":                    `max_over_time(deriv(sum(x)[10m:1m])[4h:2m])`,
		"a UUID":                                   `sum(x{id=~"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"})`,
		"an end of a pattern":                      `sum(x{name=~"^(web|api)$"}) + sum(y{name=~"web$|api$"})`,
		"a value with a dollar inside":             `sum(x{path="/odata/$metadata"})`,
		"a dollar that is escaped":                 `sum(x{class=~"\\$Proxy[0-9]+"})`,
		"ten selectors":                            `a + b + c + d + e + f + g + h + i + j`,
		"a long sum":                               "sum(x)" + strings.Repeat(" + sum(x)", 30),
		"many matchers":                            `sum(x{` + strings.Repeat(`a!="b",`, 100) + `})`,
		"several lines with comments":              "# requests\nsum(\n  rate(x[5m]) # five minutes\n)\n",
		"a weight by label":                        `sum(x * on (pod) group_left (node) kube_pod_info{node!=""})`,
		"a bound":                                  `clamp_max(sum(rate(x[1m])) / scalar(max(limit)), 100)`,
		"busy pods":                                `count(sum by (pod) (rate(container_cpu_usage_seconds_total[5m])) > 0.8)`,
		"deep":                                     `round(clamp_min(sum(avg by (pod) (max_over_time(((x{a="b"} > 0) or (y{a="b"} > 0))[5m:1m]))), 1), 0.1)`,
		"quoted names":                             `sum({"http.server.request.count", "service.name"="web"})`,
		"numbers of all kinds":                     `sum(x) * 1e3 + 0x1F - 1_000 + 5m / 1h`,
		"a matcher of the own namespace":           `sum(x{kube_namespace_name=~"shop|bank"})`,
		"groups in a matcher of the own namespace": `sum(x{kube_namespace_name=~"(?i)(SH|B).?((o)+)p",kube_namespace_name!~"(s)hop.+"})`,
		"a text that looks like a reference":       `sum by (b) (label_replace(x, "b", "$$1", "a", "(.*)"))`,
	}
}

// TestQueriesThatPeopleHavePass, and cost little.
func TestQueriesThatPeopleHavePass(t *testing.T) {
	for name, text := range real() {
		t.Run(name, func(t *testing.T) {
			d, cost := measured(binding(raw(text, "")))
			if d.Refused != nil {
				t.Fatal(d.Refused)
			}
			parse(t, d.Query())
			if cost > mostCompiled/8 {
				t.Errorf("it costs %d bytes", cost)
			}
		})
	}
}

// worst are queries that are as expensive as the bounds let them be.
func worst() map[string]string {
	deep := "sum(" + strings.Repeat("abs(", 36)
	end := strings.Repeat(")", 37)
	return map[string]string{
		"the most selectors":                         manySelectors(),
		"a long text, deep":                          deep + "label_replace(x,`a`,`b`,`c`,`" + strings.Repeat("\x01", 4000) + "`)" + end,
		"a long value, deep":                         deep + "x{a=`" + strings.Repeat("\x01", 7900) + "`}" + end,
		"large numbers, deep":                        deep + "clamp(x," + strings.Repeat("1e308-", 20) + "1,1)" + end,
		"a large pattern, deep":                      deep + `x{a=~"` + strings.Repeat("(a|b)?", 1000) + `"}` + end,
		"a pattern of sets":                          `sum(x{a=~"` + strings.Repeat("[ab]", 8) + strings.Repeat("(a)", 2000) + `"})`,
		"a large pattern of the own":                 `sum(x{kube_namespace_name=~"(?:a?){900}(?:a?){900}(?:a?){900}.*"})`,
		"large patterns of names":                    deep + `x{` + strings.Repeat(`a=~"b{0,99}",`, 40) + `}` + end,
		"large patterns of the own":                  `sum(x{` + strings.Repeat(`kube_namespace_name=~".{0,20}",`, 200) + `})`,
		"a pattern of names of the own":              `sum(x{kube_namespace_name=~"` + strings.Repeat("nope.*|", 1100) + `shop"})`,
		"parts behind a class":                       `sum(x{a=~"` + strings.Repeat("[ab]", 8) + strings.Repeat("(a)", 670) + `"})`,
		"parts that take turns":                      `sum(x{a=~"` + strings.Repeat("[ab]", 8) + strings.Repeat("(aaaaaaaaaaaaaaaaaaaaaaaaaaa)", 60) + `"})`,
		"parts behind a class of the own":            `sum(x{kube_namespace_name=~"` + strings.Repeat("[ab]", 8) + strings.Repeat("(a)", 670) + `|shop"})`,
		"all but a letter in both cases":             `sum(x{a=~"(?i)` + strings.Repeat("[^a]", 500) + `"})`,
		"all but a letter in both cases, of the own": `sum(x{kube_namespace_name=~"(?i)` + strings.Repeat("[^a]", 500) + `|shop"})`,
		"groups of nothing":                          `sum(x{a=~"` + strings.Repeat("()", 1000) + `",b=~"` + strings.Repeat("(a|)", 500) + `"})`,
		"groups of nothing of the own":               `sum(x{kube_namespace_name=~"` + strings.Repeat("()", 1000) + `shop"})`,
		"classes":                                    "sum(x{a=~`(?i)" + strings.Repeat(`[a-z]\w`, 600) + "`})",
		"many labels":                                "sum by (" + strings.Repeat("abcdefg,", 480) + "b) (x)",
		"many labels in quotes":                      "sum by (" + strings.Repeat("'\\x01\\x01',", 480) + "b) (x)",
		"many errors":                                "sum(" + strings.Repeat("abs(1,1,'',x[1m]),", 60) + "x)",
		"no end of errors":                           within("sum(", "x[5m][5m],", ")"),
		"a text that is no name":                     within("frobnicate(`", "a", "`)"),
	}
}

// manySelectors holds one selector as often as may be.
func manySelectors() string {
	row := "(x" + strings.Repeat("+x", 30) + ")"
	return "sum(" + row + strings.Repeat("or"+row, 7) + ")"
}

// dear are the queries that are refused.
func dear() map[string]string {
	queries := map[string]string{}
	for name, test := range tooMuch() {
		queries[name] = test.query
	}
	return queries
}

// TestTheWorstQueriesAreCheap compiles what is as expensive as the bounds let it be.
func TestTheWorstQueriesAreCheap(t *testing.T) {
	for name, text := range worst() {
		t.Run(name, func(t *testing.T) {
			if len(text) > 8192 {
				t.Fatalf("it has %d bytes", len(text))
			}
			d, cost := measured(binding(raw(text, "")))
			t.Logf("%d bytes; refused: %v", cost, d.Refused)
			if cost > mostCompiled {
				t.Errorf("it costs %d bytes", cost)
			}
		})
	}
}

// TestFiltersOfManyValuesAreCheap compiles as many values as a binding may hold.
func TestFiltersOfManyValuesAreCheap(t *testing.T) {
	var edits []edit
	for range 8 {
		values := make([]string, 32)
		for i := range values {
			values[i] = strings.Repeat(".", 170) + string(rune('a'+i))
		}
		edits = append(edits, where("a", v1alpha1.FilterIn, values...), where("b", v1alpha1.FilterNotIn, values...))
	}
	b, c := binding(edits...), connection()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := query.Compile(b, c, service)
	runtime.ReadMemStats(&after)
	if cost := after.TotalAlloc - before.TotalAlloc; cost > mostCompiled {
		t.Errorf("it costs %d bytes", cost)
	}
	if d.Refused != nil {
		t.Log(d.Refused)
	}
}

// TestRegularExpressionsTakeLittle makes queries of repeated parts, which are where a compiler of regular expressions is at its worst.
func TestRegularExpressionsTakeLittle(t *testing.T) {
	parts := []string{
		"[ab]", "(a)", "a", "[a-z]", "[0-9]{3}", "(a|b)", "(abc|abd|x)", ".*", ".+", "a?", "(?:a|b|c)*", "(?i:k)", "(?i)", `\\d`, `\\w+`, `\\pL`, "^", "$", "|", "(", ")",
		"a{0,20}", "(a{2}){3}", "foo", "(foo|bar|baz)-", "[^a]", "(a|)", "()", "ä", `\\x{212a}`, `\\b`, "(?:)", "[[:alpha:]]", "[a-b][c-d]", "(([ab]))",
	}
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 0))
	pattern := func() string {
		few := []string{parts[r.IntN(len(parts))], parts[r.IntN(len(parts))], parts[r.IntN(len(parts))]}
		var text string
		for length := r.IntN(2040); len(text) <= length; {
			text += strings.Repeat(few[r.IntN(len(few))], 1+r.IntN(1<<r.IntN(9)))
		}
		return text[:min(len(text), 2040)]
	}
	taken := 0
	for range 2000 {
		d, bytes := measured(binding(raw(`sum(x{a=~"`+pattern()+`",b!~"`+pattern()+`",c=~"`+pattern()+`"})`, ""), external))
		if bytes > mostCompiled {
			t.Errorf("seed %d: %d bytes for %s, %v", seed, bytes, d.Query(), d.Refused)
		}
		if d.Refused == nil {
			taken++
		}
	}
	if taken < 500 {
		t.Errorf("only %d queries were taken", taken)
	}
}

// FuzzCost compiles any text: it never takes much memory, whether it is refused or not.
func FuzzCost(f *testing.F) {
	for _, queries := range []map[string]string{dear(), real(), worst()} {
		for _, text := range queries {
			f.Add(text)
		}
	}
	for _, c := range refused {
		f.Add(c.query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), 8192)]
		d, bytes := measured(binding(raw(text, ""), external))
		if bytes > mostCompiled {
			t.Fatalf("%d bytes, for %v: %.300s", bytes, d.Refused, text)
		}
		if d.Refused != nil && len(d.Refused.Message) > 600 {
			t.Fatalf("the refusal has %d bytes", len(d.Refused.Message))
		}
	})
}

// BenchmarkCost is what it takes to refuse what is expensive, and to compile what is not.
func BenchmarkCost(b *testing.B) {
	for kind, queries := range map[string]map[string]string{"refused": dear(), "worst": worst(), "taken": real()} {
		for name, text := range queries {
			b.Run(kind+"/"+name, func(b *testing.B) {
				of := binding(raw(text, ""), external)
				b.ReportAllocs()
				for b.Loop() {
					query.Compile(of, connection(), query.Target{})
				}
			})
		}
	}
}
