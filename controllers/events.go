package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/runtime"
	typedeventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
)

const (
	// patience is how long an Event waits for room, and crowd how many wait.
	patience = 5 * time.Minute
	crowd    = 500
	// eventTimeout bounds one request.
	eventTimeout = 10 * time.Second
)

// Events sends Events within the budget of writes. When there is no room for one it is left out: the condition carries the
// truth, and the statuses of a mass outage must not wait for hours of Events. Make it with NewEvents.
type Events struct {
	broadcaster events.EventBroadcaster
}

// NewEvents returns Events that are sent with a client. What is left out is counted.
func NewEvents(client typedeventsv1.EventsV1Interface, writes *Budget, clock clock.Clock, registerer prometheus.Registerer) (*Events, error) {
	s := &sink{EventSink: &events.EventSinkImpl{Interface: client}, writes: writes, clock: clock, waiting: make(chan struct{}, crowd), first: make(chan struct{}, 1), dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sysdig_metrics_events_dropped_total",
		Help: "Events that were left out because the budget of writes had no room for them.",
	})}
	if err := registerer.Register(s.dropped); err != nil {
		return nil, err
	}
	return &Events{broadcaster: events.NewBroadcaster(s)}, nil
}

// NeedLeaderElection tells the manager to run it on every replica: those that do not lead have nothing to send.
func (e *Events) NeedLeaderElection() bool { return false }

// Start sends Events until the context ends.
func (e *Events) Start(ctx context.Context) error {
	if err := e.broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("sending Events: %w", err)
	}
	<-ctx.Done()
	e.broadcaster.Shutdown()
	return nil
}

// Recorder makes Events in the name of a controller.
func (e *Events) Recorder(scheme *runtime.Scheme, name string) events.EventRecorder {
	return e.broadcaster.NewRecorder(scheme, name)
}

// sink is where the broadcaster sends Events, and later how often they were repeated. It tries again after errors of the
// network, so this is the one place that every request passes.
type sink struct {
	events.EventSink
	writes  *Budget
	clock   clock.Clock
	dropped prometheus.Counter
	// waiting has a place for each Event that waits, and first is held by the one that looks for room: the others come after it,
	// in order.
	waiting, first chan struct{}
}

// Create implements events.EventSink. What is left out is no error, so it is not tried again.
func (s *sink) Create(ctx context.Context, event *eventsv1.Event) (*eventsv1.Event, error) {
	if !s.admit(ctx, event) {
		s.dropped.Inc()
		return event, nil
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	return s.EventSink.Create(ctx, event)
}

// Patch implements events.EventSink. It never waits: the broadcaster calls it under a lock.
func (s *sink) Patch(ctx context.Context, event *eventsv1.Event, data []byte) (*eventsv1.Event, error) {
	if !s.writes.Spare(Figures) {
		s.dropped.Inc()
		return event, nil
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	return s.EventSink.Patch(ctx, event, data)
}

// admit waits until there is room. An Event of a connection gets its turn: there are few of them, and they explain those of
// all its bindings.
func (s *sink) admit(ctx context.Context, event *eventsv1.Event) bool {
	if event.Regarding.Kind == "SysdigConnection" {
		return s.writes.Wait(ctx) == nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return false
	}
	timeout := s.clock.NewTimer(patience)
	defer timeout.Stop()
	select {
	case s.first <- struct{}{}:
		defer func() { <-s.first }()
	case <-timeout.C():
		return false
	case <-ctx.Done():
		return false
	}
	for !s.writes.Spare(Telling) {
		select {
		case <-s.clock.After(time.Second):
		case <-timeout.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
