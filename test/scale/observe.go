package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/controllers"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// measureIdle measures the operator without HPAs, once each binding has its first status.
func (r *run) measureIdle(ctx context.Context) (err error) {
	r.say("waiting for the first statuses, %d a second", controllers.WritesPerSecond)
	limit := time.Minute + 2*time.Duration(r.scene.bindings/controllers.WritesPerSecond)*time.Second
	if err := eventually(ctx, limit, r.written); err != nil {
		return err
	}
	if err := eventually(ctx, toldLimit, r.told); err != nil {
		return err
	}
	r.result.idle, err = r.observe(ctx, "without HPAs", func(ctx context.Context) ([]float64, error) { return nil, stage.Sleep(ctx, r.plan.window) })
	return err
}

// written expects as many writes of status as there are bindings.
func (r *run) written(ctx context.Context) error {
	counted, err := r.meter().read(ctx)
	if err == nil && counted.status < float64(r.scene.bindings) {
		err = fmt.Errorf("%.0f of %d statuses were written", counted.status, r.scene.bindings)
	}
	return err
}

// told expects that no Event waits any more: none is sent while the scene settles.
func (r *run) told(ctx context.Context) error {
	before, err := r.meter().read(ctx)
	if err != nil {
		return err
	}
	if err := stage.Sleep(ctx, r.plan.settle); err != nil {
		return err
	}
	after, err := r.meter().read(ctx)
	if n := after.minus(before).events(); err == nil && n > 2 { // the counters are not read at the same moment
		err = fmt.Errorf("%.0f Events were sent in %s", n, r.plan.settle)
	}
	return err
}

func (r *run) meter() meter {
	return meter{operator: r.stage.Metrics, apiServer: r.client, pid: r.stage.OperatorPID()}
}

// observe measures the operator while something goes on, which may return how long reads took.
func (r *run) observe(ctx context.Context, what string, meanwhile func(context.Context) ([]float64, error)) (w window, err error) {
	r.say("measuring %s for %s", what, r.plan.window)
	m := r.meter()
	if _, err := r.sysdig.traffic(); err != nil { // what was before
		return w, err
	}
	before, err := m.read(ctx)
	if err != nil {
		return w, err
	}
	began := time.Now()
	if w.latencies, err = meanwhile(ctx); err != nil {
		return w, err
	}
	w.length = time.Since(began)
	after, err := m.read(ctx)
	if err != nil {
		return w, err
	}
	w.counted = after.minus(before)
	if w.traffic, err = r.sysdig.traffic(); err != nil {
		return w, err
	}
	if w.memory, err = memoryOf(m.pid); err != nil {
		return w, err
	}
	r.expectNoFailure(what, w)
	return w, errors.Join(r.stage.OperatorFailure(), r.plan.profile(ctx, fmt.Sprintf("%d-%s", r.scene.bindings, what)))
}

func (r *run) expectNoFailure(what string, w window) {
	if w.counted.failed > 0 || w.traffic.Failed > 0 {
		r.result.wrong = append(r.result.wrong, fmt.Sprintf("%s: %.0f reads and %d requests to Sysdig failed", what, w.counted.failed, w.traffic.Failed))
	}
}

// probe reads values for a while and checks them.
func (r *run) probe(ctx context.Context) ([]float64, error) {
	p := &probe{client: r.client, scene: r.scene, every: probeEvery}
	limited, cancel := context.WithTimeout(ctx, r.plan.window)
	defer cancel()
	p.run(limited)
	r.result.wrong = append(r.result.wrong, p.wrong...)
	return p.latencies, ctx.Err()
}
