package controllers

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

func TestCompileConnection(t *testing.T) {
	secret := types.NamespacedName{Namespace: "sysdig-metrics", Name: "sysdig-api"}
	const canary = "canary-token"
	tests := map[string]struct {
		change func(*v1alpha1.SysdigConnectionSpec)
		data   map[string][]byte
		reason metric.Reason
		text   string
	}{
		"a region and a token are enough":    {data: map[string][]byte{"token": []byte(canary)}},
		"a newline behind the token is fine": {data: map[string][]byte{"token": []byte(canary + "\n")}},
		"a missing Secret is named":          {reason: metric.Unauthorized, text: "no key token in Secret sysdig-metrics/sysdig-api"},
		"a missing key is named":             {data: map[string][]byte{"other": []byte(canary)}, reason: metric.Unauthorized, text: "no key token"},
		"an empty token is refused":          {data: map[string][]byte{"token": []byte(" \n")}, reason: metric.Unauthorized, text: "empty"},
		"a token of two lines is refused":    {data: map[string][]byte{"token": []byte(canary + "\n" + canary)}, reason: metric.Unauthorized, text: "characters"},
		"a bad CA is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.CABundle = "nonsense" },
			data:   map[string][]byte{"token": []byte(canary)}, reason: metric.Rejected, text: "spec.endpoint.caBundle",
		},
		"an unknown region is named": {
			change: func(s *v1alpha1.SysdigConnectionSpec) { s.Endpoint.Region = "moon" },
			data:   map[string][]byte{"token": []byte(canary)}, reason: metric.Rejected, text: "spec.endpoint.region",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.SysdigConnectionSpec{
				Endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
				TokenSecretRef: v1alpha1.SecretKeyReference{Name: secret.Name, Key: "token"},
			}}
			if test.change != nil {
				test.change(&c.Spec)
			}
			got := compileConnection(c, test.data, secret, "test")
			if (got.Source == nil) != (test.reason != "") || (got.Refused == nil) != (test.reason == "") {
				t.Fatalf("got %+v", got)
			}
			if got.Refused != nil && (got.Refused.Reason != test.reason || !strings.Contains(got.Refused.Message, test.text) || strings.Contains(got.Refused.Error(), canary)) {
				t.Errorf("refused with %v", got.Refused)
			}
		})
	}
}

// TestTheAPIOfAConnectionIsCompiled looks at what the poller and the client get.
func TestTheAPIOfAConnectionIsCompiled(t *testing.T) {
	for name, test := range map[string]struct {
		spec     v1alpha1.SysdigConnectionSpec
		api      v1alpha1.API
		rateFrom v1alpha1.RateFrom
		pod      string
		segments int
	}{
		"Prometheus": {
			v1alpha1.SysdigConnectionSpec{API: v1alpha1.APIPrometheus, DataAPI: v1alpha1.DataAPI{SegmentsPerRequest: 500, RateFrom: v1alpha1.RateFromTimeAvg}},
			v1alpha1.APIPrometheus, "", "kube_pod_name", 500,
		},
		"Data": {
			v1alpha1.SysdigConnectionSpec{API: v1alpha1.APIData, DataAPI: v1alpha1.DataAPI{SegmentsPerRequest: 70, RateFrom: v1alpha1.RateFromSum}},
			v1alpha1.APIData, v1alpha1.RateFromSum, "kubernetes.pod.name", 70,
		},
	} {
		t.Run(name, func(t *testing.T) {
			secret := types.NamespacedName{Namespace: "sysdig-metrics", Name: "sysdig-api"}
			test.spec.Endpoint, test.spec.ClusterName = v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, "c"
			test.spec.TokenSecretRef = v1alpha1.SecretKeyReference{Name: secret.Name, Key: "token"}
			c := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: test.spec}
			got := compileConnection(c, map[string][]byte{"token": []byte("t")}, secret, "test")
			if got.Refused != nil {
				t.Fatal(got.Refused)
			}
			scope := got.Heartbeat.Scope
			if scope.API != test.api || scope.RateFrom != test.rateFrom || scope.Labels.Pod != test.pod || got.Segments != test.segments {
				t.Errorf("compiled to %+v and %d segments", scope, got.Segments)
			}
			if got.Lister == nil {
				t.Error("nothing lists what there is")
			}
		})
	}
}

func TestAddressesOfAnEndpoint(t *testing.T) {
	iam := func(url string) *v1alpha1.IAM { return &v1alpha1.IAM{URL: url} }
	for name, test := range map[string]struct {
		endpoint         v1alpha1.Endpoint
		query, data, iam string
		failure          string
	}{
		"a region": {
			endpoint: v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"},
			query:    "https://us2.app.sysdig.com/prometheus/api/v1/query", data: "https://us2.app.sysdig.com/api/data",
		},
		"IBM Cloud": {
			endpoint: v1alpha1.Endpoint{URL: "https://eu-de.monitoring.cloud.ibm.com", PrometheusPath: "/api/prometheus", IAM: iam("https://iam.cloud.ibm.com/identity/token")},
			query:    "https://eu-de.monitoring.cloud.ibm.com/api/prometheus/api/v1/query", data: "https://eu-de.monitoring.cloud.ibm.com/api/data",
			iam: "https://iam.cloud.ibm.com/identity/token",
		},
		"IAM without TLS":  {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("http://iam.cloud.ibm.com/identity/token")}, failure: "spec.endpoint.iam.url"},
		"IAM without host": {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("https:///identity/token")}, failure: "spec.endpoint.iam.url"},
		"IAM nowhere":      {endpoint: v1alpha1.Endpoint{Region: "us2", IAM: iam("")}, failure: "spec.endpoint.iam.url"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := addresses(test.endpoint)
			if test.failure != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.failure) {
					t.Errorf("got %v, want an error of %s", err, test.failure)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			exchange := ""
			if got.IAM != nil {
				exchange = got.IAM.URL.String()
			}
			if got.QueryURL.String() != test.query || got.DataURL.String() != test.data || exchange != test.iam {
				t.Errorf("got %s, %s and %q", got.QueryURL, got.DataURL, exchange)
			}
		})
	}
}

func TestConnectionConditions(t *testing.T) {
	failure := metric.Failf(metric.Unavailable, "HTTP 500")
	tests := map[string]struct {
		connection      registry.Connection
		accepted, ready metav1.ConditionStatus
		reason          string
	}{
		"nobody has asked yet":   {registry.Connection{}, metav1.ConditionTrue, metav1.ConditionUnknown, "Pending"},
		"the last round worked":  {registry.Connection{Attempted: now}, metav1.ConditionTrue, metav1.ConditionTrue, "Connected"},
		"the last round failed":  {registry.Connection{Attempted: now, Health: failure}, metav1.ConditionTrue, metav1.ConditionFalse, "Unavailable"},
		"it cannot be used":      {registry.Connection{Refused: metric.Failf(metric.Unauthorized, "no Secret")}, metav1.ConditionFalse, metav1.ConditionFalse, "Unauthorized"},
		"it can't be used since": {registry.Connection{Attempted: now, Refused: metric.Failf(metric.Unauthorized, "no Secret")}, metav1.ConditionFalse, metav1.ConditionFalse, "Unauthorized"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			conditions := connectionConditions(test.connection)
			accepted, ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionAccepted), meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
			if accepted.Status != test.accepted || ready.Status != test.ready || ready.Reason != test.reason {
				t.Errorf("got %+v and %+v", accepted, ready)
			}
		})
	}
}
