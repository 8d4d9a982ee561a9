package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// Tokens of the stand-ins: the first one, the one that takes its place, and one that is none.
const (
	token      = "11111111-2222-3333-4444-555555555555"
	renewed    = "22222222-3333-4444-5555-666666666666"
	wrongToken = "99999999-9999-9999-9999-999999999999"
)

// wrongClock is the system's clock with an offset.
type wrongClock struct {
	clock.RealClock
	offset atomic.Int64
}

// Now implements clock.PassiveClock.
func (c *wrongClock) Now() time.Time { return c.RealClock.Now().Add(time.Duration(c.offset.Load())) }

// Since implements clock.PassiveClock.
func (c *wrongClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// group is what one incident is about: a stand-in for Sysdig with its connection, and a namespace of workloads.
type group struct {
	incident  incident
	plan      plan
	name      string // of the namespace and of the connection
	stage     *stage.Stage
	workloads []*workload
	sysdig    *sysdigtest.Server
	clock     *wrongClock
	pods      func(client.ObjectKey) []string
	veiled    sysdigtest.Veil // set by the incident

	mu   sync.Mutex
	load *sysdigtest.Load
	marks
}

// marks are when it happened; zero for what did not.
type marks struct {
	// began and ended bound the incident.
	began, ended time.Time
	// changed is when the load rose or fell, and known when the stand-in first served nothing but the truth afterwards.
	changed, known time.Time
	// watched is until when the replicas were looked at.
	watched time.Time
}

func newGroup(p plan, i incident, s *stage.Stage, pods func(client.ObjectKey) []string) (*group, error) {
	g := &group{incident: i, plan: p, name: ours + "-" + i.name, stage: s, clock: &wrongClock{}, pods: pods}
	g.sysdig = sysdigtest.New(sysdigtest.Options{Clock: g.clock, Tokens: []string{token}, Lag: p.lag})
	window := p.window
	if i.slow {
		window = p.slow
	}
	for n := range max(i.workloads, p.perGroup) {
		w := &workload{
			namespace: g.name, name: fmt.Sprintf("app-%02d", n), connection: g.name,
			manner: manner(n % int(manners)), ofService: n/int(manners)%2 == 0, window: window, maxAge: p.maxAge,
		}
		if i.slowPods {
			w.minReady = int32(p.sync.Seconds())
		}
		w.need(calm)
		g.workloads = append(g.workloads, w)
	}
	if err := g.sysdig.StartTLS(); err != nil {
		return nil, err
	}
	return g, nil
}

// create makes the namespace, the Deployments and the Services. bind makes what needs their pods.
func (g *group) create(ctx context.Context) error {
	c := g.stage.Client
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: g.name}}); err != nil {
		return fmt.Errorf("making namespace %s: %w", g.name, err)
	}
	for _, w := range g.workloads {
		for _, o := range []client.Object{w.deployment(), w.service()} {
			if err := c.Create(ctx, o); err != nil {
				return fmt.Errorf("making %T %s/%s: %w", o, g.name, w.name, err)
			}
		}
	}
	return nil
}

// bind starts the load as if it had always been there, and makes the connection, the bindings and the HPAs.
func (g *group) bind(ctx context.Context) error {
	g.refill()
	p := g.plan
	err := g.stage.Connect(ctx, g.name, clusterName, g.sysdig.URL, g.sysdig.CABundle(), token, func(c *v1alpha1.SysdigConnectionSpec) {
		c.API, c.Interval.Duration, c.IngestionLag.Duration = g.incident.api, p.interval, p.ingestionLag
	})
	if err != nil {
		return err
	}
	for _, w := range g.workloads {
		for _, o := range []client.Object{w.binding(), w.hpa()} {
			if err := g.stage.Client.Create(ctx, o); err != nil {
				return fmt.Errorf("making %T %s/%s: %w", o, g.name, w.name, err)
			}
		}
	}
	return nil
}

// refill forgets all points and starts the load anew, by the stand-in's clock, as if it had always been what it is now; of an
// incident that says so, half of it until lately.
func (g *group) refill() {
	now := g.clock.Now()
	turn := now.Add(-g.incident.history(g.plan))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sysdig.Store().Forget()
	if g.incident.grew {
		begin := turn
		turn = now.Add(-lately)
		sysdigtest.NewLoad(g.sysdig.Store(), g.clock, begin, g.sources(0.5)...).Step(turn)
	}
	g.load = sysdigtest.NewLoad(g.sysdig.Store(), g.clock, turn, g.sources(1)...)
	g.load.Step(now)
}

// sources are a part of the load of each workload.
func (g *group) sources(part float64) []sysdigtest.Workload {
	var all []sysdigtest.Workload
	for _, w := range g.workloads {
		all = append(all, w.source(g.pods, part))
	}
	return all
}

// step appends the points of the buckets that have ended.
func (g *group) step() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.load != nil {
		g.load.Step(g.clock.Now())
	}
}

// shift sets the stand-in's clock, and what it holds with it: from there everything looks as it always did.
func (g *group) shift(offset time.Duration) {
	g.clock.offset.Store(int64(offset))
	g.refill()
}

// setToken writes the Secret of the connection.
func (g *group) setToken(ctx context.Context, token string) error {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: stage.Namespace, Name: g.name + "-token"}
	if err := g.stage.Client.Get(ctx, key, secret); err != nil {
		return fmt.Errorf("reading a Secret: %w", err)
	}
	secret.Data = map[string][]byte{"token": []byte(token)}
	if err := g.stage.Client.Update(ctx, secret); err != nil {
		return fmt.Errorf("writing a Secret: %w", err)
	}
	return nil
}

// note changes the marks.
func (g *group) note(change func(*marks)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.marks)
}

func (g *group) noted() marks {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.marks
}

// feed steps all groups until the context ends.
func feed(ctx context.Context, groups []*group) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, g := range groups {
				g.step()
			}
		}
	}
}
