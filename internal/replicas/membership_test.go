package replicas_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/replicas"
)

func TestWithoutLeaderElectionAReplicaIsAloneAndSaysSo(t *testing.T) {
	m := replicas.New(replicas.Config{Clock: clock.RealClock{}})
	want := replicas.Share{Count: 1, Known: true}
	if got := m.Share(); got != want {
		t.Errorf("before the start the share is %+v, want %+v", got, want)
	}
	var lines []string
	logger := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	ctx, cancel := context.WithCancel(log.IntoContext(t.Context(), logger))
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	<-m.Changed() // from "not known yet" to "nothing to wait for"
	cancel()
	running.Wait()
	if got := m.Share(); got != want {
		t.Errorf("the share is %+v, want %+v", got, want)
	}
	if said := strings.Join(lines, "\n"); strings.Count(said, "takes the whole request budget") != 1 {
		t.Errorf("the log says %q, want once what follows", said)
	}
}

func TestEveryReplicaIsAMember(t *testing.T) {
	if replicas.New(replicas.Config{Clock: clock.RealClock{}}).NeedLeaderElection() {
		t.Error("only the leader would keep a lease")
	}
}
