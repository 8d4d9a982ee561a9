package e2e_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// TestMatrix plays every type of metric with every type of target that it has: load rises and falls, and the replicas are
// those of the HPA's formula for the load that the stand-in was given, reached in one step and kept.
func TestMatrix(t *testing.T) { byEachAPI(t, playMatrix) }

func playMatrix(t *testing.T, newScene func(string) *scene) {
	service := &v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: "web"}
	pods := &v1alpha1.Target{APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"app": "web"}}}
	const held = 60
	for name, test := range map[string]struct {
		target  *v1alpha1.Target
		group   v1alpha1.GroupAggregation
		metric  autoscalingv2.MetricSpec
		up      int32
		down    int32
		formula func(rps float64, replicas int32) int32
	}{
		"object-value": {
			service, v1alpha1.GroupAverage, objectMetric("web", metricName, value("100"), nil), held, held,
			func(rps float64, replicas int32) int32 { return byValue(rps/float64(replicas), 100, replicas) },
		},
		"object-average-value": {
			service, v1alpha1.GroupSum, objectMetric("web", metricName, average("100"), nil), 0, 0,
			func(rps float64, replicas int32) int32 { return byAverage(rps, 100, replicas) },
		},
		"pods-average-value": {
			pods, "", podsMetric(metricName, average("100")), 0, held, // a new pod counts as 0, so growing needs no patience
			func(rps float64, replicas int32) int32 { return byPods(shares(rps, replicas), 0, 100) },
		},
		"external-value": {
			nil, v1alpha1.GroupAverage, externalMetric(metricName, value("100"), nil), held, held,
			func(rps float64, replicas int32) int32 { return byValue(rps/float64(replicas), 100, replicas) },
		},
		"external-average-value": {
			nil, v1alpha1.GroupSum, externalMetric(metricName, average("100"), nil), 0, 0,
			func(rps float64, replicas int32) int32 { return byAverage(rps, 100, replicas) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newScene("matrix-" + name)
			web := c.deploy("web", 4, 400)
			b := c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) {
				s.Target, s.Source.Metric.GroupAggregation = test.target, test.group
				s.Source.Metric.Window.Duration = sysdigtest.Interval // one point: nothing of the load before
			})
			c.eventuallyReady(b.Name, v1alpha1.ReasonServing)
			c.autoscale("web", 1, 10, behavior(test.up, test.down), test.metric)
			replicas := int32(4)
			for _, rps := range []float64{400, 700, 250} {
				want := within(1, test.formula(rps, replicas), 10)
				if next := within(1, test.formula(rps, want), 10); next != want {
					t.Fatalf("%v requests per second do not come to rest: %d replicas, then %d", rps, want, next)
				}
				web.setRPS(rps)
				c.moves("web", replicas, want)
				replicas = want
			}
		})
	}
}

// TestTwoMetrics makes sure that the higher proposal wins: one metric is enough to grow, and it takes both to shrink.
func TestTwoMetrics(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playTwoMetrics(t, newScene("two-metrics")) })
}

func playTwoMetrics(t *testing.T, c *scene) {
	web, queues := twoMetrics(t, c)
	web.setRPS(400)
	queues.set("orders", 200)
	c.moves("web", 4, max(byAverage(400, 100, 4), byAverage(200, 30, 4)))
	web.setRPS(100)
	c.eventuallyValue(c.servicePath("web"), 100)
	c.stays("web", 7)
	queues.set("orders", 60)
	c.moves("web", 7, max(byAverage(100, 100, 7), byAverage(60, 30, 7)))
}

// TestOneMetricFails makes sure that a metric in error lets the other one raise the replicas, and lets nothing lower them.
func TestOneMetricFails(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playOneMetricFails(t, newScene("one-metric")) })
}

func playOneMetricFails(t *testing.T, c *scene) {
	web, queues := twoMetrics(t, c)
	c.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500, Query: queues.metric})
	c.eventuallyRefused(c.external(queueMetric)+ofOrders, "Unavailable")
	web.setRPS(700)
	c.moves("web", 4, byAverage(700, 100, 4))
	web.setRPS(100)
	c.eventuallyValue(c.servicePath("web"), 100)
	c.stays("web", 7)
	c.sysdig.ClearFault()
	c.moves("web", 7, max(byAverage(100, 100, 7), byAverage(60, 30, 7)))
}

// twoMetrics is a workload of 4 replicas with an HPA on its requests and on a queue.
func twoMetrics(t *testing.T, c *scene) (*workload, *queues) {
	t.Helper()
	web := c.deploy("web", 4, 400)
	queues := c.queues(map[string]float64{"orders": 60, "mail": 5000})
	c.bind("web", func(s *v1alpha1.SysdigMetricBindingSpec) {
		s.Source.Metric.GroupAggregation, s.Source.Metric.Window.Duration = v1alpha1.GroupSum, sysdigtest.Interval
	})
	c.bind(queueMetric, queueDepth)
	c.eventuallyValue(c.servicePath("web"), 400)
	c.eventuallyValue(c.external(queueMetric)+ofOrders, 60)
	c.autoscale("web", 1, 10, behavior(0, 0),
		objectMetric("web", metricName, average("100"), nil), externalMetric(queueMetric, average("30"), orders))
	c.stays("web", 4)
	return web, queues
}

// TestZero lets a queue take its workers to zero and back. Only a zero of the HPA's own making ends by itself.
func TestZero(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playZero(t, newScene("zero")) })
}

func playZero(t *testing.T, c *scene) {
	c.deployIdle("workers", 1)
	queues := c.queues(map[string]float64{"orders": 100, "mail": 7})
	c.bind(queueMetric, queueDepth)
	path := c.external(queueMetric) + ofOrders
	c.eventuallyValue(path, 100)
	c.autoscale("workers", 0, 10, behavior(0, 0), externalMetric(queueMetric, average("30"), orders))
	c.moves("workers", 1, byAverage(100, 30, 1))

	queues.set("orders", 0)
	c.moves("workers", 4, byAverage(0, 30, 4))
	c.eventuallyCondition("workers", autoscalingv2.ScaledToZero, "ScaledToZero")
	queues.drop("orders")
	c.eventuallyRefused(path, "NoData")
	c.stays("workers", 0)
	queues.set("orders", 50)
	c.moves("workers", 0, byAverage(50, 30, 0))

	human := func(replicas string) {
		t.Helper()
		if _, err := c.stage.Cluster.Kubectl(t.Context(), "-n", c.namespace, "scale", "deployment", "workers", "--replicas="+replicas); err != nil {
			t.Fatal(err)
		}
	}
	human("0")
	c.eventuallyCondition("workers", autoscalingv2.ScalingActive, "ScalingDisabled")
	c.stays("workers", 0)
	human("1")
	c.moves("workers", 1, byAverage(50, 30, 1))
}

// TestSilentPod makes sure that a pod of which Sysdig has nothing counts as the target when the HPA shrinks and as 0 when it
// grows. With a made-up 0 for it the HPA would shrink to 2.
func TestSilentPod(t *testing.T) { byEachAPI(t, playSilentPod) }

func playSilentPod(t *testing.T, newScene func(string) *scene) {
	for name, test := range map[string]struct {
		perPod float64
		want   int32
	}{
		"shrinks": {40, byPods([]float64{40, 40, 40}, 1, 100)},
		"grows":   {200, byPods([]float64{200, 200, 200}, 1, 100)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newScene("silent-" + name)
			c.deployIdle("web", 4)
			jobs := c.jobs("web", 4)
			c.bind("jobs", func(s *v1alpha1.SysdigMetricBindingSpec) {
				s.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Pod", Selector: &v1alpha1.ObjectSelector{}}
				s.MetricName, s.MaxAge.Duration = "jobs", 25*time.Second
				s.Source.Metric = &v1alpha1.MetricSource{Name: jobs.metric, TimeAggregation: v1alpha1.TimeLast, Window: metav1.Duration{Duration: sysdigtest.Interval}}
			})
			c.eventuallyItems(c.custom("pods/*", "jobs"), 4)
			c.autoscale("web", 1, 10, behavior(0, 60), podsMetric("jobs", average("100")))
			c.stays("web", 4)
			jobs.set(100, 1)
			c.eventuallyItems(c.custom("pods/*", "jobs"), 3) // one is silent
			c.stays("web", 4)
			jobs.set(test.perPod, 1)
			c.moves("web", 4, test.want)
		})
	}
}

// TestNegativeExternal makes sure that an HPA never reads an external metric below 0, which it would take for an overflow
// and scale to maxReplicas.
func TestNegativeExternal(t *testing.T) {
	byEachAPI(t, func(t *testing.T, newScene func(string) *scene) { playNegativeExternal(t, newScene("negative")) })
}

func playNegativeExternal(t *testing.T, c *scene) {
	c.deployIdle("workers", 4)
	queues := c.queues(map[string]float64{"orders": 120})
	c.bind(queueMetric, queueDepth)
	path := c.external(queueMetric) + ofOrders
	c.eventuallyValue(path, 120)
	c.autoscale("workers", 0, 10, behavior(0, 0), externalMetric(queueMetric, average("30"), orders))
	c.stays("workers", byAverage(120, 30, 4))
	queues.set("orders", -5)
	c.eventuallyRefused(path, "Implausible")
	c.stays("workers", 4)
	queues.set("orders", 30)
	c.moves("workers", 4, byAverage(30, 30, 4))
}

const (
	queueMetric = "queue-messages"
	ofOrders    = "?labelSelector=queue%3Dorders"
)

// orders picks one queue.
var orders = &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "orders"}}

// queueDepth binds the messages of each queue as an external metric.
func queueDepth(s *v1alpha1.SysdigMetricBindingSpec) {
	s.Target, s.MetricName, s.MaxAge.Duration = nil, queueMetric, 25*time.Second
	s.Source.Metric = &v1alpha1.MetricSource{
		Name: "queue_messages", TimeAggregation: v1alpha1.TimeLast, GroupAggregation: v1alpha1.GroupMax,
		Window: metav1.Duration{Duration: sysdigtest.Interval}, Dimensions: []v1alpha1.Dimension{"queue"},
	}
}

// queues are numbers of messages that an exporter in the scene's namespace reports.
type queues struct {
	metric string
	mu     sync.Mutex
	depth  map[string]float64
}

func (c *scene) queues(depth map[string]float64) *queues {
	q := &queues{metric: "queue_messages", depth: depth}
	c.feed(func() []sysdigtest.Point {
		q.mu.Lock()
		defer q.mu.Unlock()
		var points []sysdigtest.Point
		for queue, messages := range q.depth {
			points = append(points, sysdigtest.Point{Labels: c.series(q.metric, "exporter-0", "queue", queue), Value: messages})
		}
		return points
	})
	return q
}

func (q *queues) set(queue string, messages float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.depth[queue] = messages
}

func (q *queues) drop(queue string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.depth, queue)
}

// jobs are numbers that the pods of a workload report, and how many pods are silent. It holds for as long as there are as
// many pods as at the beginning; then each has 100.
type jobs struct {
	metric string
	mu     sync.Mutex
	perPod float64
	silent int
}

func (c *scene) jobs(workload string, pods int) *jobs {
	c.eventuallyPods(workload, pods)
	j := &jobs{metric: "jobs_running", perPod: 100}
	c.feed(func() []sysdigtest.Point {
		j.mu.Lock()
		defer j.mu.Unlock()
		names := c.readyPods(workload)
		slices.Sort(names)
		perPod := 100.
		if len(names) == pods {
			perPod, names = j.perPod, names[j.silent:]
		}
		var points []sysdigtest.Point
		for _, pod := range names {
			points = append(points, sysdigtest.Point{Labels: c.series(j.metric, pod), Value: perPod})
		}
		return points
	})
	return j
}

func (j *jobs) set(perPod float64, silent int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.perPod, j.silent = perPod, silent
}

// series are the labels of a series of a pod of the scene's namespace, and further ones.
func (c *scene) series(metric, pod string, further ...string) map[string]string {
	lset := map[string]string{
		"__name__": metric, sysdigtest.LabelCluster: "e2e", sysdigtest.LabelNamespace: c.namespace, sysdigtest.LabelPod: pod,
	}
	for pair := range slices.Chunk(further, 2) {
		maps.Copy(lset, map[string]string{pair[0]: pair[1]})
	}
	return lset
}
