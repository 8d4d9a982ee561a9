// Package writes_test counts, at a real API server, what the status loops write.
package writes_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

// many is how many bindings there are in the test of many. 10,000 take some minutes to make.
var many = flag.Int("bindings", 1000, "how many bindings flip at once")

// patience is how long something is waited for that has to come. It says nothing about how long it takes.
const patience = 5 * time.Minute

// The control plane that all tests share, with the kinds of config/crd.
var (
	testbed *cluster.Cluster
	server  kubernetes.Interface
	admin   client.Client
)

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	os.Exit(leaks.RunScene(func() (int, error) { return run(m) }))
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // The first start builds the control plane.
	defer cancel()
	if testbed, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr, NoNodes: true}); err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := testbed.Stop(context.Background()); err == nil {
			err = stopErr
		}
	}()
	if server, err = kubernetes.NewForConfig(testbed.AdminConfig()); err != nil {
		return 0, fmt.Errorf("create a client: %w", err)
	}
	scheme, err := app.Scheme()
	if err != nil {
		return 0, err
	}
	if admin, err = client.New(testbed.AdminConfig(), client.Options{Scheme: scheme}); err != nil {
		return 0, fmt.Errorf("create a client: %w", err)
	}
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", "../../config/crd"},
		{"wait", "--for=condition=Established", "--timeout=5m", "crd", "--all"},
	} {
		if _, err := testbed.Kubectl(ctx, args...); err != nil {
			return 0, err
		}
	}
	return m.Run(), nil
}
