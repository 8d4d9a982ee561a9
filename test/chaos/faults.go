package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// endLimit is when a replica has to have ended that was asked to.
	endLimit = 30 * time.Second
	// restarting is how long a crashed replica is away, as the kubelet starts it again after some seconds.
	restarting = 5 * time.Second
	// away is how long the API server is, beside its own start.
	away = 5 * time.Second
)

// fault is something that happens to the operator or to what it needs.
type fault struct {
	name, story string
	// play lets it happen and returns when it is over.
	play func(context.Context, *scene, *observer) error
	// graceful: no read may fail. crash: those may that are under way, or on the way to what is gone.
	graceful, crash bool
	// errors are reads that have to fail meanwhile, by design.
	errors bool
	// once is played once, whatever the number of runs.
	once bool
}

func faults(p plan) []fault {
	return []fault{
		{name: "rolling update", story: "each of two replicas is replaced by a new one", play: rollOut, graceful: true},
		{name: "leader deleted", story: "the replica that writes status is ended gracefully and replaced", play: deleteLeader, graceful: true},
		{name: "replica killed", story: "the replica that serves is killed and starts again after 5 s", play: killServing, crash: true},
		{name: "API server restarts", story: "kube-apiserver ends and is back after 5 s and its own start", play: restartAPIServer},
		{name: "Sysdig black hole", story: fmt.Sprintf("Sysdig answers nothing for %s", p.blackHole), play: blackHole, errors: true, once: true},
	}
}

// replace starts a new replica, waits until it is ready, and ends the old one as the kubelet does.
func (s *scene) replace(ctx context.Context, old *stage.Replica) error {
	if _, err := s.add(ctx); err != nil {
		return err
	}
	if err := stage.Sleep(ctx, 2*probeEvery); err != nil {
		return err
	}
	s.drop(old)
	if err := old.Terminate(); err != nil {
		return fmt.Errorf("ending %s: %w", old.Name, err)
	}
	select {
	case <-old.Done():
		s.balancer.remove(old)
		return nil
	case <-time.After(endLimit):
		return fmt.Errorf("%s has not ended after %s", old.Name, endLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func rollOut(ctx context.Context, s *scene, _ *observer) error {
	for _, old := range s.running() {
		if err := s.replace(ctx, old); err != nil {
			return err
		}
	}
	return nil
}

// leader is the replica that holds the lease of status; its identity ends with the number of its process.
func (s *scene) leader(ctx context.Context) (*stage.Replica, error) {
	var lease coordinationv1.Lease
	if err := s.stage.Client.Get(ctx, client.ObjectKey{Namespace: stage.Namespace, Name: "sysdig-metrics-operator-status"}, &lease); err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return nil, errors.New("nobody leads")
	}
	for _, r := range s.running() {
		if holder := *lease.Spec.HolderIdentity; len(holder) > 0 && holder[lastUnderscore(holder)+1:] == fmt.Sprint(r.PID()) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s leads, which does not run", *lease.Spec.HolderIdentity)
}

func lastUnderscore(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '_' {
			return i
		}
	}
	return -1
}

func deleteLeader(ctx context.Context, s *scene, _ *observer) error {
	var leader *stage.Replica
	if err := stage.Wait(ctx, endLimit, func(ctx context.Context) (err error) { leader, err = s.leader(ctx); return err }); err != nil {
		return err
	}
	return s.replace(ctx, leader)
}

// killServing kills the replica that has served most of the last reads.
func killServing(ctx context.Context, s *scene, _ *observer) error {
	victim, err := s.serving(ctx)
	if err != nil {
		return err
	}
	s.drop(victim)
	if err := victim.Kill(); err != nil {
		return fmt.Errorf("killing %s: %w", victim.Name, err)
	}
	if err := stage.Sleep(ctx, restarting); err != nil {
		return err
	}
	s.balancer.remove(victim)
	_, err = s.add(ctx)
	return err
}

// serving is the replica whose reads increase most.
func (s *scene) serving(ctx context.Context) (*stage.Replica, error) {
	running := s.running()
	before := map[*stage.Replica]float64{}
	for _, r := range running {
		reads, err := s.metric(ctx, r, "sysdig_metrics_reads_total")
		if err != nil {
			return nil, err
		}
		before[r] = reads
	}
	if err := stage.Sleep(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	var busiest *stage.Replica
	most := -1.0
	for _, r := range running {
		reads, err := s.metric(ctx, r, "sysdig_metrics_reads_total")
		if err != nil {
			return nil, err
		}
		if served := reads - before[r]; served > most {
			busiest, most = r, served
		}
	}
	return busiest, nil
}

func restartAPIServer(ctx context.Context, s *scene, o *observer) error {
	o.setDown(true)
	defer o.setDown(false)
	if err := s.stage.Cluster.RestartAPIServer(ctx, away); err != nil {
		return err
	}
	return s.stage.WaitAvailable(ctx)
}

func blackHole(ctx context.Context, s *scene, _ *observer) error {
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	defer s.sysdig.ClearFault()
	return stage.Sleep(ctx, s.plan.blackHole)
}
