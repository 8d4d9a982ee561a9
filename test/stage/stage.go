// Package stage sets the scene for end-to-end tests, benchmarks and the demo: a real control plane, the operator installed
// from config and running as a process of this machine under its own ServiceAccount, reached through its real
// APIServices.
package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// Namespace is the operator's.
const Namespace = "sysdig-metrics"

// name is that of the operator's ServiceAccount, Service and Deployment.
const name = "sysdig-metrics-operator"

// standInNetwork is where stand-ins for Sysdig listen. Operators connect to nothing there unless they are told.
const standInNetwork = "127.0.0.0/8"

// Options say how to set the stage. The zero value is fine.
type Options struct {
	// Cluster are the options of the control plane.
	Cluster cluster.Options
	// Race builds the operator with the race detector.
	Race bool
	// Config is the folder of config that is installed: default by default.
	Config string
	// Operator is the package of the program that is started as the operator: the product by default.
	Operator string
	// NoOperator leaves the operator out: somebody else will serve on Port.
	NoOperator bool
	// NoInstall installs nothing; Apply does, and StartOperator.
	NoInstall bool
	// Flags are more flags of every operator.
	Flags []string
	// Log receives progress, one line a write.
	Log io.Writer
}

// Stage is a control plane with a running operator.
type Stage struct {
	Cluster *cluster.Cluster
	// Client is the administrator's.
	Client client.Client
	// Root is the folder of the module.
	Root string

	options  Options
	binary   string
	operator *cluster.HostProcess
	ports    []int // of the aggregated API, the metrics and the probes

	standby      *cluster.HostProcess
	standbyPorts []int
}

// Start sets the stage. When it fails nothing is left.
func Start(ctx context.Context, o Options) (*Stage, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Cluster.Log = o.Log
	s := &Stage{options: o}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.Cluster, err = cluster.Start(ctx, o.Cluster); err != nil {
		return nil, err
	}
	if err := s.install(ctx); err != nil {
		return nil, errors.Join(err, s.Cluster.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// build finds the module and builds the operator.
func (s *Stage) build(ctx context.Context) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("looking for the module: %w", err)
	}
	s.Root = filepath.Dir(strings.TrimSpace(string(mod)))
	s.binary, err = s.Build(ctx, cmp.Or(s.options.Operator, "./cmd/"+name))
	return err
}

// Build builds a program of the module with the Go tool and returns its path. The build cache makes it quick from the
// second time on.
func (s *Stage) Build(ctx context.Context, pkg string) (path string, err error) {
	command := filepath.Base(pkg)
	flavour, cgo, args := "plain", "0", []string{"build", "-buildvcs=false", "-trimpath"}
	if s.options.Race {
		flavour, cgo, args = "race", "1", append(args, "-race")
	}
	path = filepath.Join(s.Root, "bin", "stage", flavour, command)
	fmt.Fprintf(s.options.Log, "building %s (%s; a few minutes the first time)\n", command, flavour)
	// Packages that are tested at the same time build the same programs: nobody starts what another one has half written.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", command, err)
	}
	unlock, err := binaries.Lock(ctx, path+".lock", s.options.Log)
	if err != nil {
		return "", err
	}
	defer unlock()
	return path, s.goBuild(ctx, cgo, append(args, "-o", path, pkg))
}

func (s *Stage) goBuild(ctx context.Context, cgo string, args []string) error {
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir, build.Env = s.Root, append(os.Environ(), "CGO_ENABLED="+cgo)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

// install applies the manifests as the README says and starts the operator as a process of this machine.
func (s *Stage) install(ctx context.Context) error {
	scheme, err := app.Scheme()
	if err != nil {
		return err
	}
	if s.Client, err = client.New(s.Cluster.AdminConfig(), client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if s.ports, err = cluster.FreePorts(3); err != nil {
		return err
	}
	if s.options.NoInstall {
		return nil
	}
	if _, err := s.Apply(ctx, cmp.Or(s.options.Config, "default")); err != nil {
		return err
	}
	if s.options.NoOperator {
		return nil
	}
	return s.StartOperator(ctx)
}

// hosted is what config says, but for where the operator runs: as a process of this machine, where the aggregation layer
// finds it by the name localhost. Its pods would be empty shells.
const hosted = `
resources:
- %s
patches:
- target: {kind: APIService}
  patch: '[{"op": "replace", "path": "/spec/service/port", "value": %d}]'
- target: {kind: Service, name: sysdig-metrics-operator}
  patch: '[{"op": "replace", "path": "/spec", "value": {"type": "ExternalName", "externalName": "localhost", "ports": [{"name": "https", "port": %[2]d}]}}]'
- target: {kind: Deployment, name: sysdig-metrics-operator}
  patch: '[{"op": "replace", "path": "/spec/replicas", "value": 0}]'
`

// Hosted makes a folder for kubectl's -k that holds what a folder of config holds, for an operator that runs on this machine.
func (s *Stage) Hosted(folder string) (path string, err error) {
	path = filepath.Join(s.Cluster.Dir(), "config", folder)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("making the manifests: %w", err)
	}
	// Kustomize takes relative paths only, and compares real ones.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("making the manifests: %w", err)
	}
	relative, err := filepath.Rel(real, filepath.Join(s.Root, "config", folder))
	if err != nil {
		return "", fmt.Errorf("making the manifests: %w", err)
	}
	return path, os.WriteFile(filepath.Join(path, "kustomization.yaml"), fmt.Appendf(nil, hosted, relative, s.ports[0]), 0o600)
}

// Apply applies a folder of config as the README says, with more arguments if need be. The error holds what kubectl says.
func (s *Stage) Apply(ctx context.Context, folder string, more ...string) (output string, err error) {
	path, err := s.Hosted(folder)
	if err != nil {
		return "", err
	}
	return s.Cluster.Kubectl(ctx, append([]string{"apply", "--server-side", "--field-manager=sysdig-metrics", "-k", path}, more...)...)
}

// Port is where the APIServices find the aggregated API on this machine.
func (s *Stage) Port() int { return s.ports[0] }

// StartOperator starts the operator, with more flags if need be, and waits until it is ready and the APIServices that point
// to it are available.
func (s *Stage) StartOperator(ctx context.Context, flags ...string) error {
	if err := s.LaunchOperator(ctx, flags...); err != nil {
		return err
	}
	if err := s.WaitAvailable(ctx); err != nil {
		return errors.Join(err, s.operator.Failure(), fmt.Errorf("its log: %s", s.OperatorLog()))
	}
	return nil
}

// OperatorKubeconfig writes a kubeconfig that acts as the operator's ServiceAccount and returns its path.
func (s *Stage) OperatorKubeconfig(ctx context.Context) (path string, err error) {
	return s.Cluster.ServiceAccountKubeconfig(ctx, Namespace, name)
}

// CertDir holds the serving certificate that the operator was issued, which its APIServices trust.
func (s *Stage) CertDir() string { return filepath.Join(s.Cluster.Dir(), "serving") }

// LaunchOperator starts the operator, with more flags if need be, and does not wait for it.
func (s *Stage) LaunchOperator(ctx context.Context, flags ...string) (err error) {
	fmt.Fprintln(s.options.Log, "starting the operator under its own ServiceAccount")
	s.operator, err = s.launch(ctx, name, s.CertDir(), s.ports, flags)
	return err
}

// launch starts a replica of the operator.
func (s *Stage) launch(ctx context.Context, process, certDir string, ports []int, flags []string) (*cluster.HostProcess, error) {
	kubeconfig, err := s.OperatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	local := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	return s.Cluster.StartHostProcess(process, s.binary, append([]string{
		"--kubeconfig=" + kubeconfig, "--namespace=" + Namespace,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(ports[0]),
		"--cert-dir=" + certDir, "--allow-endpoint-networks=" + standInNetwork,
		"--metrics-bind-address=" + local(ports[1]), "--health-probe-bind-address=" + local(ports[2]),
		"--shutdown-delay-duration=0", // nobody has to be told to go elsewhere
	}, slices.Concat(s.options.Flags, flags)...)...)
}

// WaitAvailable waits until the APIServices that point to the operator are available.
func (s *Stage) WaitAvailable(ctx context.Context) error {
	return s.eachAPIService(ctx, func(a *apiregistrationv1.APIService) error { return s.Cluster.WaitAPIServiceAvailable(ctx, a.Name) })
}

// eachAPIService calls do with each APIService that points to the operator, until it returns an error.
func (s *Stage) eachAPIService(ctx context.Context, do func(*apiregistrationv1.APIService) error) error {
	var list apiregistrationv1.APIServiceList
	if err := s.Client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing APIServices: %w", err)
	}
	for _, service := range list.Items {
		if ref := service.Spec.Service; ref == nil || ref.Namespace != Namespace || ref.Name != name {
			continue
		}
		if err := do(&service); err != nil {
			return err
		}
	}
	return nil
}

// StopOperator ends the operator gracefully.
func (s *Stage) StopOperator(ctx context.Context) error { return s.operator.Stop(ctx) }

// OperatorPID is the id of the operator's process.
func (s *Stage) OperatorPID() int { return s.operator.PID() }

// OperatorFailure tells whether the operator has ended by itself.
func (s *Stage) OperatorFailure() error { return s.operator.Failure() }

// OperatorLog is everything that the operator has logged since its last start.
func (s *Stage) OperatorLog() string {
	log, err := os.ReadFile(s.operator.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// ReadyURL is the operator's readiness probe.
func (s *Stage) ReadyURL() string { return fmt.Sprintf("http://127.0.0.1:%d/readyz", s.ports[2]) }

// Connect makes a SysdigConnection and its Secret. The rhythm is as fast as the API allows; change may edit the spec before.
func (s *Stage) Connect(ctx context.Context, connection, cluster, url string, caBundle []byte, token string, change ...func(*v1alpha1.SysdigConnectionSpec)) error {
	c := &v1alpha1.SysdigConnection{
		ObjectMeta: metav1.ObjectMeta{Name: connection},
		Spec: v1alpha1.SysdigConnectionSpec{
			Endpoint:       v1alpha1.Endpoint{URL: url, CABundle: string(caBundle), PrometheusPath: "/prometheus"},
			ClusterName:    cluster,
			TokenSecretRef: v1alpha1.SecretKeyReference{Name: connection + "-token", Key: "token"},
			Interval:       metav1.Duration{Duration: 10 * time.Second},
			IngestionLag:   metav1.Duration{Duration: 2 * time.Second},
			Quota:          v1alpha1.Quota{RequestsPerMinute: 1200, QueriesPerNamespace: 100}, // that of a stand-in
		},
	}
	for _, edit := range change {
		edit(&c.Spec)
	}
	if err := s.Client.Create(ctx, TokenSecret(c.Spec.TokenSecretRef.Name, token, hostsOf(c.Spec.Endpoint)...)); err != nil {
		return fmt.Errorf("making the Secret: %w", err)
	}
	if err := s.Client.Create(ctx, c); err != nil {
		return fmt.Errorf("making the connection: %w", err)
	}
	return nil
}

// TokenSecret is a Secret whose token may be sent to hosts.
func TokenSecret(name, token string, hosts ...string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace, Name: name, Annotations: map[string]string{v1alpha1.AnnotationHosts: strings.Join(hosts, ",")},
		},
		Type:       v1alpha1.SecretTypeToken,
		StringData: map[string]string{"token": token},
	}
}

// hostsOf are those that an endpoint with addresses leads to.
func hostsOf(e v1alpha1.Endpoint) []string {
	host := func(address string) string {
		address, _, _ = strings.Cut(strings.TrimPrefix(address, "https://"), "/")
		return address
	}
	hosts := []string{host(e.URL)}
	if e.IAM != nil {
		hosts = append(hosts, host(e.IAM.URL))
	}
	return hosts
}

// Wait polls a condition every quarter of a second until it returns nil or the deadline has passed; then it returns what
// the condition said last.
func Wait(ctx context.Context, deadline time.Duration, condition func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, deadline, true, func(ctx context.Context) (bool, error) {
		if err := condition(ctx); err == nil || ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// Sleep waits unless the context ends before; then it returns why.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
