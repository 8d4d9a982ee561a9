// Command zeroes is the operator's data path with a provider that answers 0 in place of errors, as adapters used to, and an
// external metric below 0. It is the control run of the end-to-end tests: what happens without the rules that a failure is
// never a number, and that no external metric is negative.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

func main() {
	var p program
	flags := flag.NewFlagSet("zeroes", flag.ExitOnError)
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "path of the administrator's kubeconfig")
	flags.StringVar(&p.certDir, "cert-dir", "", "folder of the serving certificate")
	flags.IntVar(&p.port, "port", 0, "port of the aggregated API")
	flags.StringVar(&p.namespace, "namespace", "", "namespace of the binding")
	flags.StringVar(&p.name, "binding", "", "name of the binding of a Service")
	flags.StringVar(&p.token, "token", "", "token of the stand-in")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := p.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// zeroes is a provider that says 0 when it does not know.
type zeroes struct{ *provider.Provider }

func (z zeroes) GetMetricByName(ctx context.Context, name types.NamespacedName, info cmprovider.CustomMetricInfo, selector labels.Selector) (*custom_metrics.MetricValue, error) {
	value, err := z.Provider.GetMetricByName(ctx, name, info, selector)
	if err == nil {
		return value, nil
	}
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
	}, nil
}

// negative is a provider whose external metrics are all below 0.
type negative struct{}

// GetExternalMetric implements provider.ExternalMetricsProvider.
func (negative) GetExternalMetric(_ context.Context, _ string, _ labels.Selector, info cmprovider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		MetricName: info.Metric, Timestamp: metav1.Now(), Value: *resource.NewQuantity(-5, resource.DecimalSI),
	}}}, nil
}

// ListAllExternalMetrics implements provider.ExternalMetricsProvider.
func (negative) ListAllExternalMetrics() []cmprovider.ExternalMetricInfo {
	return []cmprovider.ExternalMetricInfo{{Metric: "negative"}}
}

type program struct {
	kubeconfig, certDir, namespace, name, token string
	port                                        int
}

// run serves one binding until the context ends.
func (p program) run(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := app.Scheme()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	board, err := p.board(ctx, c)
	if err != nil {
		return err
	}
	return p.serve(ctx, c, config, board)
}

// board is a registry with the binding and its connection.
func (p program) board(ctx context.Context, c client.Client) (*registry.Registry, error) {
	var b v1alpha1.SysdigMetricBinding
	if err := c.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: p.name}, &b); err != nil {
		return nil, err
	}
	var connection v1alpha1.SysdigConnection
	if err := c.Get(ctx, client.ObjectKey{Name: b.Spec.ConnectionRef.Name}, &connection); err != nil {
		return nil, err
	}
	endpoint := connection.Spec.Endpoint
	address, err := sysdig.QueryURL(endpoint.Region, endpoint.URL, endpoint.PrometheusPath)
	if err != nil {
		return nil, err
	}
	source, err := sysdig.NewClient(sysdig.Config{QueryURL: address, Token: p.token, CABundle: []byte(endpoint.CABundle), UserAgent: "zeroes", Timeout: 8 * time.Second})
	if err != nil {
		return nil, err
	}
	board := registry.New(clock.RealClock{}, noObjects{})
	board.PutConnection(registry.Connection{
		Name: connection.Name, Interval: connection.Spec.Interval.Duration, IngestionLag: connection.Spec.IngestionLag.Duration, Source: source,
		Heartbeat: query.Heartbeat{Metric: connection.Spec.HeartbeatMetric, Scope: query.ScopeOf(&connection)},
	})
	selector := labels.Set{"app": b.Spec.Target.Name}.String()
	board.Put(query.Compile(&b, &connection, query.Target{Resource: schema.GroupResource{Resource: "services"}, Selector: selector}))
	return board, nil
}

// serve polls and serves.
func (p program) serve(ctx context.Context, c client.Client, config *rest.Config, board *registry.Registry) error {
	pollerMetrics, err := poller.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return err
	}
	providerMetrics, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return err
	}
	clk := clock.RealClock{}
	server := serving.New(serving.Config{
		Name: "zeroes", Version: "test", BindAddress: net.IPv4(127, 0, 0, 1), Port: p.port, CertDir: p.certDir,
		Kubeconfig: p.kubeconfig, REST: config,
	}, zeroes{provider.New(board, clk, providerMetrics)}, negative{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return poller.New(clk, board, pods{c}, poller.Alone, pollerMetrics).Start(ctx) })
	group.Go(func() error { return server.Start(ctx) })
	return group.Wait()
}

// pods asks the API server which pods a Service selects.
type pods struct{ client client.Client }

// Selected implements query.Cluster.
func (p pods) Selected(namespace, selector string, _ time.Duration) ([]string, *metric.Failure) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var list corev1.PodList
	if err := p.client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: parsed}); err != nil {
		return nil, nil
	}
	names := make([]string, len(list.Items))
	for i, pod := range list.Items {
		names[i] = pod.Name
	}
	return names, nil
}

// Ready implements query.Cluster: no pod is missed.
func (pods) Ready(string, string, time.Time) map[metric.Workload][]string { return nil }

// Services implements query.Cluster: the binding is about one Service.
func (pods) Services(string, string) map[string]string { return nil }

// noObjects is for a registry whose binding names its object.
type noObjects struct{}

// Matches implements registry.Objects.
func (noObjects) Matches(schema.GroupResource, string, string, labels.Selector) bool { return false }

// Select implements registry.Objects.
func (noObjects) Select(schema.GroupResource, string, ...labels.Selector) []string { return nil }
