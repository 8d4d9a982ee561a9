package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// TestStory plays config/samples: load drives flask from 2 to 8 replicas, where they stay, and idle brings them back.
func TestStory(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playStory(t, newScene("default")) })
}

func playStory(t *testing.T, c *scene) {
	applySamples(t, c)
	flask := c.attach("flask", 2, 20)
	if got := c.eventuallyServed(c.servicePath("flask")); got.DescribedObject.Kind != "Service" {
		t.Errorf("the value describes %+v", got.DescribedObject)
	}

	loaded := time.Now()
	flask.setRPS(800)
	c.eventually("the replicas settle and stay for a minute", settled(c, "flask", 7, 9, time.Minute))
	c.eventually("reads of the settled load", func(ctx context.Context) error { return checkSteadyReads(ctx, c, loaded) })

	flask.setRPS(0)
	c.eventuallyReplicas("flask", 2, 2)
	c.alwaysReplicas(10*time.Second, "flask", 2, 2)
}

// applySamples applies config/samples as they are, in the scene's namespace and for its connection, except that the window and the
// HPA's patience are half as long, so that the test does not wait for them.
func applySamples(t *testing.T, c *scene) {
	t.Helper()
	samples, err := c.stage.Cluster.Kubectl(t.Context(), "kustomize", filepath.Join(c.stage.Root, "config", "samples"))
	if err != nil {
		t.Fatal(err)
	}
	samples = strings.NewReplacer("window: 1m", "window: 30s", "periodSeconds: 60", "periodSeconds: 30").Replace(samples)
	if c.namespace != "default" {
		samples = strings.NewReplacer("namespace: default", "namespace: "+c.namespace, "  metricName:", "  connectionRef: {name: "+c.name+"}\n  metricName:").Replace(samples)
	}
	c.applyText(samples)
}

// settled is met when the replicas have been within bounds for a while.
func settled(c *scene, name string, lowest, highest int32, during time.Duration) func(context.Context) error {
	since := time.Now()
	return func(context.Context) error {
		if got := c.replicas(name); got < lowest || got > highest {
			since = time.Now()
			return fmt.Errorf("%d replicas, want %d to %d", got, lowest, highest)
		}
		if time.Since(since) < during {
			return fmt.Errorf("not settled yet")
		}
		return nil
	}
}

// checkSteadyReads compares what the API answers with what the stand-in was told, in both versions. It holds as soon as
// the replicas have been the same for a whole window, which is later than when they began to change.
func checkSteadyReads(ctx context.Context, c *scene, loaded time.Time) error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	perPod := 800 / float64(c.replicas("flask"))
	for path, want := range map[string]struct {
		kind, name string
		value      float64
	}{
		"services/flask/" + metricName:         {"Service", "flask", perPod},
		"deployments.apps/flask/" + metricName: {"Deployment", "flask", perPod},
		"metrics/" + metricName:                {"Namespace", c.namespace, 800},
	} {
		for _, version := range []string{"v1beta1", "v1beta2"} {
			got, err := c.read(ctx, "/apis/custom.metrics.k8s.io/"+version+"/namespaces/"+c.namespace+"/"+path)
			if err != nil {
				complain("%w", err)
				continue
			}
			if got.DescribedObject.Kind != want.kind || got.DescribedObject.Name != want.name {
				complain("%s %s describes %+v", version, path, got.DescribedObject)
			}
			if value := float64(got.Value.MilliValue()) / 1000; value < want.value-0.001 || value > want.value+0.001 {
				complain("%s %s is %v, want %v", version, path, value, want.value)
			}
			if got.Value.Format != resource.DecimalSI {
				complain("%s %s has the format %s", version, path, got.Value.Format)
			}
			if at := got.Timestamp.Time; at.Before(loaded) || at.After(time.Now()) || at.Unix()%10 != 0 {
				complain("%s %s has the time %v, want that of a point since %v", version, path, at, loaded)
			}
			if got.WindowSeconds == nil || *got.WindowSeconds != 30 {
				complain("%s %s has the window %v", version, path, got.WindowSeconds)
			}
		}
	}
	return errors.Join(problems...)
}
