package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

func start(t *testing.T, opts cluster.Options) *cluster.Cluster {
	t.Helper()
	opts.Log = t.Output()
	c, err := cluster.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func kubectl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	out, err := c.Kubectl(ctx, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// running lists the processes whose arguments name the folder.
func running(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if args, err := os.ReadFile(file); err == nil && strings.Contains(string(args), dir) {
			found = append(found, strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}

func TestCluster(t *testing.T) {
	c := start(t, cluster.Options{})

	t.Run("runs pods", func(t *testing.T) {
		kubectl(t, c, "create", "deployment", "web", "--image=example.com/web", "--replicas=2")
		kubectl(t, c, "rollout", "status", "deployment/web", "--timeout=5m")
		if got := kubectl(t, c, "get", "deployment/web", "-o", "jsonpath={.status.readyReplicas}"); got != "2" {
			t.Errorf("%s pods are ready, want 2", got)
		}
	})
	t.Run("enforces RBAC for service accounts", func(t *testing.T) {
		kubectl(t, c, "create", "serviceaccount", "nobody")
		path, err := c.ServiceAccountKubeconfig(t.Context(), "default", "nobody")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the kubeconfig is %v, %v", info, err)
		}
		if _, err := c.Kubectl(t.Context(), "--kubeconfig", path, "get", "pods"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("listing pods gives %v, want Forbidden", err)
		}
		whoami := kubectl(t, c, "--kubeconfig", path, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
		if whoami != "system:serviceaccount:default:nobody" {
			t.Errorf("the kubeconfig is of %s", whoami)
		}
		if _, err := c.ServiceAccountKubeconfig(t.Context(), "default", "unknown"); err == nil {
			t.Error("an unknown service account has a kubeconfig")
		}
	})
	t.Run("aggregates a host process", func(t *testing.T) { testAggregation(t, c) })

	dir := c.Dir()
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still running:\n%s", strings.Join(left, "\n"))
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

// testAggregation serves a group's discovery with httptest's certificate, so that verification is off.
func testAggregation(t *testing.T, c *cluster.Cluster) {
	const manifest = `
apiVersion: v1
kind: Service
metadata: {name: backend, namespace: default, labels: {app: backend}}
spec: {selector: {app: backend}, ports: [{name: https, port: 443, targetPort: 6443}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.things.example.com}
spec:
  group: things.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: backend, namespace: default, port: 443}
`
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, "apply", "-f", file)

	names := make(chan string, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"things.example.com/v1","resources":[],"user":%q}`,
			r.Header.Get("X-Remote-User"))
	}))
	server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		select {
		case names <- hello.ServerName:
		default:
		}
		return nil, nil
	}}
	server.StartTLS()
	defer server.Close()

	service := types.NamespacedName{Namespace: "default", Name: "backend"}
	for range 2 { // The second time replaces what the first one made.
		if err := c.ExposeHostProcess(t.Context(), service, server.Listener.Addr().(*net.TCPAddr).Port); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitAPIServiceAvailable(t.Context(), "v1.things.example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-names; got != "backend.default.svc" {
		t.Errorf("the aggregation layer asked for the host %q, want backend.default.svc", got)
	}
	if got := kubectl(t, c, "get", "--raw", "/apis/things.example.com/v1"); !strings.Contains(got, `"user":"admin"`) {
		t.Errorf("the backend answered %s, want it to know the user", got)
	}
	if got := kubectl(t, c, "get", "service/backend", "-o", "jsonpath={.spec.type} {.metadata.labels.app}"); got != "ExternalName backend" {
		t.Errorf("the service is %s", got)
	}
}

func TestStopDirEndsDetachedCluster(t *testing.T) {
	dir := t.TempDir()
	c := start(t, cluster.Options{Dir: dir, Detach: true, NoNodes: true})
	if out := kubectl(t, c, "get", "nodes", "-o", "name"); out != "" {
		t.Errorf("there are nodes: %s", out)
	}
	if _, err := cluster.Start(t.Context(), cluster.Options{Dir: dir}); err == nil {
		t.Error("a second cluster started in the same folder")
	}
	if err := cluster.StopDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still running:\n%s", strings.Join(left, "\n"))
	}
	if err := cluster.StopDir(t.Context(), dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stopping it again gives %v", err)
	}
}

func TestStartNamesTheComponentThatFails(t *testing.T) {
	dir := t.TempDir()
	_, err := cluster.Start(t.Context(), cluster.Options{
		Dir: dir, Log: t.Output(),
		ExtraArgs: map[binaries.Component][]string{binaries.APIServer: {"--no-such-flag"}},
	})
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver ended early") || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("the error is %v", err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still running:\n%s", strings.Join(left, "\n"))
	}
}
