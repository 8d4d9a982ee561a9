package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

// progress shows what a drill says as lines of a test.
type progress struct{ t *testing.T }

func (p progress) Write(text []byte) (int, error) {
	p.t.Log(strings.TrimSpace(string(text)))
	return len(text), nil
}

// TestThreeOutagesTakeNoReplicaAway is a drill of the incidents that look most like a load that falls, on both APIs, with the control
// run. How soon replicas follow is for the whole drill.
func TestThreeOutagesTakeNoReplicaAway(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	p := quickPlan()
	p.only, p.process, p.patience, p.deadline = []string{"zeros", "half-missing", "gap"}, 0, 5*time.Minute, 25*time.Minute
	p.apis = []v1alpha1.API{v1alpha1.APIPrometheus, v1alpha1.APIData}
	r, err := run(t.Context(), p, progress{t})
	var b strings.Builder
	if err := errors.Join(err, r.print(&b)); err != nil {
		t.Error(err)
	}
	t.Log(b.String())
	for _, o := range r.outcomes {
		for _, problem := range o.problems(p) {
			t.Error(problem)
		}
	}
	if want := len(p.only) * len(p.apis); len(r.outcomes) != want {
		t.Errorf("%d incidents were played, want %d", len(r.outcomes), want)
	}
}
