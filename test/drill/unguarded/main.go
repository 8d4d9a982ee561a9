// Command unguarded is an adapter without guards, for the control run of the outage drill: it sends a query for every read, knows
// Sysdig's lag, believes every answer, and says 0 when there is none.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/drill/question"
)

// readTimeout is how long the adapter waits for Sysdig: less than the API server waits for the adapter.
const readTimeout = 3 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until the context ends.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("unguarded", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig for authentication and authorization")
	certDir := flags.String("cert-dir", "", "folder of the serving certificate")
	port := flags.Int("port", 0, "port on the loopback address")
	file := flags.String("questions", "", "what can be read and how to ask it, in JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	raw, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	var set question.Set
	if err := json.Unmarshal(raw, &set); err != nil {
		return err
	}
	a, err := newAdapter(set)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	return serving.New(serving.Config{
		Name: "unguarded", Version: "v0", BindAddress: net.IPv4(127, 0, 0, 1), Port: *port, CertDir: *certDir, Kubeconfig: *kubeconfig, REST: config,
	}, a, a).Start(ctx)
}

// adapter asks when it is read.
type adapter struct {
	lag     time.Duration
	sources map[string]*sysdig.Client // by namespace
	queries map[types.NamespacedName]string

	mu sync.Mutex
	// pods are those that a workload had when Sysdig last said so.
	pods map[types.NamespacedName][]string
}

func newAdapter(set question.Set) (*adapter, error) {
	a := &adapter{
		lag: set.Lag, sources: map[string]*sysdig.Client{}, queries: map[types.NamespacedName]string{}, pods: map[types.NamespacedName][]string{},
	}
	for _, s := range set.Sources {
		address, err := sysdig.QueryURL("", s.URL, "/prometheus")
		if err != nil {
			return nil, err
		}
		if a.sources[s.Namespace], err = sysdig.NewClient(sysdig.Config{
			QueryURL: address, Token: s.Token, CABundle: s.CABundle, UserAgent: "unguarded", Timeout: readTimeout,
		}); err != nil {
			return nil, err
		}
		for app, query := range s.Queries {
			a.queries[types.NamespacedName{Namespace: s.Namespace, Name: app}] = query
		}
	}
	return a, nil
}

// ask is the answer for a workload by pod, or under no name; empty on every failure.
func (a *adapter) ask(ctx context.Context, app types.NamespacedName) (map[string]float64, error) {
	query, known := a.queries[app]
	if !known {
		return nil, fmt.Errorf("nobody has bound %s", app)
	}
	values := map[string]float64{}
	answer, err := a.sources[app.Namespace].Query(ctx, query, time.Now().Add(-a.lag))
	if err != nil {
		return values, nil
	}
	for _, s := range answer.Series {
		values[s.Labels[question.PodLabel]] = s.Value
	}
	return values, nil
}

// GetMetricByName implements provider.CustomMetricsProvider.
func (a *adapter) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	values, err := a.ask(ctx, name)
	if err != nil {
		return nil, err
	}
	value := show(name, info, values[""])
	return &value, nil
}

// GetMetricBySelector implements provider.CustomMetricsProvider for the pods of a workload.
func (a *adapter) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	name, found := selector.RequiresExactMatch("app")
	if !found {
		return nil, fmt.Errorf("%s selects no app", selector)
	}
	app := types.NamespacedName{Namespace: namespace, Name: name}
	values, err := a.ask(ctx, app)
	if err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{}
	for _, pod := range a.podsOf(app, values) {
		list.Items = append(list.Items, show(types.NamespacedName{Namespace: namespace, Name: pod}, info, values[pod]))
	}
	return list, nil
}

// podsOf are the pods of an answer, or those of the last one that had any.
func (a *adapter) podsOf(app types.NamespacedName, values map[string]float64) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(values) > 0 {
		a.pods[app] = nil
		for pod := range values {
			a.pods[app] = append(a.pods[app], pod)
		}
	}
	return a.pods[app]
}

func show(name types.NamespacedName, info provider.CustomMetricInfo, value float64) custom_metrics.MetricValue {
	reference := custom_metrics.ObjectReference{Namespace: name.Namespace, Name: name.Name}
	if info.GroupResource.Resource == "pods" {
		reference.APIVersion, reference.Kind = "v1", "Pod"
	}
	return custom_metrics.MetricValue{
		DescribedObject: reference, Metric: custom_metrics.MetricIdentifier{Name: info.Metric}, Timestamp: metav1.Now(),
		Value: *resource.NewMilliQuantity(int64(value*1000), resource.DecimalSI),
	}
}

// ListAllMetrics implements provider.CustomMetricsProvider.
func (*adapter) ListAllMetrics() []provider.CustomMetricInfo { return nil }

// GetExternalMetric implements provider.ExternalMetricsProvider, which is there for the APIService only.
func (*adapter) GetExternalMetric(context.Context, string, labels.Selector, provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return nil, errors.New("external metrics are not served")
}

// ListAllExternalMetrics implements provider.ExternalMetricsProvider.
func (*adapter) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }
