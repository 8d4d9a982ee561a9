package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// stepLag is the ingestion lag of the stand-in, and what the connection says of it.
	stepLag      = 5 * time.Second
	stepInterval = 10 * time.Second // the shortest that the API allows
	stepMetric   = "net.http.request.time"
	// watchEvery is how often values and replicas are looked at.
	watchEvery = 200 * time.Millisecond
	// stepLimit is when a step that was not seen is wrong.
	stepLimit = 2 * time.Minute
)

// reaction is how long it took from each step of the load until its value was served, and until the HPA had scaled.
type reaction struct {
	served, scaled []float64 // in seconds
}

// stepper measures reactions.
type stepper struct {
	plan   plan
	log    io.Writer
	stage  *stage.Stage
	sysdig *standin
	client kubernetes.Interface
	random *rand.Rand
}

// measureReaction steps loads in batches. The questions of each batch have another phase, because they are asked every 10 s from
// the moment when the connection was last changed, and the steps of a batch have phases that are spread over the 10 s between
// two points.
func measureReaction(ctx context.Context, p plan, log io.Writer) (res reaction, err error) {
	s := &stepper{plan: p, log: log, random: rand.New(rand.NewPCG(seed, seed))}
	stop, err := s.open(ctx)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return res, err
	}
	if err := s.fill(ctx); err != nil {
		return res, err
	}
	for batch := range p.batches {
		fmt.Fprintf(log, "reaction: batch %d of %d\n", batch+1, p.batches)
		if err := s.shift(ctx, batch); err != nil {
			return res, err
		}
		got, err := s.batch(ctx, batch)
		if err != nil {
			return res, err
		}
		res.served, res.scaled = append(res.served, got.served...), append(res.scaled, got.scaled...)
	}
	return res, s.stage.OperatorFailure()
}

func (s *stepper) steps() int { return s.plan.batches * s.plan.perBatch }

func (s *stepper) open(ctx context.Context) (stop func() error, err error) {
	stop = func() error { return nil }
	if s.sysdig, err = startStandin(ctx, "--steps="+strconv.Itoa(s.steps()), "--lag="+stepLag.String()); err != nil {
		return stop, err
	}
	stop = s.sysdig.Stop
	if s.stage, err = startStage(ctx, s.plan, s.log); err != nil {
		return stop, err
	}
	stop = func() error { return errors.Join(s.stage.Cluster.Stop(context.WithoutCancel(ctx)), s.sysdig.Stop()) }
	s.client, err = kubernetes.NewForConfig(s.stage.Cluster.AdminConfig())
	return stop, err
}

// fill makes a binding, something to scale and an HPA for each step, and starts the operator. The HPAs are spread over their
// sync period.
func (s *stepper) fill(ctx context.Context) error {
	if err := installScalable(ctx, s.stage); err != nil {
		return err
	}
	if err := s.stage.Connect(ctx, "default", clusterName, s.sysdig.URL, s.sysdig.CABundle, token, func(c *v1alpha1.SysdigConnectionSpec) {
		c.Interval.Duration, c.IngestionLag.Duration = stepInterval, stepLag
		s.plan.way.set(c)
	}); err != nil {
		return err
	}
	c := s.stage.Client
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stepNamespace}}); err != nil {
		return err
	}
	if err := createAll(ctx, c, s.steps(), func(i int) client.Object { return stepBinding(i) }); err != nil {
		return err
	}
	if err := createAll(ctx, c, s.steps(), func(i int) client.Object { return scalable(stepBinding(i), 1) }); err != nil {
		return err
	}
	if err := s.stage.StartOperator(ctx, s.plan.flags()...); err != nil {
		return err
	}
	for i := range s.steps() {
		object := autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: stepApp(i)}
		if err := c.Create(ctx, hpa(stepBinding(i), object, stepMetric, 1)); err != nil {
			return err
		}
		if err := stage.Sleep(ctx, syncPeriod/time.Duration(s.steps())); err != nil {
			return err
		}
	}
	return nil
}

// stepBinding is the binding of the i-th load.
func stepBinding(i int) *v1alpha1.SysdigMetricBinding {
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: stepNamespace, Name: stepApp(i)},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			Target: &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: stepApp(i)}, MetricName: stepMetric,
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: stepSeries, TimeAggregation: v1alpha1.TimeLast, GroupAggregation: v1alpha1.GroupSum, Window: metav1.Duration{Duration: time.Minute},
			}},
		},
	}
}

// shift changes the connection in a way that matters to nobody at a random time, from which its interval counts again.
func (s *stepper) shift(ctx context.Context, batch int) error {
	if err := stage.Sleep(ctx, time.Duration(s.random.Int64N(int64(stepInterval)))); err != nil {
		return err
	}
	var c v1alpha1.SysdigConnection
	if err := s.stage.Client.Get(ctx, client.ObjectKey{Name: "default"}, &c); err != nil {
		return err
	}
	c.Spec.Endpoint.Headers = []v1alpha1.Header{{Name: "X-Sysdig-Batch", Value: strconv.Itoa(batch)}}
	if err := s.stage.Client.Update(ctx, &c); err != nil {
		return err
	}
	return stage.Sleep(ctx, stepInterval) // until everybody has read what came of it
}

// pending is a step that was not seen everywhere yet.
type pending struct {
	app            string
	at             time.Time     // of the step; zero until then
	after          time.Duration // when to step, from the beginning of the batch
	served, scaled time.Duration
}

// batch steps some loads and waits until it has seen what came of each.
func (s *stepper) batch(ctx context.Context, batch int) (res reaction, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	var all []*pending
	for i := range s.plan.perBatch {
		// One in each part of the 10 s between two points, at a random place in it.
		part := sysdigtest.Interval / time.Duration(s.plan.perBatch)
		all = append(all, &pending{app: stepApp(batch*s.plan.perBatch + i), after: time.Duration(i)*part + time.Duration(s.random.Int64N(int64(part)))})
	}
	began := time.Now()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return res, fmt.Errorf("a step was not seen: %w", ctx.Err())
		case <-ticker.C:
		}
		left, err := s.look(ctx, all, time.Since(began))
		if err != nil {
			return res, err
		}
		if left > 0 {
			continue
		}
		for _, p := range all {
			res.served, res.scaled = append(res.served, p.served.Seconds()), append(res.scaled, p.scaled.Seconds())
		}
		return res, nil
	}
}

// look makes the steps whose time has come and looks at those that were made. It returns how many were not seen everywhere.
func (s *stepper) look(ctx context.Context, all []*pending, elapsed time.Duration) (left int, err error) {
	for _, p := range all {
		if p.at.IsZero() && elapsed >= p.after {
			if p.at, err = s.sysdig.step(p.app); err != nil {
				return 0, err
			}
		}
		if p.at.IsZero() || p.scaled == 0 || p.served == 0 {
			left++
		}
		if p.at.IsZero() {
			continue
		}
		if err := s.lookAt(ctx, p); err != nil {
			return 0, err
		}
	}
	return left, nil
}

func (s *stepper) lookAt(ctx context.Context, p *pending) error {
	if p.served == 0 {
		value, err := read(ctx, s.client, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/"+stepNamespace+"/deployments.apps/"+p.app+"/"+stepMetric)
		if err != nil {
			return err
		}
		if value == stepHeight {
			p.served = time.Since(p.at)
		}
	}
	if p.scaled > 0 {
		return nil
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(scalableKind())
	if err := s.stage.Client.Get(ctx, client.ObjectKey{Namespace: stepNamespace, Name: p.app}, u); err != nil {
		return err
	}
	if got, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); got > 1 {
		p.scaled = time.Since(p.at)
	}
	return nil
}
