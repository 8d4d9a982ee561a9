package cluster

import (
	"net"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// AuthorityFile is the path of the certificate that has signed those of all servers and users of the cluster.
func (c *Cluster) AuthorityFile() string { return c.layout.pki.certFile("ca") }

// UserKubeconfig issues a client certificate for a user in groups, such as a kubelet, and returns the path of its kubeconfig.
// What it may do is for RBAC to say.
func (c *Cluster) UserKubeconfig(name, user string, groups ...string) (path string, err error) {
	pair, err := c.layout.pki.ca.client(user, groups...)
	if err != nil {
		return "", err
	}
	path = c.layout.kubeconfig(binaries.Component(name))
	info := &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	return path, c.layout.writeKubeconfig(path, user, "default", info)
}

// ServingCertificate issues a certificate, signed by the cluster's authority, for a server that is known by localhost and the
// given addresses, and returns the paths of its files.
func (c *Cluster) ServingCertificate(name string, addresses ...net.IP) (certFile, keyFile string, err error) {
	p := c.layout.pki
	pair, err := p.ca.serving(name, nil, addresses...)
	if err != nil {
		return "", "", err
	}
	return p.certFile(name), p.keyFile(name), p.write(name, pair)
}
