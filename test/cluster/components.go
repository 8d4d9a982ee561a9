package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const (
	apiServerClusterIP = "10.96.0.1" // the first address of ServiceCIDR
	frontProxyUser     = "front-proxy-client"
	frontProxyClient   = "front-proxy"    // names its certificate
	kubeletClient      = "kubelet-client" // names the certificate that the API server shows to kubelets
	etcdData           = "etcd-data"
	loopback           = "127.0.0.1"
)

// ServiceCIDR is the range of the services' addresses.
const ServiceCIDR = "10.96.0.0/16"

// controllers are those that tests of workloads, autoscaling and RBAC need. Without the node lifecycle controller a
// node stays Ready and keeps its pods however slow the machine is.
var controllers = strings.Join([]string{
	"clusterrole-aggregation-controller", "cronjob-controller", "daemonset-controller", "deployment-controller",
	"disruption-controller", "endpointslice-controller", "garbage-collector-controller",
	"horizontal-pod-autoscaler-controller", "job-controller", "namespace-controller", "pod-garbage-collector-controller",
	"replicaset-controller", "resourcequota-controller", "root-ca-certificate-publisher-controller",
	"serviceaccount-controller", "serviceaccount-token-controller", "statefulset-controller",
	"ttl-after-finished-controller", "validatingadmissionpolicy-status-controller",
}, ",")

// ports are the loopback ports of one cluster.
type ports struct {
	etcdClient, etcdPeer, apiServer, controllerManager, scheduler int
}

// layout is what the components' arguments are made from.
type layout struct {
	opts     Options
	pki      *pki
	ports    ports
	programs binaries.Folder
	oldest   binaries.Folder // set when Options.Oldest is
}

// executable is the path of a component's program.
func (l layout) executable(c binaries.Component) string {
	switch c {
	case binaries.APIServer, binaries.ControllerManager, binaries.Scheduler:
		if l.opts.Oldest {
			return l.oldest.Path(c)
		}
	}
	return l.programs.Path(c)
}

// url is the address of a server of this cluster.
func url(port int) string { return fmt.Sprintf("https://%s:%d", loopback, port) }

// apiServerURL is where clients find the API server, nodes included.
func (l layout) apiServerURL() string {
	if !l.opts.Address.IsValid() {
		return url(l.ports.apiServer)
	}
	return "https://" + netip.AddrPortFrom(l.opts.Address, uint16(l.ports.apiServer)).String()
}

// kubeconfig is the file with a component's own identity.
func (l layout) kubeconfig(c binaries.Component) string {
	return filepath.Join(l.opts.Dir, string(c)+".kubeconfig")
}

// addresses are those of the API server beside loopback.
func (l layout) addresses() []net.IP {
	if !l.opts.Address.IsValid() {
		return nil
	}
	return []net.IP{l.opts.Address.AsSlice()}
}

// clients are the components that talk to the API server.
func (l layout) clients() []binaries.Component {
	if l.opts.Address.IsValid() {
		return []binaries.Component{binaries.ControllerManager, binaries.Scheduler}
	}
	return []binaries.Component{binaries.ControllerManager, binaries.Scheduler, binaries.Kwok}
}

// args returns the arguments of a component, the extra ones last.
func (l layout) args(c binaries.Component) []string {
	var args []string
	switch c {
	case binaries.Etcd:
		args = l.etcdArgs()
	case binaries.APIServer:
		args = l.apiServerArgs()
	case binaries.ControllerManager:
		args = append(l.clientArgs(c, l.ports.controllerManager), l.controllerManagerArgs()...)
	case binaries.Scheduler:
		args = append(l.clientArgs(c, l.ports.scheduler),
			// The limits of 50 and 100 that are the default would slow down tests with many pods.
			"--kube-api-qps=300", "--kube-api-burst=600")
	case binaries.Kwok:
		args = []string{
			"--kubeconfig=" + l.kubeconfig(c), "--manage-all-nodes=true", "--config=" + l.programs.Stages(), "--cidr=10.244.0.0/16",
		}
	}
	return append(args, l.opts.ExtraArgs[c]...)
}

// etcdArgs does without fsync: the data need not survive a crash of the machine.
func (l layout) etcdArgs() []string {
	client, peer := url(l.ports.etcdClient), url(l.ports.etcdPeer)
	cert, key, ca := l.pki.certFile("component"), l.pki.keyFile("component"), l.pki.certFile("ca")
	return []string{
		"--name=etcd", "--data-dir=" + filepath.Join(l.opts.Dir, etcdData), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=etcd=" + peer,
		"--client-cert-auth", "--cert-file=" + cert, "--key-file=" + key, "--trusted-ca-file=" + ca,
		"--peer-client-cert-auth", "--peer-cert-file=" + cert, "--peer-key-file=" + key, "--peer-trusted-ca-file=" + ca,
	}
}

// apiServerArgs leaves --enable-aggregator-routing out: with it the aggregation layer refuses Services of type
// ExternalName, which ExposeHostProcess relies on. The admission plugin that taints new nodes is off because the
// controller that would remove the taint does not run.
func (l layout) apiServerArgs() []string {
	p := l.pki
	return append(l.addressArgs(),
		"--secure-port="+strconv.Itoa(l.ports.apiServer), "--service-cluster-ip-range="+ServiceCIDR, "--allow-privileged",
		"--etcd-servers="+url(l.ports.etcdClient), "--etcd-cafile="+p.certFile("ca"),
		"--etcd-certfile="+p.certFile("component"), "--etcd-keyfile="+p.keyFile("component"),
		"--disable-admission-plugins=TaintNodesByCondition",
		"--tls-cert-file="+p.certFile("kube-apiserver"), "--tls-private-key-file="+p.keyFile("kube-apiserver"),
		"--client-ca-file="+p.certFile("ca"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+p.keyFile("service-account"),
		"--service-account-signing-key-file="+p.keyFile("service-account"),
		"--requestheader-client-ca-file="+p.certFile("front-proxy-ca"), "--requestheader-allowed-names="+frontProxyUser,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+p.certFile(frontProxyClient), "--proxy-client-key-file="+p.keyFile(frontProxyClient),
	)
}

// addressArgs say where the API server is, and whether there are kubelets.
func (l layout) addressArgs() []string {
	if !l.opts.Address.IsValid() {
		return []string{
			"--bind-address=" + loopback, "--advertise-address=" + loopback, "--endpoint-reconciler-type=none", "--authorization-mode=RBAC",
		}
	}
	return []string{
		"--bind-address=0.0.0.0", "--advertise-address=" + l.opts.Address.String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + l.pki.certFile(kubeletClient), "--kubelet-client-key=" + l.pki.keyFile(kubeletClient),
		"--kubelet-certificate-authority=" + l.pki.certFile("ca"),
	}
}

// clientArgs are those that the controller manager and the scheduler share.
func (l layout) clientArgs(c binaries.Component, port int) []string {
	kubeconfig := l.kubeconfig(c)
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--bind-address=" + loopback, "--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + l.pki.certFile("component"), "--tls-private-key-file=" + l.pki.keyFile("component"),
	}
}

func (l layout) controllerManagerArgs() []string {
	o := l.opts
	return []string{
		"--use-service-account-credentials", "--controllers=" + controllers,
		"--root-ca-file=" + l.pki.certFile("ca"), "--service-account-private-key-file=" + l.pki.keyFile("service-account"),
		"--kube-api-qps=" + strconv.Itoa(o.KubeAPIQPS), "--kube-api-burst=" + strconv.Itoa(2*o.KubeAPIQPS),
		"--horizontal-pod-autoscaler-sync-period=" + o.HPASyncPeriod.String(),
		"--horizontal-pod-autoscaler-downscale-stabilization=" + o.HPADownscaleStabilization.String(),
		"--horizontal-pod-autoscaler-tolerance=" + strconv.FormatFloat(o.HPATolerance, 'g', -1, 64),
	}
}
