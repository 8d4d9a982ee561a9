package cluster

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// Options says how to run a cluster. The zero value is a complete cluster in a temporary folder.
type Options struct {
	// Dir is where the cluster keeps its data, certificates, kubeconfigs and logs. It is created when missing and must
	// not hold another cluster. By default it is a temporary folder that goes with the cluster.
	Dir string
	// Log receives progress lines, one write per line. By default nothing is written.
	Log io.Writer
	// HPASyncPeriod is how often the HorizontalPodAutoscaler controller looks at the metrics: 5 s by default.
	HPASyncPeriod time.Duration
	// HPADownscaleStabilization is how long the controller waits before it scales down: 20 s by default.
	HPADownscaleStabilization time.Duration
	// HPATolerance is the relative change of a metric that the controller ignores: 0.1 by default.
	HPATolerance float64
	// KubeAPIQPS limits the controller manager's requests per second to the API server: 300 by default. Kubernetes'
	// own default of 20 makes the sync period of 1,000 autoscalers about 50 s.
	KubeAPIQPS int
	// ExtraArgs are appended to the arguments of a component, and override those of the same name.
	ExtraArgs map[binaries.Component][]string
	// Detach lets the cluster outlive this process; StopDir ends it. Otherwise it dies with this process on
	// Linux, even if this process is killed.
	Detach bool
	// Address is for nodes that run pods, see package test/node: the API server listens there, too, is the Service
	// kubernetes, and knows kubelets. It is an address of this machine that pods reach. Then there is no kwok, and nodes
	// register themselves. By default everything is on loopback.
	Address netip.Addr
	// Oldest runs the API server, the controller manager and the scheduler of the oldest Kubernetes that the operator is tested on.
	Oldest bool
	// NoNodes starts without a node; any Node that is created afterwards becomes Ready.
	NoNodes bool
}

// complete fills in the defaults. temporary tells that it made the folder.
func (o Options) complete() (out Options, temporary bool, err error) {
	o.HPASyncPeriod = orDefault(o.HPASyncPeriod, 5*time.Second)
	o.HPADownscaleStabilization = orDefault(o.HPADownscaleStabilization, 20*time.Second)
	o.HPATolerance = orDefault(o.HPATolerance, 0.1)
	o.KubeAPIQPS = orDefault(o.KubeAPIQPS, 300)
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Log = &lockedWriter{w: o.Log}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "testcluster-"); err != nil {
			return o, false, fmt.Errorf("create the cluster's folder: %w", err)
		}
		return o, true, nil
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, false, fmt.Errorf("find the cluster's folder: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return o, false, fmt.Errorf("create the cluster's folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, pidFile)); err == nil {
		return o, false, fmt.Errorf("%s holds a cluster already: stop it first", o.Dir)
	}
	// What an earlier cluster stored belongs to certificates and a service account key that are replaced.
	if err := os.RemoveAll(filepath.Join(o.Dir, etcdData)); err != nil {
		return o, false, fmt.Errorf("remove an earlier cluster's data: %w", err)
	}
	return o, false, nil
}

// orDefault returns fallback in place of a zero value.
func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// lockedWriter lets several goroutines write to one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
