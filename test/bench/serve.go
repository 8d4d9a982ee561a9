package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/utils/clock"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
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

// serve runs one API server until its input ends. Each line of input is answered by a line with the usage so far.
func serve(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet(serveCommand, flag.ContinueOnError)
	kind := flags.String("provider", ours, strings.Join(kinds(), ", "))
	port := flags.Int("port", 0, "port on the loopback address")
	certificates := flags.String("certificates", "", "folder of the serving certificate")
	if err := flags.Parse(args); err != nil {
		return err
	}
	served, err := newProvider(*kind)
	if err != nil {
		return err
	}
	server := serving.New(serving.Config{
		Name: "bench", Version: "v0", BindAddress: net.IPv4(127, 0, 0, 1), Port: *port, CertDir: *certificates,
		REST: &rest.Config{Host: "https://127.0.0.1:1"}, Insecure: true, // nobody is asked
	}, served, nil)
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

func reportUsage(in io.Reader, out io.Writer) error {
	encoder := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var spent syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &spent); err != nil {
			return fmt.Errorf("usage of this process: %w", err)
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		if err := encoder.Encode(usage{
			CPU:   time.Duration(spent.Utime.Nano() + spent.Stime.Nano()),
			Bytes: memory.TotalAlloc, Allocations: memory.Mallocs, Collections: memory.NumGC,
		}); err != nil {
			return fmt.Errorf("telling the usage: %w", err)
		}
	}
	return nil
}

func newProvider(kind string) (upstream.CustomMetricsProvider, error) {
	if kind == noop {
		return idle{answer: constant()}, nil
	}
	board, _, err := filled()
	if err != nil {
		return nil, err
	}
	switch kind {
	case noopFull:
		return idle{answer: constant(), held: board}, nil
	case ours:
		metrics, err := provider.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			return nil, err
		}
		return provider.New(board, clock.RealClock{}, metrics), nil
	default:
		return nil, fmt.Errorf("no provider %q", kind)
	}
}

// idle answers every read with the same value and looks nothing up.
type idle struct {
	answer *custom_metrics.MetricValue
	held   any // for its size
}

func (p idle) GetMetricByName(context.Context, types.NamespacedName, upstream.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValue, error) {
	return p.answer, nil
}

func (p idle) GetMetricBySelector(context.Context, string, labels.Selector, upstream.CustomMetricInfo, labels.Selector) (*custom_metrics.MetricValueList, error) {
	return &custom_metrics.MetricValueList{}, nil
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
