// Command siege plays what tenants and strangers may do against the operator within a memory limit of 512 MiB, the one of its manifests:
// costly PromQL, labels that change, large answers, lists, bombs and connections, one after the other. Meanwhile it probes as the kubelet
// does. It prints a table in Markdown; progress goes to standard error. It fails when the operator was killed, held more than 400 MiB, or
// left a probe unanswered.
//
// The limit is a memory cgroup where this process may make one (Linux, version 1, root), and GOMEMLIMIT.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// limit is that of the manifests, in bytes, and most what is held at most, in MiB.
	limit = 512 << 20
	most  = 400
	// deadline bounds a whole run.
	deadline = time.Hour
)

// siege is what is played, and against whom.
type siege struct {
	stage    *stage.Stage
	group    *cgroup
	interval time.Duration
	tenant   string // token of a ServiceAccount
	reader   *http.Client
	ports    []string

	probes, failed atomic.Int64
}

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

func run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	s := &siege{interval: 10 * time.Second, reader: insecure()}
	sysdig := newHostile()
	defer sysdig.Close()
	defer func() { err = errors.Join(err, s.end(context.WithoutCancel(ctx))) }()
	if err := s.begin(ctx, sysdig); err != nil {
		return err
	}
	background, end := context.WithCancel(ctx)
	var prober sync.WaitGroup
	prober.Go(func() { s.probe(background) })
	defer func() { end(); prober.Wait() }()
	fmt.Println("| what | took | memory now | most so far | probes | unanswered |\n| --- | --- | --- | --- | --- | --- |")
	for _, a := range attacks() {
		fmt.Fprintln(os.Stderr, a.name)
		began := time.Now()
		if err := a.play(s, ctx); err != nil {
			return fmt.Errorf("%s: %w; the operator: %w", a.name, err, s.stage.OperatorFailure())
		}
		if err := stage.Sleep(ctx, s.interval); err != nil {
			return err
		}
		now, peak := memory(s.stage.OperatorPID())
		fmt.Printf("| %s | %s | %d MiB | %d MiB | %d | %d |\n", a.name, time.Since(began).Round(time.Second), now, peak, s.probes.Load(), s.failed.Load())
		switch kills, failure := s.group.kills(), s.stage.OperatorFailure(); {
		case kills > 0 || failure != nil:
			return fmt.Errorf("%s: the operator ended, the kernel has killed %d: %w", a.name, kills, failure)
		case peak > most:
			err = errors.Join(err, fmt.Errorf("%s: the operator has held %d MiB, at most %d are wanted", a.name, peak, most))
		}
	}
	if failed := s.failed.Load(); failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d probes were not answered", failed, s.probes.Load()))
	}
	return err
}

// begin sets the stage, with the operator confined.
func (s *siege) begin(ctx context.Context, sysdig hostile) (err error) {
	if s.group, err = newCgroup(limit); err != nil {
		fmt.Fprintln(os.Stderr, "without a cgroup:", err)
	}
	if s.stage, err = stage.Start(ctx, stage.Options{Operator: "./test/siege/confined", NoOperator: true, Log: os.Stderr}); err != nil {
		return err
	}
	program, err := s.stage.Build(ctx, "./cmd/sysdig-metrics-operator")
	if err != nil {
		return err
	}
	if err := s.stage.StartOperator(ctx, "--siege-program="+program, fmt.Sprint("--siege-limit=", limit), "--siege-procs="+s.group.procs()); err != nil {
		return err
	}
	if err := s.stage.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant"}}); err != nil {
		return err
	}
	kubeconfig, err := s.stage.Cluster.ServiceAccountKubeconfig(ctx, "default", "tenant")
	if err != nil {
		return err
	}
	account, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	s.tenant = account.BearerToken
	host := func(url string) string {
		_, rest, _ := strings.Cut(url, "://")
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	s.ports = []string{host(s.stage.ReadyURL()), host(s.stage.MetricsURL()), fmt.Sprintf("127.0.0.1:%d", s.stage.Port())}
	return s.stage.Connect(ctx, "default", "c1", sysdig.URL, sysdig.authority(), "a-token", func(c *v1alpha1.SysdigConnectionSpec) {
		c.Interval.Duration = s.interval
	})
}

func (s *siege) end(ctx context.Context) error {
	if s.stage == nil {
		return s.group.remove()
	}
	return errors.Join(s.stage.Cluster.Stop(ctx), s.group.remove())
}

// probe asks whether the operator lives and is ready, every two seconds each, as the kubelet does, with its deadline of a second.
func (s *siege) probe(ctx context.Context) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for stage.Sleep(ctx, time.Second) == nil {
		for _, url := range []string{s.stage.ReadyURL(), strings.Replace(s.stage.ReadyURL(), "readyz", "healthz", 1)} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
			if err != nil {
				return
			}
			s.probes.Add(1)
			response, err := client.Do(request)
			if ctx.Err() != nil {
				return
			}
			if err != nil || response.StatusCode != http.StatusOK {
				fmt.Fprintln(os.Stderr, "a probe was not answered:", err)
				s.failed.Add(1)
			}
			if err == nil {
				_ = response.Body.Close()
			}
		}
	}
}
