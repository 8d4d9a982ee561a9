// Package standin is the program sysdig-standin: a stand-in for Sysdig Monitor whose series follow the pods of a cluster.
package standin

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	// syncTimeout bounds the first list of the pods.
	syncTimeout = 2 * time.Minute
	// stopTimeout bounds how long requests may take to finish at the end. The server waits five seconds for what is sent over a new
	// connection.
	stopTimeout = 30 * time.Second
)

// Main runs the program until the context ends and returns its exit code: 0, 1 for a failure, 2 for wrong usage.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "sysdig-standin:", err)
		return 2
	}
	var client kubernetes.Interface
	if o.watches() {
		client, err = connect(o.kubeconfig)
	}
	if err == nil {
		err = run(ctx, o, client, clock.RealClock{}, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "sysdig-standin:", err)
		return 1
	}
	return 0
}

func connect(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return client, nil
}

// run serves until the context ends. The first line on stdout is the server's URL, printed when it answers.
func run(ctx context.Context, o options, client kubernetes.Interface, clk clock.Clock, stdout io.Writer) error {
	tokens, err := readTokens(o.tokenFile)
	if err != nil {
		return err
	}
	ibm, err := o.ibm()
	if err != nil {
		return err
	}
	lag := o.lag
	if lag == 0 {
		lag = -1
	}
	clk = sysdigtest.NewSkewed(clk, o.clockSkew)
	server := sysdigtest.New(sysdigtest.Options{
		Clock:             clk,
		Tokens:            tokens,
		PathPrefix:        o.pathPrefix,
		Lag:               lag,
		RequestsPerMinute: o.requestsPerMinute,
		IBM:               ibm,
		Switches:          sysdigtest.Switches{IAMOnly: o.iamOnly},
	})
	defer server.Close()

	// Informers end with this context, also when the start fails.
	ctx, cancel := context.WithCancel(ctx)
	load := sysdigtest.NewLoad(server.Store(), clk, clk.Now())
	api := &control{server: server, counts: counts{load: load, workloads: map[string]sysdigtest.Workload{}}}
	var factories []informers.SharedInformerFactory
	defer func() {
		cancel()
		for _, f := range factories {
			f.Shutdown()
		}
	}()
	for _, w := range o.workloads {
		if w.counted {
			api.counts.workloads[w.String()] = w.measured(o.cluster)
			continue
		}
		pods, factory, err := watchPods(client, w)
		if err != nil {
			return err
		}
		factories = append(factories, factory)
		factory.Start(ctx.Done())
		s := &source{name: w.String(), pods: pods, rps: o.rps}
		api.sources = append(api.sources, s)
		load.Add(s.load(o.cluster, w))
	}
	if err := waitForPods(ctx, api.sources); err != nil {
		return err
	}
	api.register()
	if err := listen(server, o); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if o.tlsDir != "" {
		if err := writeBundle(o.tlsDir, server.CABundle()); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(stdout, server.URL); err != nil {
		return fmt.Errorf("print the URL: %w", err)
	}
	return serve(ctx, server, load)
}

// listen serves with the certificate that was given, or with one that only loopback addresses have.
func listen(server *sysdigtest.Server, o options) error {
	if o.tlsCertFile == "" {
		return server.Listen(o.listen, o.tlsDir != "")
	}
	certificate, err := tls.LoadX509KeyPair(o.tlsCertFile, o.tlsKeyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return server.ListenWith(o.listen, certificate)
}

// serve produces load until the context ends, and then lets the server finish.
func serve(ctx context.Context, server *sysdigtest.Server, load *sysdigtest.Load) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := load.Run(ctx); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("load: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return server.Shutdown(stopping)
	})
	return group.Wait()
}

func waitForPods(ctx context.Context, sources []*source) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	for _, s := range sources {
		select {
		case <-s.pods.listed.Done():
		case <-ctx.Done():
			return fmt.Errorf("list the pods of %s: %w", s.name, context.Cause(ctx))
		}
	}
	return nil
}

func writeBundle(dir string, bundle []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder of the certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), bundle, 0o644); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// measured returns the workload's labels in the series.
func (w workload) measured(cluster string) sysdigtest.Workload {
	return sysdigtest.Workload{Cluster: cluster, Namespace: w.namespace, Kind: w.kind, Name: w.name, Service: w.service}
}

// load returns the workload that follows this source.
func (s *source) load(cluster string, w workload) sysdigtest.Workload {
	load := w.measured(cluster)
	load.Pods = s.pods.names
	load.RPS = func() float64 { return s.state().RPS }
	load.Silent = func() bool { return s.state().Silent }
	return load
}
