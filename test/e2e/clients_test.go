package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	custommetricsclient "k8s.io/metrics/pkg/client/custom_metrics"
	externalmetricsclient "k8s.io/metrics/pkg/client/external_metrics"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// reply is what both a client of Kubernetes and kubectl get --raw make of an answer: values, or an error.
type reply struct {
	Values []replied
	Code   int32
	Reason metav1.StatusReason
	Text   string
}

// replied is one value of a reply.
type replied struct {
	Object   string
	Metric   string
	Selector string
	Labels   string
	Time     time.Time
	Window   int64
	Value    string
}

// TestClientsAgree asks everything with the client libraries of Kubernetes, as the HPA does, and with kubectl get --raw: the
// same values, times, windows and selectors, and the same errors, in both versions of custom metrics.
func TestClientsAgree(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "clients", "clients")
	c.deployIdle("web", 2)
	c.attachMethods("web", 2, 80, methods)
	dimensions := []v1alpha1.Dimension{"net.http.method"}
	for name, target := range map[string]*v1alpha1.Target{
		"service":     {APIVersion: "v1", Kind: "Service", Name: "web"},
		"deployments": {APIVersion: "apps/v1", Kind: "Deployment", Selector: &v1alpha1.ObjectSelector{}},
		"pods":        {APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{}},
		"namespace":   {APIVersion: "v1", Kind: "Namespace"},
		"external":    nil,
	} {
		c.bind(name, func(s *v1alpha1.SysdigMetricBindingSpec) { s.Target, s.Source.Metric.Dimensions = target, dimensions })
	}
	c.bind("suspended", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Target.Name, s.MetricName, s.Suspend = "web", "suspended", true
	})
	c.bind("external-suspended", func(s *v1alpha1.SysdigMetricBindingSpec) { s.Target, s.MetricName, s.Suspend = nil, "suspended", true })
	c.eventuallyReady("suspended", "Suspended")
	for _, name := range []string{"service", "deployments", "pods", "namespace", "external"} {
		c.eventuallyReady(name, v1alpha1.ReasonServing)
	}
	for client, version := range map[custommetricsclient.CustomMetricsClient]string{
		c.customClient(&v1beta1.SchemeGroupVersion): "v1beta1",
		c.customClient(&v1beta2.SchemeGroupVersion): "v1beta2",
		c.customClient(nil):                         "v1beta2", // whatever discovery prefers
	} {
		for path, ask := range customQuestions(c) {
			want := c.rawReply("/apis/custom.metrics.k8s.io/" + version + "/namespaces/" + c.namespace + "/" + path)
			c.agree(version+" "+path, want, func() reply { return customReply(ask(client)) })
		}
	}
	external, err := externalmetricsclient.NewForConfig(c.stage.Cluster.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	for path, question := range map[string]struct{ metric, selector string }{
		metricName: {metricName, ""},
		metricName + "?labelSelector=net.http.method%3DGET":  {metricName, "net.http.method=GET"},
		metricName + "?labelSelector=net.http.method!%3DGET": {metricName, "net.http.method!=GET"},
		metricName + "?labelSelector=path%3Dx":               {metricName, "path=x"},
		"suspended":                                          {"suspended", ""},
		"unknown":                                            {"unknown", ""},
	} {
		c.agree("external "+path, c.rawReply(c.external(path)), func() reply {
			return externalReply(external.NamespacedMetrics(c.namespace).List(question.metric, selector(question.selector)))
		})
	}
}

// customQuestions are paths below a namespace, and how the client asks the same.
func customQuestions(c *scene) map[string]func(custommetricsclient.CustomMetricsClient) ([]v1beta2.MetricValue, error) {
	type answer = func(custommetricsclient.CustomMetricsClient) ([]v1beta2.MetricValue, error)
	one := func(group, kind, name, metric, series string) answer {
		return func(client custommetricsclient.CustomMetricsClient) ([]v1beta2.MetricValue, error) {
			value, err := client.NamespacedMetrics(c.namespace).GetForObject(schema.GroupKind{Group: group, Kind: kind}, name, metric, selector(series))
			if err != nil {
				return nil, err
			}
			return []v1beta2.MetricValue{*value}, nil
		}
	}
	many := func(group, kind, objects, metric, series string) answer {
		return func(client custommetricsclient.CustomMetricsClient) ([]v1beta2.MetricValue, error) {
			list, err := client.NamespacedMetrics(c.namespace).GetForObjects(schema.GroupKind{Group: group, Kind: kind}, selector(objects), metric, selector(series))
			if err != nil {
				return nil, err
			}
			return list.Items, nil
		}
	}
	namespace := func(metric string) answer {
		return func(client custommetricsclient.CustomMetricsClient) ([]v1beta2.MetricValue, error) {
			value, err := client.RootScopedMetrics().GetForObject(schema.GroupKind{Kind: "Namespace"}, c.namespace, metric, labels.Everything())
			if err != nil {
				return nil, err
			}
			return []v1beta2.MetricValue{*value}, nil
		}
	}
	const get, getQuery = "net.http.method=GET", "metricLabelSelector=net.http.method%3DGET"
	return map[string]answer{
		"services/web/" + metricName:                                                     one("", "Service", "web", metricName, ""),
		"services/web/" + metricName + "?" + getQuery:                                    one("", "Service", "web", metricName, get),
		"services/web/" + metricName + "?metricLabelSelector=path%3Dx":                   one("", "Service", "web", metricName, "path=x"),
		"services/other/" + metricName:                                                   one("", "Service", "other", metricName, ""),
		"services/web/unknown":                                                           one("", "Service", "web", "unknown", ""),
		"services/web/suspended":                                                         one("", "Service", "web", "suspended", ""),
		"services/*/" + metricName:                                                       many("", "Service", "", metricName, ""),
		"services/*/" + metricName + "?labelSelector=app%3Dnone":                         many("", "Service", "app=none", metricName, ""),
		"deployments.apps/web/" + metricName:                                             one("apps", "Deployment", "web", metricName, ""),
		"deployments.apps/*/" + metricName + "?" + getQuery:                              many("apps", "Deployment", "", metricName, get),
		"pods/*/" + metricName + "?labelSelector=app%3Dweb":                              many("", "Pod", "app=web", metricName, ""),
		"pods/*/" + metricName + "?labelSelector=app+in+(web,db)&" + getQuery:            many("", "Pod", "app in (web,db)", metricName, get),
		"pods/*/" + metricName + "?labelSelector=app%3Ddb":                               many("", "Pod", "app=db", metricName, ""),
		"pods/*/" + metricName + "?labelSelector=app%3Dweb&metricLabelSelector=path%3Dx": many("", "Pod", "app=web", metricName, "path=x"),
		"pods/*/unknown":        many("", "Pod", "", "unknown", ""),
		"metrics/" + metricName: namespace(metricName),
		"metrics/unknown":       namespace("unknown"),
	}
}

// agree asks both until they agree: a newer value may arrive between the two.
func (c *scene) agree(what string, raw, client func() reply) {
	c.t.Helper()
	var diff string
	c.eventually(what, func(context.Context) error {
		want, got := raw(), client()
		if diff = cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-raw +client):\n%s", diff)
		}
		if len(want.Values) == 0 && want.Code != 404 && want.Code != 503 {
			return fmt.Errorf("it is neither a value nor 404 nor 503: %+v", want)
		}
		return nil
	})
}

func selector(text string) labels.Selector {
	parsed, err := labels.Parse(text)
	if err != nil {
		panic(err)
	}
	return parsed
}

// customClient is the library's client of a version, or of the one that it finds in discovery.
func (c *scene) customClient(version *schema.GroupVersion) custommetricsclient.CustomMetricsClient {
	c.t.Helper()
	config, mapper := c.stage.Cluster.AdminConfig(), c.stage.Client.RESTMapper()
	if version == nil {
		return custommetricsclient.NewForConfig(config, mapper, custommetricsclient.NewAvailableAPIsGetter(discovery.NewDiscoveryClientForConfigOrDie(config)))
	}
	client, err := custommetricsclient.NewForVersionForConfig(config, mapper, *version)
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

// rawReply reads a path without any library of metrics.
func (c *scene) rawReply(path string) func() reply {
	return func() reply {
		clientset, err := kubernetes.NewForConfig(c.stage.Cluster.AdminConfig())
		if err != nil {
			return reply{Text: err.Error()}
		}
		body, err := clientset.RESTClient().Get().RequestURI(path).DoRaw(c.t.Context())
		if err != nil {
			var status metav1.Status
			if json.Unmarshal(body, &status) != nil {
				return reply{Text: err.Error()}
			}
			return reply{Code: status.Code, Reason: status.Reason, Text: status.Message}
		}
		var list struct {
			Items []struct {
				DescribedObject struct{ APIVersion, Kind, Namespace, Name string }
				MetricName      string // of v1beta1, and of external metrics
				MetricLabels    map[string]string
				Selector        *metav1.LabelSelector // of v1beta1
				Metric          struct {
					Name     string
					Selector *metav1.LabelSelector
				}
				Timestamp     time.Time
				Window        *int64 // of v1beta1, and of external metrics
				WindowSeconds *int64
				Value         string
			}
		}
		if err := json.Unmarshal(body, &list); err != nil {
			return reply{Text: err.Error()}
		}
		var r reply
		for _, i := range list.Items {
			v := replied{Metric: i.MetricName + i.Metric.Name, Labels: labels.Set(i.MetricLabels).String(), Time: i.Timestamp, Value: i.Value}
			if o := i.DescribedObject; o.Name != "" {
				v.Object = o.APIVersion + " " + o.Kind + " " + o.Namespace + "/" + o.Name
			}
			for _, s := range []*metav1.LabelSelector{i.Selector, i.Metric.Selector} {
				if s != nil {
					v.Selector = metav1.FormatLabelSelector(s)
				}
			}
			for _, w := range []*int64{i.Window, i.WindowSeconds} {
				if w != nil {
					v.Window = *w
				}
			}
			r.Values = append(r.Values, v)
		}
		return r
	}
}

func customReply(values []v1beta2.MetricValue, err error) reply {
	r := failed(err)
	for _, i := range values {
		o := i.DescribedObject
		v := replied{
			Object: o.APIVersion + " " + o.Kind + " " + o.Namespace + "/" + o.Name,
			Metric: i.Metric.Name, Time: i.Timestamp.UTC(), Value: i.Value.String(),
		}
		if i.Metric.Selector != nil {
			v.Selector = metav1.FormatLabelSelector(i.Metric.Selector)
		}
		if i.WindowSeconds != nil {
			v.Window = *i.WindowSeconds
		}
		r.Values = append(r.Values, v)
	}
	return r
}

func externalReply(list *externalv1beta1.ExternalMetricValueList, err error) reply {
	r := failed(err)
	if list == nil {
		return r
	}
	for _, i := range list.Items {
		v := replied{Metric: i.MetricName, Labels: labels.Set(i.MetricLabels).String(), Time: i.Timestamp.UTC(), Value: i.Value.String()}
		if i.WindowSeconds != nil {
			v.Window = *i.WindowSeconds
		}
		r.Values = append(r.Values, v)
	}
	return r
}

func failed(err error) reply {
	if err == nil {
		return reply{}
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return reply{Code: status.Status().Code, Reason: status.Status().Reason, Text: status.Status().Message}
	}
	return reply{Text: err.Error()}
}
