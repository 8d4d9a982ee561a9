package poller

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

const (
	// idle is how long the loop sleeps when nothing is due and nobody wakes it.
	idle = time.Minute
	// gather is how long the loop waits after it was woken, so that a burst of new bindings is asked in one round.
	gather = 50 * time.Millisecond
)

// Board is the part of the registry that the poller needs.
type Board interface {
	Wanted() []registry.Wanted
	File(outcomes []query.Outcome)
	FileHealth(connection string, health *metric.Failure)
	FileUsage(connection string, usage registry.Usage)
	FileCatalogue(of registry.Connection, catalogue registry.Catalogue)
	// Missing are the metrics that bindings name and that are not known to exist, in the order in which they are to be asked for.
	Missing(connection string) []string
	FileNames(of registry.Connection, names, found []string, told bool)
	FileClusters(of registry.Connection, clusters registry.Clusters)
	Wake() <-chan struct{}
}

// Poller asks the questions of a Board. Make one with New.
type Poller struct {
	clock   clock.Clock
	board   Board
	cluster query.Cluster
	share   func() Share
	metrics *Metrics

	// lanes are the connections. Only Tick touches the map, and Tick is not called concurrently.
	lanes map[string]*lane
	// left are lanes of connections that are gone, of which rounds may be under way. Only Tick touches them.
	left []gone
	// rounds are under way; each sends a token to ended when it is not, since another time may be the next then.
	rounds sync.WaitGroup
	ended  chan struct{}
}

// New returns a poller. cluster resolves the selectors of Services; share tells which part of the requests is this replica's.
func New(clock clock.Clock, board Board, cluster query.Cluster, share func() Share, metrics *Metrics) *Poller {
	return &Poller{
		clock: clock, board: board, cluster: cluster, share: share, metrics: metrics,
		lanes: map[string]*lane{}, ended: make(chan struct{}, 1),
	}
}

// NeedLeaderElection tells the manager to run the poller on every replica: each serves from its own memory.
func (p *Poller) NeedLeaderElection() bool { return false }

// Start runs rounds until the context ends and the last round has.
func (p *Poller) Start(ctx context.Context) error {
	defer p.Wait()
	for {
		next := p.Tick(ctx)
		timer := p.clock.NewTimer(next.Sub(p.clock.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
			continue
		case <-p.ended:
			timer.Stop()
			continue
		case <-p.board.Wake():
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.clock.After(gather):
		}
	}
}

// Tick starts what is to be asked now: of each connection all that is due when its round begins, and the questions that were
// never asked. It does not wait for answers, so that a slow one delays nobody. It returns when to come back, which may change
// when a round ends.
func (p *Poller) Tick(ctx context.Context) time.Time {
	now := p.clock.Now()
	share := p.share()
	earliest := now.Add(idle)
	lanes := make(map[string]*lane, len(p.lanes))
	for _, w := range p.board.Wanted() {
		name := w.Connection.Name
		l := p.lanes[name]
		if l == nil {
			l = newLane(now)
		}
		lanes[name] = l
		r, next := l.plan(w, share, now)
		earliest = earlier(earliest, next)
		if r == nil {
			continue
		}
		l.rounds.Add(1)
		p.rounds.Go(func() {
			p.run(ctx, r)
			l.rounds.Add(-1)
			select {
			case p.ended <- struct{}{}:
			default:
			}
		})
	}
	for name, l := range p.lanes {
		if lanes[name] == nil {
			p.left = append(p.left, gone{name, l})
		}
	}
	p.lanes = lanes
	p.left = slices.DeleteFunc(p.left, p.forgets)
	return earliest
}

// gone is a connection that is gone, and its lane.
type gone struct {
	name string
	lane *lane
}

// forgets drops the series of a connection that is gone, unless it is back. It is false while a round of it may make them anew.
func (p *Poller) forgets(g gone) bool {
	under := g.lane.rounds.Load() > 0
	if p.lanes[g.name] == nil {
		p.metrics.forget(g.name)
	}
	return !under
}

// Wait returns when no round is under way.
func (p *Poller) Wait() { p.rounds.Wait() }
