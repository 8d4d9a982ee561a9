package query_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

func in(namespace string) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Namespace = namespace }
}

func app(name string) map[string]string { return map[string]string{"app": name} }

func questions(t *testing.T, bindings ...*v1alpha1.SysdigMetricBinding) []query.Question {
	t.Helper()
	var all []query.Question
	for _, b := range bindings {
		all = append(all, compile(t, b, connection()).Question)
	}
	return all
}

// wantEachOnce expects the requests to answer each question once, and to fit into Sysdig's limit.
func wantEachOnce(t *testing.T, requests []query.Request, questions []query.Question) {
	t.Helper()
	count := map[query.Question]int{}
	for _, r := range requests {
		if len(r.PromQL) > 50_000 {
			t.Errorf("a query of %d characters", len(r.PromQL))
		}
		parse(t, r.PromQL)
		for _, q := range r.Questions {
			count[q]++
			if q.Shape != r.Shape {
				t.Errorf("%+v is in a request of another shape", q)
			}
		}
	}
	for _, q := range questions {
		if count[q] != 1 {
			t.Errorf("%+v is asked %d times", q.View, count[q])
		}
	}
	if len(count) != len(questions) {
		t.Errorf("%d questions are asked, want %d", len(count), len(questions))
	}
}

func TestWhatSharesARequest(t *testing.T) {
	tests := map[string]struct {
		one, two *v1alpha1.SysdigMetricBinding
		requests int
	}{
		"two workloads":                           {binding(), binding(target("apps/v1", "Deployment", "api")), 1},
		"two kinds of workloads":                  {binding(), binding(target("apps/v1", "StatefulSet", "web")), 1},
		"two namespaces":                          {binding(), binding(in("bank")), 1},
		"two multipliers":                         {binding(), binding(multiplied("10")), 1},
		"a Service and a Pod":                     {binding(target("v1", "Service", "web")), binding(target("v1", "Pod", "web-0")), 1},
		"two aggregations of a Service":           {binding(target("v1", "Service", "web")), binding(target("v1", "Service", "web"), aggregated("Rate", "Max")), 1},
		"two aggregations of a workload":          {binding(), binding(aggregated("Rate", "Max")), 2},
		"two windows":                             {binding(), binding(window(time.Hour)), 2},
		"two metrics":                             {binding(), binding(func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = "x" }), 2},
		"a Service and a workload":                {binding(target("v1", "Service", "web")), binding(), 2},
		"two filters":                             {binding(where("a", "In", "b")), binding(where("a", "In", "c")), 2},
		"the same filters in another order":       {binding(where("a", "In", "b"), where("c", "In", "d", "e")), binding(target("apps/v1", "Deployment", "api"), where("c", "In", "e", "d"), where("a", "In", "b")), 1},
		"a workload and all workloads":            {binding(), binding(every("apps/v1", "StatefulSet", nil)), 1},
		"a Pod and the Pods of an app":            {binding(target("v1", "Pod", "web-0")), binding(every("v1", "Pod", app("web"))), 1},
		"a Service and all Services":              {binding(target("v1", "Service", "web")), binding(every("v1", "Service", nil)), 1},
		"Services and Pods":                       {binding(every("v1", "Service", nil)), binding(every("v1", "Pod", nil)), 1},
		"Pods of two namespaces":                  {binding(every("v1", "Pod", app("web"))), binding(in("bank"), every("v1", "Pod", app("api"))), 1},
		"an external metric and the namespace":    {binding(external), binding(target("v1", "Namespace", "")), 1},
		"external metrics of two namespaces":      {binding(external), binding(external, in("bank")), 1},
		"one kept apart and one not":              {binding(), binding(dimensions("code")), 2},
		"two that keep other labels apart":        {binding(dimensions("code")), binding(dimensions("method")), 2},
		"the same labels in another notation":     {binding(dimensions("net.http.method", "code")), binding(dimensions("code", "net_http_method")), 1},
		"two aggregations kept apart":             {binding(dimensions("code")), binding(dimensions("code"), aggregated("Rate", "Max")), 1},
		"two aggregations of external ones apart": {binding(external, dimensions("code")), binding(external, dimensions("code"), aggregated("Rate", "Max")), 2},
		"raw sets and one of them":                {binding(raw("sum by (app) (x)", "app")), binding(raw("sum by (app) (x)", "app"), every("v1", "Service", nil)), 1},
		"raw queries that keep a label apart":     {binding(raw("sum by (a) (x)", "")), binding(raw("sum by (a) (x)", ""), dimensions("a")), 2},
		"raw queries of one namespace":            {binding(raw("sum by (app) (x)", "app")), binding(raw("sum by (app) (x)", "app"), target("apps/v1", "Deployment", "api")), 1},
		"raw queries of two namespaces":           {binding(raw("sum(x)", "")), binding(raw("sum(x)", ""), in("bank")), 2},
		"raw queries with another label":          {binding(raw("sum by (app) (x)", "app")), binding(raw("sum by (app) (x)", "")), 2},
		"raw queries that are written freely":     {binding(raw("sum(x)", ""), target("v1", "Service", "a")), binding(raw("sum (x) # total", ""), target("v1", "Service", "b"), multiplied("2")), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			all := questions(t, test.one, test.two)
			requests := query.Plan(all, query.Whole)
			wantEachOnce(t, requests, all)
			if len(requests) != test.requests {
				t.Errorf("%d requests, want %d", len(requests), test.requests)
			}
		})
	}
	other := connection(func(c *v1alpha1.SysdigConnection) { c.Name = "other" })
	all := append(questions(t, binding()), compile(t, binding(), other).Question)
	if requests := query.Plan(all, query.Whole); len(requests) != 2 {
		t.Errorf("two connections share a request")
	}
	if requests := query.Plan(nil, query.Whole); len(requests) != 0 {
		t.Errorf("%d requests for no question", len(requests))
	}
}

func TestBindingsThatAskTheSameAreOneQuestion(t *testing.T) {
	for name, pair := range map[string][2]*v1alpha1.SysdigMetricBinding{
		"Deployments of two apps":     {binding(every("apps/v1", "Deployment", app("web"))), binding(every("apps/v1", "Deployment", app("api")))},
		"dimensions in another order": {binding(dimensions("a", "b")), binding(dimensions("b", "a"))},
	} {
		all := questions(t, pair[0], pair[1])
		if all[0] != all[1] {
			t.Errorf("%s: %+v and %+v", name, all[0].View, all[1].View)
		}
	}
	// Which Services are meant decides which pods are, which pods are meant of how many agents have to be seen, and the names of
	// dimensions are what is served.
	for name, pair := range map[string][2]*v1alpha1.SysdigMetricBinding{
		"Pods of two apps":            {binding(every("v1", "Pod", app("web"))), binding(every("v1", "Pod", app("api")))},
		"Services of two apps":        {binding(every("v1", "Service", app("web"))), binding(every("v1", "Service", app("api")))},
		"Pods of two namespaces":      {binding(every("v1", "Pod", nil)), binding(in("bank"), every("v1", "Pod", nil))},
		"two kinds of workloads":      {binding(every("apps/v1", "Deployment", nil)), binding(every("apps/v1", "DaemonSet", nil))},
		"dimensions by another name":  {binding(dimensions("a.b")), binding(dimensions("a_b"))},
		"external and the namespace":  {binding(external), binding(target("v1", "Namespace", ""))},
		"a Pod's name and a selector": {binding(target("v1", "Pod", "web")), binding(every("v1", "Pod", app("web")))},
	} {
		all := questions(t, pair[0], pair[1])
		if all[0] == all[1] {
			t.Errorf("%s: one question: %+v", name, all[0].View)
		}
	}
}

func TestObjectsAreNamedWhileTheyAreFew(t *testing.T) {
	for name, kind := range map[string]func(int) edit{
		`,kube_workload_name=~"`: func(i int) edit { return target("apps/v1", "Deployment", fmt.Sprint("w-", i)) },
		`,kube_pod_name=~"`:      func(i int) edit { return target("v1", "Pod", fmt.Sprint("w-", i)) },
	} {
		var bindings []*v1alpha1.SysdigMetricBinding
		for i := range 20 {
			bindings = append(bindings, binding(kind(i)))
		}
		if got := query.Plan(questions(t, bindings...), query.Whole)[0].PromQL; strings.Count(got, name) != 2 {
			t.Errorf("20 objects are not named: %s", got)
		}
		bindings = append(bindings, binding(kind(20)))
		if got := query.Plan(questions(t, bindings...), query.Whole)[0].PromQL; strings.Contains(got, name) {
			t.Errorf("21 objects are named: %s", got)
		}
	}
	all := questions(t, binding(target("v1", "Service", "web")), binding(target("v1", "Pod", "web-0")))
	if got := query.Plan(all, query.Whole)[0].PromQL; strings.Contains(got, "web-0") {
		t.Errorf("the pods of a Service are left out: %s", got)
	}
	for _, kind := range [][2]string{{"v1", "Pod"}, {"apps/v1", "Deployment"}} {
		all := questions(t, binding(target(kind[0], kind[1], "web-0")), binding(every(kind[0], kind[1], app("api"))))
		if got := query.Plan(all, query.Whole); len(got) != 1 || strings.Contains(got[0].PromQL, "web-0") {
			t.Errorf("all but one of kind %s are left out: %s", kind[1], got[0].PromQL)
		}
	}
}

func TestALongQueryIsSplit(t *testing.T) {
	var bindings []*v1alpha1.SysdigMetricBinding
	for i := range 1500 {
		bindings = append(bindings, binding(in(fmt.Sprintf("%s-%04d", strings.Repeat("n", 58), i/3)), target("apps/v1", "Deployment", fmt.Sprint("w-", i))))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(bindings), func(i, j int) { bindings[i], bindings[j] = bindings[j], bindings[i] })
	all := questions(t, bindings...)
	requests := query.Plan(slices.Clone(all), query.Whole)
	wantEachOnce(t, requests, all)
	if len(requests) != 2 {
		t.Errorf("%d requests, want 2", len(requests))
	}
}

func TestAPlanLeavesTheQuestionsAlone(t *testing.T) {
	all := questions(t, binding(in("b")), binding(in("a")), binding(raw("sum(x)", "")))
	before := slices.Clone(all)
	first := query.Plan(all, query.Whole)
	if !reflect.DeepEqual(all, before) {
		t.Error("the questions were changed")
	}
	if !reflect.DeepEqual(query.Plan(all, query.Whole), first) {
		t.Error("the plan of the same questions differs")
	}
}
