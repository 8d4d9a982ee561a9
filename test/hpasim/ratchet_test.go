package hpasim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/hpasim"
)

const (
	syncs      = 100
	syncPeriod = 15 * time.Second
	maxAge     = 2 * time.Minute
	// longest is for how many rounds a failure lasts at most: 9 minutes, of rounds of 30 s.
	longest = 18
	// whole is in how many rounds after a failure a window of a minute holds nothing of it.
	whole = 3
)

// lie is how Sysdig fails for all workloads of a connection.
type lie int

const (
	truth lie = iota
	down
	rejected
	empty
	zeroes
	partial
	oldPoints
	nothingSaid
	notANumber
	lies
)

// believable are those that the registry believes when they last for ten minutes, one after the other.
func (l lie) believable() bool { return l == empty || l == zeroes }

// workload is one that an HPA scales on what the registry serves.
type workload struct {
	name        string
	load        int64 // in thousandths, of all pods
	kinds       []hpasim.Kind
	definitions []query.Definition
	served      *hpasim.HPA
	names       []string // of its pods; a pod that is made anew has another one
	made        int
	told        told
}

// told is the newest true answer: a load, and when it was told.
type told struct {
	at   time.Time
	load int64
}

// cluster has the pods of the workloads.
type cluster map[string]*workload

func (c cluster) Matches(schema.GroupResource, string, string, labels.Selector) bool { return true }

// Select implements registry.Objects: the selector is the name of a workload.
func (c cluster) Select(_ schema.GroupResource, _ string, selectors ...labels.Selector) []string {
	for name, w := range c {
		if selectors[0].Matches(labels.Set{"app": name}) {
			return w.pods()
		}
	}
	return nil
}

// pods are those that exist, the oldest first.
func (w *workload) pods() []string {
	n := int(w.served.Replicas)
	for w.names = w.names[:min(n, len(w.names))]; len(w.names) < n; w.made++ {
		w.names = append(w.names, fmt.Sprintf("%s-%03d", w.name, w.made))
	}
	return w.names
}

// Exceeds implements registry.Autoscalers for claims on one object: what its HPA makes of one of its metrics.
func (c cluster) Exceeds(claim metric.Claim, _ string, milli int64) bool {
	w := c[claim.Object]
	if w == nil {
		return false
	}
	replicas := max(w.served.Replicas, 1)
	for k, kind := range w.kinds {
		if kind == hpasim.Value && w.definitions[k].Claim.Metric == claim.Metric {
			replicas = 1
		}
	}
	return float64(milli) > 1.1*target*float64(replicas)
}

// play is one run of all workloads.
type play struct {
	clk       *clocktesting.FakeClock
	random    *rand.Rand
	registry  *registry.Registry
	workloads []*workload
	now       lie
	left      int // rounds of now
	fallen    int // rounds since a failure that is believable began
	clear     int // rounds since one ended: so much of the window of a minute is true
}

func newPlay(seed uint64, hold time.Duration) *play {
	p := &play{clk: clocktesting.NewFakeClock(noon), random: rand.New(rand.NewPCG(seed, 1)), left: 1, clear: whole} // it begins with the truth
	c := cluster{}
	p.registry = registry.New(p.clk, c)
	p.registry.ServeBoundsTo(c)
	p.registry.PutConnection(registry.Connection{
		Name: "default", Interval: 2 * syncPeriod, AnomalyLimits: registry.AnomalyLimits{Bindings: 10, Share: 0.5, Hold: hold},
	})
	mixes := [][]hpasim.Kind{{hpasim.Value}, {hpasim.AverageValue}, {hpasim.Pods}, {hpasim.Value, hpasim.AverageValue}, {hpasim.Pods, hpasim.AverageValue}}
	for i := range 15 {
		w := &workload{name: fmt.Sprintf("w%02d", i), kinds: mixes[i%len(mixes)]}
		w.load = target * (2 + p.random.Int64N(8))
		w.served = &hpasim.HPA{Min: 1, Max: 12, Replicas: int32(w.load / target), Metrics: of(w.kinds...)}
		for k := range w.kinds {
			d := w.define(k)
			w.definitions = append(w.definitions, d)
			p.registry.Put(d)
		}
		c[w.name] = w
		p.workloads = append(p.workloads, w)
	}
	return p
}

// define is the binding of one metric of a workload.
func (w *workload) define(k int) query.Definition {
	name := fmt.Sprintf("%s-%d", w.name, k)
	d := query.Definition{
		Binding: types.NamespacedName{Namespace: "shop", Name: name}, UID: types.UID(name), Created: noon, Policy: metric.Policy{MaxAge: maxAge},
		Claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "apps", Resource: "deployments"}, Object: w.name, Metric: name},
		Question: query.Question{
			Shape:   query.Shape{Scope: query.Scope{Connection: "default"}, Metric: name, Window: time.Minute}.ID(),
			Measure: metric.Measure{Multiplier: 1, Min: math.Inf(-1), Max: math.Inf(1)},
		},
	}
	if k == 0 && len(w.name)%2 == 1 { // half of those whose first metric could take no data for 0 do
		d.Policy.OnNoData = &metric.Sample{}
	}
	if w.kinds[k] == hpasim.Pods {
		d.Policy.OnNoData = nil
		d.Claim.Resource, d.Claim.Object, d.Claim.Selector = schema.GroupResource{Resource: "pods"}, "", "app="+w.name
		d.Selector = labels.SelectorFromSet(labels.Set{"app": w.name})
		d.Question.View.All = true
	}
	return d
}

// move changes loads: steps up and down, and now and then one is idle.
func (p *play) move() {
	for _, w := range p.workloads {
		switch p.random.IntN(20) {
		case 0:
			w.load = target * p.random.Int64N(14)
		case 1:
			w.load += target * p.random.Int64N(3)
		}
	}
}

// choose decides how the next round fails.
func (p *play) choose() {
	if p.left--; p.left < 0 {
		p.now, p.left = truth, 1+p.random.IntN(longest)
		if p.random.IntN(3) > 0 {
			p.now = lie(p.random.IntN(int(lies)))
		}
	}
	switch {
	case p.now == truth || p.now == down: // what has fallen is back, or the time begins anew
		p.fallen = 0
	case p.fallen > 0 || p.now.believable():
		p.fallen++
	}
	if p.fallen > longest { // it would be believed
		p.now, p.left, p.fallen = truth, 1, 0
	}
	switch {
	case p.now.believable():
		p.clear = 0
	case p.now == truth || p.clear > 0: // until then nobody knows what would be told
		p.clear++
	}
}

// round asks about all workloads.
func (p *play) round() {
	p.choose()
	now := p.clk.Now()
	var health *metric.Failure
	if p.now == down {
		health = metric.Failf(metric.Unavailable, "HTTP 500")
	}
	for _, w := range p.workloads {
		for k, d := range w.definitions {
			if p.now != nothingSaid {
				p.registry.File([]query.Outcome{p.outcome(w, k, d.Question, health)})
			}
		}
		if p.now == truth && (p.clear >= whole || w.load == 0) {
			w.told = told{now, w.load}
		}
	}
	p.registry.FileHealth("default", health)
}

// outcome is how an attempt to answer one question ends.
func (p *play) outcome(w *workload, k int, q query.Question, health *metric.Failure) query.Outcome {
	now := p.clk.Now()
	o := query.Outcome{Question: q, Reading: metric.Reading{Asked: now, Attempted: now, Failure: health}}
	set := w.kinds[k] == hpasim.Pods
	fail := func(reason metric.Reason) query.Outcome {
		o.Reading.Failure = metric.Failf(reason, "it failed")
		return o
	}
	tell := func(load int64, at time.Time) query.Outcome {
		if !set {
			o.Reading.Sample = p.sample(w.kinds[k], load, w.served.Replicas, at)
			return o
		}
		o.Objects = map[string]query.Found{}
		for _, name := range w.pods() {
			o.Objects[name] = query.Found{Sample: p.sample(hpasim.Value, load, w.served.Replicas, at)}
		}
		return o
	}
	switch p.now {
	case truth: // what was told in a failure is never mended
		return tell(w.load*int64(min(p.clear, whole))/whole, now)
	case rejected:
		return fail(metric.Rejected)
	case notANumber:
		return fail(metric.Implausible)
	case zeroes:
		return tell(0, now)
	case oldPoints:
		return tell(w.load/2, noon.Add(-time.Minute))
	case empty:
		if set {
			o.Objects = map[string]query.Found{}
			return o
		}
		return fail(metric.NoData)
	case partial:
		o := fail(metric.Partial)
		if w.kinds[k] == hpasim.AverageValue {
			o.Reading.Floor = p.sample(hpasim.AverageValue, w.load/2, w.served.Replicas, now)
		}
		return o
	default:
		return o
	}
}

// sample is the load, or its average per pod.
func (p *play) sample(kind hpasim.Kind, load int64, replicas int32, at time.Time) *metric.Sample {
	if kind == hpasim.Value {
		load /= int64(max(replicas, 1))
	}
	return &metric.Sample{Value: float64(load) / 1000, Milli: load, Time: at, Received: p.clk.Now(), Window: time.Minute, Least: true}
}

// read is what the registry serves an HPA.
func (p *play) read(w *workload) (readings []hpasim.Reading) {
	for k, d := range w.definitions {
		var r hpasim.Reading
		if w.kinds[k] == hpasim.Pods {
			items, failure, _ := p.registry.List(d.Claim, d.Selector, nil)
			r.Failed = failure != nil
			for _, item := range items {
				r.Pods = append(r.Pods, item.Sample.Milli)
			}
		} else {
			_, sample, failure, _ := p.registry.Serve(d.Claim, nil)
			if r.Failed = failure != nil; !r.Failed {
				r.Milli = sample.Milli
			}
		}
		readings = append(readings, r)
	}
	return readings
}

// run plays syncs and tells of the first HPA that takes away replicas which the newest truth needs, or any while no truth is fresh;
// empty when none does. Nothing is allowed for: the lower bounds that let HPAs rise, replicas within the tolerance and values that are
// cut to thousandths never make an HPA of this model fall further than the truth does. What is not looked at is whether it rises.
func (p *play) run() string {
	for i := range syncs {
		if i%2 == 0 {
			p.round()
		}
		p.clk.Step(time.Second)
		for _, w := range p.workloads {
			before := w.served.Replicas
			served := w.served.Sync(p.clk.Now(), p.read(w))
			w.pods()
			age := p.clk.Since(w.told.at)
			if served < before && (age > maxAge || int64(served)*target < w.told.load) {
				return fmt.Sprintf("sync %d of %s %v while Sysdig tells %d: from %d to %d replicas, and a load of %d was told %s ago",
					i, w.name, w.kinds, p.now, before, served, w.told.load/target, age)
			}
		}
		p.clk.Step(syncPeriod - time.Second)
		p.move()
	}
	return ""
}

// TestNoFailureScalesDown is the promise: over any sequence of failures an HPA falls by what is true, and by nothing else.
func TestNoFailureScalesDown(t *testing.T) {
	seeds := []uint64{1480, 2066, 2485, 3221, 6871, 7406, 7409} // each has found something once
	for seed := range uint64(400) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		if wrong := newPlay(seed, 10*time.Minute).run(); wrong != "" {
			t.Errorf("seed %d: %s", seed, wrong)
		}
	}
}

// TestFailuresWouldScaleDown is the control: without the breaker most sequences do.
func TestFailuresWouldScaleDown(t *testing.T) {
	const plays = 60
	wrong := 0
	for seed := range uint64(plays) {
		if newPlay(seed, 0).run() != "" {
			wrong++
		}
	}
	if wrong < plays/4 {
		t.Errorf("%d of %d sequences scale down wrongly", wrong, plays)
	}
	t.Logf("%d of %d sequences scale down wrongly", wrong, plays)
}
