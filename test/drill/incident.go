package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// incident is what happens to one group.
type incident struct {
	name, story string
	api         v1alpha1.API // that the connection asks
	// lasts picks its length of a plan; nil where end says when it is over.
	lasts func(plan) time.Duration
	// begin and end are what happens; nil for nothing.
	begin, end func(context.Context, *group) error
	// lost tells that what was shown in between is never mended, so that the truth is complete when a window has passed.
	lost bool
	// falls picks the workloads whose load falls, in place of rising, and to how many replicas' worth.
	falls     func(i int) bool
	fallsTo   int
	slow      bool // the bindings have the slow window
	slowPods  bool // pods count as available after a while
	bites     bool // wrong data, with which an adapter without guards scales down
	workloads int  // at least; 0 for the plan's number
	skewed    bool // the stand-in's clock changes
	grew      bool // the load was half of what it is until lately
	// process happens to the operator when all others are over.
	process func(*group, context.Context) error
}

// history is how far back points have to reach.
func (i incident) history(p plan) time.Duration {
	if i.skewed {
		return p.history() + skew
	}
	return p.history()
}

const (
	// skew is by how much the clocks of stand-ins are wrong.
	skew = 10 * time.Minute
	// lately is since when a load that grew is what it is: long enough to be known, and so short that who looks back by the
	// skew does not see it during an incident.
	lately = 2 * time.Minute
	// rolloutLimit is when a rollout has to be over.
	rolloutLimit = 4 * time.Minute
)

func long(p plan) time.Duration  { return p.data }
func short(p plan) time.Duration { return p.failure }

// incidents are those that run side by side.
func incidents() []incident {
	all := []incident{
		{name: "empty", story: "every answer is a success without data", lasts: long, begin: faulty(sysdigtest.Fault{Kind: sysdigtest.FaultEmpty}), end: mended, bites: true},
		{name: "zeros", story: "every value is 0, the heartbeat goes on", lasts: long, begin: zeros, end: veilEnds, lost: true, bites: true},
		{name: "500", story: "every answer is 500", lasts: short, begin: faulty(status(http.StatusInternalServerError)), end: mended},
		{name: "401", story: "the token is refused", lasts: short, begin: revoke, end: readmit},
		{name: "429", story: "every answer is 429", lasts: short, begin: faulty(status(http.StatusTooManyRequests)), end: mended},
		{name: "hang", story: "nothing is answered", lasts: short, begin: faulty(sysdigtest.Fault{Kind: sysdigtest.FaultHang}), end: mended},
		{name: "old-points", story: "no new point becomes visible", lasts: short, begin: faulty(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints}), end: mended, bites: true},
		{name: "half-missing", story: "half of the pods are not reported, nor is their heartbeat", lasts: long, begin: hideHalf, end: lift, bites: true},
		{name: "decay", story: "the values stop and their window empties, the heartbeat goes on", lasts: long, begin: hideValues, end: lift, slow: true, bites: true},
		{name: "gap", story: "no points for longer than the stabilisation, which never come; the load rises meanwhile", lasts: short, begin: hideAll, end: veilEnds, lost: true, bites: true},
		{name: "rollout", story: "all pods are replaced while the load rises", begin: rollOut, end: rolledOut, lost: true, slowPods: true},
		{name: "rotation", story: "the token is renewed; the Secret gets a wrong one first, and then the right one", lasts: short, begin: rotateWrong, end: rotateRight},
		{name: "ahead", story: "Sysdig's clock is 10 minutes ahead, and the load was half of it then", lasts: short, begin: shifted(skew), end: shifted(0), skewed: true, grew: true, bites: true},
		{name: "behind", story: "Sysdig's clock is 10 minutes behind", lasts: short, begin: shifted(-skew), end: shifted(0), skewed: true},
		{name: "fall-some", story: "the load of one workload in 20 really falls", falls: func(i int) bool { return i == 0 }, fallsTo: 1, workloads: 20},
		{name: "fall-all", story: "the load of all workloads really falls", falls: every, fallsTo: 1},
		{name: "fall-to-zero", story: "the load of all workloads really ends", falls: every, fallsTo: 0},
	}
	return append(all, processIncidents()...)
}

func every(int) bool { return true }

// asking is the incident as it happens to a connection that asks an API. Its name tells which, when that is not the usual one.
func (i incident) asking(api v1alpha1.API) incident {
	if i.api = api; api == v1alpha1.APIData {
		i.name += "-data"
	}
	return i
}

// pick returns the named incidents, or all, once for each API.
func pick(names []string, apis []v1alpha1.API) ([]incident, error) {
	named, err := pickNamed(names)
	if err != nil {
		return nil, err
	}
	var picked []incident
	for _, api := range apis {
		for _, i := range named {
			picked = append(picked, i.asking(api))
		}
	}
	return picked, nil
}

func pickNamed(names []string) ([]incident, error) {
	all := incidents()
	if len(names) == 0 {
		return all, nil
	}
	var picked []incident
	for _, name := range names {
		i := slices.IndexFunc(all, func(i incident) bool { return i.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no incident %q", name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

func status(code int) sysdigtest.Fault {
	return sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: code, Body: `{"message":"drill"}`}
}

func faulty(f sysdigtest.Fault) func(context.Context, *group) error {
	return func(_ context.Context, g *group) error {
		g.sysdig.SetFault(f)
		return nil
	}
}

func mended(_ context.Context, g *group) error {
	g.sysdig.ClearFault()
	return nil
}

// visible is the newest timestamp that queries see: from there on a veil changes what is new, and not what was seen already.
func (g *group) visible() time.Time { return g.sysdig.Store().Horizon().Add(time.Millisecond) }

func (g *group) veil(v sysdigtest.Veil) error {
	g.veiled = v
	g.sysdig.Store().SetVeils(v)
	return nil
}

func isValue(l labels.Labels) bool { return l.Get(model.MetricNameLabel) != sysdigtest.MetricUp }

func zeros(_ context.Context, g *group) error {
	return g.veil(sysdigtest.Veil{Covers: isValue, From: g.visible(), Zero: true})
}

func hideValues(_ context.Context, g *group) error {
	return g.veil(sysdigtest.Veil{Covers: isValue, From: g.visible()})
}

func hideAll(_ context.Context, g *group) error {
	return g.veil(sysdigtest.Veil{From: g.visible()})
}

func hideHalf(_ context.Context, g *group) error {
	return g.veil(sysdigtest.Veil{Covers: inHalf, From: g.visible()})
}

// inHalf picks about half of the pods by their names.
func inHalf(l labels.Labels) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.Get(sysdigtest.LabelPod)))
	return h.Sum32()%2 == 0
}

func lift(_ context.Context, g *group) error {
	g.sysdig.Store().SetVeils()
	return nil
}

// veilEnds leaves the covered points as they are and shows those that come from now on.
func veilEnds(_ context.Context, g *group) error {
	v := g.veiled
	v.Until = time.Now()
	return g.veil(v)
}

func revoke(_ context.Context, g *group) error {
	g.sysdig.RevokeToken(token)
	return nil
}

func readmit(_ context.Context, g *group) error {
	g.sysdig.AddToken(token, nil)
	return nil
}

func rotateWrong(ctx context.Context, g *group) error {
	g.sysdig.RevokeToken(token)
	g.sysdig.AddToken(renewed, nil)
	return g.setToken(ctx, wrongToken)
}

func rotateRight(ctx context.Context, g *group) error { return g.setToken(ctx, renewed) }

func shifted(offset time.Duration) func(context.Context, *group) error {
	return func(_ context.Context, g *group) error {
		g.shift(offset)
		return nil
	}
}

// rollOut replaces the pods of all workloads, as kubectl rollout restart does.
func rollOut(ctx context.Context, g *group) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339)},
	}}}})
	if err != nil {
		return err
	}
	for _, w := range g.workloads {
		if err := g.stage.Client.Patch(ctx, w.deployment(), client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
			return fmt.Errorf("restarting %s: %w", w.key(), err)
		}
	}
	return nil
}

// rolledOut waits until all pods are new.
func rolledOut(ctx context.Context, g *group) error {
	return stage.Wait(ctx, rolloutLimit, func(ctx context.Context) error {
		var list appsv1.DeploymentList
		if err := g.stage.Client.List(ctx, &list, client.InNamespace(g.name)); err != nil {
			return err
		}
		for _, d := range list.Items {
			if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < d.Status.Replicas || d.Status.AvailableReplicas < *d.Spec.Replicas {
				return errors.New(d.Name + " is not rolled out")
			}
		}
		return nil
	})
}

// play lets the incident happen: the load changes so early that its truth is whole when the incident ends, and no earlier than
// the incident begins.
func (g *group) play(ctx context.Context) error {
	i, p := g.incident, g.plan
	g.note(func(m *marks) { m.began = time.Now() })
	if i.falls != nil {
		g.change(func(n int, w *workload) {
			if i.falls(n) {
				w.need(i.fallsTo)
			}
		})
		return nil
	}
	if i.begin == nil {
		return nil
	}
	if err := i.begin(ctx, g); err != nil {
		return fmt.Errorf("%s: %w", i.name, err)
	}
	var wait time.Duration
	if i.lasts != nil {
		wait = max(0, i.lasts(p)-p.ahead(g.workloads[0].window))
	}
	if err := stage.Sleep(ctx, wait); err != nil {
		return err
	}
	g.change(func(_ int, w *workload) { w.need(busy) })
	if i.lasts != nil {
		if err := stage.Sleep(ctx, i.lasts(p)-wait); err != nil {
			return err
		}
	}
	if err := i.end(ctx, g); err != nil {
		return fmt.Errorf("%s: %w", i.name, err)
	}
	g.over()
	return nil
}

// watchedUntil is until when the replicas have to be watched, for them to follow.
func (g *group) watchedUntil() time.Time {
	m := g.noted()
	if g.incident.falls != nil {
		return g.plan.followed(m.changed, g.incident.fallsTo)
	}
	return m.known.Add(g.plan.bound() + g.plan.after)
}

// change changes the loads.
func (g *group) change(how func(n int, w *workload)) {
	for n, w := range g.workloads {
		how(n, w)
	}
	g.note(func(m *marks) { m.changed = time.Now() })
}

// over notes the end, and when the truth is whole.
func (g *group) over() {
	g.note(func(m *marks) {
		window := g.workloads[0].window
		m.ended = time.Now()
		m.known = g.plan.covered(m.changed, window)
		if m.ended.After(m.known) {
			m.known = m.ended
		}
		if whole := g.plan.covered(m.ended, window); g.incident.lost && whole.After(m.known) {
			m.known = whole
		}
	})
}
