package poller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

const (
	// relist is how often what Sysdig has is listed, and relistSoon how soon after that has failed.
	relist     = 30 * time.Minute
	relistSoon = 5 * time.Minute
)

const (
	// findMost and findBytes bound the names of one request to the Prometheus API: it takes 100 selectors, and the address of a request
	// has to fit into the 8 KiB that proxies take, in percent encoding.
	findMost  = 50
	findBytes = 3000
	// findRequests is how many requests a round sends to the data API, which is asked for one name at a time.
	findRequests = 2
)

// spare takes requests out of the budget that a round has left.
func (p *Poller) spare(r *round) func() error {
	return func() error {
		if now := p.clock.Now(); !r.lane.spares(now) || !r.lane.budget.take(now) {
			return errNoRoom
		}
		return nil
	}
}

// catalog learns what the connection's Sysdig has, out of the budget that a round has left: all of it now and then, and in between what
// bindings name and was not in the list. Without it, a metric that does not exist looks like one that is silent.
func (p *Poller) catalog(ctx context.Context, r *round) {
	switch {
	case r.connection.Lister == nil:
	case r.lane.relists(r.connection.Revision, p.clock.Now()):
		p.list(ctx, r)
	default:
		p.find(ctx, r)
	}
}

// find asks for metrics by their names.
func (p *Poller) find(ctx context.Context, r *round) {
	data := r.connection.Heartbeat.Scope.AsksData()
	for _, names := range batches(p.board.Missing(r.connection.Name), data) {
		found, err := findOf(ctx, r.connection, names, p.spare(r))
		if errors.Is(err, errNoRoom) || ctx.Err() != nil {
			return
		}
		if err != nil {
			log.FromContext(ctx).V(1).Info("Asking Sysdig for metrics by name failed", "connection", r.connection.Name, "error", err.Error())
		}
		p.board.FileNames(r.connection, names, found, err == nil)
		r.lane.release(found)
	}
}

func findOf(ctx context.Context, c registry.Connection, names []string, take func() error) ([]string, error) {
	if !c.Heartbeat.Scope.AsksData() {
		return c.Lister.FindMetrics(ctx, names, take)
	}
	found, err := c.Lister.FindDescriptor(ctx, names[0], take)
	if !found {
		return nil, err
	}
	return names, err
}

// batches are the names to ask for in a round, by request.
func batches(names []string, data bool) (batches [][]string) {
	if data {
		for batch := range slices.Chunk(names[:min(len(names), findRequests)], 1) {
			batches = append(batches, batch)
		}
		return batches
	}
	n, size := 0, 0
	for n < min(len(names), findMost) && (n == 0 || size+len(names[n]) <= findBytes) {
		size += len(names[n])
		n++
	}
	if n == 0 {
		return nil
	}
	return [][]string{names[:n]}
}

// list lists all that the connection's Sysdig has.
func (p *Poller) list(ctx context.Context, r *round) {
	connection := r.connection
	catalogue, err := catalogueOf(ctx, connection, p.spare(r))
	if err != nil {
		log.FromContext(ctx).V(1).Info("Listing the metrics of Sysdig failed", "connection", connection.Name, "error", err.Error())
		r.lane.relistAt(connection.Revision, p.clock.Now().Add(relistSoon))
		return
	}
	p.board.FileCatalogue(connection, catalogue)
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
		log.FromContext(ctx).Info("Sysdig's list of metrics is not complete: those without data are asked for by name", "connection", c.Name, "error", err.Error())
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

func (l *lane) relistAt(revision int64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if revision == l.connection.Revision {
		l.listing = at
	}
}

// release lets requests be sent again that Sysdig has refused before it had their metrics.
func (l *lane) release(found []string) {
	if len(found) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.tracks {
		if t.refused != nil && slices.Contains(found, key.Shape.Value().Metric) {
			t.due, t.refused, t.pause = time.Time{}, nil, nil
		}
	}
}

// spares tells whether one more request may be sent now without the next round missing it.
func (l *lane) spares(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.budget.wait(now, l.round(now)+l.beat(), 1) <= max(l.next.Sub(now), 0)
}
