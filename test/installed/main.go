// Command installed measures what a read of the operator as installed costs beside a no-op on the same serving library: two processes, in
// turns, with the garbage collector and the limits that each has. It prints the medians; progress goes to standard error.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	rounds  = 21
	window  = 2 * time.Second
	readers = 8
	path    = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/up"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// server is one of the two.
type server struct {
	name   string
	url    string
	pid    int
	client *http.Client
	cost   []float64 // CPU of a read in each round, in microseconds
}

func run(ctx context.Context) (err error) {
	if err := os.Setenv("GOMEMLIMIT", "512MiB"); err != nil { // as in the manifests
		return err
	}
	s, err := stage.Start(ctx, stage.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Cluster.Stop(context.WithoutCancel(ctx))) }()
	sysdig, err := fill(ctx, s)
	if err != nil {
		return err
	}
	defer sysdig.Close()
	noop, noopPort, err := startNoop(ctx, s)
	if err != nil {
		return err
	}
	proxy, err := s.Cluster.FrontProxyCertificate()
	if err != nil {
		return err
	}
	both := []*server{newServer("operator", s.Port(), s.OperatorPID(), proxy), newServer("no-op", noopPort, noop.PID(), proxy)}
	for _, one := range both {
		if err := stage.Wait(ctx, 2*time.Minute, func(ctx context.Context) error { return one.read(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	for round := range rounds {
		for i := range both {
			if err := both[(i+round)%2].measure(ctx); err != nil {
				return err
			}
		}
	}
	var ratios []float64
	for i := range rounds {
		ratios = append(ratios, both[0].cost[i]/both[1].cost[i])
	}
	fmt.Printf("CPU of a read: operator %.1f µs, no-op %.1f µs; ratio %.3f (middle half %.3f to %.3f)\n", quantile(both[0].cost, 0.5), quantile(both[1].cost, 0.5), quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
	return nil
}

// fill makes a stand-in and a binding whose value is served.
func fill(ctx context.Context, s *stage.Stage) (*sysdigtest.Server, error) {
	sysdig := sysdigtest.New(sysdigtest.Options{Clock: clock.RealClock{}, Tokens: []string{"token"}})
	if err := sysdig.StartTLS(); err != nil {
		return nil, err
	}
	now := time.Now()
	for _, namespace := range []string{"default", "kube-system"} {
		up := map[string]string{"__name__": sysdigtest.MetricUp, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: namespace, sysdigtest.LabelPod: "a-0"}
		sysdigtest.Fill(sysdig.Store(), up, now.Add(-10*time.Minute), now.Add(time.Hour), func(time.Time) float64 { return 1 })
	}
	if err := s.Connect(ctx, "default", "c1", sysdig.URL, sysdig.CABundle(), "token"); err != nil {
		return sysdig, err
	}
	return sysdig, s.Client.Create(ctx, &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "up"},
		Spec:       v1alpha1.SysdigMetricBindingSpec{Source: v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: "sum(sysdig_container_up)"}}},
	})
}

// startNoop starts the no-op with the operator's certificate.
func startNoop(ctx context.Context, s *stage.Stage) (*cluster.HostProcess, int, error) {
	program, err := s.Build(ctx, "./test/e2e/foreign")
	if err != nil {
		return nil, 0, err
	}
	ports, err := cluster.FreePorts(1)
	if err != nil {
		return nil, 0, err
	}
	process, err := s.Cluster.StartHostProcess("no-op", program, "--kubeconfig="+s.Cluster.AdminKubeconfig(), "--cert-dir="+s.CertDir(), "--port="+strconv.Itoa(ports[0]), "--metric=up", "--external=2")
	return process, ports[0], err
}

func newServer(name string, port, pid int, proxy tls.Certificate) *server {
	return &server{name: name, url: fmt.Sprintf("https://127.0.0.1:%d%s", port, path), pid: pid, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, // as the aggregation layer
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{proxy}, MinVersion: tls.VersionTLS13},
	}}}
}

// read reads the value once, as somebody whom nobody reviews.
func (s *server) read(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header["X-Remote-User"], request.Header["X-Remote-Group"] = []string{"admin"}, []string{"system:masters"}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d: %.300s", s.name, response.StatusCode, body)
	}
	return nil
}

// measure reads for a window.
func (s *server) measure(ctx context.Context) error {
	before := cpu(s.pid)
	began := time.Now()
	counts := make([]int, readers)
	group, ctx := errgroup.WithContext(ctx)
	for i := range readers {
		group.Go(func() error {
			for time.Since(began) < window {
				if err := s.read(ctx); err != nil {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	reads := 0
	for _, n := range counts {
		reads += n
	}
	s.cost = append(s.cost, (cpu(s.pid)-before).Seconds()*1e6/float64(reads))
	return nil
}

// cpu is what a process has used, in ticks of 10 ms (proc(5)).
func cpu(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}
