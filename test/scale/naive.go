package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync/atomic"
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
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// naiveCommand is the hidden subcommand that serves an adapter which asks when it is read.
const naiveCommand = "naive"

// readTimeout is how long such an adapter waits for Sysdig.
const readTimeout = time.Minute

// reads are what an adapter has answered.
type reads struct {
	Served, Failed int64
}

// naive is a provider that sends one query for each read.
type naive struct {
	source         *sysdig.Client
	queries        map[question]string
	served, failed atomic.Int64
}

// question is what is read.
type question struct {
	resource string
	object   types.NamespacedName
	metric   string
}

// question is how a read of the subject reaches a provider.
func (s subject) question() question {
	q := question{object: types.NamespacedName{Namespace: s.binding.Namespace, Name: s.object}, metric: s.quantity.served}
	switch s.binding.Spec.Target.Kind {
	case "Namespace":
		q.resource, q.object.Namespace = "namespaces", ""
	case "Service":
		q.resource = "services"
	default:
		q.resource = "deployments.apps"
	}
	return q
}

// GetMetricByName implements provider.CustomMetricsProvider.
func (n *naive) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	value, err := n.ask(ctx, question{resource: info.GroupResource.String(), object: name, metric: info.Metric})
	if err != nil {
		n.failed.Add(1)
		return nil, err
	}
	n.served.Add(1)
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
		Timestamp:       metav1.Now(),
		Value:           *resource.NewMilliQuantity(int64(value*1000), resource.DecimalSI),
	}, nil
}

func (n *naive) ask(ctx context.Context, q question) (float64, error) {
	promQL, known := n.queries[q]
	if !known {
		return 0, fmt.Errorf("nobody has bound %+v", q)
	}
	answer, err := n.source.Query(ctx, promQL, time.Now())
	if err != nil {
		return 0, err
	}
	if len(answer.Series) != 1 {
		return 0, fmt.Errorf("%d series answer %s", len(answer.Series), promQL)
	}
	return answer.Series[0].Value, nil
}

// GetMetricBySelector implements provider.CustomMetricsProvider. No HPA of the scene reads a set.
func (n *naive) GetMetricBySelector(context.Context, string, labels.Selector, provider.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValueList, error) {
	return nil, errors.New("sets are not served")
}

// ListAllMetrics implements provider.CustomMetricsProvider.
func (n *naive) ListAllMetrics() []provider.CustomMetricInfo { return nil }

// GetExternalMetric implements provider.ExternalMetricsProvider, which is there for the APIService only.
func (n *naive) GetExternalMetric(context.Context, string, labels.Selector, provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return nil, errors.New("external metrics are not served")
}

// ListAllExternalMetrics implements provider.ExternalMetricsProvider.
func (n *naive) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }

// serveNaive is the subcommand.
func serveNaive(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(naiveCommand, flag.ContinueOnError)
	bindings := flags.Int("bindings", 0, "the scene that is served")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig for authentication and authorization")
	certDir := flags.String("cert-dir", "", "folder of the serving certificate")
	port := flags.Int("port", 0, "port on the loopback address")
	url := flags.String("url", "", "address of Sysdig")
	bundle := flags.String("ca-bundle", "", "certificates of Sysdig, in base64")
	if err := flags.Parse(args); err != nil {
		return err
	}
	n, err := newNaive(*bindings, *url, *bundle)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	server := serving.New(serving.Config{
		Name: "naive", Version: "v0", BindAddress: net.IPv4(127, 0, 0, 1), Port: *port, CertDir: *certDir, Kubeconfig: *kubeconfig, REST: config,
	}, n, n)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- measure.Answer(in, out, func(string) (any, error) { return reads{n.served.Load(), n.failed.Load()}, nil })
		cancel()
	}()
	if err := server.Start(ctx); err != nil {
		return err
	}
	return <-ended
}

// newNaive knows the query of each subject of a scene.
func newNaive(bindings int, url, bundle string) (*naive, error) {
	s, err := newScene(bindings)
	if err != nil {
		return nil, err
	}
	address, err := sysdig.QueryURL("", url, "/prometheus")
	if err != nil {
		return nil, err
	}
	certificates, err := base64.StdEncoding.DecodeString(bundle)
	if err != nil {
		return nil, err
	}
	n := &naive{queries: map[question]string{}}
	for i := range s.bindings {
		of := s.subject(i)
		n.queries[of.question()] = of.perRead()
	}
	n.source, err = sysdig.NewClient(sysdig.Config{QueryURL: address, Token: token, CABundle: certificates, UserAgent: "naive", Timeout: readTimeout})
	return n, err
}

// startNaive starts the adapter where the APIServices find it.
func startNaive(ctx context.Context, s scene, from *standin, kubeconfig, certDir string, port int) (*measure.Child, error) {
	return measure.StartChild(ctx, naiveCommand, fmt.Sprintf("--bindings=%d", s.bindings), "--kubeconfig="+kubeconfig, "--cert-dir="+certDir,
		fmt.Sprintf("--port=%d", port), "--url="+from.URL, "--ca-bundle="+base64.StdEncoding.EncodeToString(from.CABundle))
}
