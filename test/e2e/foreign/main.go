// Command foreign is somebody else's adapter: it serves one custom and one external metric, always with the same value, and
// knows nothing of bindings. It is whom the end-to-end tests live together with.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

func main() {
	var p program
	flags := flag.NewFlagSet("foreign", flag.ExitOnError)
	flags.StringVar(&p.kubeconfig, "kubeconfig", "", "path of the administrator's kubeconfig")
	flags.StringVar(&p.certDir, "cert-dir", "", "folder of the serving certificate")
	flags.IntVar(&p.port, "port", 0, "port of the aggregated API")
	flags.StringVar(&p.metric, "metric", "", "name of the metric, in both APIs")
	flags.Int64Var(&p.custom, "custom", 0, "value in custom.metrics.k8s.io, of every object")
	flags.Int64Var(&p.external, "external", 0, "value in external.metrics.k8s.io")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := p.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// program is the adapter, and the provider of both of its APIs.
type program struct {
	kubeconfig, certDir, metric string
	port                        int
	custom, external            int64
}

func (p program) run(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	if err != nil {
		return err
	}
	return serving.New(serving.Config{
		Name: "foreign", Version: "test", BindAddress: net.IPv4(127, 0, 0, 1), Port: p.port, CertDir: p.certDir,
		Kubeconfig: p.kubeconfig, REST: config,
	}, p, p).Start(ctx)
}

func (p program) GetMetricByName(_ context.Context, name types.NamespacedName, info cmprovider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	if info.Metric != p.metric {
		return nil, cmprovider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
		Timestamp:       metav1.Now(),
		Value:           *resource.NewQuantity(p.custom, resource.DecimalSI),
	}, nil
}

func (p program) GetMetricBySelector(_ context.Context, _ string, _ labels.Selector, info cmprovider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	return nil, cmprovider.NewMetricNotFoundError(info.GroupResource, info.Metric)
}

func (p program) ListAllMetrics() []cmprovider.CustomMetricInfo {
	return []cmprovider.CustomMetricInfo{{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: p.metric}}
}

func (p program) GetExternalMetric(_ context.Context, _ string, _ labels.Selector, info cmprovider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	if info.Metric != p.metric {
		return nil, cmprovider.NewMetricNotFoundError(external_metrics.Resource("externalmetrics"), info.Metric)
	}
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{
		MetricName: info.Metric, Timestamp: metav1.Now(), Value: *resource.NewQuantity(p.external, resource.DecimalSI),
	}}}, nil
}

func (p program) ListAllExternalMetrics() []cmprovider.ExternalMetricInfo {
	return []cmprovider.ExternalMetricInfo{{Metric: p.metric}}
}
