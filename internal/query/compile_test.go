package query_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

func maxAge(d time.Duration) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MaxAge.Duration = d }
}

func onNoData(action v1alpha1.NoDataAction, value v1alpha1.Decimal) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.OnNoData = v1alpha1.OnNoData{Action: action, Value: value}
	}
}

// nameOf is the name of the object that a binding describes.
func nameOf(b *v1alpha1.SysdigMetricBinding) string {
	switch {
	case b.Spec.Target == nil:
		return ""
	case b.Spec.Target.Kind == "Namespace":
		return b.Namespace
	}
	return b.Spec.Target.Name
}

func bounds(least, most v1alpha1.Decimal) edit {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Bounds = &v1alpha1.Bounds{Min: least, Max: most} }
}

func TestBindingsThatCannotBeAskedSayWhatToChange(t *testing.T) {
	tests := map[string]struct {
		edits    []edit
		selector string
		text     string
	}{
		"maxAge is too short":              {[]edit{maxAge(70*time.Second - 1)}, "a=b", "spec.maxAge: 1m9.999999999s is shorter"},
		"a Service without a selector":     {[]edit{target("v1", "Service", "web")}, "", "spec.target: Service web has no selector"},
		"a kind without a label":           {[]edit{target("networking.k8s.io/v1", "Ingress", "front")}, "a=b", "spec.source.metric: Sysdig has no label for Ingress"},
		"a Deployment of another group":    {[]edit{target("example.com/v1", "Deployment", "web")}, "a=b", "no label for Deployment"},
		"a filter on the namespace":        {[]edit{where("a", "In", "b"), where("kube_namespace_name", "In", "bank")}, "a=b", "where[1].label: kube_namespace_name cannot be a filter: it is set by the operator"},
		"a filter on the dotted namespace": {[]edit{where("kubernetes.namespace.name", "NotIn", "shop")}, "a=b", "where[0].label"},
		"a filter on half a namespace":     {[]edit{where("kubernetes.namespace_name", "In", "bank")}, "a=b", "where[0].label"},
		"a filter on the cluster":          {[]edit{where("kubernetes.cluster.name", "In", "c2")}, "a=b", "where[0].label"},
		"a multiplier that is no number":   {[]edit{func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Multiplier = "ten" }}, "a=b", `spec.multiplier: "ten"`},
		"a no-data value that is no number": {
			[]edit{onNoData("Value", "none")}, "a=b", `spec.onNoData.value: "none"`,
		},
		"a no-data value below 0 of an external metric": {[]edit{external, onNoData("Value", "-1")}, "", "spec.onNoData.value: the value -1 is negative"},
		"a bound that is no number":                     {[]edit{bounds("", "1e")}, "a=b", `spec.bounds.max: "1e" is not a decimal number`},
		"a bound that is not a number at all":           {[]edit{bounds("NaN", "")}, "a=b", `spec.bounds.min: "NaN" is not a decimal number`},
		"a bound without end":                           {[]edit{bounds("", "Inf")}, "a=b", `spec.bounds.max: "Inf" is not a decimal number`},
		"a multiplier that is not a number at all":      {[]edit{multiplied("NaN")}, "a=b", `spec.multiplier: "NaN" is not a decimal number`},
		"four dimensions":                               {[]edit{dimensions("a", "b", "c", "d")}, "a=b", "spec.source.metric.dimensions: at most 3 labels"},
		"one label in two notations":                    {[]edit{dimensions("net.http.method", "code", "net_http_method")}, "a=b", "spec.source.metric.dimensions[2]: net.http.method and net_http_method are the same label"},
		"a dimension on the namespace":                  {[]edit{dimensions("code", "kube_namespace_name")}, "a=b", "dimensions[1]: kube_namespace_name cannot be kept apart: it is set by the operator"},
		"a dimension on the dotted namespace":           {[]edit{external, dimensions("kubernetes.namespace.name")}, "", "dimensions[0]: kubernetes.namespace.name cannot be kept apart"},
		"a dimension on half a namespace":               {[]edit{external, dimensions("kubernetes.namespace_name")}, "", "dimensions[0]"},
		"a dimension on the cluster":                    {[]edit{dimensions("kubernetes.cluster.name")}, "a=b", "dimensions[0]"},
		"a dimension on the pod":                        {[]edit{dimensions("kubernetes.pod.name")}, "a=b", "dimensions[0]: kubernetes.pod.name cannot be kept apart: the pods are reduced by groupAggregation"},
		"a dimension on the pod of an external metric":  {[]edit{external, dimensions("kube_pod_name")}, "", "dimensions[0]: kube_pod_name cannot be kept apart: the pods are reduced"},
		"a dimension on the workload":                   {[]edit{target("v1", "Namespace", ""), dimensions("kubernetes.workload.name")}, "", "dimensions[0]: kubernetes.workload.name cannot be kept apart: the target says which workload"},
		"a dimension on the kind of workload":           {[]edit{every("v1", "Pod", nil), dimensions("kube_workload_type")}, "", "dimensions[0]: kube_workload_type cannot be kept apart"},
		"a dimension on what marks times":               {[]edit{external, dimensions(partLabel)}, "", "dimensions[0]: sysdig_metrics_part cannot be kept apart: it is set by the operator"},
		"a dimension that PromQL takes for a number":    {[]edit{external, dimensions("Inf")}, "", "dimensions[0]: PromQL cannot group by Inf"},
		"a dimension that is more than a name":          {[]edit{external, dimensions("a) (x) or sum by (b")}, "", "dimensions[0]: PromQL cannot group by"},
		"an empty dimension":                            {[]edit{external, dimensions("", "a")}, "", "dimensions[0]"},
		"Ingresses by selector":                         {[]edit{every("networking.k8s.io/v1", "Ingress", nil)}, "", "spec.target.selector: Sysdig has no label that tells one Ingress from another"},
		"Ingresses by selector with a filter":           {[]edit{every("networking.k8s.io/v1", "Ingress", nil), where("a", "In", "b")}, "", "use source.promQL with objectLabel"},
		"Deployments of another group by selector":      {[]edit{every("example.com/v1", "Deployment", nil)}, "", "spec.target.selector"},
		"a selector that cannot be one":                 {[]edit{every("v1", "Pod", map[string]string{"a b": "c"})}, "", "spec.target.selector: "},
		"a raw query about Pods without their label":    {[]edit{every("v1", "Pod", nil), raw("sum(x)", "")}, "", "spec.source.promQL.objectLabel: set it to the label that holds the names"},
		"a raw query for no object with its label":      {[]edit{external, raw("sum(x)", "a")}, "", "spec.source.promQL.objectLabel: an external metric has no object"},
		"a raw query with four dimensions":              {[]edit{raw("x", ""), dimensions("a", "b", "c", "d")}, "", "spec.source.promQL.dimensions: at most 3 labels"},
		"a raw query with its namespace kept apart":     {[]edit{external, raw("x", ""), dimensions("kube_namespace_name")}, "", "spec.source.promQL.dimensions[0]: kube_namespace_name cannot be kept apart"},
		"a raw query with its objects kept apart":       {[]edit{raw("x", "app"), dimensions("code", "app")}, "", "spec.source.promQL.dimensions[1]: app cannot be kept apart: it is the objectLabel"},
		"a raw query with a forged time kept apart":     {[]edit{external, raw("x", ""), dimensions(partLabel)}, "", "spec.source.promQL.dimensions[0]: sysdig_metrics_part"},
		"a raw query with objects in a number":          {[]edit{raw("x", "nan")}, "", "spec.source.promQL.objectLabel: PromQL cannot group by nan"},
		"a no-data value that is too large":             {[]edit{onNoData("Value", "1e99")}, "a=b", "spec.onNoData.value: the value 1e+99 is too large"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := binding(test.edits...)
			d := query.Compile(b, connection(), query.Target{Selector: test.selector})
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.Contains(d.Refused.Message, test.text) {
				t.Fatalf("got %v, want %q", d.Refused, test.text)
			}
			if d.Claim.Object != nameOf(b) || d.Claim.External != (b.Spec.Target == nil) || d.Query() != "" || d.Question != (query.Question{}) {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestTheNamespaceOfAnotherLabelTableIsProtected(t *testing.T) {
	c := connection(func(c *v1alpha1.SysdigConnection) { c.Spec.LabelNames.Namespace = "ns" })
	for _, label := range []string{"ns", "kubernetes.namespace.name"} {
		if d := query.Compile(binding(where(label, "In", "bank")), c, service); d.Refused == nil {
			t.Errorf("%s was accepted: %s", label, d.Query())
		}
	}
}

func TestBindingsThatCanBeAsked(t *testing.T) {
	for name, edits := range map[string][]edit{
		"maxAge is just long enough":     {maxAge(70 * time.Second)},
		"another kind with a filter":     {target("networking.k8s.io/v1", "Ingress", "front"), where("ingress", "In", "front")},
		"another kind with a raw query":  {target("networking.k8s.io/v1", "Ingress", "front"), raw("sum(x)", "")},
		"a raw query for a Service":      {target("v1", "Service", "web"), raw("sum(x)", "")},
		"a no-data value":                {onNoData("Value", "0")},
		"no data is an error explicitly": {onNoData("Error", "")},
		"a negative no-data value":       {onNoData("Value", "-1")},
		"a no-data value outside bounds": {onNoData("Value", "-1"), bounds("0", "1")},
		"one bound":                      {bounds("", "1")},
		"three dimensions":               {dimensions("a", "b", "net.http.method")},
		"workloads of no target":         {external, dimensions("kubernetes.workload.name", "kubernetes.workload.type")},
		"a dimension that is filtered":   {where("code", "NotIn", "404"), dimensions("code")},
		"a word of PromQL as dimension":  {dimensions("by", "offset")},
		"Pods of a raw query":            {external, raw("x", ""), dimensions("kube_pod_name")},
		"Ingresses of a raw query":       {every("networking.k8s.io/v1", "Ingress", nil), raw("sum by (ingress) (x)", "ingress")},
	} {
		t.Run(name, func(t *testing.T) {
			if d := query.Compile(binding(edits...), connection(), query.Target{}); d.Refused != nil {
				t.Error(d.Refused)
			}
		})
	}
}

func TestTheDefinitionOfABinding(t *testing.T) {
	b := binding(onNoData("Value", "-0.0005"), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Suspend = true })
	got := compile(t, b, connection())
	got.Question = query.Question{}
	want := query.Definition{
		Binding: types.NamespacedName{Namespace: "shop", Name: "web-rate"}, UID: "uid", Created: noon, Generation: 3,
		Claim:  metric.Claim{Namespace: "shop", Resource: service.Resource, Object: "web", Metric: "web-rate"},
		Object: metric.Object{Kind: "Deployment", APIVersion: "apps/v1", NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}},
		Policy: metric.Policy{MaxAge: 2 * time.Minute, Suspended: true, OnNoData: &metric.Sample{Value: -0.0005, Milli: -1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	b = binding(target("v1", "Namespace", ""), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MetricName = "rate" })
	got = compile(t, b, connection())
	if got.Claim != metric.NamespaceClaim("shop", "rate") || got.Object.Name != "shop" || got.Object.Namespace != "" {
		t.Errorf("got %+v, %+v", got.Claim, got.Object)
	}
	got = compile(t, binding(external), connection())
	if got.Claim != metric.ExternalClaim("shop", "web-rate") || got.Object != (metric.Object{}) || got.Selector != nil || !got.Question.Measure.External {
		t.Errorf("got %+v, %+v", got.Claim, got.Object)
	}
}

func TestTheDefinitionOfASet(t *testing.T) {
	got := compile(t, binding(every("v1", "Service", map[string]string{"tier": "web", "app": "shop"}), bounds("-1", "1.5")), connection())
	if want := (metric.Claim{Namespace: "shop", Resource: service.Resource, Selector: "app=shop,tier=web", Metric: "web-rate"}); got.Claim != want {
		t.Errorf("got %+v, want %+v", got.Claim, want)
	}
	if want := (metric.Object{Kind: "Service", APIVersion: "v1", NamespacedName: types.NamespacedName{Namespace: "shop"}}); got.Object != want {
		t.Errorf("got %+v, want %+v", got.Object, want)
	}
	if got.Selector.String() != "app=shop,tier=web" || !got.Question.View.All || got.Question.View.Selector != "app=shop,tier=web" {
		t.Errorf("got %s, %+v", got.Selector, got.Question.View)
	}
	if m := got.Question.Measure; m != (metric.Measure{Group: metric.Average, Multiplier: 1, Min: -1, Max: 1.5}) {
		t.Errorf("got %+v", m)
	}
	got = compile(t, binding(every("v1", "Pod", nil)), connection())
	if got.Claim.Selector != "" || !got.Claim.Set() || !got.Selector.Empty() {
		t.Errorf("{} selects %q, not all", got.Claim.Selector)
	}
	refused := query.Compile(binding(every("v1", "Pod", map[string]string{"app": "not a value"})), connection(), query.Target{})
	if refused.Refused == nil || refused.Selector.Matches(labels.Set{"app": "web"}) || refused.Selector.Empty() {
		t.Errorf("a selector that cannot be one matches objects: %v", refused.Selector)
	}
}

func TestWhatMakesAnotherQuestion(t *testing.T) {
	base := compile(t, binding(), connection()).Question
	same := map[string]query.Question{
		"maxAge": compile(t, binding(maxAge(time.Hour)), connection()).Question,
		"name":   compile(t, binding(func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MetricName = "other" }), connection()).Question,
		"rhythm": compile(t, binding(), connection(func(c *v1alpha1.SysdigConnection) { c.Spec.Interval.Duration = time.Minute })).Question,
	}
	for name, q := range same {
		if q != base {
			t.Errorf("%s made another question", name)
		}
	}
	other := map[string]query.Question{
		"region":  compile(t, binding(), connection(func(c *v1alpha1.SysdigConnection) { c.Spec.Endpoint.Region = "eu1" })).Question,
		"cluster": compile(t, binding(), connection(func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = "c2" })).Question,
		"labels":  compile(t, binding(), connection(func(c *v1alpha1.SysdigConnection) { c.Spec.LabelNames.Pod = "pod" })).Question,
		"object":  compile(t, binding(target("apps/v1", "Deployment", "api")), connection()).Question,
		"all":     compile(t, binding(every("apps/v1", "Deployment", nil)), connection()).Question,
		"none":    compile(t, binding(external), connection()).Question,
		"bounds":  compile(t, binding(bounds("", "100")), connection()).Question,
		"apart":   compile(t, binding(dimensions("code")), connection()).Question,
	}
	for name, q := range other {
		if q == base {
			t.Errorf("%s made no other question", name)
		}
	}
}

// TestANamespaceOfAnotherGroupIsAnObjectLikeOthers: other groups have kinds of that name too.
func TestANamespaceOfAnotherGroupIsAnObjectLikeOthers(t *testing.T) {
	of := func(name string) query.Definition {
		return query.Compile(binding(target("servicebus.azure.com/v1", "Namespace", name), raw("sum(messages)", "")), connection(),
			query.Target{Resource: schema.GroupResource{Group: "servicebus.azure.com", Resource: "namespaces"}})
	}
	if d := of("orders"); d.Refused != nil || d.Claim.Object != "orders" || d.Claim.RootScoped() {
		t.Errorf("got %+v, %v", d.Claim, d.Refused)
	}
	if d := of(""); d.Refused == nil || d.Refused.Reason != metric.Rejected || d.Selector == nil || !strings.Contains(d.Refused.Message, "spec.target") {
		t.Errorf("without a name and a selector: %+v, %v", d.Selector, d.Refused)
	}
}
