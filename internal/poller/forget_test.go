package poller_test

import (
	"context"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// waiting is a Sysdig whose answers wait until somebody lets them go.
type waiting struct {
	registry.Source
	asked, open chan struct{}
}

func (h waiting) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	h.asked <- struct{}{}
	<-h.open
	return h.Source.Query(ctx, promQL, at)
}

// TestARoundThatEndsAfterItsConnectionLeavesNoSeries: names of connections are labels of metrics, and anybody who may make connections
// chooses them.
func TestARoundThatEndsAfterItsConnectionLeavesNoSeries(t *testing.T) {
	s := newStage(t)
	s.load("web", 2, perPod)
	source := waiting{s.client(), make(chan struct{}, 100), make(chan struct{})}
	s.connect(source)
	d := s.bind("web")
	s.poller.Tick(t.Context())
	<-source.asked
	s.registry.Delete(d.Binding)
	s.registry.DeleteConnection("default")
	s.poller.Tick(t.Context()) // the round is under way
	close(source.open)
	s.poller.Wait()
	s.poller.Tick(t.Context()) // as the loop does when a round has ended
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		t.Errorf("%s has %d series of a connection that is gone", family.GetName(), len(family.GetMetric()))
	}
	s.connect(s.client())
	s.bind("web")
	s.tick()
	if families, err := s.metrics.Gather(); err != nil || len(families) == 0 {
		t.Errorf("when it is back it has %d metrics, %v", len(families), err)
	}
}
