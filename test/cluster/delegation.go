package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// DelegatingKubeconfig makes a ServiceAccount in the namespace default that may delegate authentication and authorization
// to the API server, as a server of an aggregated API does, and returns the path of its kubeconfig.
func (c *Cluster) DelegatingKubeconfig(ctx context.Context, name string) (path string, err error) {
	meta := metav1.ObjectMeta{Name: name}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: name}}
	_, errAccount := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	_, errDelegator := c.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
	}, metav1.CreateOptions{})
	_, errReader := c.client.RbacV1().RoleBindings(metav1.NamespaceSystem).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "extension-apiserver-authentication-reader"},
	}, metav1.CreateOptions{})
	if err := errors.Join(errAccount, errDelegator, errReader); err != nil {
		return "", fmt.Errorf("let %s delegate: %w", name, err)
	}
	return c.ServiceAccountKubeconfig(ctx, metav1.NamespaceDefault, name)
}
