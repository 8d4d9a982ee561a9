package query_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// golden writes the confinement of namespace shop into an expected query, in place of each ⌂, and appends the time vectors
// of its selectors.
func golden(value string, selectors ...string) string {
	const confinement = `kube_cluster_name="c1",kube_namespace_name="shop"`
	text := `label_replace(` + value + `, "sysdig_metrics_part", "", "", "")`
	for i, s := range selectors {
		text += ` or label_replace(max by () (timestamp(` + s + `)), "sysdig_metrics_part", "` + string(rune('0'+i)) + `", "", "")`
	}
	return strings.ReplaceAll(text, "⌂", confinement)
}

// accepted queries, what they become, and what they give where namespace shop holds x = 1 and y = 2, and other namespaces
// and clusters hold 100 and more.
var accepted = map[string]struct{ query, want, shown string }{
	"an instant selector is bounded to maxAge":     {`sum(x)`, golden(`sum(last_over_time(x{⌂}[2m]))`, `x{⌂}`), "1, 30s old"},
	"a range keeps its length":                     {`sum(sum_over_time(x[1m]))`, golden(`sum(sum_over_time(x{⌂}[1m]))`, `x{⌂}`), "6, 30s old"},
	"matchers are added to those that are there":   {`sum(x{kube_workload_name=~"w.+"})`, golden(`sum(last_over_time(x{⌂,kube_workload_name=~"w.+"}[2m]))`, `x{⌂,kube_workload_name=~"w.+"}`), "1, 30s old"},
	"all namespaces are one":                       {`sum(x{kube_namespace_name=~".*"})`, golden(`sum(last_over_time(x{⌂}[2m]))`, `x{⌂}`), "1, 30s old"},
	"an alternative is confined":                   {`sum(x or gone)`, golden(`sum(last_over_time(x{⌂}[2m]) or last_over_time(gone{⌂}[2m]))`, `x{⌂}`, `gone{⌂}`), "Stale"},
	"both sides are confined":                      {`sum(y) / sum(x)`, golden(`sum(last_over_time(y{⌂}[2m])) / sum(last_over_time(x{⌂}[2m]))`, `y{⌂}`, `x{⌂}`), "2, 30s old"},
	"a join on labels is confined":                 {`sum(x * on (kube_pod_name) group_left () y)`, golden(`sum(last_over_time(x{⌂}[2m]) * on (kube_pod_name) group_left () last_over_time(y{⌂}[2m]))`, `x{⌂}`, `y{⌂}`), "2, 30s old"},
	"a forged namespace changes nothing":           {`sum by (kube_namespace_name) (label_replace(x, "kube_namespace_name", "bank", "", ""))`, golden(`sum by (kube_namespace_name) (label_replace(last_over_time(x{⌂}[2m]), "kube_namespace_name", "bank", "", ""))`, `x{⌂}`), "1, 30s old"},
	"a subquery is confined inside":                {`max_over_time(sum(x)[1m:10s])`, golden(`max_over_time(sum(last_over_time(x{⌂}[2m]))[1m:10s])`, `x{⌂}`), "1, 30s old"},
	"subqueries in subqueries are confined":        {`max_over_time(sum_over_time(sum(x)[1m:10s])[30s:10s])`, golden(`max_over_time(sum_over_time(sum(last_over_time(x{⌂}[2m]))[1m:10s])[30s:10s])`, `x{⌂}`), "6, 30s old"},
	"the same selector is asked once for its time": {`sum(x) + sum(x)`, golden(`sum(last_over_time(x{⌂}[2m])) + sum(last_over_time(x{⌂}[2m]))`, `x{⌂}`), "2, 30s old"},
	"a parameter is confined":                      {`quantile(scalar(sum(x)), y)`, golden(`quantile(scalar(sum(last_over_time(x{⌂}[2m]))), last_over_time(y{⌂}[2m]))`, `y{⌂}`, `x{⌂}`), "2, 30s old"},
	"timestamp looks at the points":                {`max(timestamp(x)) - max(timestamp((y)))`, golden(`max(timestamp(x{⌂})) - max(timestamp((y{⌂})))`, `x{⌂}`, `y{⌂}`), "0, 30s old"},
	"a sign is kept":                               {`-sum(x)`, golden(`-sum(last_over_time(x{⌂}[2m]))`, `x{⌂}`), "-1, 30s old"},
	"a comment is dropped":                         {"sum(x) # ) or vector(0)", golden(`sum(last_over_time(x{⌂}[2m]))`, `x{⌂}`), "1, 30s old"},
	"a metric in quotes is confined":               {`sum({"x"})`, golden(`sum(last_over_time({__name__="x",⌂}[2m]))`, `{__name__="x",⌂}`), "1, 30s old"},
	"a label of any letters is confined":           {`sum(x{"äpp.name"=""})`, golden(`sum(last_over_time(x{"äpp.name"="",⌂}[2m]))`, `x{"äpp.name"="",⌂}`), "1, 30s old"},
	"a bool over what is missing is no 0":          {`sum(x) > bool scalar(gone)`, golden(`sum(last_over_time(x{⌂}[2m])) > bool scalar(last_over_time(gone{⌂}[2m]))`, `x{⌂}`, `gone{⌂}`), "Stale"},
	"a fallback to 0 waits for both":               {`sum(gone) or sum(x) * 0`, golden(`sum(last_over_time(gone{⌂}[2m])) or sum(last_over_time(x{⌂}[2m])) * 0`, `gone{⌂}`, `x{⌂}`), "Stale"},
	"several series are no number":                 {`x`, golden(`last_over_time(x{⌂}[2m])`, `x{⌂}`), "1, 30s old"},
	"text that looks like PromQL stays text":       {`sum(x{a!="} or vector(0) or x{a="})`, golden(`sum(last_over_time(x{a!="} or vector(0) or x{a=",⌂}[2m]))`, `x{a!="} or vector(0) or x{a=",⌂}`), "1, 30s old"},
}

var refused = map[string]struct{ query, text string }{
	"offset":                              {`sum(x offset 5m)`, "offset"},
	"a negative offset":                   {`sum(x offset -5m)`, "offset"},
	"offset of a range":                   {`sum(rate(x[1m] offset 1h))`, "offset"},
	"offset of a subquery":                {`max_over_time(sum(x)[5m:] offset 1h)`, "offset"},
	"offset inside of a subquery":         {`max_over_time(sum(x offset 1h)[5m:])`, "offset"},
	"@ a time":                            {`sum(x @ 1609746000)`, "@"},
	"@ the start":                         {`sum(x @ start())`, "@"},
	"@ the end of a range":                {`sum(rate(x[1m] @ end()))`, "@"},
	"@ of a subquery":                     {`max_over_time(sum(x)[5m:] @ 1609746000)`, "@"},
	"a pattern of names":                  {`sum({__name__=~".+"})`, "name one metric"},
	"a name that is excluded":             {`sum({__name__!="x",kube_pod_name="web-0"})`, "name one metric"},
	"no name at all":                      {`sum({kube_pod_name="web-0"})`, "name one metric"},
	"a constant vector":                   {`vector(0)`, "spec.onNoData"},
	"a constant as fallback":              {`sum(x) or vector(0)`, "spec.onNoData"},
	"a constant on labels as fallback":    {`sum(x) or on () vector(0)`, "spec.onNoData"},
	"absent":                              {`absent(x)`, "spec.onNoData"},
	"absent over time":                    {`absent_over_time(x[5m])`, "spec.onNoData"},
	"info":                                {`info(x)`, "group_left"},
	"the time":                            {`sum(x) * 0 + time()`, "spec.onNoData"},
	"the hour":                            {`hour()`, "spec.onNoData"},
	"pi":                                  {`sum(x) * pi()`, "spec.onNoData"},
	"a function nobody knows":             {`frobnicate(x)`, "unknown function"},
	"another tenant's namespace":          {`sum(x{kube_namespace_name="bank"})`, "leave out"},
	"all but this namespace":              {`sum(x{kube_namespace_name!="shop"})`, "leave out"},
	"another cluster":                     {`sum(x{kube_cluster_name="c2"})`, "leave out"},
	"an alternative of another namespace": {`sum(x or x{kube_namespace_name="bank"})`, "leave out"},
	"a number":                            {`42`, "scalar"},
	"arithmetic of numbers":               {`1 + 1`, "scalar"},
	"a scalar":                            {`scalar(x)`, "scalar"},
	"a text":                              {`"x"`, "string"},
	"a range":                             {`x[5m]`, "matrix"},
	"a subquery alone":                    {`x[5m:1m]`, "matrix"},
	"a duration that is computed":         {`sum(rate(x[1m + 1m]))`, "duration"},
	"an offset that is computed":          {`sum(x offset (1m * 2))`, ""},
	"a step that is computed":             {`max_over_time(sum(x)[5m:step()])`, ""},
	"nothing":                             {` `, "no expression"},
	"a comment only":                      {`# x`, "no expression"},
	"half a query":                        {`sum(x`, "parse error"},
	"two queries":                         {`sum(x); sum(y)`, "parse error"},
	"a selector without a name":           {`sum({})`, ""},
	"a selector that matches emptiness":   {`sum({a=~".*"})`, ""},
	"anchored":                            {`sum(rate(x[1m] anchored))`, ""},
	"smoothed":                            {`sum(rate(x[1m] smoothed))`, ""},
	"a fill of what is missing":           {`sum(x) + fill(0) sum(y)`, ""},
	"an experimental aggregation":         {`limitk(1, x)`, "topk"},
	"eleven selectors":                    {`a + b + c + d + e + f + g + h + i + j + k`, "at most 10"},
	"a forged time":                       {`sum(x) or label_replace(sum(x) * 0 + 2e9, "sysdig_metrics_part", "0", "", "")`, "set by the operator"},
	"a forged time by joining":            {`label_join(sum(x), "sysdig_metrics_part", "", "a")`, "set by the operator"},
	"a forged time by counting":           {`count_values("sysdig_metrics_part", x)`, "set by the operator"},
}

func TestRawQueriesAreConfined(t *testing.T) {
	s := newSysdig(t)
	s.series("x", "c1", "shop", "web", "web-0", 1, 0)
	s.series("y", "c1", "shop", "web", "web-0", 2, 0)
	for _, name := range []string{"x", "y", "gone"} {
		s.series(name, "c1", "bank", "vault", "web-0", 100, 0)
		s.series(name, "c2", "shop", "web", "web-0", 1000, 0)
	}
	for name, test := range accepted {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(raw(test.query, "")), connection())
			if d.Query() != test.want {
				t.Errorf("got\n%s\nwant\n%s", d.Query(), test.want)
			}
			parse(t, d.Query())
			if test.shown == "HTTP 422" {
				if _, err := s.client.Query(t.Context(), d.Query(), attempt.At); metric.AsFailure(err).Reason != metric.Rejected {
					t.Errorf("got %v", err)
				}
				return
			}
			if got := show(s.askOne(d.Question, nil)); !strings.HasPrefix(got, test.shown) {
				t.Errorf("%s gives %s, want %s", d.Query(), got, test.shown)
			}
		})
	}
}

func TestRawQueriesThatCannotBeConfinedAreRefused(t *testing.T) {
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			d := query.Compile(binding(raw(test.query, "")), connection(), query.Target{})
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.HasPrefix(d.Refused.Message, "spec.source.promQL.query: ") {
				t.Fatalf("got %v and %s", d.Refused, d.Query())
			}
			if !strings.Contains(d.Refused.Message, test.text) {
				t.Errorf("%q lacks %q", d.Refused.Message, test.text)
			}
		})
	}
}

// TestDataCannotMarkItself plays series with the label that marks times: their numbers are no times, so an old value stays old.
func TestDataCannotMarkItself(t *testing.T) {
	s := newSysdig(t)
	s.series("old", "c1", "shop", "web", "web-0", 3, 6*time.Minute)
	for _, part := range []string{"0", "time", "value", "1m"} {
		forged := map[string]string{"__name__": "old", "kube_cluster_name": "c1", "kube_namespace_name": "shop", "kube_pod_name": "web-0", partLabel: part}
		sysdigtest.Fill(s.Store(), forged, noon.Add(-20*time.Minute), noon.Add(-6*time.Minute), func(time.Time) float64 { return float64(noon.Unix()) })
	}
	for name, test := range map[string]struct {
		edits []edit
		want  string
	}{
		"a series as it is":                 {[]edit{raw(`max_over_time(old{kube_workload_name="web"}[10m]) or max_over_time(old[10m])`, "")}, "HTTP 422"},
		"one series as it is":               {[]edit{raw(`max_over_time(old{kube_workload_name=""}[10m]) > 0`, "")}, "HTTP 422"},
		"a series by its label":             {[]edit{raw(`max by (kube_pod_name) (max_over_time(old[10m]))`, "kube_pod_name"), target("v1", "Pod", "web-0")}, "Stale"},
		"a series with labels left out":     {[]edit{raw(`max without (kube_workload_name) (max_over_time(old[10m]))`, "kube_pod_name"), target("v1", "Pod", "web-0")}, "HTTP 422"},
		"a series of an external metric":    {[]edit{external, raw(`sum without (x) (sum_over_time(old{kube_workload_name=""}[10m]))`, "")}, "HTTP 422"},
		"a typed source":                    {[]edit{metricNamed("old"), window(10 * time.Minute)}, "Stale"},
		"a typed source with a filter":      {[]edit{metricNamed("old"), window(10 * time.Minute), external, where("kube_pod_name", "In", "web-0")}, "Stale"},
		"a typed source with a dimension":   {[]edit{metricNamed("old"), window(10 * time.Minute), external, dimensions("kube_pod_label_app")}, "Stale"},
		"a typed source that is kept apart": {[]edit{metricNamed("old"), window(10 * time.Minute), every("v1", "Pod", nil)}, "web-0: Stale"},
	} {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(test.edits...), connection())
			answers, err := s.line().Ask(query.Plan([]query.Question{d.Question}, query.Whole), attempt.At)
			if err != nil { // the store refuses to mark two series alike
				if test.want != "HTTP 422" || metric.AsFailure(err).Reason != metric.Rejected {
					t.Errorf("got %v, want %s", err, test.want)
				}
				return
			}
			outcome := query.Plan([]query.Question{d.Question}, query.Whole)[0].Read(answers[0], attempt, nil)[0]
			if got := show(outcome); !strings.HasPrefix(got, test.want) {
				t.Errorf("%s gives %s, want %s", d.Query(), got, test.want)
			}
		})
	}
}

// TestOneForgedSeriesIsAValue reads a single series that has the mark: it is the value, and as old as its points.
func TestOneForgedSeriesIsAValue(t *testing.T) {
	for part, want := range map[string]string{"0": "Stale", "time": "Stale", "value": "Stale"} {
		s := newSysdig(t)
		forged := map[string]string{"__name__": "old", "kube_cluster_name": "c1", "kube_namespace_name": "shop", partLabel: part}
		sysdigtest.Fill(s.Store(), forged, noon.Add(-20*time.Minute), noon.Add(-6*time.Minute), func(time.Time) float64 { return float64(noon.Unix()) })
		d := compile(t, binding(raw(`max_over_time(old[10m])`, "")), connection())
		if got := show(s.askOne(d.Question, nil)); !strings.HasPrefix(got, want) {
			t.Errorf("marked %q: got %s, want %s", part, got, want)
		}
	}
}

// TestNobodyNamesTheMark tries all places of a binding and a connection that take a label.
func TestNobodyNamesTheMark(t *testing.T) {
	names := func(l v1alpha1.LabelNames) func(*v1alpha1.SysdigConnection) {
		return func(c *v1alpha1.SysdigConnection) { c.Spec.LabelNames = l }
	}
	data := func(c *v1alpha1.SysdigConnection) { c.Spec.API = v1alpha1.APIData }
	for name, test := range map[string]struct {
		binding    []edit
		connection []func(*v1alpha1.SysdigConnection)
		field      string
	}{
		"objectLabel":                   {binding: []edit{raw("sum(x)", partLabel)}, field: "spec.source.promQL.objectLabel"},
		"a dimension of PromQL":         {binding: []edit{external, raw("sum(x)", ""), dimensions(partLabel)}, field: "spec.source.promQL.dimensions[0]"},
		"a dimension":                   {binding: []edit{external, dimensions(partLabel)}, field: "spec.source.metric.dimensions[0]"},
		"a dimension with dots":         {binding: []edit{external, dimensions("sysdig.metrics.part")}, field: "spec.source.metric.dimensions[0]"},
		"a dimension of the data API":   {binding: []edit{external, dimensions(partLabel)}, connection: []func(*v1alpha1.SysdigConnection){data}, field: "spec.source.metric.dimensions[0]"},
		"a filter":                      {binding: []edit{where(partLabel, v1alpha1.FilterIn, "0")}, field: "spec.source.metric.where[0].label"},
		"a filter with dots":            {binding: []edit{where("sysdig.metrics_part", v1alpha1.FilterNotIn, "0")}, field: "spec.source.metric.where[0].label"},
		"the label of pods":             {connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{Pod: partLabel})}, field: "spec.labelNames"},
		"the label of namespaces":       {connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{Namespace: partLabel})}, field: "spec.labelNames"},
		"the label of clusters":         {connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{Cluster: partLabel})}, field: "spec.labelNames"},
		"the label of workloads":        {connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{Workload: partLabel})}, field: "spec.labelNames"},
		"the label of kinds, data API":  {connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{WorkloadType: partLabel}), data}, field: "spec.labelNames"},
		"the label of pods, of PromQL":  {binding: []edit{raw("sum(x)", "")}, connection: []func(*v1alpha1.SysdigConnection){names(v1alpha1.LabelNames{Pod: partLabel})}, field: "spec.labelNames"},
		"a label that is told as it is": {binding: []edit{external, dimensions("told")}, connection: []func(*v1alpha1.SysdigConnection){data}, field: "spec.source.metric.dimensions[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := query.Compile(binding(test.binding...), connection(test.connection...), query.Target{Selector: "app=web", Labels: map[string]string{"told": partLabel}})
			if d.Refused == nil || !strings.HasPrefix(d.Refused.Message, test.field) || !strings.Contains(d.Refused.Message, "set by the operator") {
				t.Errorf("got %v, want %s", d.Refused, test.field)
			}
		})
	}
}

func TestTheAgeOfARawValueIsThatOfItsOldestSelector(t *testing.T) {
	s := newSysdig(t)
	s.series("x", "c1", "shop", "web", "web-0", 1, 0)
	s.series("x", "c1", "shop", "api", "api-0", 10, 50*time.Second)
	s.series("y", "c1", "shop", "web", "web-0", 2, 90*time.Second)
	s.series("y", "c1", "shop", "api", "api-0", 20, 0)
	s.series("late", "c1", "shop", "web", "web-0", 3, 4*time.Minute)
	s.Store().Append(map[string]string{"__name__": "limit", "kube_cluster_name": "c1", "kube_namespace_name": "shop"}, noon.Add(-70*time.Second), 4)
	s.series("z", "c1", "shop", "web", "web-1", 5, 0)
	const label = "kube_workload_name"
	tests := map[string]struct{ query, label, object, want string }{
		"one selector":                              {`sum(x{kube_workload_name="api"})`, "", "web", "10, 50s old"},
		"the newest of the series of a selector":    {`sum(x)`, "", "web", "11, 30s old"},
		"the oldest of the selectors":               {`sum(x) + sum(y{kube_workload_name="web"})`, "", "web", "13, 1m30s old"},
		"points older than maxAge are not there":    {`sum(late)`, "", "web", "NoData"},
		"a window that is longer than maxAge":       {`sum(sum_over_time(late[10m]))`, "", "web", "117, 4m0s old"},
		"the row of the object":                     {`sum by (kube_workload_name) (x)`, label, "web", "1, 30s old"},
		"the row of another object":                 {`sum by (kube_workload_name) (x)`, label, "api", "10, 50s old"},
		"no row of the object":                      {`sum by (kube_workload_name) (x)`, label, "none", "NoData"},
		"the oldest of the selectors of the object": {`sum by (kube_workload_name) (x + y)`, label, "web", "3, 1m30s old"},
		"the same for another object":               {`sum by (kube_workload_name) (x + y)`, label, "api", "30, 50s old"},
		"a selector that lacks the object label":    {`sum by (kube_workload_name) (x) / scalar(limit)`, label, "web", "0.25, 1m10s old"},
		"several series where one is needed":        {`x`, "", "web", "Implausible"},
		"several series of one object":              {`x or z`, label, "web", "Implausible"},
		"a label that the answer lacks":             {`sum(x)`, label, "web", "Implausible"},
		"a NaN":                                     {`sum(x) * 0 / 0`, "", "web", "Implausible: the value is NaN, which is not a number that an HPA can use; a ratio or a quantile is NaN without traffic: write the query of source.promQL as (…) >= 0"},
		"a NaN that is left out":                    {`(sum(x) * 0 / 0) >= 0`, "", "web", "NoData"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := compile(t, binding(raw(test.query, test.label), target("apps/v1", "Deployment", test.object)), connection())
			if got := show(s.askOne(d.Question, nil)); !strings.HasPrefix(got, test.want) {
				t.Errorf("%s gives %s, want %s", d.Query(), got, test.want)
			}
		})
	}
}
