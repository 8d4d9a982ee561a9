package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// The providers that serve can run. The garbage collector works the more often the less a process holds, so there is one
// that does nothing and holds as much as ours.
const (
	ours     = "registry"
	noop     = "noop"
	noopFull = "noop-full"
)

// kinds are all providers, ours first.
func kinds() []string { return []string{ours, noop, noopFull} }

// usage is what the serving process has used since it started.
type usage struct {
	CPU         time.Duration // user and system
	Bytes       uint64        // allocated
	Allocations uint64
	Collections uint32
}

// serve runs one API server of a scene until its input ends. Each line of input is answered by a line with the usage so far.
func serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	sceneName := flags.String("scene", byName, "what is served")
	kind := flags.String("provider", ours, strings.Join(kinds(), ", "))
	port := flags.Int("port", 0, "port on the loopback address")
	certificates := flags.String("certificates", "", "folder of the serving certificate")
	kubeconfig := flags.String("kubeconfig", "", "who authenticates and authorizes; nobody by default")
	broad := flags.String("broad-readers", "", "users with broad reviews")
	if err := flags.Parse(args); err != nil {
		return err
	}
	of, err := sceneOf(*sceneName)
	if err != nil {
		return err
	}
	custom, external, err := newProviders(of, *kind)
	if err != nil {
		return err
	}
	config := serving.Config{
		Name: "bench", Version: "v0", BindAddress: net.IPv4(127, 0, 0, 1), Port: *port, CertDir: *certificates, Kubeconfig: *kubeconfig,
		REST: &rest.Config{Host: "https://127.0.0.1:1"}, Insecure: *kubeconfig == "", // nobody is asked
	}
	if *broad != "" {
		config.BroadReaders = strings.Split(*broad, ",")
	}
	if *kubeconfig != "" {
		if config.REST, err = clientcmd.BuildConfigFromFlags("", *kubeconfig); err != nil {
			return fmt.Errorf("who authorizes: %w", err)
		}
	}
	server := serving.New(config, custom, external)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- reportUsage(in, out)
		cancel()
	}()
	if err := server.Start(ctx); err != nil {
		return err
	}
	return <-ended
}

// reportUsage answers every question with the usage so far.
func reportUsage(in io.Reader, out io.Writer) error {
	return measure.Answer(in, out, func(string) (any, error) {
		var spent syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &spent); err != nil {
			return nil, fmt.Errorf("usage of this process: %w", err)
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return usage{
			CPU:   time.Duration(spent.Utime.Nano() + spent.Stime.Nano()),
			Bytes: memory.TotalAlloc, Allocations: memory.Mallocs, Collections: memory.NumGC,
		}, nil
	})
}

// newProviders are what a server answers from. Those that do nothing have no external metrics.
func newProviders(of scene, kind string) (upstream.CustomMetricsProvider, upstream.ExternalMetricsProvider, error) {
	if !slices.Contains(kinds(), kind) {
		return nil, nil, fmt.Errorf("no provider %q", kind)
	}
	c, err := of.fill()
	if err != nil {
		return nil, nil, err
	}
	c.want = nil // for its size
	p, err := c.newProvider()
	if err != nil || kind == ours {
		return p, p, err
	}
	nothing := idle{answer: constant()}
	if of.items > 1 {
		if nothing.list, err = c.readSet(p); err != nil {
			return nil, nil, err
		}
	}
	if kind == noopFull {
		nothing.held = c.board
	}
	return nothing, nil, nil
}

// idle answers every read with the same value, or with the same list as ours, and looks nothing up.
type idle struct {
	answer *custom_metrics.MetricValue
	list   *custom_metrics.MetricValueList // nil in a scene without sets
	held   any                             // for its size
}

func (p idle) GetMetricByName(context.Context, types.NamespacedName, upstream.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValue, error) {
	return p.answer, nil
}

func (p idle) GetMetricBySelector(context.Context, string, labels.Selector, upstream.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValueList, error) {
	return &custom_metrics.MetricValueList{Items: p.list.Items}, nil // the library writes to the list, not to its items
}

func (p idle) ListAllMetrics() []upstream.CustomMetricInfo {
	return []upstream.CustomMetricInfo{provider.Placeholder()}
}

// constant is an answer of the size of ours.
func constant() *custom_metrics.MetricValue {
	window := int64(60)
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "team-payments-000", Name: "checkout-backend-0"},
		Metric:          custom_metrics.MetricIdentifier{Name: "net.http.request.count"},
		Timestamp:       metav1.Now(),
		WindowSeconds:   &window,
		Value:           *resource.NewMilliQuantity(5000500, resource.DecimalSI),
	}
}
