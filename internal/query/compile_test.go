package query_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

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
		"a filter on the namespace":        {[]edit{where("a", "In", "b"), where("kube_namespace_name", "In", "bank")}, "a=b", "where[1].label: kube_namespace_name is set by the operator"},
		"a filter on the dotted namespace": {[]edit{where("kubernetes.namespace.name", "NotIn", "shop")}, "a=b", "where[0].label"},
		"a filter on half a namespace":     {[]edit{where("kubernetes.namespace_name", "In", "bank")}, "a=b", "where[0].label"},
		"a filter on the cluster":          {[]edit{where("kubernetes.cluster.name", "In", "c2")}, "a=b", "where[0].label"},
		"a multiplier that is no number":   {[]edit{func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Multiplier = "ten" }}, "a=b", `spec.multiplier: "ten"`},
		"a no-data value that is no number": {
			[]edit{onNoData("Value", "none")}, "a=b", `spec.onNoData.value: "none"`,
		},
		"a no-data value that is too large": {[]edit{onNoData("Value", "1e99")}, "a=b", "spec.onNoData.value: the value 1e+99 is too large"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := binding(test.edits...)
			d := query.Compile(b, connection(), query.Target{Selector: test.selector})
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.Contains(d.Refused.Message, test.text) {
				t.Fatalf("got %v, want %q", d.Refused, test.text)
			}
			if d.Claim.Object != b.Spec.Target.Name || d.Query != "" || d.Question != (query.Question{}) {
				t.Errorf("got %+v", d)
			}
		})
	}
}

func TestTheNamespaceOfAnotherLabelTableIsProtected(t *testing.T) {
	c := connection(func(c *v1alpha1.SysdigConnection) { c.Spec.LabelNames.Namespace = "ns" })
	for _, label := range []string{"ns", "kubernetes.namespace.name"} {
		if d := query.Compile(binding(where(label, "In", "bank")), c, service); d.Refused == nil {
			t.Errorf("%s was accepted: %s", label, d.Query)
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
	got.Query, got.Question = "", query.Question{}
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
	}
	for name, q := range other {
		if q == base {
			t.Errorf("%s made no other question", name)
		}
	}
}
