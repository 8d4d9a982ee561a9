package poller

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

const (
	// relist is how often what Sysdig has is listed, and relistSoon how soon after that has failed.
	relist     = 30 * time.Minute
	relistSoon = 5 * time.Minute
	// unlistable is after how many rounds it is taken for what cannot be listed: until then, what was never seen is not taken for silent.
	unlistable = 3
)

// list lists what the connection's Sysdig has, out of the budget that a round has left. Without it, a metric that does not exist looks
// like one that is silent. Between two lists it asks about the names that questions lack.
func (p *Poller) list(ctx context.Context, r *round) {
	connection := r.connection
	if connection.Lister == nil {
		return
	}
	take := func() error {
		if now := p.clock.Now(); !r.lane.spares(now) || !r.lane.budget.take(now) {
			return errNoRoom
		}
		return nil
	}
	if !r.lane.relists(connection.Revision, p.clock.Now()) {
		p.listMissed(ctx, r, take)
		return
	}
	catalogue, err := catalogueOf(ctx, connection, take)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Listing the metrics of Sysdig failed", "connection", connection.Name, "error", err.Error())
		if r.lane.failsToList(connection.Revision, p.clock.Now()) {
			p.board.FileCatalogue(connection, registry.Catalogue{})
		}
		return
	}
	r.lane.hasListed(p.clock.Now())
	p.board.FileCatalogue(connection, catalogue)
}

// listMissed asks about the names that questions lack, some at a time and those that were not asked about for the longest time, so that a
// metric which has just appeared is noticed. Of the Prometheus API that is one query a round about these names. The data API cannot be asked
// that: there the whole list is made again, in the next round and then less and less often.
func (p *Poller) listMissed(ctx context.Context, r *round, take func() error) {
	connection := r.connection
	names := p.board.MissedMetrics(connection.Name, query.MaxListed)
	if connection.Heartbeat.Scope.AsksData() {
		r.lane.relistsMissed(connection.Revision, len(names) > 0)
		return
	}
	if len(names) == 0 || take() != nil {
		return
	}
	answer, err := connection.Source.Query(ctx, query.Listing(names), r.at)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Looking for missing metrics failed", "connection", connection.Name, "error", err.Error())
		return
	}
	var found []string
	for _, one := range answer.Series {
		if name := one.Labels[model.MetricNameLabel]; slices.Contains(names, name) {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		p.board.FileMetrics(connection, found)
	}
}

// look lists the clusters that there are, when no pod of the connection's own has reported: its name may be wrong, or the token's team
// may not see it.
func (p *Poller) look(ctx context.Context, r *round) {
	connection := r.connection
	if connection.Lister == nil || connection.Heartbeat.Scope.Cluster == "" || !r.lane.looks(connection.Revision, p.clock.Now()) {
		return
	}
	take := func() error {
		if !r.lane.budget.take(p.clock.Now()) {
			return errNoRoom
		}
		return nil
	}
	clusters, err := clustersOf(ctx, connection, r.at, take)
	if err != nil {
		log.FromContext(ctx).V(1).Info("Listing the clusters of Sysdig failed", "connection", connection.Name, "error", err.Error())
		return
	}
	p.board.FileClusters(connection, clusters)
}

func clustersOf(ctx context.Context, c registry.Connection, at time.Time, take func() error) (clusters registry.Clusters, err error) {
	if !c.Heartbeat.Scope.AsksData() {
		clusters.Names, clusters.All, err = c.Lister.LabelValues(ctx, c.Heartbeat.Scope.Labels.Cluster, take)
	} else if err = take(); err == nil {
		question := c.Heartbeat.Clusters(at)
		var answer sysdig.DataAnswer
		answer, err = c.Source.Data(ctx, question)
		clusters.All = len(answer.Rows) <= question.To
		for _, row := range answer.Rows {
			clusters.Names = append(clusters.Names, row.Keys[0])
		}
	}
	slices.Sort(clusters.Names)
	clusters.Names = slices.DeleteFunc(slices.Compact(clusters.Names), func(name string) bool { return name == "" })
	return clusters, err
}

func catalogueOf(ctx context.Context, c registry.Connection, take func() error) (catalogue registry.Catalogue, err error) {
	list := c.Lister.MetricNames
	if c.Heartbeat.Scope.AsksData() {
		labels, err := c.Lister.LabelNames(ctx, take)
		if err != nil {
			return catalogue, err
		}
		catalogue.Labels, list = byPromQL(labels), c.Lister.Descriptors
	}
	catalogue.Metrics, err = list(ctx, take)
	if err != nil && metric.AsFailure(err).Reason == metric.Truncated { // also by a list from before nothing is said to be missing any more
		log.FromContext(ctx).Info("Sysdig's list of metrics is not complete: no metric is said to be missing", "connection", c.Name, "error", err.Error())
		return catalogue, nil
	}
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

// relists tells whether it is time to list what there is, and takes the turn.
func (l *lane) relists(revision int64, now time.Time) bool {
	return l.takesTurn(revision, now, &l.listing, relist)
}

// looks tells whether it is time to list the clusters that there are, and takes the turn.
func (l *lane) looks(revision int64, now time.Time) bool {
	return l.takesTurn(revision, now, &l.looking, relistSoon)
}

// takesTurn tells whether something is due, and puts it off for a pause. A round that was planned before the connection was edited
// takes no turn: it would be that of the connection as it is now.
func (l *lane) takesTurn(revision int64, now time.Time, due *time.Time, pause time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision != l.connection.Revision || now.Before(*due) {
		return false
	}
	*due = now.Add(pause)
	return true
}

// failsToList puts the next list off after one that has failed, and tells whether that is now taken for what cannot be listed: at first it is
// tried in each round.
func (l *lane) failsToList(revision int64, now time.Time) (unlisted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision != l.connection.Revision {
		return false
	}
	l.unlisted++
	if l.listing = now; l.listed || l.unlisted >= unlistable {
		l.listing = now.Add(relistSoon)
	}
	return !l.listed && l.unlisted == unlistable
}

func (l *lane) hasListed(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed, l.unlisted, l.listedAt = true, 0, now
	l.missedPause = min(2*l.missedPause, relistSoon)
}

// relistsMissed has what there is listed again soon when names are missing.
func (l *lane) relistsMissed(revision int64, missing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case revision != l.connection.Revision:
		return
	case !missing:
		l.missedPause = 0
		return
	case l.missedPause == 0:
		l.missedPause = l.connection.Interval
	}
	if next := l.listedAt.Add(l.missedPause); l.unlisted == 0 && next.Before(l.listing) {
		l.listing = next
	}
}

// spares tells whether one more request may be sent now without the next round missing it.
func (l *lane) spares(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget.wait(now, l.round(now)+l.beat(), 1) <= max(l.next.Sub(now), 0)
}
