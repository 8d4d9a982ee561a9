package cluster

import (
	"crypto/tls"
	"fmt"
)

// FrontProxyCertificate is the client certificate of the aggregation layer. A server that authenticates as this cluster
// tells it (the ConfigMap extension-apiserver-authentication in kube-system) believes whoever shows it the user that the
// headers X-Remote-User, X-Remote-Group and X-Remote-Extra-* name.
func (c *Cluster) FrontProxyCertificate() (tls.Certificate, error) {
	pki := c.layout.pki
	certificate, err := tls.LoadX509KeyPair(pki.certFile(frontProxyClient), pki.keyFile(frontProxyClient))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read the certificate of the aggregation layer: %w", err)
	}
	return certificate, nil
}
