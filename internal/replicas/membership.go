package replicas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	informers "k8s.io/client-go/informers/coordination/v1"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// requestTimeout bounds a renewal, and the removal of the lease when the process ends.
	requestTimeout = 5 * time.Second
	// retryAfter is how soon a renewal is tried again that failed.
	retryAfter = 2 * time.Second
)

// Config is what a Membership needs.
type Config struct {
	Clock clock.Clock
	// Client writes and watches the leases. Nil: there is one replica.
	Client kubernetes.Interface
	// Namespace of the leases.
	Namespace string
	// Identity of this replica, like no other's.
	Identity string
}

// Membership makes this replica known to the others and knows them. Make one with New. It is safe for concurrent use.
type Membership struct {
	config  Config
	since   time.Time
	changed chan struct{}

	mu      sync.Mutex
	roster  roster
	listed  bool  // the others have been seen
	written bool  // the others can see this one
	refused bool  // the API server has said that it will not let us
	told    Share // at the last nudge

	// Only Start touches these.
	lease   *coordinationv1.Lease // as last written; nil: unknown
	due     time.Time             // of the next renewal
	failing bool
}

// New returns a membership that does nothing before it is started.
func New(c Config) *Membership {
	return &Membership{
		config: c, since: c.Clock.Now(), changed: make(chan struct{}, 1), roster: newRoster(c.Identity), told: Share{Count: 1},
	}
}

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=sysdig-metrics,resources=leases,verbs=get;list;watch;create;update;delete

// NeedLeaderElection tells the manager to run the membership on every replica.
func (m *Membership) NeedLeaderElection() bool { return false }

// Changed receives when Share returns something else than before. Nudges that nobody takes become one.
func (m *Membership) Changed() <-chan struct{} { return m.changed }

// Share tells how many replicas are alive now and which this one is, from memory. Without the API server's answer or permission
// this replica is alone; when it loses sight of the others, they stay.
func (m *Membership) Share() Share {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.share()
}

func (m *Membership) share() Share {
	known := m.listed && m.written
	if !known && (m.refused || m.config.Client == nil) {
		return Share{Count: 1, Known: true}
	}
	rank, count := m.roster.share(m.config.Clock.Now())
	return Share{Rank: rank, Count: count, Known: known}
}

// Start keeps the lease and watches the others' until the context ends, then removes the lease.
func (m *Membership) Start(ctx context.Context) error {
	if m.config.Client == nil {
		log.FromContext(ctx).Info("Replicas do not look for each other without leader election: " +
			"this one takes the whole request budget of every connection, and so would any other")
		m.tell(ctx)
		<-ctx.Done()
		return nil
	}
	informer := informers.NewTypedFilteredLeaseInformer(m.config.Client, m.config.Namespace, 0, informers.LeaseIndexers{}, func(o *metav1.ListOptions) {
		o.LabelSelector = leaseLabels().String()
	})
	if err := informer.SetWatchErrorHandlerWithContext(m.watchFailed); err != nil {
		return fmt.Errorf("watching the leases of replicas: %w", err)
	}
	watch, err := informer.AddTypedEventHandler(m.handler(ctx))
	if err != nil {
		return fmt.Errorf("watching the leases of replicas: %w", err)
	}
	var watching sync.WaitGroup
	watching.Go(func() { informer.RunWithContext(ctx) })
	m.run(ctx, watch.HasSyncedChecker().Done())
	m.leave(ctx)
	watching.Wait()
	return nil
}

// run renews when it is time, and notices what happens because time passes.
func (m *Membership) run(ctx context.Context, listed <-chan struct{}) {
	for ctx.Err() == nil {
		if now := m.config.Clock.Now(); !now.Before(m.due) {
			m.keep(ctx, now)
		}
		m.tell(ctx)
		timer := m.config.Clock.NewTimer(m.pause())
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-listed:
			listed = nil
			m.mu.Lock()
			m.listed = true
			m.mu.Unlock()
		}
		timer.Stop()
	}
}

// pause is how long nothing happens by itself.
func (m *Membership) pause() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.config.Clock.Now()
	return m.roster.wake(now, m.due).Sub(now)
}

// keep renews the lease and removes what others have left behind.
func (m *Membership) keep(ctx context.Context, now time.Time) {
	m.due = now.Add(renewEvery)
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := m.renew(limited, now)
	if err == nil {
		err = m.clean(limited, now)
	} else if !apierrors.IsForbidden(err) {
		m.due = now.Add(retryAfter)
	}
	if ctx.Err() != nil { // we are stopping
		return
	}
	if !apierrors.IsForbidden(err) || !m.refuse(ctx, err) {
		m.report(ctx, err)
	}
}

// report says when keeping the leases begins to fail, and when it works again.
func (m *Membership) report(ctx context.Context, err error) {
	if logger := log.FromContext(ctx); err != nil && !m.failing {
		logger.Error(err, "Keeping the leases of replicas failed: this replica goes on with the others that it knows")
	} else if err == nil && m.failing {
		logger.Info("Keeping the leases of replicas works again")
	}
	m.failing = err != nil
}

func (m *Membership) leases() coordinationclient.LeaseInterface {
	return m.config.Client.CoordinationV1().Leases(m.config.Namespace)
}

// renew writes the lease. When the API server holds another one than was written last, that one is read first.
func (m *Membership) renew(ctx context.Context, now time.Time) error {
	lease, err := m.write(ctx, now)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		m.lease = nil
		lease, err = m.write(ctx, now)
	}
	if err != nil {
		return fmt.Errorf("renewing the lease of this replica: %w", err)
	}
	m.lease = lease
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written = true
	return nil
}

func (m *Membership) write(ctx context.Context, now time.Time) (*coordinationv1.Lease, error) {
	if m.lease == nil {
		found, err := m.leases().Get(ctx, m.roster.own, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			fresh := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: m.config.Namespace, Name: m.roster.own}}
			return m.leases().Create(ctx, renewal(fresh, m.config.Identity, m.since, now), metav1.CreateOptions{})
		}
		if err != nil {
			return nil, err
		}
		m.lease = found
	}
	return m.leases().Update(ctx, renewal(m.lease, m.config.Identity, m.since, now), metav1.UpdateOptions{})
}

// clean removes leases that nobody has renewed for long. One that is renewed at this moment stays.
func (m *Membership) clean(ctx context.Context, now time.Time) error {
	m.mu.Lock()
	litter := m.roster.litter(now)
	m.mu.Unlock()
	var failures []error
	for _, lease := range litter {
		err := m.leases().Delete(ctx, lease.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			failures = append(failures, fmt.Errorf("removing the lease %s of a replica that is gone: %w", lease.Name, err))
		}
	}
	return errors.Join(failures...)
}

// leave removes the lease, so that the others need not wait until it expires. The context has ended already.
func (m *Membership) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := m.leases().Delete(ctx, m.roster.own, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		log.FromContext(ctx).Error(err, "Removing the lease of this replica failed: the others count it until it expires")
	}
}

// handler follows the leases.
func (m *Membership) handler(ctx context.Context) informers.LeaseDetailedHandlerFuncs {
	saw := func(lease *coordinationv1.Lease) {
		m.mu.Lock()
		m.roster.saw(lease, m.config.Clock.Now())
		m.mu.Unlock()
		m.tell(ctx)
	}
	return informers.LeaseDetailedHandlerFuncs{
		AddFunc:    func(lease *coordinationv1.Lease, _ bool) { saw(lease) },
		UpdateFunc: func(_, lease *coordinationv1.Lease) { saw(lease) },
		DeleteFunc: func(lease informers.DeletedLease) {
			m.mu.Lock()
			m.roster.gone(lease.GetName())
			m.mu.Unlock()
			m.tell(ctx)
		},
	}
}

func (m *Membership) watchFailed(ctx context.Context, r *cache.Reflector, err error) {
	if !apierrors.IsForbidden(err) || !m.refuse(ctx, err) {
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}
}

// refuse takes note, and says once, that the API server does not let the replicas find each other. It is asked again all the
// same. When they have found each other before, they stay, and refuse returns false.
func (m *Membership) refuse(ctx context.Context, err error) bool {
	m.mu.Lock()
	known, before := m.listed && m.written, m.refused
	m.refused = true
	m.mu.Unlock()
	if !known && !before {
		log.FromContext(ctx).Error(err, "This replica cannot find the others: "+
			"it takes the whole request budget of every connection, and so does each of them")
	}
	m.tell(ctx)
	return !known
}

// tell nudges whoever listens, if there is something to tell.
func (m *Membership) tell(ctx context.Context) {
	m.mu.Lock()
	share := m.share()
	same := share == m.told
	m.told = share
	m.mu.Unlock()
	if same {
		return
	}
	if share.Known { // before, the list is read
		log.FromContext(ctx).Info("Replicas share the request budget", "count", share.Count, "rank", share.Rank)
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
