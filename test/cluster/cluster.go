// Package cluster runs a real Kubernetes control plane on this machine, without root and without containers: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, with kwok in the place of the kubelet. Pods become
// Running and Ready but run nothing; a process on this machine can serve an aggregated API, see
// [Cluster.ExposeHostProcess]. Everything listens on loopback addresses only.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// admin names the administrator's kubeconfig.
const admin binaries.Component = "admin"

// Cluster is a running control plane. Its methods may be called from several goroutines.
type Cluster struct {
	layout     layout
	temporary  bool // the folder goes with the cluster
	config     *rest.Config
	client     kubernetes.Interface
	aggregator aggregator.Interface

	launcher  *launcher
	mu        sync.Mutex // guards processes
	processes []*process
	watching  atomic.Bool // a component that ends is reported
	stopOnce  sync.Once
	stopErr   error
}

// Start builds what is missing (see [binaries.Ensure]), starts a control plane and returns when it works: the API
// server, the controllers and the scheduler are healthy, the default service account exists and, unless
// Options.NoNodes or Options.Address is set, the node "node-1" is Ready. That takes a few seconds. ctx limits the start only. When a
// component ends early or is not ready in time, the error names it and quotes the end of its log, and nothing is left.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	started := time.Now()
	programs, err := binaries.Ensure(ctx, opts.Log, binaries.ControlPlane)
	if err != nil {
		return nil, err
	}
	var oldest binaries.Folder
	if opts.Oldest {
		if oldest, err = binaries.Ensure(ctx, opts.Log, binaries.Oldest); err != nil {
			return nil, err
		}
	}
	opts, temporary, err := opts.complete()
	if err != nil {
		return nil, err
	}
	c := &Cluster{layout: layout{opts: opts, programs: programs, oldest: oldest}, temporary: temporary, launcher: newLauncher()}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the control plane: %w", err), c.Stop(context.WithoutCancel(ctx)))
	}
	c.watching.Store(!opts.Detach) // Whoever ends a detached cluster with StopDir does so on purpose.
	c.logf("the control plane at %s is ready after %s; its files are in %s",
		c.config.Host, time.Since(started).Round(10*time.Millisecond), opts.Dir)
	return c, nil
}

// start does the work of Start. What it started is in c.processes, also after an error.
func (c *Cluster) start(ctx context.Context) (err error) {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.run(binaries.Etcd); err != nil {
		return err
	}
	if err := c.waitHealthy(ctx, binaries.Etcd, c.layout.ports.etcdClient, "/health"); err != nil {
		return err
	}
	if err := c.run(binaries.APIServer); err != nil {
		return err
	}
	if err := c.waitHealthy(ctx, binaries.APIServer, c.layout.ports.apiServer, "/readyz"); err != nil {
		return err
	}
	for _, component := range c.layout.clients() {
		if err := c.run(component); err != nil {
			return err
		}
	}
	if err := c.waitHealthy(ctx, binaries.ControllerManager, c.layout.ports.controllerManager, "/healthz"); err != nil {
		return err
	}
	if err := c.waitHealthy(ctx, binaries.Scheduler, c.layout.ports.scheduler, "/healthz"); err != nil {
		return err
	}
	return c.waitUsable(ctx)
}

// prepare chooses the ports and writes the certificates and kubeconfigs.
func (c *Cluster) prepare() (err error) {
	l := &c.layout
	if l.ports, err = freePorts(); err != nil {
		return err
	}
	if l.pki, err = newPKI(filepath.Join(l.opts.Dir, "pki"), time.Now(), l.addresses()...); err != nil {
		return err
	}
	if err := l.writeKubeconfigs(); err != nil {
		return err
	}
	if c.config, err = l.adminConfig(); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	if c.aggregator, err = aggregator.NewForConfig(c.config); err != nil {
		return fmt.Errorf("create a client for API services: %w", err)
	}
	return nil
}

// run starts a component of the control plane.
func (c *Cluster) run(component binaries.Component) error {
	_, err := c.launch(component, c.layout.executable(component), c.layout.args(component))
	return err
}

// RestartAPIServer ends the API server as an upgrade does, and starts it again after a pause. It returns when it is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context, pause time.Duration) error {
	c.mu.Lock()
	var running *process
	for _, p := range c.processes {
		if p.component == binaries.APIServer && !p.ended() {
			running = p
		}
	}
	c.mu.Unlock()
	if running == nil {
		return fmt.Errorf("%s does not run", binaries.APIServer)
	}
	if err := running.stop(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
	}
	if err := c.run(binaries.APIServer); err != nil {
		return err
	}
	return c.waitHealthy(ctx, binaries.APIServer, c.layout.ports.apiServer, "/readyz")
}

// launch starts a process and notes its id in the folder. Its environment holds no settings of the user.
func (c *Cluster) launch(name binaries.Component, path string, args []string) (*process, error) {
	l := c.layout
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.opts.Dir, "TMPDIR=" + l.opts.Dir}
	logFile := filepath.Join(l.opts.Dir, string(name)+".log")
	p, err := c.launcher.start(name, path, args, env, logFile, l.opts.Detach)
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.done
		if c.watching.Load() && !p.stopping.Load() {
			c.logf("%s", p.failure())
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = append(c.processes, p)
	r := record{Dir: l.opts.Dir, Temporary: c.temporary}
	for _, p := range c.processes {
		r.Processes = append(r.Processes, processRecord{p.component, p.handle.Pid, p.path})
	}
	return p, writeRecord(l.opts.Dir, r)
}

// Stop ends all processes and removes the cluster's folder if Start chose it. When ctx is done, processes
// that still run are killed at once. Further calls do nothing and return what the first one returned.
func (c *Cluster) Stop(ctx context.Context) error {
	c.stopOnce.Do(func() {
		c.watching.Store(false)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopErr = stopAll(ctx, c.processes)
		c.launcher.close()
		if c.stopErr == nil {
			c.stopErr = removeRecord(c.layout.opts.Dir, c.temporary)
		}
	})
	return c.stopErr
}

// Dir returns the absolute path of the folder that holds the cluster's data, certificates, kubeconfigs and logs.
func (c *Cluster) Dir() string { return c.layout.opts.Dir }

// AdminConfig returns a new client configuration that may do everything and has no rate limit.
func (c *Cluster) AdminConfig() *rest.Config { return rest.CopyConfig(c.config) }

// AdminKubeconfig returns the path of a kubeconfig that may do everything.
func (c *Cluster) AdminKubeconfig() string { return c.layout.kubeconfig(admin) }

// KubectlPath returns the path of a kubectl of the cluster's version.
func (c *Cluster) KubectlPath() string { return c.layout.programs.Path(binaries.Kubectl) }

// Kubectl runs kubectl as the administrator, in the current working directory, and returns its standard output. An
// error carries its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (stdout string, err error) {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), args...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+c.AdminKubeconfig(),
		"KUBERC=off", "KUBECACHEDIR="+filepath.Join(c.Dir(), "kubectl-cache"))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), fmt.Errorf("kubectl: %w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return string(out), err
}

// logf writes one line to the cluster's log.
func (c *Cluster) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.layout.opts.Log, format+"\n", args...)
}
