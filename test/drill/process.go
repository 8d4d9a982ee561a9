package main

import (
	"context"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// settle is how long a second replica runs before it has to take over.
const settle = 15 * time.Second

// processIncidents happen to the operator, one after the other, when the others are over. The load of their groups rises at that
// moment.
func processIncidents() []incident {
	return []incident{
		{name: "restart", story: "the operator is killed and starts again while the load rises", process: (*group).restart},
		{name: "leader", story: "the replica that leads and serves is killed and another one takes over while the load rises", process: (*group).replaceLeader},
	}
}

// rise lets the load rise at the moment when the process goes.
func (g *group) rise() {
	g.note(func(m *marks) { m.began = time.Now() })
	g.change(func(_ int, w *workload) { w.need(busy) })
}

func (g *group) restart(ctx context.Context) error {
	g.rise()
	if err := g.stage.KillOperator(); err != nil {
		return err
	}
	if err := g.stage.StartOperator(ctx); err != nil {
		return err
	}
	g.over()
	return nil
}

func (g *group) replaceLeader(ctx context.Context) error {
	if err := g.stage.StartStandby(ctx); err != nil {
		return err
	}
	if err := stage.Sleep(ctx, settle); err != nil {
		return err
	}
	g.rise()
	if err := g.stage.FailOver(ctx); err != nil {
		return err
	}
	if err := g.stage.WaitAvailable(ctx); err != nil {
		return err
	}
	g.over()
	return nil
}
