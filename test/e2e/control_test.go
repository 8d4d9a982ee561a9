package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// zeroes is the program in the operator's place.
const zeroes = "./test/e2e/zeroes"

// TestControlWithZeroes is the control run of TestFailuresHoldReplicas: the same failure, served as 0, makes the replicas
// fall. It is that of TestNegativeExternal, too: the HPA takes a negative sum for an overflow. It has a control plane of its
// own.
func TestControlWithZeroes(t *testing.T) {
	t.Parallel()
	s, err := stage.Start(t.Context(), stage.Options{
		Cluster:    cluster.Options{HPASyncPeriod: 5 * time.Second, HPADownscaleStabilization: 20 * time.Second},
		NoOperator: true, Operator: zeroes,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Cluster.Stop(context.Background()) })
	c := newScene(t, s, "control", "control")
	c.deploy("web", 5, 500)
	c.bind("web", nil)
	serveZeroes(t, c, "web")
	c.eventuallyValue(c.servicePath("web"), 100)
	c.scale("web", 2, 10, "100")
	c.deployIdle("workers", 4)
	c.autoscale("workers", 1, 10, behavior(0, 0), externalMetric("negative", average("30"), nil))
	c.alwaysReplicas(15*time.Second, "web", 5, 5)

	c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusInternalServerError})
	c.eventuallyReplicas("web", 2, 2)
	c.eventuallyReplicas("workers", 10, 10)
}

// serveZeroes runs the program in zeroes where the operator should be. It is built without the race detector: the serving
// library races with itself when it starts.
func serveZeroes(t *testing.T, c *scene, binding string) {
	t.Helper()
	binary, err := c.stage.Build(t.Context(), zeroes)
	if err != nil {
		t.Fatal(err)
	}
	process, err := c.stage.Cluster.StartHostProcess("zeroes", binary,
		"--kubeconfig="+c.stage.Cluster.AdminKubeconfig(), "--cert-dir="+certify(t, c), "--port="+strconv.Itoa(c.stage.Port()),
		"--namespace="+c.namespace, "--binding="+binding, "--token="+token)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.stage.Cluster.WaitAPIServiceAvailable(t.Context(), "v1beta2.custom.metrics.k8s.io"); err != nil {
		t.Fatal(errors.Join(err, process.Failure()))
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
	for _, name := range []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"} {
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
