package app

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// warmUp is how long readiness waits for first answers. Readiness never depends on Sysdig: an aggregated API without
// endpoints breaks discovery and leaves namespaces Terminating.
const warmUp = 30 * time.Second

// addProbes makes the operator live when its process is, and ready when its caches have synced and every binding had one
// attempt, or warmUp has passed.
func (a *assembly) addProbes(ctx context.Context) error {
	synced := make(chan struct{})
	err := a.manager.Add(everyReplica(func(ctx context.Context) error {
		if a.manager.GetCache().WaitForCacheSync(ctx) {
			close(synced)
		}
		return nil
	}))
	return errors.Join(err,
		a.manager.AddHealthzCheck("ping", healthz.Ping),
		a.manager.AddReadyzCheck("caches", func(*http.Request) error {
			select {
			case <-synced:
				return nil
			default:
				return errors.New("caches have not synced")
			}
		}),
		a.manager.AddReadyzCheck("answers", func(*http.Request) error {
			if a.registry.Settled() || a.clock.Since(a.started) > warmUp {
				return nil
			}
			return errors.New("some bindings were not asked yet")
		}),
	)
}

// everyReplica is a runnable that does not need the leader.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

func (f everyReplica) NeedLeaderElection() bool { return false }
