package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	custommetrics "k8s.io/metrics/pkg/client/custom_metrics"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	namespace = "default"
	app       = "flask" // the Deployment, the Service, the HPA and the label of the samples
	metric    = "net.http.request.count"
	// readTimeout bounds each request of a look.
	readTimeout = 5 * time.Second
)

// sample is what was seen at a time.
type sample struct {
	at             time.Time
	metric         *reading // nil when the metric is not served
	hpa            target
	desired, ready int32
	event          *event // nil while there is none
	err            error  // what could not be read of the rest
	metricErr      error  // why the metric is not served
}

// reading is the metric as an HPA reads it.
type reading struct {
	value float64
	age   time.Duration
}

// target is the HPA's idea of the metric.
type target struct {
	current *float64 // nil when the HPA has no value
	wanted  float64
}

// event is what the HPA told last.
type event struct {
	age  time.Duration
	text string
}

// observer looks at the cluster.
type observer struct {
	client  client.Client
	metrics custommetrics.CustomMetricsClient
}

// newObserver reads the metric with the client of the HorizontalPodAutoscaler controller, so along the same path.
func newObserver(c client.Client, config *rest.Config) (*observer, error) {
	config.Timeout = readTimeout
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for discovery: %w", err)
	}
	metrics := custommetrics.NewForConfig(config, c.RESTMapper(), custommetrics.NewAvailableAPIsGetter(d))
	return &observer{client: c, metrics: metrics}, nil
}

// look takes a sample.
func (o *observer) look(ctx context.Context) sample {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s := sample{at: time.Now()}
	value, err := o.metrics.NamespacedMetrics(namespace).GetForObject(schema.GroupKind{Kind: "Service"}, app, metric, labels.Everything())
	if err != nil {
		s.metricErr = err
	} else {
		s.metric = &reading{value: value.Value.AsApproximateFloat64(), age: s.at.Sub(value.Timestamp.Time)}
	}
	key := client.ObjectKey{Namespace: namespace, Name: app}
	var d appsv1.Deployment
	if s.err = o.client.Get(ctx, key, &d); s.err != nil {
		return s
	}
	s.desired, s.ready = *d.Spec.Replicas, d.Status.ReadyReplicas
	var h autoscalingv2.HorizontalPodAutoscaler
	if s.err = o.client.Get(ctx, key, &h); s.err != nil {
		return s
	}
	s.hpa = targetOf(h)
	s.event, s.err = o.lastEvent(ctx, s.at)
	return s
}

// targetOf reads the HPA's only metric.
func targetOf(h autoscalingv2.HorizontalPodAutoscaler) target {
	var t target
	for _, m := range h.Spec.Metrics {
		if m.Object != nil && m.Object.Target.Value != nil {
			t.wanted = m.Object.Target.Value.AsApproximateFloat64()
		}
	}
	for _, m := range h.Status.CurrentMetrics {
		if m.Object != nil && m.Object.Current.Value != nil {
			t.current = new(m.Object.Current.Value.AsApproximateFloat64())
		}
	}
	return t
}

// lastEvent is the HPA's newest event.
func (o *observer) lastEvent(ctx context.Context, now time.Time) (*event, error) {
	var list corev1.EventList
	if err := o.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	events := slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		return e.InvolvedObject.Kind != "HorizontalPodAutoscaler" || e.InvolvedObject.Name != app
	})
	if len(events) == 0 {
		return nil, nil
	}
	last := slices.MaxFunc(events, func(a, b corev1.Event) int { return timeOf(a).Compare(timeOf(b)) })
	return &event{age: now.Sub(timeOf(last)), text: words(last.Reason, last.Message)}, nil
}

// words makes the message of an event shorter; a change of size speaks for itself.
func words(reason, message string) string {
	message = strings.TrimPrefix(message, "(combined from similar events): ")
	if reason == "SuccessfulRescale" {
		return message
	}
	return reason + ": " + message
}

// timeOf is when an event happened last, in whichever of the two forms it was recorded.
func timeOf(e corev1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time)
}
