package poller

import (
	"context"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

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
	if connection.Lister == nil || !r.lane.relists(connection.Revision, p.clock.Now()) {
		return
	}
	take := func() error {
		if now := p.clock.Now(); !r.lane.spares(now) || !r.lane.budget.take(now) {
			return errNoRoom
		}
		return nil
	}
	catalogue, err := catalogueOf(ctx, connection, take)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Listing the metrics of Sysdig failed", "connection", connection.Name, "error", err.Error())
		r.lane.relistAt(connection.Revision, p.clock.Now().Add(relistSoon))
		return
	}
	p.board.FileCatalogue(connection, catalogue)
}

func catalogueOf(ctx context.Context, c registry.Connection, take func() error) (catalogue registry.Catalogue, err error) {
	if !c.Heartbeat.Scope.AsksData() {
		catalogue.Metrics, err = c.Lister.MetricNames(ctx, take)
		return catalogue, err
	}
	labels, err := c.Lister.LabelNames(ctx, take)
	if err != nil {
		return catalogue, err
	}
	catalogue.Labels = byPromQL(labels)
	catalogue.Metrics, err = c.Lister.Descriptors(ctx, take)
	return catalogue, err
}

// byPromQL turns the PromQL names of labels around. Of several labels with one PromQL name it is the first in order.
func byPromQL(names map[string]string) map[string]string {
	labels := make(map[string]string, len(names))
	for _, label := range slices.Backward(slices.Sorted(maps.Keys(names))) {
		labels[names[label]] = label
	}
	return labels
}

// relists tells whether it is time to list what there is, and takes the turn. A round that was planned before the connection was
// edited takes none: its turn would be that of the connection as it is now.
func (l *lane) relists(revision int64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision != l.connection.Revision || now.Before(l.listing) {
		return false
	}
	l.listing = now.Add(relist)
	return true
}

func (l *lane) relistAt(revision int64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision == l.connection.Revision {
		l.listing = at
	}
}

// spares tells whether one more request may be sent now without the next round missing it.
func (l *lane) spares(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget.wait(now, l.round(now)+l.beat(), 1) <= max(l.next.Sub(now), 0)
}
