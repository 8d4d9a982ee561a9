package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// registered is an APIService named version.group that points to the Service namespace/name; to none when that is empty.
func registered(name string, priority int32, service string) apiregistrationv1.APIService {
	var s apiregistrationv1.APIService
	s.Name = name
	s.Spec.Version, s.Spec.Group, _ = strings.Cut(name, ".")
	s.Spec.VersionPriority, s.Spec.GroupPriorityMinimum = priority, 100
	if namespace, name, found := strings.Cut(service, "/"); found {
		s.Spec.Service = &apiregistrationv1.ServiceReference{Namespace: namespace, Name: name}
	}
	return s
}

func TestDecideRoute(t *testing.T) {
	const (
		us    = "sysdig-metrics/sysdig-metrics-operator"
		them  = "monitoring/prometheus-adapter"
		keda  = "keda/keda-operator-metrics-apiserver"
		beta1 = "v1beta1.custom.metrics.k8s.io"
		beta2 = "v1beta2.custom.metrics.k8s.io"
		extra = "v1beta1.external.metrics.k8s.io"
	)
	type services = []apiregistrationv1.APIService
	tests := map[string]struct {
		api    metric.API
		exist  services
		reason []string // what the message says; empty when it is routed to us
	}{
		"alone, both versions are ours": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, us), registered(beta2, 10, us)},
		},
		"without any APIService nobody reaches us": {
			api: metric.CustomMetrics, exist: nil,
			reason: []string{"there is no APIService of custom.metrics.k8s.io", "apply the operator's manifests"},
		},
		"the APIService of another group does not count": {
			api: metric.CustomMetrics, exist: services{registered(extra, 100, us), registered("v1beta1.metrics.k8s.io", 100, us)},
			reason: []string{"there is no APIService of custom.metrics.k8s.io"},
		},
		"beside a foreign v1beta1 our v1beta2 is not asked": {
			api: metric.CustomMetrics, exist: services{registered(beta2, 10, us), registered(beta1, 100, them)},
			reason: []string{"the Service monitoring/prometheus-adapter", "the APIService " + beta1, "docs/coexistence.md"},
		},
		"a v1beta2 of ours with a high priority would be asked": {
			api: metric.CustomMetrics, exist: services{registered(beta2, 200, us), registered(beta1, 100, them)},
		},
		"beside a foreign v1beta2 with a high priority our v1beta1 is not asked": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, us), registered(beta2, 200, them)},
			reason: []string{them, beta2},
		},
		"a foreign v1beta2 with a low priority takes nothing away": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, us), registered(beta2, 15, them)},
		},
		"with equal priorities the later version is asked": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, us), registered(beta2, 100, them)},
			reason: []string{them, beta2},
		},
		"with equal priorities a stable version is asked before a beta, if HPAs knew it": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, us), registered("v1.custom.metrics.k8s.io", 100, them)},
		},
		"what is left after another adapter has gone is ours": {
			api: metric.CustomMetrics, exist: services{registered(beta2, 10, us)},
		},
		"a Service of our name in another namespace is not ours": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, "default/sysdig-metrics-operator")},
			reason: []string{"default/sysdig-metrics-operator"},
		},
		"an APIService without a Service is the API server's": {
			api: metric.CustomMetrics, exist: services{registered(beta1, 100, "")},
			reason: []string{"the API server itself"},
		},
		"external metrics are ours": {
			api: metric.ExternalMetrics, exist: services{registered(extra, 100, us), registered(beta1, 100, them)},
		},
		"external metrics are KEDA's": {
			api: metric.ExternalMetrics, exist: services{registered(extra, 100, keda), registered(beta1, 100, us), registered(beta2, 10, us)},
			reason: []string{"HPAs that ask external.metrics.k8s.io reach the Service " + keda},
		},
		"HPAs ask external metrics in v1beta1, whatever else there is": {
			api: metric.ExternalMetrics, exist: services{registered(extra, 100, us), registered("v1beta2.external.metrics.k8s.io", 200, keda)},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := decideRoute(test.api, types.NamespacedName{Namespace: "sysdig-metrics", Name: "sysdig-metrics-operator"}, test.exist)
			if len(test.reason) == 0 {
				if got != nil {
					t.Errorf("got %v, want it to be routed to us", got)
				}
				return
			}
			if got == nil || got.Reason != metric.NotRouted {
				t.Fatalf("got %v, want %s", got, metric.NotRouted)
			}
			for _, want := range test.reason {
				if !strings.Contains(got.Message, want) {
					t.Errorf("the message is %q, want it to say %q", got.Message, want)
				}
			}
		})
	}
}

func TestWhatServeLeavesOutNamesTheFlag(t *testing.T) {
	got := notServed(metric.ExternalMetrics)
	if got.Reason != metric.NotRouted || !strings.Contains(got.Message, "external.metrics.k8s.io") || !strings.Contains(got.Message, "--serve") {
		t.Errorf("got %v", got)
	}
}
