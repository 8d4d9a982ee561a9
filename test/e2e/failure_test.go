package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// TestFailuresHoldReplicas breaks Sysdig under a workload of 5 replicas: reads answer an error with its reason, the
// status and one Event say so, and the HPA leaves the replicas alone. Afterwards true data works again.
func TestFailuresHoldReplicas(t *testing.T) { byEachAPI(t, playFailures) }

func playFailures(t *testing.T, newScene func(string) *scene) {
	tests := map[string]struct {
		reason       string
		window       time.Duration
		breakIt, fix func(*sysdigtest.Server)
	}{
		"rejected-token": {
			reason:  "Unauthorized",
			breakIt: func(s *sysdigtest.Server) { s.RevokeToken(token) },
			fix:     func(s *sysdigtest.Server) { s.AddToken(token, nil) },
		},
		"http-500": {
			reason: "Unavailable",
			breakIt: func(s *sysdigtest.Server) {
				s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: http.StatusInternalServerError})
			},
			fix: (*sysdigtest.Server).ClearFault,
		},
		"old-points": {
			reason:  "Stale",
			window:  time.Minute, // longer than the test: the frozen points stay within it
			breakIt: func(s *sysdigtest.Server) { s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints}) },
			fix:     (*sysdigtest.Server).ClearFault,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newScene(name)
			c.deploy("web", 5, 500)
			c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) {
				s.Source.Metric.Window.Duration = cmp.Or(test.window, s.Source.Metric.Window.Duration)
			})
			c.eventuallyValue(c.servicePath("web"), 100)
			c.scale("web", 2, 10, "100")
			c.eventuallyReplicas("web", 5, 5)

			before, err := c.events(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			test.breakIt(c.sysdig)
			c.eventuallyRefused(c.servicePath("web"), test.reason)
			c.alwaysReplicas(25*time.Second, "web", 5, 5)
			c.eventuallyReady("web", test.reason)
			c.exactlyOneMoreEvent("web", test.reason, before[test.reason])

			test.fix(c.sysdig)
			c.eventuallyServed(c.servicePath("web"))
			c.eventuallyReady("web", v1alpha1.ReasonServing)
			c.alwaysReplicas(10*time.Second, "web", 5, 6)
		})
	}
}

// TestIdleService lets the series of two idle services vanish. By default the HPA holds; with onNoData 0 it goes to
// minReplicas.
func TestIdleService(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playIdleService(t, newScene("idle")) })
}

func playIdleService(t *testing.T, c *scene) {
	loads := []*workload{c.deploy("holds", 5, 500), c.deploy("shrinks", 5, 500)}
	// The average of the points does not fall while the window slides off the last of them; the sum would, rightly.
	average := func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Source.Metric.TimeAggregation, s.Multiplier = v1alpha1.TimeAverage, "0.1"
	}
	c.bind("holds", average)
	c.bind("shrinks", func(s *v1alpha1.SysdigMetricBindingSpec) {
		average(s)
		s.OnNoData = v1alpha1.OnNoData{Action: v1alpha1.NoDataValue, Value: "0"}
	})
	for _, name := range []string{"holds", "shrinks"} {
		c.eventuallyValue(c.servicePath(name), 100)
		c.scale(name, 2, 10, "100")
	}
	for _, load := range loads {
		load.silent.Store(true)
	}
	c.eventuallyReplicas("shrinks", 2, 2)
	c.eventuallyRefused(c.servicePath("holds"), "NoData")
	c.alwaysReplicas(20*time.Second, "holds", 5, 5)
	if got := c.eventuallyServed(c.servicePath("shrinks")); got.Value.MilliValue() != 0 {
		t.Errorf("the idle service has %s requests", got.Value.String())
	}
	c.exactlyOneEvent("holds", "NoData")
}

// TestEdits edits a binding: another source answers Pending until its query was answered, anything else keeps the sample.
func TestEdits(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "edits", "edits")
	c.deploy("web", 2, 100)
	c.bind("web", served)
	path := c.servicePath("web")
	c.eventuallyServed(path)

	edit := func(change func(*v1alpha1.SysdigMetricBindingSpec)) *v1alpha1.SysdigMetricBinding {
		t.Helper()
		b := &v1alpha1.SysdigMetricBinding{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
		patch(c, b, func(b *v1alpha1.SysdigMetricBinding) { change(&b.Spec) })
		return b
	}
	edited := edit(func(s *v1alpha1.SysdigMetricBindingSpec) { s.MaxAge.Duration -= time.Minute })
	c.servedUntil("the status of an edit of maxAge", path, func(ctx context.Context) error { return c.observed(ctx, edited) })

	// The new question gets no answer: it is Pending until it is given up, and from then on it is Unavailable.
	c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	edited = edit(func(s *v1alpha1.SysdigMetricBindingSpec) { s.Multiplier = "0.001" })
	c.eventually("Pending until the new question is answered", func(ctx context.Context) error {
		return anyOf(c.refused(ctx, path, "Pending"), c.refused(ctx, path, "Unavailable"))
	})
	c.eventually("the status of the new question", func(ctx context.Context) error { return c.observed(ctx, edited) })
	if value, err := c.read(t.Context(), path); err == nil {
		t.Errorf("%s is served while the new question has no answer", value.Value.String())
	}
	c.sysdig.ClearFault()
	got := c.eventuallyServed(path)
	if got.Value.MilliValue() > 1000 {
		t.Errorf("the first value after the edit is %s, in the old unit", got.Value.String())
	}

	edit(func(s *v1alpha1.SysdigMetricBindingSpec) { s.Suspend = true })
	c.eventuallyRefused(path, "Suspended")
	edit(func(s *v1alpha1.SysdigMetricBindingSpec) { s.Suspend = false })
	c.eventuallyServed(path)
}

// TestALongQueryIsServed, although the operator's cache does not hold it: it is read again for each edit.
func TestALongQueryIsServed(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "long", "long")
	c.deploy("web", 1, 10)
	query := func(workload string) v1alpha1.Source {
		return v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: fmt.Sprintf(
			"sum(sum_over_time(sysdig_container_net_http_request_count{kube_workload_name=%q,kube_workload_name!=%q}[1m]))", workload, strings.Repeat("x", 2000),
		)}}
	}
	b := c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) { s.Source = query("web") })
	c.eventuallyServed(c.servicePath("web"))
	patch(c, b, func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source = query("gone") })
	c.eventuallyRefused(c.servicePath("web"), "NoData")
}

// TestDelete makes sure that a deleted binding is unknown at once.
func TestDelete(t *testing.T) {
	t.Parallel()
	c := newScene(t, theStage, "delete", "delete")
	c.deploy("web", 1, 10)
	b := c.bind("web", nil)
	c.eventuallyServed(c.servicePath("web"))
	if err := c.stage.Client.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	c.eventually("404 after the deletion", func(ctx context.Context) error {
		value, err := c.read(ctx, c.servicePath("web"))
		if err == nil {
			return fmt.Errorf("still %s", value.Value.String())
		}
		return notFound(err)
	})
}
