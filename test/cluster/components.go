package cluster

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	apiServerClusterIP = "10.96.0.1" // the first address of the services' range
	frontProxyUser     = "front-proxy-client"
	frontProxyClient   = "front-proxy" // names its certificate
	etcdData           = "etcd-data"
	loopback           = "127.0.0.1"
)

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
	binaries Binaries
}

// url is the address of a server of this cluster.
func url(port int) string { return fmt.Sprintf("https://%s:%d", loopback, port) }

// kubeconfig is the file with a component's own identity.
func (l layout) kubeconfig(c Component) string {
	return filepath.Join(l.opts.Dir, string(c)+".kubeconfig")
}

// args returns the arguments of a component, the extra ones last.
func (l layout) args(c Component) []string {
	var args []string
	switch c {
	case Etcd:
		args = l.etcdArgs()
	case APIServer:
		args = l.apiServerArgs()
	case ControllerManager:
		args = append(l.clientArgs(c, l.ports.controllerManager), l.controllerManagerArgs()...)
	case Scheduler:
		args = append(l.clientArgs(c, l.ports.scheduler),
			// The limits of 50 and 100 that are the default would slow down tests with many pods.
			"--kube-api-qps=300", "--kube-api-burst=600")
	case Kwok:
		args = []string{
			"--kubeconfig=" + l.kubeconfig(c), "--manage-all-nodes=true", "--config=" + l.binaries.Stages(), "--cidr=10.244.0.0/16",
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
	return []string{
		"--bind-address=" + loopback, "--advertise-address=" + loopback, "--secure-port=" + strconv.Itoa(l.ports.apiServer),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged",
		"--etcd-servers=" + url(l.ports.etcdClient), "--etcd-cafile=" + p.certFile("ca"),
		"--etcd-certfile=" + p.certFile("component"), "--etcd-keyfile=" + p.keyFile("component"),
		"--authorization-mode=RBAC", "--disable-admission-plugins=TaintNodesByCondition",
		"--tls-cert-file=" + p.certFile("kube-apiserver"), "--tls-private-key-file=" + p.keyFile("kube-apiserver"),
		"--client-ca-file=" + p.certFile("ca"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.keyFile("service-account"),
		"--service-account-signing-key-file=" + p.keyFile("service-account"),
		"--requestheader-client-ca-file=" + p.certFile("front-proxy-ca"), "--requestheader-allowed-names=" + frontProxyUser,
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.certFile(frontProxyClient), "--proxy-client-key-file=" + p.keyFile(frontProxyClient),
	}
}

// clientArgs are those that the controller manager and the scheduler share.
func (l layout) clientArgs(c Component, port int) []string {
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
