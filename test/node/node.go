// Package node runs a whole Kubernetes cluster of one real node on this machine: the control plane of package cluster, and
// containerd, kubelet and kube-proxy, so that pods run and Services carry their traffic. It needs root on Linux.
//
// Everything lives in namespaces of its own, the tests included: [Run] starts the test program a second time, as the first
// process of new PID, mount and network namespaces. Nothing of the machine's network is used or changed, so that several can
// run beside each other, and when that process ends, however it does, the kernel ends all others, mounts and interfaces.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const (
	// Name is the node's.
	Name = "node"
	// address is the node's, in a network that only the namespaces know.
	address = "10.200.0.2"
	// podCIDR is the range of the pods' addresses.
	podCIDR = "10.244.0.0/24"

	// readyTimeout is how long a part of the node may take until it works.
	readyTimeout = 5 * time.Minute
	pollInterval = 200 * time.Millisecond
)

// Options say how to run a node. The zero value is fine.
type Options struct {
	// Cluster are the options of the control plane. Its folder and address are chosen by Start.
	Cluster cluster.Options
	// Log receives the progress, one line a write.
	Log io.Writer
}

// Node is a running cluster of one node.
type Node struct {
	Cluster *cluster.Cluster

	cgroup     string
	programs   binaries.Folder
	containerd string // its socket
}

// Start starts the control plane and the node, and returns when the node is Ready. It works only inside the namespaces of [Run],
// and once. ctx limits the start only. When it fails nothing is left.
func Start(ctx context.Context, o Options) (*Node, error) {
	dir := os.Getenv(insideVariable)
	if dir == "" {
		return nil, errors.New("start a node: not in namespaces of its own; see Run")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	programs, err := binaries.Ensure(ctx, o.Log, binaries.Node)
	if err != nil {
		return nil, err
	}
	o.Cluster.Log, o.Cluster.Dir, o.Cluster.Address = o.Log, filepath.Join(dir, "cluster"), netip.MustParseAddr(address)
	control, err := cluster.Start(ctx, o.Cluster)
	if err != nil {
		return nil, err
	}
	n := &Node{Cluster: control, cgroup: filepath.Base(dir), programs: programs, containerd: "/run/containerd/containerd.sock"}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the node: %w", err), n.Stop(context.WithoutCancel(ctx)))
	}
	return n, nil
}

// Stop ends the node and the control plane. Pods end with the namespaces.
func (n *Node) Stop(ctx context.Context) error { return n.Cluster.Stop(ctx) }

// start starts the programs of the node.
func (n *Node) start(ctx context.Context) error {
	if err := n.configure(); err != nil {
		return err
	}
	if err := n.runContainerd(ctx); err != nil {
		return err
	}
	kubelet, err := n.Cluster.StartHostProcess("kubelet", n.programs.Path(binaries.Kubelet), "--config="+n.path("kubelet.yaml"),
		"--kubeconfig="+n.path("kubelet.kubeconfig"), "--root-dir="+n.path("kubelet"), "--hostname-override="+Name, "--node-ip="+address, "--v=2")
	if err != nil {
		return err
	}
	proxy, err := n.Cluster.StartHostProcess("kube-proxy", n.programs.Path(binaries.KubeProxy), "--config="+n.path("kube-proxy.yaml"), "--hostname-override="+Name)
	if err != nil {
		return err
	}
	return until(ctx, "the node to be Ready", func(ctx context.Context) error {
		if err := errors.Join(kubelet.Failure(), proxy.Failure()); err != nil {
			return err
		}
		status, err := n.Cluster.Kubectl(ctx, "get", "node", Name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]}`)
		if err == nil && !strings.Contains(status, `"status":"True"`) {
			err = fmt.Errorf("its condition is %q", status)
		}
		return err
	})
}

// runContainerd starts containerd and waits until it answers.
func (n *Node) runContainerd(ctx context.Context) error {
	containerd, err := n.Cluster.StartHostProcess("containerd", n.programs.Path(binaries.Containerd), "--config="+n.path("containerd.toml"))
	if err != nil {
		return err
	}
	return until(ctx, "containerd", func(ctx context.Context) error {
		if err := containerd.Failure(); err != nil {
			return err
		}
		_, err := n.ctr(ctx, "version")
		return err
	})
}

// Import makes the image in an archive known to the node. The node pulls nothing.
func (n *Node) Import(ctx context.Context, archive string) error {
	_, err := n.ctr(ctx, "images", "import", "--local", archive)
	return err
}

// ctr runs containerd's client in the namespace of the kubelet.
func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	return command(ctx, n.programs.Path(binaries.Ctr), append([]string{"--address", n.containerd, "--namespace", "k8s.io"}, args...)...)
}

// configure writes the configuration of all programs, with certificates.
func (n *Node) configure() error {
	c := n.Cluster
	kubelet, err := c.UserKubeconfig("kubelet", "system:node:"+Name, "system:nodes")
	if err != nil {
		return err
	}
	proxy, err := c.UserKubeconfig("kube-proxy", "system:kube-proxy")
	if err != nil {
		return err
	}
	certFile, keyFile, err := c.ServingCertificate("kubelet", net.ParseIP(address))
	if err != nil {
		return err
	}
	runc, plugins, err := runtimes()
	if err != nil {
		return err
	}
	values := map[string]string{
		"@DIR@": c.Dir(), "@CGROUP@": n.cgroup, "@SOCKET@": n.containerd, "@PODS@": podCIDR, "@PAUSE@": pauseImage,
		"@BIN@": n.programs.Dir(), "@RUNC@": runc, "@CNI@": plugins, "@CA@": c.AuthorityFile(), "@CERT@": certFile, "@KEY@": keyFile,
		"@KUBELET@": kubelet, "@PROXY@": proxy,
	}
	pairs := make([]string, 0, 2*len(values))
	for name, value := range values {
		pairs = append(pairs, name, value)
	}
	fill := strings.NewReplacer(pairs...)
	if err := os.MkdirAll(n.path("cni"), 0o700); err != nil {
		return err
	}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "resolv.conf", "cni/10-bridge.conflist"} {
		text, err := configuration.ReadFile("config/" + filepath.Base(name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.path(name), []byte(fill.Replace(string(text))), 0o600); err != nil {
			return fmt.Errorf("configure the node: %w", err)
		}
	}
	return nil
}

// path is a file of the cluster's folder.
func (n *Node) path(name string) string { return filepath.Join(n.Cluster.Dir(), name) }

// Keep waits until somebody interrupts this process, and says how to look around meanwhile.
func (n *Node) Keep(ctx context.Context, log io.Writer) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(log, "The node keeps running; its files are in %s. Interrupt (Ctrl+C) to end it. To look around, as root:\n"+
		"  pgrep -f 'containerd --config=%[1]s'   # a process of the node, PID below\n"+
		"  nsenter -t PID -n -m -p env KUBECONFIG=%s PATH=%s:$PATH bash\n", n.Cluster.Dir(), n.Cluster.AdminKubeconfig(), n.programs.Dir())
	<-ctx.Done()
}
