package query_test

import (
	"fmt"
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

// parts is a short expression that matches 256 texts, of which each part makes new ones.
var parts = strings.Repeat("[ab]", 8) + strings.Repeat("(a)", 670)

// expensive queries, and what the refusal says. The first ones take all memory there is when they are compiled.
var expensive = map[string]struct{ query, cure string }{
	"repeats in one expression":            {within(`sum(x{a=~"`, `a{0,999}`, `"})`), "at most 2048"},
	"repeats in a short expression":        {`sum(x{a=~"` + strings.Repeat(`a{0,999}`, 200) + `"})`, "repeat less"},
	"repeats in many expressions":          {within(`sum(x{b="c"`, `,a=~"(a{0,999}){1}"`, `})`), "repeat less"},
	"repeats of repeats":                   {`sum(x{a=~"((a{30}){30}b){1,1}` + strings.Repeat("(c{30}){30}", 20) + `"})`, "repeat less"},
	"repeats that exclude":                 {`sum(x{a!~"` + strings.Repeat(`.{0,999}`, 100) + `"})`, "repeat less"},
	"repeats in back quotes":               {"sum(x{a=~`" + strings.Repeat(`\w{0,999}`, 100) + "`})", "repeat less"},
	"repeats in single quotes":             {`sum(x{a=~'` + strings.Repeat(`a{0,999}`, 100) + `'})`, "repeat less"},
	"repeats by escapes":                   {`sum(x{a=~"` + strings.Repeat(`\x61{0,999}`, 100) + `"})`, "repeat less"},
	"repeats of a metric in quotes":        {`sum({"x", "a b"=~"` + strings.Repeat(`a{0,999}`, 100) + `"})`, "repeat less"},
	"repeats behind a comment":             {"sum(x{a=~ # \"\n\"" + strings.Repeat(`a{0,999}`, 100) + `"})`, "repeat less"},
	"classes of all letters":               {`sum(x{a=~"` + strings.Repeat(`\\pL`, 500) + `"})`, "large classes"},
	"classes without regard to case":       {`sum(x{a=~"(?i)` + strings.Repeat(`[\\pL\\pN]`, 100) + `"})`, "large classes"},
	"classes of what is left":              {`sum(x{a=~"` + strings.Repeat(`\\PL`, 500) + `"})`, "large classes"},
	"a pattern in label_replace":           {`label_replace(sum(x), "a", "$1", "b", "` + strings.Repeat(`a{0,999}`, 100) + `")`, "repeat less"},
	"parts behind a class":                 {`sum(x{a=~"` + parts + `"})`, "fewer"},
	"parts in three expressions":           {`sum(x{a=~"` + parts + `",b=~"` + parts + `",c=~"` + parts + `"})`, "fewer"},
	"parts that take turns":                {`sum(x{a=~"` + strings.Repeat("[ab]", 8) + strings.Repeat("(aaaaaaaaaaaaaaaaaaaaaaaaaaa)", 60) + `"})`, "fewer"},
	"parts of parts":                       {`sum(x{a=~"` + strings.Repeat("(a|b)", 8) + strings.Repeat("(a(b))", 330) + `"})`, "fewer"},
	"as many classes as there is room for": {`sum(x{a=~"` + strings.Repeat(`\\pL`, 682) + `"})`, "large classes"},
	"letters in both cases":                {`sum(x{a=~"(?i)[` + strings.Repeat("!-𞥂", 290) + `]"})`, "both cases"},
	"letters in both cases, by escapes":    {`sum(x{a=~"(?si:[` + strings.Repeat(`!-\\x{1E942}`, 140) + `])"})`, "both cases"},
	"all but a letter in both cases":       {`sum(x{a=~"(?i)` + strings.Repeat("[^a]", 500) + `"})`, "both cases"},
	"groups of nothing":                    {`sum(x{a=~"` + strings.Repeat("()", 1000) + `",b=~"` + strings.Repeat("(a|)", 500) + `"})`, "instructions"},
	"signs":                                {within("", "-", "absent(x)"), "operators"},
	"signs apart":                          {within("", "+ ", "sum(x)"), "operators"},
	"powers":                               {within("sum(x)", "^2", ""), "operators"},
	"comparisons":                          {within("sum(x)", " > 1", ""), "operators"},
	"alternatives":                         {within("sum(x)", " or sum(x)", ""), "operators"},
	"parentheses":                          {nested(4000, "(", "x", ")"), "nest it less"},
	"parentheses that nobody closes":       {within("", "(", ""), "nest it less"},
	"aggregations":                         {nested(1000, "sum(", "x", ")"), "nest it less"},
	"functions":                            {nested(1000, "abs(", "x", ")"), "nest it less"},
	"braces":                               {within("", "{", ""), ""},
	"brackets":                             {within("x", "[5m:]", ""), "operators"},
	"matchers":                             {within("sum(x{", `a="",`, "})"), "words"},
	"labels to group by":                   {within("sum by (", "a,", "a) (x)"), "words"},
	"arguments":                            {within(`label_join(sum(x),"a","",`, `"b",`, `"b")`), "words"},
	"too many bytes":                       {strings.Repeat("é", 8192), "bytes"},
	"a range of centuries":                 {`sum(rate(x[290y]))`, "24h"},
	"a range of days":                      {`sum(rate(x[25h]))`, "24h"},
	"a subquery of a year":                 {`max_over_time(sum(x)[1y:1ms])`, "24h"},
	"subqueries that are a day together":   {`max_over_time(max_over_time(rate(x[9h])[9h:1h])[9h:1h])`, "24h"},
	"many steps":                           {`max_over_time(sum(x)[1h:1s])`, "steps"},
	"many steps of no length":              {`max_over_time(sum(x)[1d:])`, "steps"},
	"steps of a millisecond":               {`max_over_time(sum(x)[1m:1ms])`, "steps"},
	"steps of steps":                       {`max_over_time(max_over_time(sum(x)[1h:1m])[1h:1m])`, "steps"},
	"labels that grow":                     {nested(6, `label_replace(`, `sum(x)`, `, "b", "$1$1$1$1$1$1$1$1", "b", "(.*)")`), "references"},
	"labels that grow by names":            {`label_replace(sum(x), "b", "` + strings.Repeat("${1}", 17) + `", "b", "(.*)")`, "references"},
	"labels that grow where they are used": {nested(5, `max by (b) (label_replace(`, `sum(x)`, `, "b", "$1$1", "b", "(.*)"))`), "references"},
	"labels that grow by joining":          {nested(3, `label_join(`, `sum(x)`, `, "b", "", "b", "b", "b")`), "references"},
	"labels that grow by both":             {`label_replace(label_join(sum(x), "b", "", "b", "b", "b", "b"), "b", "$1$1$1$1$1", "b", "(.*)")`, "references"},
	"many labels":                          {nested(11, `label_replace(`, `sum(x)`, `, "b", "c", "", "")`), "label_replace"},
	"a long replacement":                   {`label_replace(sum(x), "b", "` + strings.Repeat("c", 129) + `", "", "")`, "bytes"},
	"a long separator":                     {`label_join(sum(x), "b", "` + strings.Repeat("c", 129) + `", "d", "e")`, "bytes"},
	"a selector often":                     {`sum(` + strings.Repeat("x or ", 45) + `x)`, "selectors"},
}

func TestExpensiveQueriesAreRefusedBeforeTheyCostAnything(t *testing.T) {
	for name, test := range expensive {
		t.Run(name, func(t *testing.T) {
			b := binding(raw(test.query, ""), external)
			d, bytes := measured(b)
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.HasPrefix(d.Refused.Message, "spec.source.promQL.query: ") {
				t.Fatalf("got %v", d.Refused)
			}
			if !strings.Contains(d.Refused.Message, test.cure) || len(d.Refused.Message) > 500 {
				t.Errorf("%q lacks %q", d.Refused.Message, test.cure)
			}
			if bytes > mostCompiled {
				t.Errorf("the refusal has taken %d bytes", bytes)
			}
		})
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

// honest queries are of the kinds that dashboards, alerts and HPAs have.
var honest = []string{
	`sum(rate(http_requests_total{job="web",code!~"5.."}[5m]))`,
	`sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m])) * 100`,
	`histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{handler=~"/api/v1/(users|orders|carts)(/.*)?"}[5m])))`,
	`max_over_time(sum(rate(http_requests_total[2m]))[30m:1m])`,
	`avg_over_time((sum(queue_depth) / scalar(sum(workers)))[10m:30s])`,
	`max(max_over_time(queue_depth[1h])) - min(min_over_time(queue_depth[1h]))`,
	`sum(sum_over_time(sysdig_container_net_http_request_count{kube_workload_name=~"web|api"}[1m])) / 60`,
	`quantile(0.9, avg_over_time(sysdig_container_cpu_cores_used{container_name!="istio-proxy"}[2m]))`,
	`predict_linear(disk_free_bytes{mountpoint="/data"}[6h], 3600)`,
	`sum by (pod) (label_replace(rate(x_total[1m]), "pod", "$1-$2", "instance", "([a-z0-9-]+):([0-9]+)"))`,
	`label_join(sum by (a, b, c) (x), "id", "/", "a", "b", "c")`,
	`sum(x{pod=~"` + strings.TrimSuffix(strings.Repeat("checkout-7d9f8c6b5-abcde|", 60), "|") + `"})`,
	`sum(x{id=~"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"})`,
	`sum(x{name=~"(?i)prod-[\\p{L}]+"})`,
	`sum(x{name=~"(?i)größe|länge"})`,
	`sum(x{name=~"[äöü]+-(?P<id>[0-9a-f]{8})"})`,
	`sum(x{pod=~"(checkout|cart|payment|search)-(blue|green)-[0-9]"})`,
	`sum(` + strings.TrimSuffix(strings.Repeat("a{b=\"c\"} + ", 20), " + ") + `)`,
	`clamp_min(ceil((sum(rate(jobs_total[5m])) - sum(rate(done_total[5m]))) / 10), 0) > 5`,
	`sum(x{path="/a?b=$1",regex=~"^/v[0-9]+$"})`,
	`max_over_time(deriv(sum(x)[10m:1m])[4h:2m])`,
}

func TestHonestQueriesAreTaken(t *testing.T) {
	for _, text := range honest {
		d, bytes := measured(binding(raw(text, ""), external))
		if d.Refused != nil || bytes > mostCompiled/8 {
			t.Errorf("%s: %v, %d bytes", text, d.Refused, bytes)
		}
	}
}

func TestWhatPeopleCopyIsExplained(t *testing.T) {
	for text, want := range map[string]string{
		`sum(x{$__scope})`:                                       "$__scope is a variable of dashboards, which Sysdig's API does not know; leave it out",
		`sum(x{$__scope, code="500"})`:                           "leave it out",
		`sum(rate(x[$__interval]))`:                              "$__interval is a variable of dashboards, which Sysdig's API does not know; write a duration",
		`sum(rate(x{code="500"}[$__range]))`:                     "write a duration",
		`sum(sum_over_time(x[1m])) / $__interval_sec`:            "write seconds in its place, such as 60",
		`sum(x{kube_workload_name=~"$Workload"})`:                "$Workload is a variable of dashboards, which Sysdig's API does not know; write a value",
		`sum(x{kube_cluster_name="${Cluster}"})`:                 "$Cluster is a variable",
		`sum(x{a=~$Cluster})`:                                    "$Cluster is a variable",
		`sum(net.http.request.count)`:                            "PromQL knows no metric net.http.request.count: write sysdig_container_net_http_request_count",
		`avg_over_time(cpu.used.percent[1m])`:                    "write sysdig_container_cpu_used_percent",
		`sum(x{kubernetes.pod.name="web-0"})`:                    "PromQL knows no label kubernetes.pod.name: write kube_pod_name",
		`sum(x{a="net.http"}) + memory.bytes.used`:               "write sysdig_container_memory_used_bytes",
		`scalar(sum(x))`:                                         "leave out scalar() and write sum(x)",
		`x[5m]`:                                                  "put a function around it, as in avg_over_time(x[5m])",
		`sum(rate(sysdig_container_net_http_request_count[2m]))`: "write sum_over_time(sysdig_container_net_http_request_count[2m]) / 120 for a counter",
		`increase(sysdig_program_net_request_count{a="b"}[1m])`:  "increase() does not go with sysdig_program_net_request_count",
		`max(irate({"sysdig_host_cpu_used_percent"}[1m]))`:       "avg_over_time(sysdig_host_cpu_used_percent[1m]) for a gauge",
		`max(rate((sysdig_host_cpu_used_percent)[5m:1m]))`:       "avg_over_time",
	} {
		d := query.Compile(binding(raw(text, ""), external), connection(), query.Target{})
		if d.Refused == nil || !strings.Contains(d.Refused.Message, want) {
			t.Errorf("%s: %v, want %s", text, d.Refused, want)
		}
	}
	for _, text := range []string{`sum(rate(sysdig_agent_jobs_total[1m]))`, `sum(rate(sysdigish_container_total[1m]))`, `label_replace(x, "a", "${b}", "c", "(?P<b>.*)")`} {
		if d := query.Compile(binding(raw(text, ""), external), connection(), query.Target{}); d.Refused != nil {
			t.Errorf("%s: %v", text, d.Refused)
		}
	}
}

func TestNoSeriesOfItsOwnCarriesTheMarkOfTimes(t *testing.T) {
	s := newSysdig(t)
	s.series("x", "c1", "shop", "web", "web-0", 1, 0)
	// A value of long ago, and beside it what claims to be its time.
	s.series("old", "c1", "shop", "web", "web-0", 7, 0)
	s.Store().Append(map[string]string{
		"__name__": "old", "kube_cluster_name": "c1", "kube_namespace_name": "shop", "kube_workload_name": "web", partLabel: "0",
	}, noon.Add(-30*1e9), float64(noon.Unix()))
	for _, text := range []string{`old`, `sum by (sysdig_metrics_part, kube_workload_name) (old)`} {
		d := compile(t, binding(raw(text, ""), external), connection())
		// Without their marks the series are the same, which no engine takes, or several.
		if _, err := s.client.Query(t.Context(), d.Query(), attempt.At); err != nil {
			if metric.AsFailure(err).Reason != metric.Rejected {
				t.Errorf("%s gives %v", d.Query(), err)
			}
		} else if got := show(s.askOne(d.Question, nil)); !strings.HasPrefix(got, "Implausible") {
			t.Errorf("%s gives %s", d.Query(), got)
		}
	}
	b := binding(raw(`sum by (sysdig_metrics_part) (old)`, partLabel), target("apps/v1", "Deployment", "0"))
	if d := query.Compile(b, connection(), query.Target{}); d.Refused == nil || !strings.Contains(d.Refused.Message, "spec.source.promQL.objectLabel: ") {
		t.Errorf("got %v", d.Refused)
	}
}

// FuzzCost compiles any text: it never takes much memory, whether it is refused or not.
func FuzzCost(f *testing.F) {
	for _, test := range expensive {
		f.Add(test.query)
	}
	for _, text := range honest {
		f.Add(text)
	}
	for _, c := range refused {
		f.Add(c.query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), 8192)]
		d, bytes := measured(binding(raw(text, ""), external))
		if bytes > mostCompiled {
			t.Fatalf("%d bytes, for %v", bytes, d.Refused)
		}
		if d.Refused != nil && len(d.Refused.Message) > 600 {
			t.Fatalf("the refusal has %d bytes", len(d.Refused.Message))
		}
	})
}

// BenchmarkCost is what it takes to refuse what is expensive, and to compile what is not.
func BenchmarkCost(b *testing.B) {
	for name, test := range expensive {
		b.Run("refused/"+name, func(b *testing.B) { benchmarkCompile(b, test.query) })
	}
	for i, text := range honest {
		b.Run(fmt.Sprintf("taken/%d", i), func(b *testing.B) { benchmarkCompile(b, text) })
	}
}

func benchmarkCompile(b *testing.B, text string) {
	of := binding(raw(text, ""), external)
	b.ReportAllocs()
	for b.Loop() {
		query.Compile(of, connection(), query.Target{})
	}
}
