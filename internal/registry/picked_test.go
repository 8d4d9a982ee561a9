package registry_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// TestItemsGoOnWhileAnotherHasStopped: the sum of an external metric is as old as its oldest item, and each item as old as it is.
func TestItemsGoOnWhileAnotherHasStopped(t *testing.T) {
	b := newBoard(t)
	d := define("a", func(d *query.Definition) {
		d.Claim, d.Object, d.Question.Measure.External = metric.ExternalClaim("shop", "m"), metric.Object{}, true
		d.Question.View.Dimensions[0] = "queue"
	})
	b.Put(d)
	serve := func(read string) string {
		_, sample, failure, _ := b.Serve(d.Claim, parse(read))
		if failure != nil {
			return string(failure.Reason)
		}
		return show([]metric.Item{{Name: "m", Sample: sample}}, nil, true)
	}
	for _, step := range []struct {
		orders           float64
		whole, old, live string
	}{{5, "m=12", "m=7", "m=5"}, {6, "m=13", "m=7", "m=6"}, {7, "m=14", "m=7", "m=7"}, {8, "Stale", "Stale", "m=8"}, {9, "Stale", "Stale", "m=9"}} {
		series := []metric.Series{
			{Labels: labels.Set{"queue": "orders"}, Raw: step.orders, Time: b.clk.Now()}, {Labels: labels.Set{"queue": "mail"}, Raw: 7, Time: noon},
		}
		measure := d.Question.Measure
		sample, failure := metric.NewSample(measure, series, true, measure.Dated(series, b.clk.Now()), b.clk.Now(), time.Minute)
		b.File([]query.Outcome{{Question: d.Question, Reading: metric.Reading{Sample: sample, Failure: failure, Asked: b.clk.Now(), Attempted: b.clk.Now()}}})
		for read, want := range map[string]string{"": step.whole, "queue=mail": step.old, "queue=orders": step.live, "queue!=mail": step.live} {
			if got := serve(read); got != want {
				t.Errorf("after %s, %q: got %s, want %s", b.clk.Now().Sub(noon), read, got, want)
			}
		}
		b.clk.Step(50 * time.Second)
	}
	b.clk.Step(2 * time.Minute)
	if got := serve("queue=orders"); got != "Stale" {
		t.Errorf("got %s, want Stale", got)
	}
}
