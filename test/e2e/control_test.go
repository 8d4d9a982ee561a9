package e2e_test

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	certutil "k8s.io/client-go/util/cert"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	cmprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// zeroes is a provider that says 0 when it does not know, as adapters used to.
type zeroes struct{ *provider.Provider }

func (z zeroes) GetMetricByName(ctx context.Context, name types.NamespacedName, info cmprovider.CustomMetricInfo, selector labels.Selector) (*custom_metrics.MetricValue, error) {
	value, err := z.Provider.GetMetricByName(ctx, name, info, selector)
	if err == nil {
		return value, nil
	}
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
	}, nil
}

// TestControlWithZeroes is the control run of TestFailuresHoldReplicas: the same failure, served as 0, makes the replicas
// fall. It has a control plane of its own.
func TestControlWithZeroes(t *testing.T) {
	t.Parallel()
	s, err := stage.Start(t.Context(), stage.Options{
		Cluster:    cluster.Options{HPASyncPeriod: 5 * time.Second, HPADownscaleStabilization: 20 * time.Second},
		NoOperator: true, Race: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cluster.Stop(context.Background()) })
	c := newScene(t, s, "control", "control")
	c.deploy("web", 5, 500)
	b := c.bind("web", nil)
	serveZeroes(t, c, b)
	c.eventuallyValue(time.Minute, c.servicePath("web"), 100)
	c.scale("web", 2, 10, "100")
	c.alwaysReplicas(15*time.Second, "web", 5, 5)

	c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusInternalServerError})
	c.eventuallyReplicas(2*time.Minute, "web", 2, 2)
}

// serveZeroes runs the operator's data path in this process, with a provider that answers 0 in place of errors.
func serveZeroes(t *testing.T, c *scene, b *v1alpha1.SysdigMetricBinding) {
	t.Helper()
	var connection v1alpha1.SysdigConnection
	if err := c.stage.Client.Get(t.Context(), client.ObjectKey{Name: c.name}, &connection); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(c.sysdig.URL + "/prometheus/api/v1/query")
	if err != nil {
		t.Fatal(err)
	}
	source, err := sysdig.NewClient(sysdig.Config{QueryURL: address, Token: token, CABundle: c.sysdig.CABundle(), UserAgent: "control", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.RealClock{}
	board := registry.New(clk)
	board.PutConnection(registry.Connection{
		Name: c.name, Interval: connection.Spec.Interval.Duration, IngestionLag: connection.Spec.IngestionLag.Duration, Source: source,
		Heartbeat: query.Heartbeat{Metric: connection.Spec.HeartbeatMetric, Scope: query.ScopeOf(&connection)},
	})
	board.Put(query.Compile(b, &connection, query.Target{Resource: schema.GroupResource{Resource: "services"}, Selector: "app=web"}))
	pollerMetrics, err := poller.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	providerMetrics, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	pods := func(string, string, time.Duration) []string { return c.readyPods("web") }
	go func() { _ = poller.New(clk, board, pods, pollerMetrics).Start(t.Context()) }()
	server := serving.New(serving.Config{
		Name: "control", Version: "test", BindAddress: net.IPv4(127, 0, 0, 1), Port: c.stage.Port(), CertDir: certify(t, c),
		Kubeconfig: c.stage.Cluster.AdminKubeconfig(), REST: c.stage.Cluster.AdminConfig(),
	}, zeroes{provider.New(board, clk, providerMetrics)})
	go func() { _ = server.Start(t.Context()) }()
	if err := c.stage.Cluster.WaitAPIServiceAvailable(t.Context(), "v1beta2.custom.metrics.k8s.io"); err != nil {
		t.Fatal(err)
	}
}

// certify makes a serving certificate and tells the APIServices to trust it.
func certify(t *testing.T, c *scene) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cert, key, err := certutil.GenerateSelfSignedCertKey("sysdig-metrics-operator.sysdig-metrics.svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{serving.CertFile: cert, serving.KeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"} {
		var service apiregistrationv1.APIService
		if err := c.stage.Client.Get(t.Context(), client.ObjectKey{Name: name}, &service); err != nil {
			t.Fatal(err)
		}
		service.Spec.CABundle = cert
		if err := c.stage.Client.Update(t.Context(), &service); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
