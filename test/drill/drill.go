package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// creators is how many groups are made at a time.
	creators = 6
	// checkEvery is how often all HPAs are looked at while they settle, which settleLimit bounds.
	checkEvery  = 2 * time.Second
	settleLimit = 6 * time.Minute
	// podsLimit is when all pods have to be ready.
	podsLimit = 4 * time.Minute
)

// drill is one run of the incidents on a control plane of its own.
type drill struct {
	plan   plan
	log    io.Writer
	began  time.Time
	stage  *stage.Stage
	watch  *watch
	groups []*group
	told   *told
	result *report
}

// run plays everything and returns what is known at the end, also when a later part fails.
func run(ctx context.Context, p plan, log io.Writer) (_ *report, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.deadline)
	defer cancel()
	d := &drill{plan: p, log: log, began: time.Now(), told: newTold(), result: newReport(p)}
	if err := d.open(ctx); err != nil {
		return d.result, err
	}
	defer func() { err = errors.Join(err, d.close(context.WithoutCancel(ctx))) }()
	background, end := context.WithCancel(ctx)
	var helpers errgroup.Group
	defer func() { end(); err = errors.Join(err, helpers.Wait()) }()
	if err := d.fill(ctx, background, &helpers); err != nil {
		return d.result, err
	}
	for _, part := range []func(context.Context) error{d.warm, d.incidents, d.processes, d.judge} {
		if err := part(ctx); err != nil {
			return d.result, err
		}
	}
	if p.control > 0 {
		err = d.control(ctx)
	}
	d.result.took = time.Since(d.began)
	return d.result, err
}

func (d *drill) say(format string, args ...any) {
	fmt.Fprintf(d.log, "%6s  %s\n", time.Since(d.began).Round(time.Second), fmt.Sprintf(format, args...))
}

// open starts the control plane with the operator, and a stand-in for each incident.
func (d *drill) open(ctx context.Context) error {
	picked, err := pick(d.plan.only, d.plan.apis)
	if err != nil {
		return err
	}
	if d.stage, err = stage.Start(ctx, stage.Options{
		Log: d.log,
		Cluster: cluster.Options{
			HPASyncPeriod: d.plan.sync, HPADownscaleStabilization: d.plan.stabilization, KubeAPIQPS: apiQPS,
			ExtraArgs: map[binaries.Component][]string{binaries.ControllerManager: {"--concurrent-horizontal-pod-autoscaler-syncs=" + strconv.Itoa(hpaWorkers)}},
		},
	}); err != nil {
		return err
	}
	for _, i := range picked {
		if i.process != nil && d.plan.process == 0 {
			continue
		}
		g, err := newGroup(d.plan, i, d.stage, func(key client.ObjectKey) []string { return d.watch.ready(key) })
		if err != nil {
			return errors.Join(err, d.close(context.WithoutCancel(ctx)))
		}
		d.groups = append(d.groups, g)
	}
	return nil
}

func (d *drill) close(ctx context.Context) error {
	for _, g := range d.groups {
		g.sysdig.Close()
	}
	return d.stage.Cluster.Stop(ctx)
}

// fill makes all objects and starts what runs until background ends.
func (d *drill) fill(ctx, background context.Context, helpers *errgroup.Group) (err error) {
	if d.watch, err = startWatch(background, d.stage.Cluster.AdminConfig()); err != nil {
		return err
	}
	workloads := 0
	for _, g := range d.groups {
		workloads += len(g.workloads)
	}
	d.say("making %d incidents with %d workloads", len(d.groups), workloads)
	if err := d.stage.Client.Create(ctx, largeNode()); err != nil {
		return fmt.Errorf("making a node: %w", err)
	}
	if err := d.each(ctx, (*group).create); err != nil {
		return err
	}
	if err := stage.Wait(ctx, podsLimit, d.podsRun); err != nil {
		return fmt.Errorf("waiting for the pods: %w", err)
	}
	if err := d.each(ctx, (*group).bind); err != nil {
		return err
	}
	helpers.Go(func() error { feed(background, d.groups); return nil })
	helpers.Go(func() error { d.told.listen(background, d.stage, d.groups); return nil })
	return nil
}

// largeNode takes the pods that the cluster's own node has no place for.
func largeNode() *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("10000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "large", Labels: map[string]string{corev1.LabelHostname: "large", corev1.LabelOSStable: "linux"}},
		Status:     corev1.NodeStatus{Capacity: capacity, Allocatable: capacity},
	}
}

// each calls do for some groups at a time.
func (d *drill) each(ctx context.Context, do func(*group, context.Context) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(creators)
	for _, g := range d.groups {
		all.Go(func() error { return do(g, ctx) })
	}
	return all.Wait()
}

func (d *drill) podsRun(context.Context) error {
	for _, g := range d.groups {
		for _, w := range g.workloads {
			if got := len(d.watch.ready(w.key())); got != calm {
				return fmt.Errorf("%s has %d ready pods", w.key(), got)
			}
		}
	}
	return nil
}

// warm waits until everything is as it should be, and has been for a while.
func (d *drill) warm(ctx context.Context) error {
	d.say("waiting until all HPAs have been content for %s", d.plan.warm)
	return d.settled(ctx, d.groups, func(w *workload) bool { return d.watch.now(w.key()) == calm })
}

// settled waits until all HPAs of some groups have read their metrics for a while and have the replicas that are right.
func (d *drill) settled(ctx context.Context, groups []*group, right func(*workload) bool) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	since := time.Now()
	for {
		last := d.content(ctx, groups, right)
		switch {
		case last != nil:
			since = time.Now()
		case time.Since(since) >= d.plan.warm:
			return nil
		}
		if err := stage.Sleep(ctx, checkEvery); err != nil {
			return fmt.Errorf("waiting for all HPAs to be content: %w: %w", err, last)
		}
	}
}

func (d *drill) content(ctx context.Context, groups []*group, right func(*workload) bool) error {
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := d.stage.Client.List(ctx, &list); err != nil {
		return err
	}
	scaling := map[client.ObjectKey]string{}
	for _, h := range list.Items {
		scaling[client.ObjectKeyFromObject(&h)] = inactive(h)
	}
	for _, g := range groups {
		for _, w := range g.workloads {
			if words, seen := scaling[w.key()]; !seen || words != "" {
				return fmt.Errorf("HPA %s: %s", w.key(), words)
			}
			if !right(w) {
				return fmt.Errorf("%s (%s) has %d replicas", w.key(), w.manner, d.watch.now(w.key()))
			}
		}
	}
	return nil
}

// inactive tells why an HPA does not scale; empty when it does.
func inactive(h autoscalingv2.HorizontalPodAutoscaler) string {
	for _, c := range h.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			if c.Status == corev1.ConditionTrue {
				return ""
			}
			return c.Message
		}
	}
	return "it was not looked at"
}

// incidents plays all that befall connections side by side, and watches until all should be well again.
func (d *drill) incidents(ctx context.Context) error {
	groups := keep(d.groups, func(g *group) bool { return g.incident.process == nil })
	d.say("%d incidents side by side", len(groups))
	if err := together(ctx, groups, func(g *group, ctx context.Context) error {
		err := g.play(ctx)
		d.say("%s is over", g.incident.name)
		return err
	}); err != nil {
		return err
	}
	end := time.Now().Add(d.plan.bound() + d.plan.after)
	for _, g := range groups {
		if last := g.watchedUntil(); last.After(end) {
			end = last
		}
	}
	d.say("watching for %s more", time.Until(end).Round(time.Second))
	if err := stage.Sleep(ctx, time.Until(end)); err != nil {
		return err
	}
	return errors.Join(d.await(ctx, func() error { return d.followed(groups) }), d.stage.OperatorFailure())
}

// await waits for what is patiently awaited. What does not happen is told by who judges, and no error.
func (d *drill) await(ctx context.Context, happened func() error) error {
	if d.plan.patience == 0 {
		return nil
	}
	if err := stage.Wait(ctx, d.plan.patience, func(context.Context) error { return happened() }); err != nil && ctx.Err() == nil {
		d.say("awaited in vain: %v", err)
	}
	return ctx.Err()
}

// followed is nil when all replicas have followed their loads.
func (d *drill) followed(groups []*group) error {
	for _, g := range groups {
		o := outcome{incident: g.incident}
		g.note(func(m *marks) { m.watched = time.Now() })
		o.judge(g, d.watch, d.told)
		if late := append(o.missed, o.held...); len(late) > 0 {
			return errors.New(late[0])
		}
	}
	return nil
}

// processes plays what befalls the operator, one after the other.
func (d *drill) processes(ctx context.Context) error {
	for _, g := range keep(d.groups, func(g *group) bool { return g.incident.process != nil }) {
		d.say("%s: %s", g.incident.name, g.incident.story)
		if err := g.incident.process(g, ctx); err != nil {
			return fmt.Errorf("%s: %w", g.incident.name, err)
		}
		if err := stage.Sleep(ctx, d.plan.process); err != nil {
			return err
		}
		if err := d.stage.OperatorFailure(); err != nil {
			return err
		}
	}
	return nil
}

// judge looks at all groups from the beginning of the first incident until now.
func (d *drill) judge(context.Context) error {
	now := time.Now()
	for _, g := range d.groups {
		g.note(func(m *marks) { m.watched = now })
		d.result.of(g).judge(g, d.watch, d.told)
	}
	return nil
}
