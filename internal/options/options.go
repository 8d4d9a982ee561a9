// Package options turns flags into one validated struct. Nothing else in the operator knows about flags.
package options

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap/zapcore"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// MaxShutdownDelay leaves time for the rest of the shutdown in the 30 seconds that Kubernetes gives a pod.
const MaxShutdownDelay = 20 * time.Second

// Options are the operator's settings.
type Options struct {
	// Kubeconfig is the path of a kubeconfig file; empty inside a cluster.
	Kubeconfig string
	// Namespace is the operator's own: of its Secrets, its Service and its leases.
	Namespace string
	// ServiceName is the Service that the APIServices point to.
	ServiceName string

	// Serve are the API groups that the operator serves; at least one.
	Serve []metric.API

	// BindAddress and SecurePort are where the aggregated API listens.
	BindAddress net.IP
	SecurePort  int
	// CertDir holds tls.crt and tls.key of the aggregated API.
	CertDir string
	// CertSecret is the Secret of the serving certificate.
	CertSecret string
	// BroadReaders are the users whose reads are authorized for a whole API group at once where RBAC allows all of it, and who
	// never share their places with others.
	BroadReaders []string
	// MinTLSVersion is the oldest version of TLS that the aggregated API and the metrics speak, as crypto/tls numbers them.
	MinTLSVersion uint16
	// ShutdownDelay is how long reads are served after the end was asked for and readiness has gone.
	ShutdownDelay time.Duration
	// ManageCertificates makes the operator issue and rotate the certificate and keep the caBundle of its APIServices.
	ManageCertificates bool

	// MaxBindingsPerNamespace is how many SysdigMetricBindings of one namespace are served: the oldest.
	MaxBindingsPerNamespace int

	// AllowEndpointNetworks are networks that connections may lead to although the operator connects to no address like theirs otherwise.
	AllowEndpointNetworks []netip.Prefix

	// MetricsAddress and HealthAddress are where the operator's own metrics and its probes are served; "0" for nowhere.
	MetricsAddress string
	HealthAddress  string
	// NodeAddresses are those of the node, whose kubelet probes from there.
	NodeAddresses []netip.Addr
	// Profiling serves pprof beside the metrics, to who may read its path.
	Profiling bool
	// LeaderElect lets one of several replicas write status, and lets them find each other.
	LeaderElect bool
	// LogLevel is the least level that is logged.
	LogLevel zapcore.Level
}

// Parse reads the arguments of the command line. The error of a wrong value names the flag; pflag.ErrHelp asks for help.
func Parse(args []string, usage func(string)) (Options, error) {
	o := Options{}
	level, version, serve := "info", "1.3", []string{"custom", "external"}
	var networks []string
	node := os.Getenv("NODE_ADDRESSES")
	flags := pflag.NewFlagSet("sysdig-metrics-operator", pflag.ContinueOnError)
	flags.Usage = func() { usage(flags.FlagUsages()) }
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "Path of a kubeconfig file. Leave it out inside a cluster.")
	flags.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "The operator's own namespace. Default: the environment variable POD_NAMESPACE.")
	flags.StringVar(&o.ServiceName, "service-name", "sysdig-metrics-operator", "The Service that the APIServices point to.")
	flags.StringSliceVar(&serve, "serve", serve, "The APIs to serve: custom (Object and Pods metrics), external (External metrics), or both. Leave out what another adapter serves, and its APIService.")
	flags.IPVar(&o.BindAddress, "bind-address", net.IPv4zero, "The address on which the aggregated API listens.")
	flags.IntVar(&o.SecurePort, "secure-port", 6443, "The port on which the aggregated API listens.")
	flags.StringVar(&o.CertDir, "cert-dir", filepath.Join(os.TempDir(), "sysdig-metrics-serving"), "Folder of tls.crt and tls.key of the aggregated API.")
	flags.StringVar(&o.CertSecret, "cert-secret", "sysdig-metrics-serving-cert", "Secret of the serving certificate, in the operator's namespace.")
	flags.StringSliceVar(&o.BroadReaders, "broad-readers", []string{"system:serviceaccount:kube-system:horizontal-pod-autoscaler"}, "Users whose reads are authorized for a whole API group at once if they may read all of it, and one by one if not. Requests of others never delay theirs. Make it empty where an authorization webhook denies by namespace or object.")
	flags.StringVar(&version, "tls-min-version", version, "The oldest version of TLS that the aggregated API and the metrics speak: 1.2 or 1.3.")
	flags.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", 5*time.Second, "How long reads are served after SIGTERM, while readiness fails and others learn to go elsewhere.")
	flags.BoolVar(&o.ManageCertificates, "manage-certificates", true, "Issue and rotate the serving certificate and keep the caBundle of the APIServices. Switch off where something else fills --cert-dir and the caBundle.")
	flags.StringSliceVar(&networks, "allow-endpoint-networks", nil, "Networks, such as 10.96.0.0/12, to which the endpoints of SysdigConnections may lead although they hold loopback, link-local, multicast or metadata addresses, or those of this cluster's Services, pods and nodes. Needed for a Sysdig within the cluster.")
	flags.IntVar(&o.MaxBindingsPerNamespace, "max-bindings-per-namespace", 1000, "How many SysdigMetricBindings of one namespace are served: the oldest. The others are refused before they are compiled, so that no tenant uses up the memory of the others.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8443", "Address of the operator's own metrics, by HTTPS, for who may read the path /metrics; 0 for none.")
	flags.BoolVar(&o.Profiling, "profiling", false, "Serve pprof beside the metrics, for who may read the path /debug/pprof/*.")
	flags.StringVar(&o.HealthAddress, "health-probe-bind-address", ":8081", "Address of the probes; 0 for none.")
	flags.StringVar(&node, "node-addresses", node, "Addresses of the node, separated by commas. Connections from there, from the loopback and from the default gateway have places of their own at all ports, so that nobody keeps the kubelet's probes from being answered. Default: the environment variable NODE_ADDRESSES.")
	flags.BoolVar(&o.LeaderElect, "leader-elect", true, "Elect the replica that writes status, and let replicas find each other to share the request budget. Every replica serves. Switch off for one replica only.")
	flags.StringVar(&level, "log-level", level, "Least level that is logged: debug, info, warn or error.")
	if err := flags.Parse(args); err != nil {
		return Options{}, err
	}
	if extra := flags.Args(); len(extra) > 0 {
		return Options{}, fmt.Errorf("unexpected argument %q: every setting is a flag", extra[0])
	}
	var err error
	if o.LogLevel, err = zapcore.ParseLevel(level); err != nil {
		return Options{}, fmt.Errorf("--log-level: %w", err)
	}
	if o.MinTLSVersion, err = parseTLSVersion(version); err != nil {
		return Options{}, fmt.Errorf("--tls-min-version: %w", err)
	}
	if o.Serve, err = parseAPIs(serve); err != nil {
		return Options{}, fmt.Errorf("--serve: %w", err)
	}
	if o.AllowEndpointNetworks, err = parseNetworks(networks); err != nil {
		return Options{}, fmt.Errorf("--allow-endpoint-networks: %w", err)
	}
	if o.NodeAddresses, err = parseAddresses(node); err != nil {
		return Options{}, fmt.Errorf("--node-addresses: %w", err)
	}
	return o, o.validate()
}

// parseAddresses reads addresses, separated by commas.
func parseAddresses(text string) (addresses []netip.Addr, err error) {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		address, err := netip.ParseAddr(one)
		if err != nil {
			return nil, fmt.Errorf("%q is no address such as 192.0.2.10", one)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// parseNetworks reads networks in CIDR notation.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no network such as 10.96.0.0/12 or 192.0.2.10/32", text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// Serves tells whether the operator serves an API group.
func (o Options) Serves(api metric.API) bool { return slices.Contains(o.Serve, api) }

// parseTLSVersion reads a version of TLS that is not broken.
func parseTLSVersion(version string) (uint16, error) {
	switch version {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	default:
		return 0, fmt.Errorf("%q is none of 1.2 and 1.3", version)
	}
}

// parseAPIs reads the short names of API groups.
func parseAPIs(names []string) ([]metric.API, error) {
	known := map[string]metric.API{"custom": metric.CustomMetrics, "external": metric.ExternalMetrics}
	var apis []metric.API
	for _, name := range names {
		api, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%q is no API of the operator: say custom, external, or custom,external", name)
		}
		apis = append(apis, api)
	}
	if len(apis) == 0 {
		return nil, errors.New("there is nothing to serve: say custom, external, or custom,external")
	}
	return apis, nil
}

func (o Options) validate() error {
	var problems []error
	if o.Namespace == "" {
		problems = append(problems, errors.New("--namespace: set it, or the environment variable POD_NAMESPACE, to the operator's own namespace"))
	}
	if o.SecurePort < 1 || o.SecurePort > 65535 {
		problems = append(problems, fmt.Errorf("--secure-port: %d is no port", o.SecurePort))
	}
	if o.BindAddress == nil {
		problems = append(problems, errors.New("--bind-address: must be an IP address"))
	}
	if o.ServiceName == "" || o.CertSecret == "" || o.CertDir == "" {
		problems = append(problems, errors.New("--service-name, --cert-secret and --cert-dir must not be empty"))
	}
	if o.ShutdownDelay < 0 || o.ShutdownDelay > MaxShutdownDelay {
		problems = append(problems, fmt.Errorf("--shutdown-delay-duration: from 0 to %s", MaxShutdownDelay))
	}
	if o.Profiling && o.MetricsAddress == "0" {
		problems = append(problems, errors.New("--profiling: it is served at --metrics-bind-address, which is 0"))
	}
	if o.MaxBindingsPerNamespace < 1 {
		problems = append(problems, errors.New("--max-bindings-per-namespace: must be at least 1; to serve a namespace nothing, leave it out of the allowedNamespaces of all connections"))
	}
	if slices.Contains(o.BroadReaders, "") {
		problems = append(problems, errors.New("--broad-readers: a user has no empty name; say nothing at all to review each read by itself"))
	}
	return errors.Join(problems...)
}
