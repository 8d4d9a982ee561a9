package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	lookEvery = time.Second
	tellEvery = 10 * time.Second
)

// watch follows the replicas of flask, and what it answers.
type watch struct {
	w      *world
	counts counts
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	only    bool // that the replicas only rise is watched
	current int32
	since   time.Time
	falls   []error
}

// watchReplicas looks every second, and tells every ten.
func (w *world) watchReplicas() *watch {
	ctx, cancel := context.WithCancel(w.t.Context())
	watch := &watch{w: w, cancel: cancel, done: make(chan struct{})}
	go watch.run(ctx)
	w.t.Cleanup(func() { _ = watch.end() })
	return watch
}

func (s *watch) run(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if sent, err := s.w.sent(ctx); err == nil { // The next look tells.
			s.counts.note(time.Now(), sent.Answered)
		}
		var d appsv1.Deployment
		if err := s.w.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "flask"}, &d); err != nil {
			continue // The next look tells.
		}
		if changed := s.note(*d.Spec.Replicas); changed || time.Since(told) >= tellEvery {
			told = time.Now()
			fmt.Fprintf(os.Stderr, "%5s  replicas %d, ready %d, metric %s\n",
				clockOf(time.Since(s.w.started)), *d.Spec.Replicas, d.Status.ReadyReplicas, s.metric(ctx))
		}
	}
}

// metric is what the HPA has seen last.
func (s *watch) metric(ctx context.Context) string {
	var h autoscalingv2.HorizontalPodAutoscaler
	if err := s.w.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "flask"}, &h); err != nil {
		return err.Error()
	}
	for _, m := range h.Status.CurrentMetrics {
		if m.Object != nil && m.Object.Current.Value != nil {
			return m.Object.Current.Value.String()
		}
	}
	return "unknown"
}

// note takes the replicas of now and tells whether they have changed.
func (s *watch) note(replicas int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if replicas == s.current {
		return false
	}
	if s.only && replicas < s.current {
		s.falls = append(s.falls, fmt.Errorf("the replicas fell from %d to %d under load", s.current, replicas))
	}
	s.current, s.since = replicas, time.Now()
	return true
}

// rising says whether the replicas may only rise from now on.
func (s *watch) rising(only bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.only = only
}

// settled is met when the replicas have stayed the same, within bounds, for a while.
func (s *watch) settled(lowest, highest int32, during time.Duration) func(context.Context) error {
	return func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.current < lowest || s.current > highest {
			return fmt.Errorf("%d replicas, want %d to %d", s.current, lowest, highest)
		}
		if time.Since(s.since) < during {
			return fmt.Errorf("%d replicas, but not for %s", s.current, during)
		}
		return nil
	}
}

// end stops the watch and returns what it has seen that should not be.
func (s *watch) end() error {
	s.cancel()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.falls...)
}
