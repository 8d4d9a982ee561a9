package poller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// all makes a binding describe all objects of a kind with the label app.
func all(apiVersion, kind, app string) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = &v1alpha1.Target{APIVersion: apiVersion, Kind: kind, Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"app": app}}}
	}
}

// wantList expects what a read of all objects of a binding gives: "a=1 b=2", or a reason.
func (s *stage) wantList(d query.Definition, want string) {
	s.t.Helper()
	items, failure, _ := s.registry.List(d.Claim, labels.Everything(), nil)
	var got []string
	for _, item := range items {
		got = append(got, fmt.Sprintf("%s=%v", item.Name, item.Sample.Value))
	}
	if failure != nil {
		got = []string{string(failure.Reason)}
	}
	if text := strings.Join(got, " "); text != want {
		s.t.Fatalf("at %s: got %s, %v; want %s", s.clk.Now().Sub(noon), text, failure, want)
	}
}

func TestPodsAreAskedTogetherAndServedOneByOne(t *testing.T) {
	s := ready(t)
	s.load("web", 4, perPod)
	s.load("api", 2, 2*perPod)
	s.exist("web", "web-0", "web-1", "silent-0")
	s.exist("api", "api-0", "api-1")
	web, api := s.bind("web", all("v1", "Pod", "web")), s.bind("api", all("v1", "Pod", "api"))
	s.wantList(web, "Pending")
	s.tick()
	s.wantRequests(1) // which pods are whose is no matter of Sysdig's
	s.wantList(web, "web-0=10 web-1=10")
	s.wantList(api, "api-0=20 api-1=20")
	s.exist("web", "web-2") // it has reported before its event came
	s.wantList(web, "web-0=10 web-1=10 web-2=10")
	s.wantRequests(1)

	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500})
	s.run(maxAge-30*time.Second, func() { s.wantList(web, "web-0=10 web-1=10 web-2=10") })
	s.run(time.Minute, func() {})
	s.wantList(web, "Unavailable")
	s.sysdig.ClearFault()
	s.run(interval, func() {})
	s.wantList(web, "web-0=10 web-1=10 web-2=10")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultEmpty, Query: "http_request"})
	s.run(maxAge+interval, func() {})
	s.wantList(web, "NoData")
}

func TestServicesAreAskedByTheirPods(t *testing.T) {
	s := ready(t)
	s.load("web", 3, perPod)
	s.load("api", 2, 4*perPod)
	s.exist("web", "web-0", "web-1", "web-2")
	s.exist("api", "api-0", "api-1")
	for name, app := range map[string]string{"web": "web", "api": "api", "other": "nobody", "headless": ""} {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "shop"}}}
		if app != "" {
			service.Spec.Selector = map[string]string{"app": app}
		}
		s.services.OnAdd(service, false)
	}
	services := s.bind("services", all("v1", "Service", "shop"), func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Source.Metric.GroupAggregation = v1alpha1.GroupSum
	})
	s.tick()
	s.wantRequests(1)
	s.wantList(services, "api=80 web=30")
}

func TestAnExternalMetricIsAskedWithItsDimensions(t *testing.T) {
	s := ready(t)
	for _, method := range []string{"GET", "PUT"} {
		sysdigtest.Fill(s.sysdig.Store(), map[string]string{
			"__name__": sysdigtest.MetricHTTPRequests, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop",
			sysdigtest.LabelPod: "web-0", sysdigtest.LabelMethod: method,
		}, noon.Add(-15*time.Minute), noon.Add(time.Minute), func(time.Time) float64 { return perPod * 10 * float64(len(method)+strings.Count(method, "P")) })
	}
	external := s.bind("external", func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = nil
		b.Spec.Source.Metric.Dimensions = []v1alpha1.Dimension{"net.http.method"}
	})
	s.tick()
	s.wantRequests(1)
	s.wantValue(external, 7*perPod)
	put, err := labels.Parse("net.http.method=PUT")
	if err != nil {
		t.Fatal(err)
	}
	if _, sample, failure, _ := s.registry.Serve(external.Claim, put); failure != nil || sample.Value != 4*perPod || len(sample.Series) != 1 {
		t.Errorf("got %+v, %v; want what PUT alone is", sample, failure)
	}
	s.wantReason(s.bind("nothing", metricNamed("other"), func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Target = nil }), metric.Pending)
}
