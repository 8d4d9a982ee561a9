package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// scrapeLimit is how long an answer may take, on a busy machine, too.
const scrapeLimit = 2 * time.Minute

// scraper is the ServiceAccount that reads the operator's metrics, as a Prometheus does.
const scraper = "scraper"

// MetricsURL is where the operator serves its own metrics.
func (s *Stage) MetricsURL() string { return metricsURL(s.ports) }

func metricsURL(ports []int) string { return fmt.Sprintf("https://127.0.0.1:%d/metrics", ports[1]) }

// Metrics reads the operator's own metrics, as who may.
func (s *Stage) Metrics(ctx context.Context) (string, error) {
	scraping, err := s.Scraper(ctx)
	if err != nil {
		return "", err
	}
	defer scraping.Close()
	return scraping.Read(ctx, s.MetricsURL())
}

// Scraper reads the operator's metrics with a ServiceAccount's token and the authority of the operator's certificate.
type Scraper struct {
	token  string
	client *http.Client
}

// Scraper returns a reader of metrics, which believes the authority that there is now.
func (s *Stage) Scraper(ctx context.Context) (*Scraper, error) {
	if err := s.admitScraper(ctx); err != nil {
		return nil, err
	}
	kubeconfig, err := s.Cluster.ServiceAccountKubeconfig(ctx, Namespace, scraper)
	if err != nil {
		return nil, err
	}
	account, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("the scraper: %w", err)
	}
	var secret corev1.Secret
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: "sysdig-metrics-serving-cert"}, &secret); err != nil {
		return nil, fmt.Errorf("the certificate of the metrics: %w", err)
	}
	config := &rest.Config{TLSClientConfig: rest.TLSClientConfig{
		CAData: secret.Data["ca.crt"], ServerName: name + "." + Namespace + ".svc",
	}}
	scraping, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("the scraper: %w", err)
	}
	scraping.Timeout = scrapeLimit
	return &Scraper{account.BearerToken, scraping}, nil
}

// admitScraper makes the ServiceAccount and binds it to the role that the manifests hold.
func (s *Stage) admitScraper(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: scraper}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "sysdig-metrics-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: Namespace, Name: scraper}},
	}
	for _, object := range []client.Object{account, binding} {
		if err := s.Client.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("letting somebody scrape: %w", err)
		}
	}
	return nil
}

// Close lets go of its connections.
func (s *Scraper) Close() { s.client.CloseIdleConnections() }

// As is a reader with another token; without one it is nobody.
func (s *Scraper) As(token string) *Scraper { return &Scraper{token, s.client} }

// Status is that of the answer at a URL.
func (s *Scraper) Status(ctx context.Context, url string) (int, error) {
	status, _, err := s.get(ctx, url)
	return status, err
}

// Read returns what is at a URL.
func (s *Scraper) Read(ctx context.Context, url string) (string, error) {
	status, body, err := s.get(ctx, url)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", url, status, body)
	}
	return body, err
}

func (s *Scraper) get(ctx context.Context, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}
