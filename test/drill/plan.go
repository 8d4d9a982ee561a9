package main

import (
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	clusterName = "drill"
	// perReplica is how many requests a second each replica is to get, and filled what part of that a load has for each replica
	// that it needs. With ten replicas the next smaller number would still be too small, beyond the tolerance of an HPA.
	perReplica, filled = 100, 0.98
	// calm and busy are how many replicas the loads need.
	calm, busy = 4, 8
	// most is the maxReplicas of every HPA.
	most = 12
	// apiQPS and hpaWorkers keep the HPA controller from being what is waited for.
	apiQPS, hpaWorkers = 300, 20
	// doubted is for how long values that become 0 together are not believed, by the default of connections.
	doubted = 10 * time.Minute
	// grace is for the requests themselves, which the bound of a scale-up leaves out.
	grace = 2 * time.Second
)

// plan is how long everything takes and how often it is looked at.
type plan struct {
	// interval and ingestionLag are those of the connections, lag is the stand-ins', window and maxAge are the bindings'.
	interval, ingestionLag, lag, window, maxAge time.Duration
	// sync and stabilization are those of the HPA controller. Pods that have left count in an average until they have left the
	// window, so the stabilization has to be longer than window, interval, ingestionLag and sync together.
	sync, stabilization time.Duration
	// perGroup is how many workloads an incident has.
	perGroup int
	// warm is how long everything has to be as it should before the incidents.
	warm time.Duration
	// data and failure are how long wrong data and failures last, and slow is the window of the bindings whose values decay.
	data, failure, slow time.Duration
	// after is how long the replicas are watched once everything is true again.
	after time.Duration
	// process is how long they are watched after something happened to the operator; 0 leaves that out.
	process time.Duration
	// control is how long the incidents of the control run last; 0 leaves it out.
	control time.Duration
	// patience is for how long what has to happen is awaited beyond its time, on a machine that others share. How long it took is no
	// problem then. 0 awaits nothing.
	patience time.Duration
	// only are names of incidents; empty for all.
	only []string
	// apis are those of Sysdig that connections ask. Each incident is played once for each of them, and the control run for the first
	// one only: an adapter without guards asks PromQL whatever they are.
	apis []v1alpha1.API
	// deadline ends the drill.
	deadline time.Duration
}

// fullPlan has the defaults of a connection, of bindings and of Kubernetes.
func fullPlan() plan {
	return plan{
		interval: 30 * time.Second, ingestionLag: 30 * time.Second, lag: sysdigtest.DefaultLag, window: time.Minute, maxAge: 2 * time.Minute,
		sync: 15 * time.Second, stabilization: 5 * time.Minute, perGroup: 12, warm: 2 * time.Minute,
		data: 8 * time.Minute, failure: 6 * time.Minute, slow: 3 * time.Minute, after: 4 * time.Minute, process: 150 * time.Second,
		control: 8 * time.Minute, apis: []v1alpha1.API{v1alpha1.APIPrometheus}, deadline: 50 * time.Minute,
	}
}

// quickPlan is as quick as the API allows.
func quickPlan() plan {
	return plan{
		interval: 10 * time.Second, ingestionLag: 5 * time.Second, lag: 3 * time.Second, window: 20 * time.Second, maxAge: 35 * time.Second,
		sync: 5 * time.Second, stabilization: time.Minute, perGroup: 12, warm: 10 * time.Second,
		data: 80 * time.Second, failure: 75 * time.Second, slow: 30 * time.Second, after: 10 * time.Second, process: 90 * time.Second,
		control: 65 * time.Second, apis: []v1alpha1.API{v1alpha1.APIPrometheus}, deadline: 25 * time.Minute,
	}
}

// history is how far back points reach at the start: further than any window that is looked at.
func (p plan) history() time.Duration { return max(p.slow, p.window) + 5*time.Minute }

// bound is how long an HPA may take to follow once the truth is served.
func (p plan) bound() time.Duration { return p.interval + p.sync }

// covered is when a question about a window first sees nothing but points from a moment on.
func (p plan) covered(from time.Time, window time.Duration) time.Time {
	first := from.Truncate(sysdigtest.Interval)
	if first.Before(from) {
		first = first.Add(sysdigtest.Interval)
	}
	return first.Add(window - sysdigtest.Interval + p.ingestionLag)
}

// followed is when replicas have followed a load that fell to so many replicas' worth, at the latest.
func (p plan) followed(fell time.Time, to int) time.Time {
	held := p.stabilization
	if to == 0 {
		held = max(held, doubted)
	}
	return p.covered(fell, p.window).Add(p.bound() + held + grace)
}

// ahead is how long before something a load has to change so that a window shows nothing of what was.
func (p plan) ahead(window time.Duration) time.Duration {
	return window + p.ingestionLag + sysdigtest.Interval
}
