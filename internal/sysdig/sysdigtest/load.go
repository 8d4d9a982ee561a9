package sysdigtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Labels of Sysdig's series in their PromQL spelling.
const (
	LabelCluster      = "kube_cluster_name"
	LabelNamespace    = "kube_namespace_name"
	LabelWorkloadType = "kube_workload_type"
	LabelWorkloadName = "kube_workload_name"
	LabelPod          = "kube_pod_name"
	LabelNode         = "kube_node_name"
	LabelContainer    = "container_name"
	LabelMethod       = "net_http_method"
	// LabelService is known to the classic API only, as kubernetes.service.name.
	LabelService    = "kube_service_name"
	labelDatasource = "_sysdig_datasource"
)

// Metrics that a [Load] produces, one series per pod.
const (
	// MetricHTTPRequests is a native counter: the number of requests in each [Interval].
	MetricHTTPRequests = "sysdig_container_net_http_request_count"
	// MetricCPU is a gauge: 0.05 cores and 2 milliseconds of a core per request.
	MetricCPU = "sysdig_container_cpu_cores_used"
	// MetricUp is 1 for each pod; it goes on when the workload is silent.
	MetricUp = "sysdig_container_up"
	// MetricScraped is a counter scraped from a Prometheus endpoint: the number of requests since the pod started.
	MetricScraped = "http_requests_total"

	idleCores       = 0.05
	coresPerRequest = 0.002
	nodes           = 3
	stepEvery       = time.Second
)

// Workload is a source of load: a total of requests that its pods share evenly.
type Workload struct {
	// Cluster and Namespace locate the workload.
	Cluster, Namespace string
	// Kind is the workload's type in lower case, such as deployment, and Name its name.
	Kind, Name string
	// Service is the name of the Service before the workload; empty for none. See LabelService.
	Service string
	// Pods returns the names of the pods that share the load now.
	Pods func() []string
	// RPS returns the present total of requests per second.
	RPS func() float64
	// Methods splits the native counter by the label of the HTTP method, each with its share of the requests. Nil means one
	// series per pod without that label. The sum over the methods stays what RPS says when the shares add up to 1.
	Methods map[string]float64
	// Silent tells whether the HTTP series have vanished, as those of an idle service do. Nil means never.
	Silent func() bool
	// Unattributed leaves out the labels of the workload, as some of Sysdig's series do.
	Unattributed bool
}

// Point is a value of a series of one's own.
type Point struct {
	// Labels of the series, __name__ included.
	Labels map[string]string
	Value  float64
}

// Load turns workloads into points of a store. It is safe for concurrent use.
type Load struct {
	store *Store
	clk   clock.Clock

	mu        sync.Mutex
	workloads []Workload
	sources   []func() []Point
	until     time.Time
	// totals are the values of the scraped counters by cluster, namespace, workload and pod.
	totals map[[4]string]float64
	// recorded are those of workloads that are counted, by cluster, namespace and workload, and by pod.
	recorded map[[3]string]map[string]float64
}

// NewLoad returns a load whose first point is that of the first bucket that ends after since.
func NewLoad(store *Store, clk clock.Clock, since time.Time, workloads ...Workload) *Load {
	return &Load{
		store:     store,
		clk:       clk,
		workloads: slices.Clone(workloads),
		until:     since.Truncate(Interval),
		totals:    map[[4]string]float64{},
		recorded:  map[[3]string]map[string]float64{},
	}
}

// Add adds a workload from the next step on.
func (l *Load) Add(w Workload) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.workloads = append(l.workloads, w)
}

// AddSource adds series of one's own from the next step on: at every step, what the function returns. A label set that it
// leaves out has no point then.
func (l *Load) AddSource(points func() []Point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sources = append(l.sources, points)
}

// Record appends the points of the bucket that ends at t for a workload whose requests somebody else has counted, as the agent of
// a cluster does: the requests of each pod in that bucket. A pod that is left out starts again from 0. The workload's Pods, RPS
// and Silent are not asked.
func (l *Load) Record(w Workload, t time.Time, requests map[string]float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := [3]string{w.Cluster, w.Namespace, w.Kind + "/" + w.Name}
	totals := map[string]float64{}
	for pod, n := range requests {
		totals[pod] = l.recorded[id][pod] + n
		l.appendPod(w, pod, t, n, totals[pod], false)
	}
	l.recorded[id] = totals
}

// Step appends the points of all buckets that were completed since the last step. A point carries the end of its bucket
// as timestamp; pods and rates are those at the time of the call.
func (l *Load) Step(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for next := l.until.Add(Interval); !next.After(now); next = l.until.Add(Interval) {
		totals := map[[4]string]float64{}
		for _, w := range l.workloads {
			l.append(w, next, totals)
		}
		for _, points := range l.sources {
			for _, p := range points() {
				l.store.Append(p.Labels, next, p.Value)
			}
		}
		// A pod that was absent from a bucket starts again from 0.
		l.totals, l.until = totals, next
	}
}

// Run steps every second of the clock until the context ends, and returns the context's error.
func (l *Load) Run(ctx context.Context) error {
	for {
		l.Step(l.clk.Now())
		timer := l.clk.NewTimer(stepEvery)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (l *Load) append(w Workload, t time.Time, totals map[[4]string]float64) {
	pods := w.Pods()
	silent := w.Silent != nil && w.Silent()
	var requests float64
	if len(pods) > 0 && !silent {
		requests = w.RPS() / float64(len(pods)) * Interval.Seconds()
	}
	for _, pod := range pods {
		id := [4]string{w.Cluster, w.Namespace, w.Kind + "/" + w.Name, pod}
		totals[id] = l.totals[id] + requests
		l.appendPod(w, pod, t, requests, totals[id], silent)
	}
}

// appendPod appends the points of one pod: its requests in the bucket, and in total.
func (l *Load) appendPod(w Workload, pod string, t time.Time, requests, total float64, silent bool) {
	if !silent {
		l.appendRequests(w, pod, t, requests)
		l.store.Append(w.labels(MetricScraped, pod), t, total)
	}
	l.store.Append(w.labels(MetricCPU, pod), t, idleCores+coresPerRequest*requests/Interval.Seconds())
	l.store.Append(w.labels(MetricUp, pod), t, 1)
}

// appendRequests appends the points of the native counter of one pod.
func (l *Load) appendRequests(w Workload, pod string, t time.Time, requests float64) {
	lset := w.labels(MetricHTTPRequests, pod)
	if w.Methods == nil {
		l.store.Append(lset, t, requests)
		return
	}
	for method, share := range w.Methods {
		lset[LabelMethod] = method
		l.store.Append(lset, t, share*requests)
	}
}

// labels returns the label set of a pod's series.
func (w Workload) labels(metric, pod string) map[string]string {
	lset := map[string]string{
		"__name__":      metric,
		LabelCluster:    w.Cluster,
		LabelNamespace:  w.Namespace,
		LabelPod:        pod,
		LabelNode:       nodeOf(pod),
		LabelContainer:  w.Name,
		labelDatasource: "agent",
	}
	if metric == MetricScraped {
		lset[labelDatasource] = "prometheus"
	}
	if w.Service != "" {
		lset[LabelService] = w.Service
	}
	if !w.Unattributed {
		lset[LabelWorkloadType], lset[LabelWorkloadName] = w.Kind, w.Name
	}
	return lset
}

// nodeOf places a pod on one of a few nodes, always the same one.
func nodeOf(pod string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(pod))
	return fmt.Sprintf("node-%d", h.Sum32()%nodes)
}
