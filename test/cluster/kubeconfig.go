package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// tokenLifetime is how long the token of a service account's kubeconfig is valid.
const tokenLifetime = 12 * time.Hour

// writeKubeconfigs issues client certificates for the administrator and for the components that talk to the API server.
func (l layout) writeKubeconfigs() error {
	for name, subject := range map[binaries.Component][]string{
		admin:                      {"admin", "system:masters"},
		binaries.ControllerManager: {"system:kube-controller-manager"},
		binaries.Scheduler:         {"system:kube-scheduler"},
		binaries.Kwok:              {"kwok", "system:masters"},
	} {
		pair, err := l.pki.ca.client(subject[0], subject[1:]...)
		if err != nil {
			return err
		}
		user := &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
		if err := l.writeKubeconfig(l.kubeconfig(name), subject[0], "default", user); err != nil {
			return err
		}
	}
	return nil
}

// writeKubeconfig writes a file, readable by the owner only, that needs no other file.
func (l layout) writeKubeconfig(path, name, namespace string, user *clientcmdapi.AuthInfo) error {
	const cluster = "testcluster"
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: l.apiServerURL(), CertificateAuthorityData: l.pki.ca.keyPair.cert}
	config.AuthInfos[name] = user
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: name, Namespace: namespace}
	config.CurrentContext = cluster
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	return nil
}

// adminConfig reads the administrator's kubeconfig and lifts the client's rate limit.
func (l layout) adminConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig(admin))
	if err != nil {
		return nil, fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	config.QPS = -1
	config.UserAgent = "testcluster"
	return config, nil
}

// ServiceAccountKubeconfig writes a kubeconfig that acts as an existing service account and returns its path. The
// API server issues the token, which is valid for 12 hours; the file is readable by the owner only and its context's
// namespace is the account's.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	seconds := int64(tokenLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token of the service account %s/%s: %w", namespace, name, err)
	}
	path = filepath.Join(c.Dir(), fmt.Sprintf("serviceaccount-%s-%s.kubeconfig", namespace, name))
	user := &clientcmdapi.AuthInfo{Token: token.Status.Token}
	return path, c.layout.writeKubeconfig(path, name, namespace, user)
}
