// Package serving_test reads from the aggregated API server while a real kube-apiserver authorizes the reads, and counts
// in its audit log what it is asked.
package serving_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/fake"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

// patience is how long something is waited for that has to come.
const patience = 5 * time.Minute

// The control plane that all tests share, the servers' way to it, and the audit log of its API server. Each test has users
// of its own.
var (
	testbed    *cluster.Cluster
	client     kubernetes.Interface
	kubeconfig string
	audit      auditLog
)

// policy writes down every SubjectAccessReview and nothing else.
const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
  verbs: [create]
  resources: [{group: authorization.k8s.io, resources: [subjectaccessreviews]}]
- level: None
`

func TestMain(m *testing.M) {
	os.Exit(leaks.RunScene(func() (int, error) { return run(m) }))
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // The first start builds the control plane.
	defer cancel()
	dir, err := os.MkdirTemp("", "serving-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	rules := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(rules, []byte(policy), 0o600); err != nil {
		return 0, err
	}
	audit = auditLog(filepath.Join(dir, "audit.log"))
	testbed, err = cluster.Start(ctx, cluster.Options{
		Log: os.Stderr, HPASyncPeriod: 500 * time.Millisecond,
		ExtraArgs: map[binaries.Component][]string{binaries.APIServer: {"--audit-policy-file=" + rules, "--audit-log-path=" + string(audit)}},
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := testbed.Stop(context.Background()); err == nil {
			err = stopErr
		}
	}()
	if client, err = kubernetes.NewForConfig(testbed.AdminConfig()); err != nil {
		return 0, err
	}
	if kubeconfig, err = testbed.DelegatingKubeconfig(ctx, "metrics"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// server is an aggregated API server that answers every question.
type server struct {
	port   int
	bundle []byte
	reads  *counted
	client *http.Client // with the certificate of the aggregation layer
}

// start runs a server with these broad readers until the end of the test.
func start(t *testing.T, broadReaders ...string) *server {
	t.Helper()
	return startWith(t, func(c *serving.Config) { c.BroadReaders = broadReaders })
}

// startWith runs a server whose configuration is changed.
func startWith(t *testing.T, change func(*serving.Config)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{port: listener.Addr().(*net.TCPAddr).Port, reads: &counted{MetricsProvider: fake.NewProvider(), reads: map[string]int{}}}
	dir := s.certify(t)
	settings := serving.Config{
		Name: "test", Version: "v0", Listener: listener, CertDir: dir,
		Kubeconfig: kubeconfig, REST: config,
	}
	change(&settings)
	running := serving.New(settings, s.reads, s.reads)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- running.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		s.client.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	s.waitReady(t)
	return s
}

// certify makes the certificate of the server and the client that believes it.
func (s *server) certify(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, []string{"localhost", service + ".default.svc"})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{serving.CertFile: certificate, serving.KeyFile: key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	frontProxy, err := testbed.FrontProxyCertificate()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	s.bundle = certificate
	s.client = &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{frontProxy}, MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: 64,
		ForceAttemptHTTP2:   true, // as the aggregation layer does
	}}
	return dir
}

// waitReady returns when the server knows the aggregation layer's authority. Until then everybody is anonymous, on a
// connection that began before also later.
func (s *server) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, "a server that is ready", func() (bool, string) {
		status, err := s.ask(t.Context(), "admin", object(0), "system:masters")
		s.client.CloseIdleConnections()
		return err == nil && status == http.StatusOK, fmt.Sprintf("%d, %v", status, err)
	})
}

// eventually waits until something is so, which also says what it sees. It says nothing about how long that takes.
func eventually(t *testing.T, what string, so func() (is bool, seen string)) {
	t.Helper()
	for started := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		is, seen := so()
		if is {
			return
		}
		if time.Since(started) > patience {
			t.Fatalf("after %s: not yet %s: %s", patience, what, seen)
		}
	}
}

// ask reads a path as the aggregation layer does for a user, and returns the answer's status.
func (s *server) ask(ctx context.Context, user, path string, groups ...string) (int, error) {
	return s.send(ctx, user, path, func(*http.Request) {}, groups...)
}

// send is ask with a request that is changed.
func (s *server) send(ctx context.Context, user, path string, change func(*http.Request), groups ...string) (int, error) {
	status, _, err := s.fetch(ctx, user, path, change, groups...)
	return status, err
}

// fetch is send with what the answer says.
func (s *server) fetch(ctx context.Context, user, path string, change func(*http.Request), groups ...string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:"+strconv.Itoa(s.port)+path, nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-Remote-User", user)
	for _, group := range append(groups, "system:authenticated") {
		request.Header.Add("X-Remote-Group", group)
	}
	change(request)
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// read is ask in a test.
func (s *server) read(t *testing.T, user, path string) int {
	t.Helper()
	status, err := s.ask(t.Context(), user, path)
	if err != nil {
		t.Fatalf("%s reads %s: %v", user, path, err)
	}
	return status
}
