package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

// warmUp is how long readiness waits for first answers. Readiness never depends on Sysdig: an aggregated API without
// endpoints breaks discovery and leaves namespaces Terminating.
const warmUp = 30 * time.Second

// readiness makes the operator ready when it has a certificate and listens, its caches have synced, and every binding is known and had one attempt, or
// warmUp has passed; and no longer when it was told to end, while it still serves.
func (a *assembly) readiness(ctx context.Context) (map[string]healthz.Checker, error) {
	synced, pair := make(chan struct{}), serving.NewKeyPair(a.options.CertDir)
	var settled atomic.Bool // stays: bindings that come later do not make the operator unready
	settling := together(func(ctx context.Context) error { return a.settled(ctx, &settled) })
	err := a.manager.Add(everyReplica(func(ctx context.Context) error {
		if a.manager.GetCache().WaitForCacheSync(ctx) {
			close(synced)
		}
		return nil
	}))
	return map[string]healthz.Checker{
		"running": func(*http.Request) error { return ctx.Err() },
		"caches": func(*http.Request) error {
			select {
			case <-synced:
				return nil
			default:
				return errors.New("caches have not synced")
			}
		},
		"answers": func(r *http.Request) error {
			if settled.Load() || a.clock.Since(a.started) > warmUp {
				return nil
			}
			return settling(r.Context())
		},
		"certificate": func(r *http.Request) error {
			_, err := pair.GetCertificate(nil)
			if err == nil || a.issuer == nil {
				return err
			}
			return cmp.Or(a.issuer.Missing(r.Context()), err)
		},
		"listening": func(r *http.Request) error {
			host := a.options.BindAddress
			if host.IsUnspecified() {
				host = net.IPv4(127, 0, 0, 1)
			}
			dialer := net.Dialer{Timeout: time.Second}
			connection, err := dialer.DialContext(r.Context(), "tcp", net.JoinHostPort(host.String(), strconv.Itoa(a.options.SecurePort)))
			if err != nil {
				return fmt.Errorf("the aggregated API does not listen: %w", err)
			}
			return connection.Close()
		},
	}, err
}

// checkTime is how long a check of readiness may take: as long as the kubelet waits for a probe by default.
const checkTime = time.Second

// together makes those who ask at the same time share one check, which goes on without those who leave. Anybody may ask for readiness,
// and each check of its own would list all bindings.
func together(check func(context.Context) error) func(context.Context) error {
	var checks singleflight.Group
	return func(ctx context.Context) error {
		_, err, _ := checks.Do("", func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
			defer cancel()
			return nil, check(ctx)
		})
		return err
	}
}

// compiled is why not every binding is known to the registry.
func (a *assembly) compiled(ctx context.Context) error {
	var list v1alpha1.SysdigMetricBindingList
	// Names are read only, and copies of 10,000 bindings at each probe would be what decides how much memory is needed.
	if err := a.manager.GetClient().List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing bindings: %w", err)
	}
	for i := range list.Items {
		if !a.registry.Known(client.ObjectKeyFromObject(&list.Items[i])) {
			return errors.New("some bindings were not compiled yet")
		}
	}
	return nil
}

// settled finds out whether every binding is known to the registry and had one attempt, and remembers when it is so.
func (a *assembly) settled(ctx context.Context, remember *atomic.Bool) error {
	if err := a.compiled(ctx); err != nil {
		return err
	}
	if !a.registry.Settled() {
		return errors.New("some bindings were not asked yet")
	}
	remember.Store(true)
	return nil
}

// everyReplica is a runnable that does not need the leader.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

func (f everyReplica) NeedLeaderElection() bool { return false }
