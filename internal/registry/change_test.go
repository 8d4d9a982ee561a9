package registry_test

import (
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// TestAnEditForgetsNoMoreThanItHasTo: what it changes, how far that goes, and whether how the last round ended still says something.
func TestAnEditForgetsNoMoreThanItHasTo(t *testing.T) {
	for name, test := range map[string]struct {
		edit    func(*registry.Connection)
		change  registry.Change
		healthy bool // the health is kept
	}{
		"nothing":         {func(*registry.Connection) {}, registry.Retuned, true},
		"the interval":    {func(c *registry.Connection) { c.Generation, c.Interval = 2, time.Hour }, registry.Retuned, true},
		"the quota":       {func(c *registry.Connection) { c.Generation, c.RequestsPerMinute = 2, 7 }, registry.Retuned, true},
		"the lag":         {func(c *registry.Connection) { c.Generation, c.IngestionLag = 2, time.Hour }, registry.Retuned, true},
		"the anomaly":     {func(c *registry.Connection) { c.Generation, c.AnomalyLimits.Bindings = 2, 7 }, registry.Retuned, true},
		"the heartbeat":   {func(c *registry.Connection) { c.Generation, c.Heartbeat.Metric = 2, "other" }, registry.Retuned, false},
		"the cluster":     {func(c *registry.Connection) { c.Generation, c.Heartbeat.Scope.Cluster = 2, "other" }, registry.Retuned, false},
		"the Secret gone": {func(c *registry.Connection) { c.Refused = metric.Failf(metric.Unauthorized, "gone") }, registry.Retuned, true},
		"the token":       {func(c *registry.Connection) { c.Access = 2 }, registry.AnotherAccess, true},
		"the CA":          {func(c *registry.Connection) { c.Generation, c.Access = 2, 2 }, registry.AnotherAccess, false},
		"the endpoint":    {func(c *registry.Connection) { c.Generation, c.Access, c.Heartbeat.Scope.Endpoint = 2, 2, "other" }, registry.AnotherAccount, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			c := connectionNamed("default")
			c.Generation, c.Access = 1, 1
			b.PutConnection(c)
			b.FileHealth("default", metric.Failf(metric.RateLimited, "slow"))
			before, _ := b.Connection("default")
			if before.ChangeFrom(before) != registry.Unchanged {
				t.Error("it differs from itself")
			}
			test.edit(&c)
			b.PutConnection(c)
			after, _ := b.Connection("default")
			if got := after.ChangeFrom(before); got != test.change {
				t.Errorf("got %d, want %d", got, test.change)
			}
			if kept := after.Health != nil; kept != test.healthy {
				t.Errorf("how the last round ended is kept: %t, want %t", kept, test.healthy)
			}
		})
	}
}
