package sysdigtest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// workload is a workload that a test changes as it goes.
type workload struct {
	sysdigtest.Workload
	pods   []string
	rps    float64
	silent bool
}

func flask() *workload {
	w := &workload{pods: []string{"flask-a", "flask-b"}, rps: 30}
	w.Workload = sysdigtest.Workload{
		Cluster: "demo", Namespace: "default", Kind: "deployment", Name: "flask",
		Pods:   func() []string { return w.pods },
		RPS:    func() float64 { return w.rps },
		Silent: func() bool { return w.silent },
	}
	return w
}

// step moves the clock and the load.
func (h *harness) step(l *sysdigtest.Load, d time.Duration) {
	h.clk.Step(d)
	l.Step(h.clk.Now())
}

const perPod = `sum by (kube_pod_name) (sum_over_time(sysdig_container_net_http_request_count{kube_namespace_name="default"}[1m])) / 60`

func TestTheLoadIsSharedByThePodsAndReadAsARate(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon.Add(-5*time.Minute), w.Workload)
	load.Step(noon)

	offGrid := noon.Add(-5 * time.Second)
	if got := fmt.Sprint(h.queryAt(perPod, offGrid).by("kube_pod_name")); got != "map[flask-a:15 flask-b:15]" {
		t.Errorf("rate %s, want 15 for each pod", got)
	}
	w.pods = append(w.pods, "flask-c")
	h.step(load, time.Minute)
	if got := fmt.Sprint(h.queryAt(perPod, h.clk.Now()).by("kube_pod_name")); got != "map[flask-a:10 flask-b:10 flask-c:10]" {
		t.Errorf("rate %s, want 10 for each pod", got)
	}
}

func TestRateOfANativeCounterIsNonsense(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	sysdigtest.NewLoad(h.Store(), h.clk, noon.Add(-5*time.Minute), w.Workload).Step(noon)
	if got := h.query(`sum(rate(sysdig_container_net_http_request_count[1m]))`).one(t); got != "0" {
		t.Errorf("rate() of a constant delta is %s, want 0", got)
	}
}

func TestAValueAndTheTimeOfItsNewestPointTravelInOneQuery(t *testing.T) {
	h := serve(t, sysdigtest.Options{Lag: sysdigtest.DefaultLag})
	w := flask()
	sysdigtest.NewLoad(h.Store(), h.clk, noon.Add(-5*time.Minute), w.Workload).Step(noon)

	const x = `sysdig_container_net_http_request_count{kube_namespace_name="default"}`
	query := `sum by (kube_pod_name) (sum_over_time(` + x + `[1m])) / 60 or label_replace(max by (kube_pod_name) (timestamp(` + x + `)), "part", "time", "", "")`
	res := h.queryAt(query, noon.Add(-15*time.Second))
	got := map[string]string{}
	for _, s := range res.Data.Result {
		got[s.Metric["kube_pod_name"]+"/"+s.Metric["part"]] = unquote(s.Value[1])
	}
	newest := strconv.FormatFloat(float64(noon.Add(-20*time.Second).Unix()), 'f', -1, 64)
	want := map[string]string{"flask-a/": "15", "flask-b/": "15", "flask-a/time": newest, "flask-b/time": newest}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOnlyCompletedBucketsGetPoints(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon, flask().Workload)
	const points = `sum(count_over_time(sysdig_container_up[1h])) or vector(0)`
	for _, c := range []struct {
		step time.Duration
		want string
	}{{9 * time.Second, "0"}, {time.Second, "2"}, {9 * time.Second, "2"}, {time.Second, "4"}} {
		h.step(load, c.step)
		if got := h.query(points).one(t); got != c.want {
			t.Errorf("at %s: %s points, want %s", h.clk.Now().Format(time.TimeOnly), got, c.want)
		}
	}
}

func TestASilentWorkloadLosesItsHTTPSeriesAndKeepsItsHeartbeat(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon, w.Workload)
	h.step(load, time.Minute)
	w.silent = true
	h.step(load, time.Minute)
	if got := len(h.query(perPod).Data.Result); got != 0 {
		t.Errorf("%d pods with requests, want none", got)
	}
	if got := h.query(`sum(count_over_time(sysdig_container_up[1m]))`).one(t); got != "12" {
		t.Errorf("%s points of the heartbeat, want 12", got)
	}
}

func TestSeriesCarryTheLabelsOfSysdig(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	w.pods = w.pods[:1]
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon, w.Workload)
	unattributed := w.Workload
	unattributed.Unattributed = true
	unattributed.Namespace = "other"
	load.Add(unattributed)
	h.step(load, 10*time.Second)

	for _, name := range []string{sysdigtest.MetricHTTPRequests, sysdigtest.MetricCPU, sysdigtest.MetricUp, sysdigtest.MetricScraped} {
		got := h.query(name + `{kube_namespace_name="default"}`).Data.Result[0].Metric
		want := map[string]string{
			"__name__": name, "kube_cluster_name": "demo", "kube_namespace_name": "default",
			"kube_workload_type": "deployment", "kube_workload_name": "flask", "kube_pod_name": "flask-a",
			"kube_node_name": got["kube_node_name"], "container_name": "flask", "_sysdig_datasource": got["_sysdig_datasource"],
		}
		if got["kube_node_name"] == "" || got["_sysdig_datasource"] == "" || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("labels %v, want %v", got, want)
		}
	}
	if got := len(h.query(`sysdig_container_up{kube_workload_name=""}`).Data.Result); got != 1 {
		t.Errorf("%d series without a workload, want 1", got)
	}
}

func TestRequestsAreSplitByMethodAndAddUp(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	w.Methods = map[string]float64{"GET": 0.75, "POST": 0.25}
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon.Add(-time.Minute), w.Workload)
	load.Step(noon)

	const rate = `(sum_over_time(sysdig_container_net_http_request_count{kube_workload_name="flask"}[1m])) / 60`
	if got := fmt.Sprint(h.query("sum by (net_http_method) " + rate).by(sysdigtest.LabelMethod)); got != "map[GET:22.5 POST:7.5]" {
		t.Errorf("rates %s, want three quarters and one", got)
	}
	if got := h.query("sum " + rate).one(t); got != "30" {
		t.Errorf("the methods add up to %s, want 30", got)
	}
}

func TestASourceHasOnePointPerLabelSetAndStep(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon)
	depth := map[string]float64{"mail": 3, "orders": 40}
	load.AddSource(func() []sysdigtest.Point {
		var points []sysdigtest.Point
		for queue, messages := range depth {
			points = append(points, sysdigtest.Point{Labels: map[string]string{"__name__": "queue_messages", "queue": queue}, Value: messages})
		}
		return points
	})
	h.step(load, 20*time.Second)
	if got := fmt.Sprint(h.query("queue_messages").by("queue")); got != "map[mail:3 orders:40]" {
		t.Errorf("values %s, want those of the source", got)
	}
	delete(depth, "mail")
	depth["orders"] = 50
	h.step(load, 10*time.Second)
	if got := fmt.Sprint(h.query("last_over_time(queue_messages[10s])").by("queue")); got != "map[orders:50]" {
		t.Errorf("newest values %s, want only what the source still has", got)
	}
	if got := fmt.Sprint(h.query("count_over_time(queue_messages[1m])").by("queue")); got != "map[mail:2 orders:3]" {
		t.Errorf("points %s, want one per step", got)
	}
}

func TestAScrapedCounterGrowsAndStartsAgainForANewPod(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	w := flask()
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon, w.Workload)
	h.step(load, time.Minute)
	if got := h.query("http_requests_total").by("kube_pod_name")["flask-a"]; got != "900" {
		t.Errorf("total %s after a minute, want 900", got)
	}
	w.pods = []string{"flask-b"}
	h.step(load, 10*time.Second)
	w.pods = []string{"flask-a", "flask-b"}
	h.step(load, 10*time.Second)
	if got := h.query("http_requests_total").by("kube_pod_name"); got["flask-a"] != "150" || got["flask-b"] != "1350" {
		t.Errorf("totals %v, want 150 for the new pod and 1350 for the old one", got)
	}
	if got := h.query("resets(http_requests_total[2m])").by("kube_pod_name")["flask-a"]; got != "1" {
		t.Errorf("%s resets, want 1", got)
	}
	h.step(load, 2*time.Minute)
	got, err := strconv.ParseFloat(h.query("sum(rate(http_requests_total[1m]))").one(t), 64)
	if err != nil || math.Abs(got-30) > 0.01 {
		t.Errorf("rate %v (%v), want 30", got, err)
	}
}

func TestRunStepsWithTheClockUntilItsContextEnds(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	var pods atomic.Int32
	w := flask().Workload
	w.Pods = func() []string { pods.Add(1); return []string{"p"} }
	load := sysdigtest.NewLoad(h.Store(), h.clk, noon, w)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- load.Run(ctx) }()

	for range 10 {
		eventually(t, "the loop waits", h.clk.HasWaiters)
		h.clk.Step(time.Second)
	}
	eventually(t, "the bucket is filled", func() bool { return pods.Load() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
