// Package e2e_test plays whole stories on a real control plane: real HPA controller, real aggregation layer, the operator
// as a process under its own ServiceAccount, and the stand-in for Sysdig over TLS.
package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// theStage is set once for all tests of the package; tests keep to namespaces and connections of their own.
var theStage *stage.Stage

// oldest is set by make e2e-oldest.
var oldest = flag.Bool("oldest", false, "run on the oldest Kubernetes that is supported")

func TestMain(m *testing.M) {
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	// The tests wait for points and polls, not for the processor.
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	os.Exit(leaks.Run(func() int { return run(m) }))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	var err error
	theStage, err = stage.Start(ctx, stage.Options{
		Cluster: cluster.Options{HPASyncPeriod: 5 * time.Second, HPADownscaleStabilization: 20 * time.Second, Oldest: *oldest},
		Race:    true, Log: os.Stderr,
		Flags: []string{"--log-level=debug"}, // TestNoSecretIsTold reads everything that may be logged
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	defaultBackend.close()
	if failure := theStage.OperatorFailure(); failure != nil {
		fmt.Fprintln(os.Stderr, failure)
		code = 1
	}
	if race := ownRace(theStage.OperatorLog()); race != "" {
		fmt.Fprintln(os.Stderr, race)
		code = 1
	}
	if err := theStage.Cluster.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// ownRace is a report of the race detector in the operator's log whose accesses are in the operator's own code. The serving
// library races with itself when it starts (secure_serving.go writes a tls.Config that its controller clones).
func ownRace(log string) string {
	for _, report := range strings.Split(log, "==================") {
		if strings.Contains(report, "DATA RACE") && !strings.Contains(report, "DynamicServingCertificateController") {
			return report
		}
	}
	return ""
}
