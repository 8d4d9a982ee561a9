package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/drill/question"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// control plays the incidents that show wrong data, and the genuine falls, to an adapter without guards in the operator's place.
func (d *drill) control(ctx context.Context) error {
	d.say("the control run: an adapter without guards in the operator's place")
	groups := keep(d.groups, func(g *group) bool {
		return (g.incident.bites || g.incident.falls != nil) && g.incident.api == d.plan.apis[0]
	})
	if len(groups) == 0 {
		return nil
	}
	for _, g := range groups {
		g.reset()
	}
	adapter, err := d.startUnguarded(ctx, groups)
	if err != nil {
		return err
	}
	defer func() { _ = adapter.Stop(context.WithoutCancel(ctx)) }()
	if err := d.settled(ctx, groups, func(w *workload) bool { return d.watch.now(w.key()) >= w.truth().At(time.Now()) }); err != nil {
		return fmt.Errorf("%w; the log of the adapter is %s", err, adapter.LogFile())
	}
	d.say("the control run's incidents, for %s", d.plan.control)
	if err := together(ctx, groups, (*group).playWithoutGuards); err != nil {
		return err
	}
	if err := d.await(ctx, func() error { return errors.Join(adapter.Failure(), d.harmed(groups)) }); err != nil {
		return err
	}
	for _, g := range groups {
		d.result.of(g).judgeControl(g, d.watch)
	}
	return adapter.Failure()
}

// harmed is nil when all incidents have done harm that have to without guards.
func (d *drill) harmed(groups []*group) error {
	for _, g := range groups {
		o := outcome{incident: g.incident}
		g.note(func(m *marks) { m.watched = time.Now() })
		if o.judgeControl(g, d.watch); g.incident.bites && o.bare.wrong == 0 {
			return fmt.Errorf("%s has done no harm yet", g.incident.name)
		}
	}
	return nil
}

// reset shows the truth, with the load that a genuine fall begins with.
func (g *group) reset() {
	g.sysdig.ClearFault()
	g.sysdig.Store().SetVeils()
	g.sysdig.AddToken(token, nil)
	for n, w := range g.workloads {
		if g.incident.falls != nil && g.incident.falls(n) {
			w.need(calm)
		}
	}
	g.note(func(m *marks) { *m = marks{} })
	g.refill()
}

// playWithoutGuards lets the incident happen for as long as the plan says; no load rises.
func (g *group) playWithoutGuards(ctx context.Context) error {
	if g.incident.falls != nil {
		if err := g.play(ctx); err != nil {
			return err
		}
	} else {
		g.note(func(m *marks) { m.began = time.Now() })
		if err := g.incident.begin(ctx, g); err != nil {
			return err
		}
	}
	err := stage.Sleep(ctx, g.plan.control)
	g.note(func(m *marks) { m.watched = time.Now() })
	return err
}

// startUnguarded stops the operator and starts the adapter where the APIServices find it.
func (d *drill) startUnguarded(ctx context.Context, groups []*group) (*cluster.HostProcess, error) {
	set := question.Set{Lag: d.plan.ingestionLag}
	for _, g := range groups {
		source := question.Source{Namespace: g.name, URL: g.sysdig.URL, Token: token, CABundle: g.sysdig.CABundle(), Queries: map[string]string{}}
		for _, w := range g.workloads {
			source.Queries[w.name] = w.query()
		}
		set.Sources = append(set.Sources, source)
	}
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(d.stage.Cluster.Dir(), "questions.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, fmt.Errorf("writing the questions: %w", err)
	}
	kubeconfig, err := d.stage.OperatorKubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	binary, err := d.stage.Build(ctx, "./test/drill/unguarded")
	if err != nil {
		return nil, err
	}
	if err := d.stage.StopOperator(ctx); err != nil {
		return nil, err
	}
	adapter, err := d.stage.Cluster.StartHostProcess("unguarded", binary, "--kubeconfig="+kubeconfig, "--cert-dir="+d.stage.CertDir(),
		"--port="+strconv.Itoa(d.stage.Port()), "--questions="+file)
	if err != nil {
		return nil, err
	}
	return adapter, d.stage.WaitAvailable(ctx)
}

// together calls do for all groups at the same time.
func together(ctx context.Context, groups []*group, do func(*group, context.Context) error) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, g := range groups {
		all.Go(func() error { return do(g, ctx) })
	}
	return all.Wait()
}

// keep are the groups that are wanted.
func keep(groups []*group, wanted func(*group) bool) []*group {
	var kept []*group
	for _, g := range groups {
		if wanted(g) {
			kept = append(kept, g)
		}
	}
	return kept
}
