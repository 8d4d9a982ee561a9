package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// readers read one after the other, with this pause.
	readers   = 4
	readPause = 40 * time.Millisecond
	readLimit = 10 * time.Second
	// lookEvery is how often HPAs, Deployments and APIServices are looked at.
	lookEvery = 500 * time.Millisecond
	// bystanders is the pause between two looks at what has nothing to do with us.
	bystanders = 3 * time.Second
	// deletionLimit is when a namespace has to be gone.
	deletionLimit = 30 * time.Second
)

// seen is what was seen during one fault.
type seen struct {
	reads int
	// failed are reads that the operator, or the way to it, failed; unreached those that the API server did not answer at all.
	failed, unreached int
	// first and last are when reads failed.
	first, last time.Time
	words       map[string]int // of failed reads
	oldest      time.Duration  // sample that was served
	wrong       int            // changes of replicas
	missed      time.Duration  // the longest time for which an HPA could not read its metrics
	flaps       int            // of APIServices
	discovery   int            // kubectl api-resources that failed
	namespaces  int            // that were not deleted in time
	deleted     int            // namespaces that were
}

// observer reads and looks all the time.
type observer struct {
	scene  *scene
	client kubernetes.Interface

	mu        sync.Mutex
	seen      *seen
	replicas  map[string]int32
	inactive  map[string]time.Time
	available map[string]bool
	// down tells that the API server is, on purpose: what fails without it is not ours.
	down bool
}

func newObserver(s *scene) (*observer, error) {
	config := s.stage.Cluster.AdminConfig()
	config.Timeout = readLimit
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the observer: %w", err)
	}
	return &observer{
		scene: s, client: c, seen: &seen{words: map[string]int{}},
		replicas: map[string]int32{}, inactive: map[string]time.Time{}, available: map[string]bool{},
	}, nil
}

// begin forgets what was seen, and end returns what was seen since.
func (o *observer) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = &seen{words: map[string]int{}}
}

func (o *observer) end() *seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	copied := *o.seen
	return &copied
}

func (o *observer) note(change func(*seen)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o.seen)
}

func (o *observer) setDown(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

func (o *observer) isDown() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down
}

// run observes until the context ends.
func (o *observer) run(ctx context.Context) {
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() { o.read(ctx, r) })
	}
	all.Go(func() { repeat(ctx, lookEvery, o.look) })
	all.Go(func() { repeat(ctx, bystanders, o.resources) })
	all.Go(func() { repeat(ctx, bystanders, o.deletion) })
	all.Wait()
}

func repeat(ctx context.Context, pause time.Duration, do func(context.Context)) {
	for ctx.Err() == nil {
		do(ctx)
		_ = stage.Sleep(ctx, pause)
	}
}

// read reads metrics in turn, through the API server.
func (o *observer) read(ctx context.Context, n int) {
	total := o.scene.plan.deployments * o.scene.plan.metrics
	for i := n; ctx.Err() == nil; i += readers {
		at := i % total
		path := fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/deployments.apps/%s/%s",
			namespace, deploymentName(at/o.scene.plan.metrics), bound(at%o.scene.plan.metrics))
		raw, err := o.client.Discovery().RESTClient().Get().AbsPath(path).MaxRetries(0).DoRaw(ctx)
		if ctx.Err() != nil {
			return
		}
		o.judge(raw, err)
		_ = stage.Sleep(ctx, readPause)
	}
}

func (o *observer) judge(raw []byte, err error) {
	now := time.Now()
	var list v1beta2.MetricValueList
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	o.note(func(s *seen) {
		s.reads++
		switch {
		case err == nil && len(list.Items) == 1:
			s.oldest = max(s.oldest, now.Sub(list.Items[0].Timestamp.Time))
		case o.down:
			s.unreached++
		default:
			s.failed++
			s.last = now
			if s.first.IsZero() {
				s.first = now
			}
			s.words[word(err)]++
		}
	})
}

// word is the beginning of an error, without what differs each time.
func word(err error) string {
	if err == nil {
		return "not one value"
	}
	text := err.Error()
	for _, known := range []string{"Stale", "connection refused", "EOF", "connection reset", "service unavailable", "error trying to reach service", "Unreachable", "Timeout", "x509", "Pending", "NoData"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return text[:min(len(text), 80)]
}

// look compares HPAs, Deployments and APIServices with how they were.
func (o *observer) look(ctx context.Context) {
	var hpas autoscalingv2.HorizontalPodAutoscalerList
	var deployments appsv1.DeploymentList
	var services apiregistrationv1.APIServiceList
	c := o.scene.stage.Client
	for _, list := range []client.ObjectList{&hpas, &deployments, &services} {
		if err := c.List(ctx, list); err != nil {
			return
		}
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range hpas.Items {
		name := hpas.Items[i].Name
		active, _ := scalingActive(&hpas.Items[i])
		since, was := o.inactive[name]
		switch {
		case active:
			delete(o.inactive, name)
		case !was:
			o.inactive[name] = now
		default:
			o.seen.missed = max(o.seen.missed, now.Sub(since))
		}
	}
	for _, d := range deployments.Items {
		if d.Namespace != namespace {
			continue
		}
		if before, known := o.replicas[d.Name]; known && before != *d.Spec.Replicas {
			o.seen.wrong++
		}
		o.replicas[d.Name] = *d.Spec.Replicas
	}
	for _, a := range services.Items {
		if a.Spec.Service == nil || a.Spec.Service.Namespace != stage.Namespace {
			continue
		}
		available := false
		for _, condition := range a.Status.Conditions {
			available = available || condition.Type == apiregistrationv1.Available && condition.Status == apiregistrationv1.ConditionTrue
		}
		if before, known := o.available[a.Name]; known && before && !available {
			o.seen.flaps++
		}
		o.available[a.Name] = available
	}
}

// resources lists all resources, as kubectl api-resources does: it fails when discovery of one group fails.
func (o *observer) resources(ctx context.Context) {
	_, err := o.scene.stage.Cluster.Kubectl(ctx, "api-resources", "--cached=false", "--request-timeout=20s")
	if err != nil && ctx.Err() == nil && !o.isDown() {
		o.note(func(s *seen) { s.discovery++ })
	}
}

// deletion makes a namespace and deletes it, which needs discovery of everything.
func (o *observer) deletion(ctx context.Context) {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bystander-"}}
	c := o.scene.stage.Client
	if err := c.Create(ctx, space); err != nil {
		return
	}
	if err := c.Delete(ctx, space); err != nil {
		return
	}
	began := time.Now()
	gone := func(ctx context.Context) error {
		err := c.Get(ctx, client.ObjectKeyFromObject(space), space)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("namespace %s is there after %s: %w", space.Name, time.Since(began), err)
	}
	err := stage.Wait(ctx, deletionLimit, gone)
	if ctx.Err() != nil {
		return
	}
	o.note(func(s *seen) {
		if err != nil && !o.down {
			s.namespaces++
		} else {
			s.deleted++
		}
	})
}

// usage is what a process holds.
type usage struct {
	rss         int // bytes
	goroutines  int
	descriptors int
}

// held is what a replica holds now.
func (s *scene) held(ctx context.Context, r *stage.Replica) (usage, error) {
	process, err := procfs.NewProc(r.PID())
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	stat, err := process.Stat()
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	descriptors, err := process.FileDescriptorsLen()
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	goroutines, err := s.metric(ctx, r, "go_goroutines")
	return usage{rss: stat.ResidentMemory(), goroutines: int(goroutines), descriptors: descriptors}, err
}

// metric adds up the series of a metric of a replica.
func (s *scene) metric(ctx context.Context, r *stage.Replica, name string) (total float64, err error) {
	scraper, err := s.stage.Scraper(ctx)
	if err != nil {
		return 0, err
	}
	defer scraper.Close()
	text, err := scraper.Read(ctx, r.MetricsURL())
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		end := strings.LastIndexByte(line, ' ')
		if end < 0 {
			continue
		}
		if series, _, _ := strings.Cut(line[:end], "{"); series != name {
			continue
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("%s of %s: %w", name, r.Name, err)
		}
		total += value
	}
	return total, nil
}
