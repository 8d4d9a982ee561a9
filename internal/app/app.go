// Package app is the composition root: it builds everything from the options and hands it to the manager. It is the only
// package that imports all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/zapr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/controllers"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/egress"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/replicas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
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
	saveMemory()
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
	a := &assembly{options: o, version: version, manager: mgr, clock: clk, started: clk.Now(), pods: pods.NewIndex(clk), refused: refused}
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

// garbage is how much of it may gather, in percent of what is in use, unless GOGC says otherwise. What is in use are caches that
// change little: a third of Go's default saves a third of the memory and costs some ten collections a minute.
const garbage = 33

func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
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

// otherSecrets are types of Secrets that may be large or many beside the operator, and hold no token of Sysdig's.
func otherSecrets() fields.Selector {
	return fields.AndSelectors(
		fields.OneTermNotEqualSelector("type", "helm.sh/release.v1"),
		fields.OneTermNotEqualSelector("type", string(corev1.SecretTypeServiceAccountToken)),
		fields.OneTermNotEqualSelector("type", string(corev1.SecretTypeDockerConfigJson)),
	)
}

// cacheOptions keep the caches small: Secrets of our own namespace only and only such as may be meant, and pods and bindings without what nobody looks at.
func cacheOptions(o options.Options) cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:                {Namespaces: map[string]cache.Config{o.Namespace: {FieldSelector: otherSecrets()}}},
			&corev1.Pod{}:                   {Transform: pods.Strip},
			&v1alpha1.SysdigMetricBinding{}: {Transform: (&controllers.Stripper{}).Strip},
		},
	}
}

// assembly is what the parts share while they are put together.
type assembly struct {
	options  options.Options
	version  string
	manager  manager.Manager
	clock    clock.WithTicker
	started  time.Time
	pods     *pods.Index
	objects  *objects.Index
	registry *registry.Registry
	// replicas tells the part of this replica in what all of them ask.
	replicas *replicas.Membership
	refused  *serving.Metrics
	// addresses are those of the cluster, to which no endpoint may lead.
	addresses *egress.Addresses
	// indexed tells whether the indexes know all pods and Services.
	indexed []toolscache.InformerSynced
}

// addIndexes fills the indexes of what is always watched.
func (a *assembly) addIndexes(ctx context.Context) error {
	for object, handler := range map[client.Object]toolscache.ResourceEventHandler{
		&corev1.Pod{}:     a.pods,
		&corev1.Service{}: a.objects.Feed(schema.GroupResource{Resource: "services"}),
	} {
		informer, err := a.manager.GetCache().GetInformer(ctx, object)
		if err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
		for _, each := range []toolscache.ResourceEventHandler{handler, a.addresses} {
			watch, err := informer.AddEventHandler(each)
			if err != nil {
				return fmt.Errorf("watching %T: %w", object, err)
			}
			a.indexed = append(a.indexed, watch.HasSynced)
		}
	}
	return nil
}

// addAutoscalers adds what knows the HPAs, by themselves: nothing waits for them, since an older ClusterRole does not allow them.
func (a *assembly) addAutoscalers(context.Context) error {
	client, err := autoscalingclient.NewForConfig(a.manager.GetConfig())
	if err != nil {
		return fmt.Errorf("client of HPAs: %w", err)
	}
	watch := hpas.NewWatch(client)
	a.registry.ServeBoundsTo(watch)
	return a.manager.Add(watch)
}

// cluster answers what reading an answer of Sysdig has to know of objects.
type cluster struct {
	*pods.Index
	objects *objects.Index
}

// Services implements query.Cluster. A selector that cannot be parsed matches nothing; it was refused before.
func (c cluster) Services(namespace, selector string) map[string]string {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil
	}
	services := map[string]string{}
	for _, s := range c.objects.Services(namespace, parsed) {
		services[s.Name] = s.Selector
	}
	return services
}

func (a *assembly) addControllers(ctx context.Context) error {
	c, mapper := a.manager.GetClient(), a.manager.GetRESTMapper()
	bindings, connections := &controllers.Notifier{}, &controllers.Notifier{}
	a.registry.Listen(bindings.Notify)
	a.registry.ListenConnections(func(name string) { connections.Notify(types.NamespacedName{Name: name}) })
	elector, err := a.elector()
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(a.manager.GetConfig())
	if err != nil {
		return fmt.Errorf("client of access reviews: %w", err)
	}
	// A cache of its own: starting a controller waits for all informers of the manager's, and the kind of somebody's target
	// may never be listed.
	targets, err := cache.New(a.manager.GetConfig(), cache.Options{
		Scheme: a.manager.GetScheme(), Mapper: mapper, HTTPClient: a.manager.GetHTTPClient(), DefaultTransform: objects.Strip,
	})
	if err != nil {
		return fmt.Errorf("cache of targets: %w", err)
	}
	kinds := objects.NewKinds(a.clock, a.objects, targets, clientset.AuthorizationV1().SelfSubjectAccessReviews())
	writes := controllers.NewBudget(a.clock, controllers.WritesPerSecond, 2*controllers.WritesPerSecond)
	told, err := controllers.NewEvents(clientset.EventsV1(), writes, a.clock, metrics.Registry)
	if err != nil {
		return fmt.Errorf("metrics of Events: %w", err)
	}
	recorder := told.Recorder(a.manager.GetScheme(), "sysdig-metrics-operator")
	statuses := &controllers.StatusReconciler{
		Client: c, Clock: a.clock, Standings: a.registry, Leader: elector, Events: recorder, Notifier: bindings, Writes: writes,
	}
	return errors.Join(
		a.manager.Add(everyReplica(targets.Start)),
		a.manager.Add(elector),
		(&controllers.ConnectionReconciler{
			Client: c, Namespace: a.options.Namespace, Connections: a.registry, UserAgent: "sysdig-metrics-operator/" + a.version,
			Permit: egress.Policy{Allowed: a.options.AllowEndpointNetworks, Cluster: a.addresses}.Check,
		}).SetupWithManager(a.manager),
		(&controllers.BindingReconciler{Client: c, Mapper: mapper, Definitions: a.registry, Kinds: kinds}).SetupWithManager(ctx, a.manager),
		a.manager.Add(told),
		statuses.SetupWithManager(a.manager),
		a.manager.Add(&controllers.Sweep{Clock: a.clock, Leader: elector, Board: a.registry, Statuses: statuses}),
		(&controllers.ConnectionStatusReconciler{
			Client: c, Clock: a.clock, Health: a.registry, Leader: elector, Events: recorder, Notifier: connections, Writes: writes,
		}).SetupWithManager(a.manager),
	)
}

func (a *assembly) elector() (*controllers.Elector, error) {
	elector := &controllers.Elector{Elected: a.registry.TellAll}
	if !a.options.LeaderElect {
		return elector, nil
	}
	identity, err := identity()
	if err != nil {
		return nil, err
	}
	leases, err := coordinationv1.NewForConfig(a.manager.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("client of leases: %w", err)
	}
	elector.Lock = &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: a.options.Namespace, Name: "sysdig-metrics-operator-status"},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}
	return elector, nil
}

// identity tells this replica from the others.
func identity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("leader election needs a host name: %w", err)
	}
	return fmt.Sprintf("%s_%d", host, os.Getpid()), nil
}

// addReplicas adds what finds the other replicas. Without leader election there are none.
func (a *assembly) addReplicas(context.Context) error {
	config := replicas.Config{Clock: a.clock, Namespace: a.options.Namespace}
	if a.options.LeaderElect {
		var err error
		if config.Identity, err = identity(); err != nil {
			return err
		}
		if config.Client, err = kubernetes.NewForConfig(a.manager.GetConfig()); err != nil {
			return fmt.Errorf("client of the replicas' leases: %w", err)
		}
	}
	a.replicas = replicas.New(config)
	return a.manager.Add(a.replicas)
}

func (a *assembly) addPoller(context.Context) error {
	pollerMetrics, err := poller.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("metrics of the poller: %w", err)
	}
	share := func() poller.Share {
		s := a.replicas.Share()
		return poller.Share{Rank: s.Rank, Count: s.Count}
	}
	p := poller.New(a.clock, a.registry, cluster{a.pods, a.objects}, share, pollerMetrics)
	return a.manager.Add(everyReplica(func(ctx context.Context) error {
		// A Service must not be resolved from half of its pods.
		if !toolscache.WaitForCacheSync(ctx.Done(), a.indexed...) {
			return nil
		}
		a.gather(ctx)
		return p.Start(ctx)
	}))
}

// gathering is how long the first round waits at most for what makes it one round: all bindings, and who else asks.
const gathering = 10 * time.Second

// gather waits until all bindings are compiled and the other replicas are known, so that the first round asks for everything at
// once and within this replica's share of the quota.
func (a *assembly) gather(ctx context.Context) {
	// That not all is known in time is no reason not to begin.
	_ = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, gathering, true, func(ctx context.Context) (bool, error) {
		return a.compiled(ctx) == nil && a.replicas.Share().Known, nil
	})
}

// addServing adds what serves the APIs and what watches whether HPAs reach us.
func (a *assembly) addServing(context.Context) error {
	providerMetrics, err := provider.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("metrics of the provider: %w", err)
	}
	if err := metrics.Registry.Register(registry.NewCollector(a.registry)); err != nil {
		return fmt.Errorf("metrics of the registry: %w", err)
	}
	answers := provider.New(a.registry, a.clock, providerMetrics)
	var custom cmprovider.CustomMetricsProvider
	var external cmprovider.ExternalMetricsProvider
	if a.options.Serves(metric.CustomMetrics) {
		custom = answers
	}
	if a.options.Serves(metric.ExternalMetrics) {
		external = answers
	}
	return errors.Join(
		(&controllers.RouteReconciler{
			Client: a.manager.GetClient(), Routes: a.registry, Serve: a.options.Serve, Service: a.service(),
		}).SetupWithManager(a.manager),
		a.manager.Add(serving.New(serving.Config{
			Name: "sysdig-metrics-operator", Version: a.version,
			BindAddress: a.options.BindAddress, Port: a.options.SecurePort, CertDir: a.options.CertDir,
			Kubeconfig: a.options.Kubeconfig, REST: a.manager.GetConfig(), BroadReaders: a.options.BroadReaders,
			MinTLSVersion: a.options.MinTLSVersion, ShutdownDelay: a.options.ShutdownDelay, Metrics: a.refused,
		}, custom, external)),
	)
}

// service is the Service that our APIServices point to.
func (a *assembly) service() types.NamespacedName {
	return types.NamespacedName{Namespace: a.options.Namespace, Name: a.options.ServiceName}
}

// addCertificates adds what issues and rotates the serving certificate and tells our APIServices of its authority, unless
// something else does.
func (a *assembly) addCertificates(ctx context.Context) error {
	if !a.options.ManageCertificates {
		return nil
	}
	secret := types.NamespacedName{Namespace: a.options.Namespace, Name: a.options.CertSecret}
	direct, err := client.New(a.manager.GetConfig(), client.Options{Scheme: a.manager.GetScheme()})
	if err != nil {
		return fmt.Errorf("client of the API server: %w", err)
	}
	if err := serving.EnsureSecret(ctx, direct, secret); err != nil {
		return err
	}
	host := a.service().Name + "." + a.service().Namespace + ".svc"
	services := &controllers.APIServiceReconciler{Client: a.manager.GetClient(), Clock: a.clock, Service: a.service(), Secret: secret}
	return errors.Join(
		rotator.AddRotator(a.manager, &rotator.CertRotator{
			SecretKey: secret, CertDir: a.options.CertDir, CAName: "sysdig-metrics", CAOrganization: "sysdig-metrics",
			DNSName: host, ExtraDNSNames: []string{host + ".cluster.local"}, IsReady: make(chan struct{}),
		}),
		(&serving.SecretFiles{
			Client: a.manager.GetClient(), Clock: a.clock, Secret: secret, Dir: a.options.CertDir, Trust: services,
		}).SetupWithManager(a.manager),
		services.SetupWithManager(a.manager),
	)
}
