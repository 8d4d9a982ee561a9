package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	autoscalingclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

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
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

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
	// isNode tells the addresses from which the kubelet probes.
	isNode func(netip.Addr) bool
	// answers bounds the memory of all answers of Sysdig.
	answers *sysdig.Memory
	// issuer issues the serving certificate; nil when something else does.
	issuer *serving.Issuer
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
			Memory: a.answers,
		}).SetupWithManager(a.manager),
		(&controllers.BindingReconciler{
			Client: c, Live: a.manager.GetAPIReader(), Mapper: mapper, Definitions: a.registry, Kinds: kinds, Clock: a.clock,
			MaxPerNamespace: a.options.MaxBindingsPerNamespace,
		}).SetupWithManager(ctx, a.manager),
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
			IsNode: a.isNode, Listed: a.registry.Listed,
		}, custom, external)),
	)
}

// service is the Service that our APIServices point to.
func (a *assembly) service() types.NamespacedName {
	return types.NamespacedName{Namespace: a.options.Namespace, Name: a.options.ServiceName}
}

// addCertificates adds what issues and rotates the serving certificate and tells our APIServices of its authority, unless
// something else does.
func (a *assembly) addCertificates(context.Context) error {
	if !a.options.ManageCertificates {
		return nil
	}
	secret := types.NamespacedName{Namespace: a.options.Namespace, Name: a.options.CertSecret}
	secrets, err := a.cacheOf(secret)
	if err != nil {
		return err
	}
	host := a.service().Name + "." + a.service().Namespace + ".svc"
	a.issuer = &serving.Issuer{
		Secrets: secrets, Writer: a.manager.GetClient(), Clock: a.clock, Secret: secret, Hosts: []string{host, host + ".cluster.local"},
	}
	services := &controllers.APIServiceReconciler{Client: a.manager.GetClient(), Clock: a.clock, Service: a.service(), Secrets: secrets, Secret: secret}
	files := &serving.SecretFiles{Secrets: secrets, Clock: a.clock, Dir: a.options.CertDir, Trust: services}
	return errors.Join(
		a.manager.Add(everyReplica(secrets.Start)),
		a.issuer.SetupWithManager(a.manager, secrets),
		files.SetupWithManager(a.manager, secrets),
		services.SetupWithManager(a.manager, secrets),
	)
}

// cacheOf holds one Secret. The manager's holds those of tokens.
func (a *assembly) cacheOf(secret types.NamespacedName) (cache.Cache, error) {
	own := cache.Config{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, secret.Name)}
	secrets, err := cache.New(a.manager.GetConfig(), cache.Options{
		Scheme: a.manager.GetScheme(), Mapper: a.manager.GetRESTMapper(), HTTPClient: a.manager.GetHTTPClient(),
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Namespaces: map[string]cache.Config{secret.Namespace: own}}},
	})
	if err != nil {
		return nil, fmt.Errorf("cache of the serving certificate: %w", err)
	}
	return secrets, nil
}
