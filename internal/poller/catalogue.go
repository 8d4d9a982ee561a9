package poller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

const (
	// relist is how often what Sysdig has is listed, and relistSoon how soon after that has failed.
	relist     = 30 * time.Minute
	relistSoon = 5 * time.Minute
)

// list lists what the connection's Sysdig has, out of the budget that a round has left. Without it, a metric that does not exist looks
// like one that is silent.
func (p *Poller) list(ctx context.Context, r *round) {
	connection := r.connection
	if connection.Lister == nil || !r.lane.relists(p.clock.Now()) {
		return
	}
	take := func() error {
		if now := p.clock.Now(); r.lane.budget.room(now) <= r.lane.reserve() || !r.lane.budget.take(now) {
			return errNoRoom
		}
		return nil
	}
	catalogue, err := catalogueOf(ctx, connection, take)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Listing the metrics of Sysdig failed", "connection", connection.Name, "error", err.Error())
		r.lane.relistAt(p.clock.Now().Add(relistSoon))
		return
	}
	p.board.FileCatalogue(connection.Name, catalogue)
}

func catalogueOf(ctx context.Context, c registry.Connection, take func() error) (catalogue registry.Catalogue, err error) {
	if c.Heartbeat.Scope.API == v1alpha1.APIPrometheus {
		catalogue.Metrics, err = c.Lister.MetricNames(ctx, take)
		return catalogue, err
	}
	if catalogue.Labels, err = c.Lister.LabelNames(ctx, take); err != nil {
		return catalogue, err
	}
	catalogue.Metrics, err = c.Lister.Descriptors(ctx, take)
	return catalogue, err
}

// relists tells whether it is time to list what there is, and takes the turn.
func (l *lane) relists(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.listing) {
		return false
	}
	l.listing = now.Add(relist)
	return true
}

func (l *lane) relistAt(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listing = at
}

// reserve is what the next round needs of the budget.
func (l *lane) reserve() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.round(l.seen) + l.beat()
}
