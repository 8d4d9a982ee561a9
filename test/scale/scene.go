package main

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	clusterName = "scale"
	// replicas is what every autoscaled object has, and with every value should keep.
	replicas   = 2
	podsPerApp = 2
	// perApp is how many metrics of an app are bound, of its Deployment and of its Service each: all that there are.
	perApp = 8
	// ofNamespaces is how many metrics are bound to whole namespaces at most.
	ofNamespaces = 4
)

// quantity is one of Sysdig's metrics.
type quantity struct {
	series, served string // as PromQL calls it, and as HPAs do
	rate           bool   // it counts, and what is served is per second
}

// quantities are those of an app. The first ones are bound to namespaces, too.
func quantities() []quantity {
	return []quantity{
		{"sysdig_container_net_http_request_count", "net.http.request.count", true},
		{"sysdig_container_net_http_error_count", "net.http.error.count", true},
		{"sysdig_container_cpu_cores_used", "cpu.cores.used", false},
		{"sysdig_container_memory_used_bytes", "memory.bytes.used", false},
		{"sysdig_container_net_in_bytes", "net.bytes.in", true},
		{"sysdig_container_net_out_bytes", "net.bytes.out", true},
		{"sysdig_container_net_http_request_time", "net.http.request.time", false},
		{"sysdig_container_net_connection_total_count", "net.connection.count.total", false},
	}
}

// scene is as many bindings in as many namespaces. Its 20 shapes are 8 metrics of Deployments, the same of Services and 4 of
// namespaces; each namespace has some of them.
type scene struct {
	bindings, namespaces int
}

// newScene spreads bindings over 200 namespaces, or fewer so that each has at least 5.
func newScene(bindings int) (scene, error) {
	s := scene{bindings: bindings, namespaces: min(200, bindings/5)}
	if s.namespaces < 1 || bindings%s.namespaces != 0 || s.each() > 2*perApp*10 {
		return s, fmt.Errorf("%d bindings cannot be spread evenly over namespaces: say 5 to 1,000, or a multiple of 200 up to 32,000", bindings)
	}
	return s, nil
}

// each is the number of bindings in a namespace, and whole how many of them are about the namespace.
func (s scene) each() int  { return s.bindings / s.namespaces }
func (s scene) whole() int { return max(1, min(ofNamespaces, s.each()/10)) }

// apps is the number of apps in a namespace.
func (s scene) apps() int {
	places := (s.each() - s.whole() + 1) / 2
	return (places + perApp - 1) / perApp
}

// pods is the number of pods in all.
func (s scene) pods() int { return s.namespaces * s.apps() * podsPerApp }

// subject is a binding and what is known of it.
type subject struct {
	binding *v1alpha1.SysdigMetricBinding
	// object is the name of what the value describes, and app its pods; of a namespace, all of them.
	object, app string
	quantity    quantity
	// value is what must be served.
	value float64
}

// namespace is the name of the n-th.
func namespace(n int) string { return fmt.Sprintf("team-payments-%03d", n) }

// app is the name of the a-th app of a namespace.
func app(a int) string { return fmt.Sprintf("checkout-backend-%d", a) }

// podName is the name of the p-th pod of an app.
func podName(app string, p int) string { return fmt.Sprintf("%s-%d", app, p) }

// perPod is what each pod of an app measures: a whole number that no other app has for any metric, per second where the metric
// counts.
func (s scene) perPod(n, a, q int) float64 { return float64(1 + (n*s.apps()+a)*perApp + q) }

// subject is the i-th.
func (s scene) subject(i int) subject {
	n, slot := i/s.each(), i%s.each()
	if slot < s.whole() {
		q := (n*s.whole() + slot) % ofNamespaces
		value := 0.0
		for a := range s.apps() {
			value += podsPerApp * s.perPod(n, a, q)
		}
		return newSubject(n, namespace(n), "", v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}, q, value)
	}
	place := (slot - s.whole()) / 2
	half := (s.each() - s.whole()) / 2
	a, q := place/perApp, (place+n*half)%perApp
	target := v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: app(a)}
	if (slot-s.whole())%2 == 1 {
		target = v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: app(a)}
	}
	return newSubject(n, app(a), app(a), target, q, podsPerApp*s.perPod(n, a, q))
}

func newSubject(n int, object, app string, target v1alpha1.Target, q int, value float64) subject {
	of, window := quantities()[q], time.Minute
	if app == "" {
		window *= 2 // another window is another shape
	}
	aggregation := v1alpha1.TimeAverage
	if of.rate {
		aggregation = v1alpha1.TimeRate
	}
	return subject{
		object: object, app: app, quantity: of, value: value,
		binding: &v1alpha1.SysdigMetricBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace(n), Name: fmt.Sprintf("%s-%s-%s", strings.ToLower(target.Kind), object, of.served)},
			Spec: v1alpha1.SysdigMetricBindingSpec{
				Target: &target, MetricName: of.served,
				Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
					Name: of.series, TimeAggregation: aggregation, GroupAggregation: v1alpha1.GroupSum, Window: metav1.Duration{Duration: window},
				}},
			},
		},
	}
}

// path is where the value is read.
func (s subject) path() string {
	root := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + s.binding.Namespace
	switch s.binding.Spec.Target.Kind {
	case "Namespace":
		return root + "/metrics/" + s.quantity.served
	case "Service":
		return root + "/services/" + s.object + "/" + s.quantity.served
	default:
		return root + "/deployments.apps/" + s.object + "/" + s.quantity.served
	}
}

// perRead is the query that an adapter sends which asks when it is read: one for each object. A window that ends now lacks the
// points that are on their way, so a rate is taken of those that are there.
func (s subject) perRead() string {
	matchers := fmt.Sprintf(`%s=%q,%s=%q`, sysdigtest.LabelCluster, clusterName, sysdigtest.LabelNamespace, s.binding.Namespace)
	if s.app != "" {
		matchers += fmt.Sprintf(`,%s=%q`, sysdigtest.LabelWorkloadName, s.app)
	}
	query := fmt.Sprintf(`sum(avg_over_time(%s{%s}[1m]))`, s.quantity.series, matchers)
	if s.quantity.rate {
		query += fmt.Sprintf(" / %v", sysdigtest.Interval.Seconds())
	}
	return query
}

// series are those of all pods, with values that stay.
func (s scene) series() []series {
	var all []series
	for n := range s.namespaces {
		for a := range s.apps() {
			for p := range podsPerApp {
				all = append(all, constant("sysdig_container_up", namespace(n), app(a), podName(app(a), p), 1))
				for i, q := range quantities() {
					value := s.perPod(n, a, i)
					if q.rate {
						value *= sysdigtest.Interval.Seconds()
					}
					all = append(all, constant(q.series, namespace(n), app(a), podName(app(a), p), value))
				}
			}
		}
	}
	return all
}

// series is one series of the stand-in and its value over time.
type series struct {
	labels map[string]string
	value  func(time.Time) float64
}

// constant is a series of a pod of a Deployment, behind a Service of the same name.
func constant(name, namespace, app, pod string, value float64) series {
	return series{
		labels: map[string]string{
			"__name__": name, sysdigtest.LabelCluster: clusterName, sysdigtest.LabelNamespace: namespace, sysdigtest.LabelPod: pod,
			sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: app, sysdigtest.LabelService: app, sysdigtest.LabelContainer: "app",
		},
		value: func(time.Time) float64 { return value },
	}
}
