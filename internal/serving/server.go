// Package serving runs the aggregated API server as a runnable of the manager: certificates, delegated authentication
// and authorization, discovery and OpenAPI.
package serving

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/logs"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	custommetricsv1beta1 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	custommetricsv1beta2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetricsv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd/options"
	generatedcore "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/core"
	generatedcustommetrics "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/custommetrics"
	generatedexternalmetrics "sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/externalmetrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// Files of the certificate directory.
const (
	CertFile = "tls.crt"
	KeyFile  = "tls.key"
)

// Config is what a Server needs.
type Config struct {
	// Name of the server in traces and OpenAPI.
	Name string
	// Version of the server in OpenAPI.
	Version string
	// BindAddress and Port to listen on, unless there is a Listener.
	BindAddress net.IP
	Port        int
	// Listener takes the place of BindAddress and Port. The server closes it.
	Listener net.Listener
	// CertDir holds CertFile and KeyFile. They are read again when they change.
	CertDir string
	// Kubeconfig is the path of a kubeconfig file for delegated authentication and authorization; empty in a cluster.
	Kubeconfig string
	// REST configures the client of the server's own informers.
	REST *rest.Config
	// BroadReaders are the names of users who are first asked about as readers of everything, see broadAuthorizer, and whose
	// requests nobody else delays, see fairness.
	BroadReaders []string
	// MinTLSVersion is the oldest version of TLS that is spoken, as crypto/tls numbers them; 0 for 1.3.
	MinTLSVersion uint16
	// ShutdownDelay is how long the server goes on after it was told to end, until nobody is sent to it any more.
	ShutdownDelay time.Duration
	// Metrics count what is refused; nil for not counting.
	Metrics *Metrics
	// IsNode tells the addresses of this node, whose connections have places of their own; nil for none.
	IsNode func(netip.Addr) bool
	// Listed changes when what the providers list changes, so that it is encoded once; nil to encode it for each request.
	Listed func() int64
	// Unlimited lets everybody send and hold as much as the library allows. For the control runs of tests; no flag sets it.
	Unlimited bool
	// Insecure lets everybody read everything without authentication. For benchmarks that measure the rest; no flag sets it.
	Insecure bool
}

// Server serves custom.metrics.k8s.io, external.metrics.k8s.io, or both.
type Server struct {
	config   Config
	custom   provider.CustomMetricsProvider
	external provider.ExternalMetricsProvider
}

// New returns a server that answers from the providers. The API of one that is nil is not served.
func New(config Config, custom provider.CustomMetricsProvider, external provider.ExternalMetricsProvider) *Server {
	return &Server{config: config, custom: custom, external: external}
}

// NeedLeaderElection tells the manager to serve on every replica.
func (s *Server) NeedLeaderElection() bool { return false }

// Start waits for a certificate and serves until the context ends. It returns an error when the address cannot be listened on.
func (s *Server) Start(ctx context.Context) error {
	if err := s.waitForCertificate(ctx); err != nil {
		return err
	}
	server, err := s.build()
	if err != nil {
		return err
	}
	defer logs.FlushLogs()
	return server.GenericAPIServer.PrepareRun().RunWithContext(ctx)
}

// waitForCertificate waits for as long as it takes: a process that ended and began again would wait as well, and readiness tells why.
func (s *Server) waitForCertificate(ctx context.Context) error {
	if err := checkPair(s.config.CertDir); err != nil {
		log.FromContext(ctx).Info("waiting for a serving certificate", "because", err.Error())
	}
	return wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(context.Context) (bool, error) {
		return checkPair(s.config.CertDir) == nil, nil
	})
}

// build makes the API server out of the library's options.
func (s *Server) build() (*apiserver.CustomMetricsAdapterServer, error) {
	o := s.options()
	if problems := o.Validate(); len(problems) > 0 {
		return nil, fmt.Errorf("options of the API server: %w", problems[0])
	}
	client, err := kubernetes.NewForConfig(s.config.REST)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	config := genericapiserver.NewRecommendedConfig(apiserver.Codecs)
	config.ClientConfig, config.SharedInformerFactory = s.config.REST, shared
	if err := o.ApplyTo(config); err != nil {
		return nil, fmt.Errorf("configuring the API server: %w", err)
	}
	config.ShutdownDelayDuration = s.config.ShutdownDelay
	if !s.config.Unlimited && !s.config.Insecure {
		s.limit(config)
	}
	if s.config.Insecure {
		config.Authentication.Authenticator, config.Authorization.Authorizer = nil, nil
	} else if len(s.config.BroadReaders) > 0 {
		config.Authorization.Authorizer = newBroadAuthorizer(config.Authorization.Authorizer, s.config.BroadReaders)
	}
	complete := (&apiserver.Config{GenericConfig: &config.Config}).Complete(shared)
	server, err := complete.New(s.config.Name, s.custom, s.external)
	if err != nil {
		return nil, fmt.Errorf("making the API server: %w", err)
	}
	return server, nil
}

// limit bounds what strangers and others may use up. In the order in which a request meets the bounds: connections, the gate
// before authentication, and fairness after it.
func (s *Server) limit(config *genericapiserver.RecommendedConfig) {
	metrics := s.config.Metrics
	bounds := func() *places { return newPlaces(maxConnections, maxConnectionsFrom, maxUnread) }
	connections := limit(config.SecureServing.Listener, bounds, s.config.IsNode, metrics.refuser(limitConnections))
	config.SecureServing.Listener = connections
	if config.Authentication.Authenticator != nil {
		config.Authentication.Authenticator = prover{config.Authentication.Authenticator, connections}
	}
	config.FlowControl = newFairness(s.config.BroadReaders, metrics.refuser(limitInFlight))
	config.RequestTimeout = requestTimeout
	config.BuildHandlerChainFunc = func(api http.Handler, c *genericapiserver.Config) http.Handler {
		if s.config.Listed != nil {
			api = newDiscovery(api, s.versions(), s.config.Listed)
		}
		return gate(genericapiserver.DefaultBuildHandlerChain(api, c), connections, metrics)
	}
}

// versions are those of the APIs that are served.
func (s *Server) versions() (versions []schema.GroupVersion) {
	if s.custom != nil {
		versions = append(versions, custommetricsv1beta1.SchemeGroupVersion, custommetricsv1beta2.SchemeGroupVersion)
	}
	if s.external != nil {
		versions = append(versions, externalmetricsv1beta1.SchemeGroupVersion)
	}
	return versions
}

func (s *Server) options() *options.CustomMetricsAdapterServerOptions {
	o := options.NewCustomMetricsAdapterServerOptions()
	o.SecureServing.BindAddress, o.SecureServing.BindPort = s.config.BindAddress, s.config.Port
	o.SecureServing.Listener = s.config.Listener
	o.SecureServing.MinTLSVersion = "VersionTLS13"
	if s.config.MinTLSVersion == tls.VersionTLS12 {
		o.SecureServing.MinTLSVersion = "VersionTLS12"
	}
	o.SecureServing.ServerCert.CertKey.CertFile = filepath.Join(s.config.CertDir, CertFile)
	o.SecureServing.ServerCert.CertKey.KeyFile = filepath.Join(s.config.CertDir, KeyFile)
	o.Authentication.RemoteKubeConfigFile = s.config.Kubeconfig
	o.Authorization.RemoteKubeConfigFile = s.config.Kubeconfig
	o.Features.EnableProfiling = false
	// The metrics of the process are on the manager's endpoint; the aggregated API has nothing to add.
	o.EnableMetrics = false
	if s.config.Insecure {
		o.Authentication, o.Authorization = nil, nil
	}
	namer := openapinamer.NewDefinitionNamer(apiserver.Scheme)
	o.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(s.definitions, namer)
	o.OpenAPIConfig.Info.Title, o.OpenAPIConfig.Info.Version = s.config.Name, s.config.Version
	o.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(s.definitions, namer)
	o.OpenAPIV3Config.Info.Title, o.OpenAPIV3Config.Info.Version = s.config.Name, s.config.Version
	return o
}

// definitions are the schemas of the APIs that are served.
func (s *Server) definitions(ref openapicommon.ReferenceCallback) map[string]openapicommon.OpenAPIDefinition {
	all := generatedcore.GetOpenAPIDefinitions(ref)
	if s.custom != nil {
		maps.Copy(all, generatedcustommetrics.GetOpenAPIDefinitions(ref))
	}
	if s.external != nil {
		maps.Copy(all, generatedexternalmetrics.GetOpenAPIDefinitions(ref))
	}
	return all
}
