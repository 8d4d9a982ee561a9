package stage

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

// Replica is one process of the operator beside others. Nobody is sent to it but by who starts it.
type Replica struct {
	*cluster.HostProcess
	// Name tells it from the others; its log is called so.
	Name string

	ports []int
}

// StartReplica starts a replica and does not wait for it. No two may have the same name.
func (s *Stage) StartReplica(ctx context.Context, replica string, flags ...string) (*Replica, error) {
	ports, err := cluster.FreePorts(3)
	if err != nil {
		return nil, err
	}
	process, err := s.launch(ctx, name+"-"+replica, filepath.Join(s.Cluster.Dir(), "serving-"+replica), ports, flags)
	if err != nil {
		return nil, err
	}
	return &Replica{HostProcess: process, Name: replica, ports: ports}, nil
}

// Port is where the replica serves the aggregated API.
func (r *Replica) Port() int { return r.ports[0] }

// MetricsURL is where the replica serves its own metrics.
func (r *Replica) MetricsURL() string { return metricsURL(r.ports) }

// Ready is why the replica is not ready.
func (r *Replica) Ready(ctx context.Context) error {
	return ready(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", r.ports[2]))
}

// WaitReady waits until the replica is ready.
func (r *Replica) WaitReady(ctx context.Context) error {
	return Wait(ctx, readyLimit, func(ctx context.Context) error {
		if err := r.Failure(); err != nil {
			return err
		}
		return r.Ready(ctx)
	})
}
