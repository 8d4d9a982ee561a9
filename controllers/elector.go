package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Elector elects the replica that writes status. Losing the lease stops the writing, never the process: reads go on on
// every replica.
type Elector struct {
	// Lock is the lease. Nil: there is one replica, and it leads.
	Lock resourcelock.Interface
	// Elected is called when this replica has become the leader, so that it writes what the last one did not.
	Elected func()

	leads atomic.Bool
}

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=sysdig-metrics,resources=leases,verbs=get;create;update

// NeedLeaderElection tells the manager to run the elector on every replica.
func (e *Elector) NeedLeaderElection() bool { return false }

// Leads tells whether this replica may write status.
func (e *Elector) Leads() bool { return e.leads.Load() }

// Start takes part in elections until the context ends.
func (e *Elector) Start(ctx context.Context) error {
	if e.Lock == nil {
		e.lead(ctx)
		<-ctx.Done()
		return nil
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: e.Lock, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true,
		Name: "status",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: e.lead,
			OnStoppedLeading: func() { e.leads.Store(false) },
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	for ctx.Err() == nil {
		elector.Run(ctx) // returns when the lease is lost
	}
	return nil
}

func (e *Elector) lead(ctx context.Context) {
	e.leads.Store(true)
	ctrl.LoggerFrom(ctx).Info("This replica writes status")
	e.Elected()
}
