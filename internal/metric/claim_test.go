package metric_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

var (
	services    = schema.GroupResource{Resource: "services"}
	deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}
	pods        = schema.GroupResource{Resource: "pods"}
)

func TestPath(t *testing.T) {
	const custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/d/"
	tests := map[string]struct {
		claim metric.Claim
		want  string
	}{
		"a Service":                    {metric.Claim{Namespace: "d", Resource: services, Object: "flask", Metric: "net.http.request.count"}, custom + "services/flask/net.http.request.count"},
		"a Deployment":                 {metric.Claim{Namespace: "d", Resource: deployments, Object: "f", Metric: "m"}, custom + "deployments.apps/f/m"},
		"a namespace":                  {metric.NamespaceClaim("d", "m"), custom + "metrics/m"},
		"all pods":                     {metric.Claim{Namespace: "d", Resource: pods, Metric: "m"}, custom + "pods/*/m"},
		"pods of a selector":           {metric.Claim{Namespace: "d", Resource: pods, Selector: "app=web,tier in (a,b)", Metric: "m"}, custom + "pods/*/m?labelSelector=app%3Dweb%2Ctier+in+%28a%2Cb%29"},
		"pods without a label":         {metric.Claim{Namespace: "d", Resource: pods, Selector: "!canary", Metric: "m"}, custom + "pods/*/m?labelSelector=%21canary"},
		"an external metric":           {metric.ExternalClaim("d", "queue"), "/apis/external.metrics.k8s.io/v1beta1/namespaces/d/queue"},
		"a kind that is not installed": {metric.Claim{Namespace: "d", Object: "f", Metric: "m"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.claim.Path("v1beta2"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	if got, want := tests["a Deployment"].claim.Path("v1beta1"), "/apis/custom.metrics.k8s.io/v1beta1/namespaces/d/deployments.apps/f/m"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhatAClaimIsAbout(t *testing.T) {
	named := metric.Claim{Namespace: "d", Resource: pods, Object: "a", Metric: "m"}
	set := metric.Claim{Namespace: "d", Resource: pods, Selector: "app=web", Metric: "m"}
	external := metric.ExternalClaim("d", "m")
	for name, test := range map[string]struct {
		claim          metric.Claim
		set, servable  bool
		root, external bool
		family         metric.Claim
	}{
		"one object":        {claim: named, servable: true, family: metric.Claim{Namespace: "d", Resource: pods, Metric: "m"}},
		"a set":             {claim: set, set: true, servable: true, family: metric.Claim{Namespace: "d", Resource: pods, Metric: "m"}},
		"a namespace":       {claim: metric.NamespaceClaim("d", "m"), servable: true, root: true, family: metric.Claim{Namespace: "d", Resource: schema.GroupResource{Resource: "namespaces"}, Metric: "m"}},
		"external":          {claim: external, servable: true, external: true, family: external},
		"an unknown kind":   {claim: metric.Claim{Namespace: "d", Object: "a", Metric: "m"}, family: metric.Claim{Namespace: "d", Metric: "m"}},
		"an unknown kind's": {claim: metric.Claim{Namespace: "d", Selector: "app=web", Metric: "m"}, set: true, family: metric.Claim{Namespace: "d", Metric: "m"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.claim
			if c.Set() != test.set || c.Servable() != test.servable || c.RootScoped() != test.root || (c.API() == metric.ExternalMetrics) != test.external {
				t.Errorf("%+v: set %v, servable %v, root %v, %s", c, c.Set(), c.Servable(), c.RootScoped(), c.API())
			}
			if got := c.Family(); got != test.family {
				t.Errorf("the family is %+v, want %+v", got, test.family)
			}
		})
	}
	if external.Family() == (metric.Claim{Namespace: "d", Metric: "m"}) {
		t.Error("an external metric is in the family of an unknown kind")
	}
}
