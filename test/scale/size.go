package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	syncPeriod = 15 * time.Second // Kubernetes' default
	apiQPS     = 300              // of the HPA controller, for each of its clients
	hpaWorkers = 50
	// interval and ingestionLag are the defaults of a connection.
	interval     = 30 * time.Second
	ingestionLag = 30 * time.Second
	readyPoll    = 50 * time.Millisecond
	readyLimit   = 2 * time.Minute
	toldLimit    = 8 * time.Minute // an Event waits for five
	probeEvery   = 200 * time.Millisecond
	lookEvery    = 3 * time.Second
)

// window is what happened in one stretch of time.
type window struct {
	length    time.Duration
	counted   counters
	traffic   traffic
	memory    memory    // at the end
	latencies []float64 // of reads through the API server, in milliseconds
}

// perMinute is a number of the window by the minute.
func (w window) perMinute(n float64) float64 { return n / w.length.Minutes() }

// result is what was measured of one size.
type result struct {
	scene   scene
	created time.Duration // how long it took to make everything but the HPAs
	ready   time.Duration // from the start of the operator to Ready
	synced  time.Duration // from the first HPA to the moment when all had read a value
	idle    window        // without HPAs
	reading window        // with HPAs
	naive   *window       // of an adapter that asks when it is read
	// wrong are values and replicas that are not as they should be, and reads and requests that failed.
	wrong []string
}

// run is the measurement of one size.
type run struct {
	plan   plan
	scene  scene
	log    io.Writer
	stage  *stage.Stage
	sysdig *standin
	client kubernetes.Interface
	result result
}

// measureSize measures one size on a control plane of its own.
func measureSize(ctx context.Context, p plan, bindings int, log io.Writer) (res result, err error) {
	s, err := newScene(bindings)
	if err != nil {
		return res, err
	}
	r := &run{plan: p, scene: s, log: log, result: result{scene: s}}
	stop, err := r.open(ctx)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return res, err
	}
	steps := []func(context.Context) error{r.fill, r.start, r.measureIdle, r.autoscale, r.measureReading}
	if p.naive {
		steps = append(steps, r.measureNaive)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return res, err
		}
	}
	return r.result, nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.log, "%d bindings: "+format+"\n", append([]any{r.scene.bindings}, args...)...)
}

// open starts a control plane and a stand-in for Sysdig. stop ends what was started, also after an error.
func (r *run) open(ctx context.Context) (stop func() error, err error) {
	stop = func() error { return nil }
	if r.sysdig, err = startStandin(ctx, "--bindings="+strconv.Itoa(r.scene.bindings)); err != nil {
		return stop, err
	}
	stop = r.sysdig.Stop
	if r.stage, err = startStage(ctx, r.plan, r.log); err != nil {
		return stop, err
	}
	stop = func() error { return errors.Join(r.stage.Cluster.Stop(context.WithoutCancel(ctx)), r.sysdig.Stop()) }
	r.client, err = kubernetes.NewForConfig(r.stage.Cluster.AdminConfig())
	return stop, err
}

// startStage starts a control plane whose HPA controller reads as fast as it may, with everything installed and no operator.
func startStage(ctx context.Context, p plan, log io.Writer) (*stage.Stage, error) {
	return stage.Start(ctx, stage.Options{
		Log: log, NoOperator: true, Operator: p.operator(),
		Cluster: cluster.Options{
			HPASyncPeriod: syncPeriod, KubeAPIQPS: apiQPS,
			ExtraArgs: map[binaries.Component][]string{
				binaries.ControllerManager: {"--concurrent-horizontal-pod-autoscaler-syncs=" + strconv.Itoa(hpaWorkers)},
			},
		},
	})
}

// fill makes everything but the HPAs.
func (r *run) fill(ctx context.Context) error {
	r.say("making them, %d pods and what the HPAs will scale", r.scene.pods())
	began := time.Now()
	if err := installScalable(ctx, r.stage); err != nil {
		return err
	}
	if err := r.stage.Connect(ctx, "default", clusterName, r.sysdig.URL, r.sysdig.CABundle, token, func(c *v1alpha1.SysdigConnectionSpec) {
		c.Interval.Duration, c.IngestionLag.Duration = interval, ingestionLag
		r.plan.way.set(c)
	}); err != nil {
		return err
	}
	if err := r.scene.create(ctx, r.stage.Client); err != nil {
		return err
	}
	r.result.created = time.Since(began)
	// The control plane has work of its own to do with what was made.
	return eventually(ctx, 2*time.Minute, r.podsRun)
}

func (r *run) podsRun(ctx context.Context) error {
	var pods corev1.PodList
	if err := r.stage.Client.List(ctx, &pods); err != nil {
		return err
	}
	waiting := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if len(waiting) > 0 {
		return fmt.Errorf("%d pods do not run", len(waiting))
	}
	return nil
}

// start starts the operator and measures how long it takes to be ready.
func (r *run) start(ctx context.Context) error {
	if err := stage.Sleep(ctx, r.plan.settle); err != nil {
		return err
	}
	began := time.Now()
	if err := r.stage.LaunchOperator(ctx, r.plan.flags()...); err != nil {
		return err
	}
	if err := ready(ctx, r.stage); err != nil {
		return err
	}
	r.result.ready = time.Since(began)
	r.say("ready after %s", r.result.ready.Round(10*time.Millisecond))
	return r.stage.WaitAvailable(ctx)
}

// ready waits until the operator says so.
func ready(ctx context.Context, s *stage.Stage) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the operator is not ready: %w; its log: %s", ctx.Err(), s.OperatorLog())
		case <-ticker.C:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ReadyURL(), nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue // it does not listen yet
		}
		if err := response.Body.Close(); err != nil {
			return err
		}
		if response.StatusCode == http.StatusOK {
			return s.OperatorFailure()
		}
	}
}

// autoscale makes the HPAs and waits until each has read its value.
func (r *run) autoscale(ctx context.Context) error {
	r.say("making the HPAs")
	began := time.Now()
	if err := r.scene.autoscale(ctx, r.stage.Client); err != nil {
		return err
	}
	r.say("the HPAs were made in %s", time.Since(began).Round(time.Second))
	if err := eventually(ctx, 10*time.Minute, r.active); err != nil {
		return err
	}
	r.result.synced = time.Since(began)
	r.say("all HPAs have a value after %s", r.result.synced.Round(time.Second))
	return stage.Sleep(ctx, r.plan.settle)
}

// active expects every HPA to have read a value.
func (r *run) active(ctx context.Context) error {
	var list autoscalingv2.HorizontalPodAutoscalerList
	if err := r.stage.Client.List(ctx, &list); err != nil {
		return err
	}
	waiting := slices.DeleteFunc(list.Items, func(h autoscalingv2.HorizontalPodAutoscaler) bool { return scaling(h) == nil })
	if len(waiting) > 0 {
		return fmt.Errorf("%d HPAs have no value, %s among them: %w", len(waiting), waiting[0].Name, scaling(waiting[0]))
	}
	return nil
}

// scaling tells why an HPA has no value.
func scaling(h autoscalingv2.HorizontalPodAutoscaler) error {
	for _, c := range h.Status.Conditions {
		if c.Type == autoscalingv2.ScalingActive {
			if c.Status == corev1.ConditionTrue {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return errors.New("it was not looked at")
}

// measureReading measures the operator while the HPAs read.
func (r *run) measureReading(ctx context.Context) (err error) {
	if r.result.reading, err = r.observe(ctx, "with HPAs", r.probe); err != nil {
		return err
	}
	return r.check(ctx, "with HPAs")
}

// check expects every HPA to be content and to have left the replicas alone.
func (r *run) check(ctx context.Context, what string) error {
	if err := r.active(ctx); err != nil {
		r.result.wrong = append(r.result.wrong, fmt.Sprintf("%s: %v", what, err))
	}
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(scalableKind())
	if err := r.stage.Client.List(ctx, &list); err != nil {
		return err
	}
	for _, item := range list.Items {
		if got, _, _ := unstructured.NestedInt64(item.Object, "spec", "replicas"); got != replicas {
			r.result.wrong = append(r.result.wrong, fmt.Sprintf("%s: %s/%s was scaled to %d", what, item.GetNamespace(), item.GetName(), got))
		}
	}
	return nil
}

// measureNaive puts an adapter that asks when it is read in the operator's place.
func (r *run) measureNaive(ctx context.Context) (err error) {
	r.say("putting an adapter that asks when it is read in the operator's place")
	if err := r.stage.StopOperator(ctx); err != nil {
		return err
	}
	kubeconfig, err := r.stage.OperatorKubeconfig(ctx)
	if err != nil {
		return err
	}
	adapter, err := startNaive(ctx, r.scene, r.sysdig, kubeconfig, r.stage.CertDir(), r.stage.Port())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, adapter.Stop()) }()
	if err := r.stage.WaitAvailable(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, 10*time.Minute, r.active); err != nil { // those that read in between are told errors
		return err
	}
	if err := stage.Sleep(ctx, 2*syncPeriod); err != nil {
		return err
	}
	w, err := r.observeNaive(ctx, adapter)
	if err != nil {
		return err
	}
	r.result.naive = &w
	return r.check(ctx, "with one query per read")
}

func (r *run) observeNaive(ctx context.Context, adapter *measure.Child) (w window, err error) {
	r.say("measuring one query per read for %s", r.plan.window)
	var before, after reads
	if _, err := r.sysdig.traffic(); err != nil {
		return w, err
	}
	if err := adapter.Ask("reads", &before); err != nil {
		return w, err
	}
	cpu, err := cpuOf(adapter.PID())
	if err != nil {
		return w, err
	}
	began := time.Now()
	if w.latencies, err = r.probe(ctx); err != nil {
		return w, err
	}
	w.length = time.Since(began)
	if w.counted.cpu, err = cpuOf(adapter.PID()); err != nil {
		return w, err
	}
	w.counted.cpu -= cpu
	if err := adapter.Ask("reads", &after); err != nil {
		return w, err
	}
	w.counted.served, w.counted.failed = float64(after.Served-before.Served), float64(after.Failed-before.Failed)
	if w.traffic, err = r.sysdig.traffic(); err != nil {
		return w, err
	}
	r.expectNoFailure("one query per read", w)
	w.memory, err = memoryOf(adapter.PID())
	return w, err
}

// eventually looks seldom, because to list 10,000 objects is work for the API server. The error is what condition said last.
func eventually(ctx context.Context, limit time.Duration, condition func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, lookEvery, limit, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}
