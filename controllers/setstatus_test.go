package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// setStanding is that of a set of a kind.
func setStanding(kind, selector string, change func(*registry.Standing)) registry.Standing {
	s := registry.Standing{Definition: query.Definition{
		Claim:  metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: strings.ToLower(kind) + "s"}, Selector: selector, Metric: "web"},
		Object: metric.Object{Kind: kind},
	}}
	change(&s)
	return s
}

func externalStanding(change func(*registry.Standing)) registry.Standing {
	s := registry.Standing{Definition: query.Definition{Claim: metric.ExternalClaim("shop", "web")}}
	change(&s)
	return s
}

func TestStatusOfSetsAndExternalMetrics(t *testing.T) {
	const custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/"
	sample := &metric.Sample{Value: 12.5, Milli: 12_500, Time: now.Add(-40 * time.Second), Received: now}
	noData := metric.Failf(metric.NoData, "web-4: Sysdig holds nothing")
	tests := map[string]struct {
		standing                     registry.Standing
		target, path, objects, value string
		accepted, ready, message     string
	}{
		"all pods have a value": {
			standing: setStanding("Pod", "app=web", func(s *registry.Standing) { s.Served, s.Sample, s.Fresh, s.Matched = true, sample, 5, 5 }),
			target:   "Pod[app=web]", path: custom + "pods/*/web?labelSelector=app%3Dweb", objects: "5/5", value: "12500m",
			accepted: "Accepted", ready: "Serving", message: "5 of 5 objects have a fresh value",
		},
		"one pod is silent": {
			standing: setStanding("Pod", "app=web", func(s *registry.Standing) {
				s.Served, s.Sample, s.Fresh, s.Matched, s.Failure = true, sample, 4, 5, noData
			}),
			target: "Pod[app=web]", path: custom + "pods/*/web?labelSelector=app%3Dweb", objects: "4/5", value: "12500m",
			accepted: "Accepted", ready: "Serving", message: "4 of 5 objects have a fresh value; NoData: web-4: Sysdig holds nothing",
		},
		"all pods are silent": {
			standing: setStanding("Pod", "app=web", func(s *registry.Standing) { s.Matched, s.Failure = 5, noData }),
			target:   "Pod[app=web]", path: custom + "pods/*/web?labelSelector=app%3Dweb", objects: "0/5",
			accepted: "Accepted", ready: "-NoData", message: "web-4: Sysdig holds nothing; reads answer an error, so HPAs leave the replicas alone",
		},
		"there are no pods": {
			standing: setStanding("Pod", "", func(s *registry.Standing) { s.Failure = metric.Failf(metric.NoData, "no Pod matches") }),
			target:   "Pod[]", path: custom + "pods/*/web", objects: "0/0",
			accepted: "Accepted", ready: "-NoData", message: "no Pod matches",
		},
		"another set than pods has no value of its own": {
			standing: setStanding("Service", "tier in (a,b)", func(s *registry.Standing) { s.Served, s.Fresh, s.Matched = true, 2, 2 }),
			target:   "Service[tier in (a,b)]", path: custom + "services/*/web?labelSelector=tier+in+%28a%2Cb%29", objects: "2/2",
			accepted: "Accepted", ready: "Serving", message: "2 of 2 objects",
		},
		"a set that is refused counts nothing": {
			standing: setStanding("Pod", "app=web", func(s *registry.Standing) {
				s.Failure = metric.Failf(metric.Rejected, "spec.maxAge: too short")
				s.Definition.Refused = s.Failure
			}),
			target: "Pod[app=web]", path: custom + "pods/*/web?labelSelector=app%3Dweb",
			accepted: "-Rejected", ready: "-Rejected", message: "spec.maxAge: too short",
		},
		"a set that no HPA gets to see is not ready": {
			standing: setStanding("Pod", "app=web", func(s *registry.Standing) {
				s.Served, s.Sample, s.Fresh, s.Matched, s.NotRouted = true, sample, 5, 5, metric.Failf(metric.NotRouted, "it is KEDA's")
			}),
			target: "Pod[app=web]", path: custom + "pods/*/web?labelSelector=app%3Dweb", objects: "5/5", value: "12500m",
			accepted: "Accepted", ready: "-NotRouted", message: "it is KEDA's",
		},
		"an external metric": {
			standing: externalStanding(func(s *registry.Standing) { s.Served, s.Sample = true, sample }),
			target:   "external", path: "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/web", value: "12500m",
			accepted: "Accepted", ready: "Serving", message: "a fresh value is served",
		},
		"an external metric that fails": {
			standing: externalStanding(func(s *registry.Standing) {
				s.Failure = metric.Failf(metric.Implausible, "the value -1 is negative")
			}),
			target: "external", path: "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/web",
			accepted: "Accepted", ready: "-Implausible", message: "the value -1 is negative; reads answer an error",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, _ := decideStatus(binding(), test.standing, now)
			if status.Target != test.target || status.MetricPath != test.path || status.Objects != test.objects {
				t.Errorf("got %s, %s, %q; want %s, %s, %q", status.Target, status.MetricPath, status.Objects, test.target, test.path, test.objects)
			}
			if shown := status.Observed; (shown == nil) != (test.value == "") || shown != nil && shown.Value != test.value {
				t.Errorf("it shows %+v, want %q", shown, test.value)
			}
			for kind, want := range map[string]string{v1alpha1.ConditionAccepted: test.accepted, v1alpha1.ConditionReady: test.ready} {
				c := meta.FindStatusCondition(status.Conditions, kind)
				if reason, isFalse := strings.CutPrefix(want, "-"); c.Reason != reason || (c.Status == metav1.ConditionFalse) != isFalse {
					t.Errorf("%s is %+v, want %s", kind, c, want)
				}
			}
			if got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady).Message; !strings.Contains(got, test.message) {
				t.Errorf("the message is %q, want %q", got, test.message)
			}
		})
	}
}

func TestTheNumberOfObjectsIsNotUrgentAndGoesWithTheSelector(t *testing.T) {
	b := binding()
	all := setStanding("Pod", "app=web", func(s *registry.Standing) { s.Served, s.Fresh, s.Matched = true, 5, 5 })
	b.Status, _ = decideStatus(b, all, now)
	fewer := setStanding("Pod", "app=web", func(s *registry.Standing) {
		s.Served, s.Fresh, s.Matched, s.Failure = true, 4, 5, metric.Failf(metric.NoData, "web-4: nothing")
	})
	status, urgent := decideStatus(b, fewer, now)
	if urgent || status.Objects != "4/5" {
		t.Errorf("got urgent %v, %q", urgent, status.Objects)
	}
	b.Status = status
	if status, _ := decideStatus(b, standing(func(s *registry.Standing) { s.Served = true }), now); status.Objects != "" {
		t.Errorf("a target by name has %q objects", status.Objects)
	}
}
