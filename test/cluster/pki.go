package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pkiLifetime is how long certificates are valid: a cluster is not meant to live longer than a day.
const pkiLifetime = 24 * time.Hour

// keyPair is a certificate and its private key, both PEM.
type keyPair struct {
	cert, key []byte
}

// authority signs certificates.
type authority struct {
	keyPair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// newAuthority makes a self-signed certificate authority that is valid from a few minutes before now for pkiLifetime.
func newAuthority(name string, now time.Time) (*authority, error) {
	template := newTemplate(pkix.Name{CommonName: name}, now)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	return &authority{keyPair: keyPair{certPEM(der), keyPEM}, cert: cert, key: key, now: now}, nil
}

// serving issues a certificate for servers on this machine that are also known by the given DNS names and addresses.
// It can be used as a client certificate too, which the peers of etcd need.
func (a *authority) serving(name string, dnsNames []string, addresses ...net.IP) (keyPair, error) {
	template := newTemplate(pkix.Name{CommonName: name}, a.now)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = append([]string{"localhost"}, dnsNames...)
	template.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, addresses...)
	return a.issue(template)
}

// client issues a certificate that authenticates a user and its groups.
func (a *authority) client(user string, groups ...string) (keyPair, error) {
	template := newTemplate(pkix.Name{CommonName: user, Organization: groups}, a.now)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(template)
}

func (a *authority) issue(template *x509.Certificate) (keyPair, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key, keyPEM, err := newKey()
	if err != nil {
		return keyPair{}, fmt.Errorf("certificate %s: %w", template.Subject.CommonName, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("sign certificate %s: %w", template.Subject.CommonName, err)
	}
	return keyPair{certPEM(der), keyPEM}, nil
}

func newTemplate(subject pkix.Name, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      subject,
		NotBefore:    now.Add(-5 * time.Minute),
		NotAfter:     now.Add(pkiLifetime),
	}
}

// newSerial returns a random positive number of 127 bits.
func newSerial() *big.Int {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // It never fails.
	raw[0] &= 0x7f
	return new(big.Int).SetBytes(raw)
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key) // The API server does not read service account keys in PKCS #8.
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pki holds the authorities of a cluster and writes what they issue to a folder.
type pki struct {
	dir        string
	ca         *authority // of all servers and users
	frontProxy *authority // of the aggregation layer's client
}

// newPKI makes the authorities, the servers' certificates and the service accounts' signing key, in dir.
// NAME.crt and NAME.key hold the certificate and the key of NAME; the keys are readable by the owner only.
// The API server is also known by the further addresses.
func newPKI(dir string, now time.Time, addresses ...net.IP) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the certificates' folder: %w", err)
	}
	ca, err := newAuthority("cluster-ca", now)
	if err != nil {
		return nil, err
	}
	frontProxy, err := newAuthority("front-proxy-ca", now)
	if err != nil {
		return nil, err
	}
	p := &pki{dir: dir, ca: ca, frontProxy: frontProxy}
	for name, pair := range map[string]keyPair{"ca": ca.keyPair, "front-proxy-ca": frontProxy.keyPair} {
		if err := p.write(name, pair); err != nil {
			return nil, err
		}
	}
	return p, p.issueAll(addresses)
}

func (p *pki) issueAll(addresses []net.IP) error {
	apiServer, err := p.ca.serving("kube-apiserver", []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}, append(addresses, net.ParseIP(apiServerClusterIP))...)
	if err != nil {
		return err
	}
	component, err := p.ca.serving("component", nil)
	if err != nil {
		return err
	}
	frontProxy, err := p.frontProxy.client(frontProxyUser)
	if err != nil {
		return err
	}
	kubelets, err := p.ca.client(kubeletClient, "system:masters")
	if err != nil {
		return err
	}
	_, serviceAccount, err := newKey()
	if err != nil {
		return err
	}
	for name, pair := range map[string]keyPair{
		"kube-apiserver": apiServer, "component": component, frontProxyClient: frontProxy, "service-account": {key: serviceAccount},
		kubeletClient: kubelets,
	} {
		if err := p.write(name, pair); err != nil {
			return err
		}
	}
	return nil
}

// write keeps a pair as NAME.crt and NAME.key.
func (p *pki) write(name string, pair keyPair) error {
	if pair.cert != nil {
		if err := os.WriteFile(p.certFile(name), pair.cert, 0o644); err != nil {
			return fmt.Errorf("write the certificate of %s: %w", name, err)
		}
	}
	if err := os.WriteFile(p.keyFile(name), pair.key, 0o600); err != nil {
		return fmt.Errorf("write the key of %s: %w", name, err)
	}
	return nil
}

func (p *pki) certFile(name string) string { return filepath.Join(p.dir, name+".crt") }

func (p *pki) keyFile(name string) string { return filepath.Join(p.dir, name+".key") }
