// Package app is the composition root: it builds everything from the options and hands it to the manager. It is the only
// package that imports all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/controllers"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/egress"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// wrapUp is how long the rest of the shutdown may take when reads are no longer served.
const wrapUp = 5 * time.Second

// clientQPS bounds the requests to the API server per second.
const clientQPS = 50

// Run builds the operator and runs it until the context ends or a part of it fails.
func Run(ctx context.Context, o options.Options, version string) error {
	if err := setUpLogging(o); err != nil {
		return err
	}
	memory := limitMemory()
	config, err := restConfig(o)
	if err != nil {
		return err
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   cacheOptions(o),
		Metrics:                 metricsserver.Options{BindAddress: "0"}, // addEndpoints serves them, and the probes
		HealthProbeBindAddress:  "0",
		GracefulShutdownTimeout: new(o.ShutdownDelay + wrapUp),
	})
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	clk := clock.RealClock{}
	refused, err := serving.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("metrics of what is refused: %w", err)
	}
	a := &assembly{
		options: o, version: version, manager: mgr, clock: clk, started: clk.Now(), pods: pods.NewIndex(clk),
		refused: refused, isNode: serving.NodeAddresses(o.NodeAddresses), answers: answerMemory(memory),
	}
	a.objects, a.addresses = objects.NewIndex(a.pods), egress.NewAddresses(config.Host)
	a.registry = registry.New(clk, a.objects)
	for _, step := range []func(context.Context) error{a.addIndexes, a.addAutoscalers, a.addControllers, a.addReplicas, a.addPoller, a.addServing, a.addCertificates, a.addEndpoints} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the operator: %w", err)
	}
	return nil
}

// headroom is the part of the container's memory that is left to what Go's runtime does not count, such as stacks of the kernel and the
// pages of the program: a tenth, as others leave it.
const headroom = 10

// limitMemory keeps Go's runtime within the memory of the container, which is what GOMEMLIMIT is in the manifests. It returns the limit in
// bytes, and math.MaxInt64 without one.
func limitMemory() int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit != math.MaxInt64 {
		limit -= limit / headroom
		debug.SetMemoryLimit(limit)
	}
	return limit
}

// answerMemory is what answers of Sysdig may take of a memory limit: a quarter. To read them takes about as much again, so that half is
// left to the caches and to reads. Without a limit it is a quarter of that in the manifests.
func answerMemory(limit int64) *sysdig.Memory {
	if limit == math.MaxInt64 {
		limit = 512 << 20
	}
	return sysdig.NewMemory(limit / 4)
}

// Scheme knows every kind that the operator reads or writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), apiregistrationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

func setUpLogging(o options.Options) error {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(o.LogLevel)
	logger, err := config.Build()
	if err != nil {
		return fmt.Errorf("setting up the log: %w", err)
	}
	ctrl.SetLogger(zapr.NewLogger(logger))
	klog.SetLogger(zapr.NewLogger(logger))
	return nil
}

func restConfig(o options.Options) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("configuring the client of the API server: %w", err)
	}
	config.UserAgent = rest.DefaultKubernetesUserAgent()
	// client-go's own limit of 5 requests a second would let the bindings of one tenant delay those of all others; the API
	// server has limits of its own, with fairness.
	config.QPS, config.Burst = clientQPS, 2*clientQPS
	return config, nil
}

// cacheOptions keep the caches small: Secrets of our own namespace only and only those of tokens, and pods, Services, Namespaces and
// bindings without what nobody looks at.
func cacheOptions(o options.Options) cache.Options {
	tokens := cache.Config{FieldSelector: fields.OneTermEqualSelector("type", string(v1alpha1.SecretTypeToken))}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:                {Namespaces: map[string]cache.Config{o.Namespace: tokens}},
			&corev1.Pod{}:                   {Transform: pods.Strip},
			&corev1.Service{}:               {Transform: objects.StripService},
			&corev1.Namespace{}:             {Transform: objects.StripNamespace},
			&v1alpha1.SysdigMetricBinding{}: {Transform: (&controllers.Stripper{}).Strip},
		},
	}
}
