package query

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// maxNamedPods is how many silent pods a failure names.
const maxNamedPods = 2

// tally counts the pods of one object that agents should see: those that have been ready for the whole window and the point
// before it. Younger ones and those that are about to end are never missing, and raise nothing.
type tally struct {
	ready []string
	// silent are those of them that agents do not see, in order.
	silent []string
}

// coverage compares the pods that agents should see with those that they see, for the questions of one request. Nil compares
// nothing.
type coverage struct {
	shape   Shape
	cluster Cluster
	pods    *seen
	window  string
	// since is when pods were ready that should be seen, and now when the answer arrived.
	since, now time.Time
	// tallies are those of the objects of namespaces that were asked about so far. Of pods, only the silent ones.
	tallies map[string]map[rowKey]tally
	// present are the pods that are ready now, of the namespaces of which somebody had to know.
	present map[string]map[metric.Workload][]string
}

// coverageOf compares when the heartbeat told of pods and the rows of the answer are about some.
func (a Attempt) coverageOf(s Shape, cluster Cluster) *coverage {
	if a.Heard.pods == nil || !s.ofPods() {
		return nil
	}
	return &coverage{
		shape: s, cluster: cluster, pods: a.Heard.pods, window: windowText(s.Window), since: a.ours(a.At).Add(-s.Window - metric.Step), now: a.Received,
		tallies: map[string]map[rowKey]tally{}, present: map[string]map[metric.Workload][]string{},
	}
}

// ofPods tells whether the objects that rows describe are pods or made of pods.
func (s Shape) ofPods() bool {
	return s.Grain == ByWorkload || s.Grain == ByPod || s.Grain == ByService
}

// objects are the tallies of a namespace. Each namespace is counted once, however many questions are about it.
func (c *coverage) objects(namespace string) map[rowKey]tally {
	if c == nil {
		return nil
	}
	tallies, counted := c.tallies[namespace]
	if counted {
		return tallies
	}
	tallies = map[rowKey]tally{}
	c.tallies[namespace] = tallies
	for owner, pods := range c.cluster.Ready(namespace, "", c.since) {
		of := c.count(namespace, pods)
		if c.shape.Grain == ByWorkload && owner != (metric.Workload{}) {
			tallies[rowKey{namespace: namespace, workloadType: owner.Type, workload: owner.Name}] = of
		}
		if c.shape.Grain == ByPod {
			for _, pod := range of.silent {
				tallies[rowKey{namespace: namespace, pod: pod}] = tally{ready: []string{pod}, silent: []string{pod}}
			}
		}
	}
	return tallies
}

// object is the tally of the one object of a view, or of all its pods.
func (c *coverage) object(v View) tally {
	switch {
	case c == nil, v.ByService && v.Selector == "": // nobody knows which pods those of a Service without a selector are
		return tally{}
	case v.ByService, v.All:
		var pods []string
		for _, owned := range c.cluster.Ready(v.Namespace, v.Selector, c.since) {
			pods = append(pods, owned...)
		}
		return c.count(v.Namespace, pods)
	}
	return c.objects(v.Namespace)[c.shape.viewKey(v)]
}

func (c *coverage) count(namespace string, ready []string) tally {
	t := tally{ready: ready}
	for _, pod := range ready {
		if _, seen := c.pods.pods[seenPod{c.window, namespace, pod}]; !seen {
			t.silent = append(t.silent, pod)
		}
	}
	slices.Sort(t.silent)
	return t
}

// partial is why the pods of an object are too few to tell its value; nil when they are enough.
func (c *coverage) partial(of tally) *metric.Failure {
	ready := len(of.ready)
	seen := ready - len(of.silent)
	if c == nil || 100*seen >= c.pods.minimum*ready {
		return nil
	}
	return metric.Failf(metric.Partial, "the agents see %d of %d pods that were ready for the whole window of %s; not %s; coverage.minimum is %d %%",
		seen, ready, c.shape.Window, some(of.silent), c.pods.minimum)
}

// some names the first of a few names.
func some(names []string) string {
	few := names[:min(len(names), maxNamedPods)]
	switch rest := len(names) - len(few); {
	case rest > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(few, ", "), rest)
	default:
		return strings.Join(few, " and ")
	}
}
