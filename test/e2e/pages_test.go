package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// TestDocsPagesVerbatim applies the example of each page of the documentation as it stands there. What it needs is on the
// page: the replicas follow the load.
func TestDocsPagesVerbatim(t *testing.T) {
	t.Parallel()
	t.Run("object", func(t *testing.T) {
		t.Parallel()
		c := newPage(t, "object-metrics.md")
		c.eventuallyReplicas("shop", 2, 2)
		c.attach("shop", 2, 320)
		c.moves("shop", 2, byValue(320./2, 100, 2))
	})
	t.Run("pods", func(t *testing.T) {
		t.Parallel()
		c := newPage(t, "pods-metrics.md")
		c.eventuallyReplicas("worker-http", 2, 2)
		c.attach("worker-http", 2, 320)
		c.moves("worker-http", 2, byPods(shares(320, 2), 0, 100))
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		c := newPage(t, "external-metrics.md")
		c.eventuallyPods("rabbitmq", 1)
		c.eventuallyReplicas("orders", 1, 1)
		c.feed(func() []sysdigtest.Point {
			var points []sysdigtest.Point
			for _, pod := range c.readyPods("rabbitmq") {
				points = append(points,
					sysdigtest.Point{Labels: c.series("rabbitmq_queue_messages_ready", pod, "queue", "orders"), Value: 100},
					sysdigtest.Point{Labels: c.series("rabbitmq_queue_messages_ready", pod, "queue", "mail"), Value: 9000})
			}
			return points
		})
		c.moves("orders", 1, byAverage(100, 30, 1))
	})
}

// newPage applies the first block of YAML of a page in a namespace of its own.
func newPage(t *testing.T, page string) *scene {
	t.Helper()
	c := newScene(t, theStage, "docs-"+strings.TrimSuffix(page, ".md"), "default")
	text, err := os.ReadFile(filepath.Join(c.stage.Root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	block, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatalf("docs/%s has no block of YAML", page)
	}
	c.applyText(block)
	return c
}
