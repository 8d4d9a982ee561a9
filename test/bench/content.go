package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// The content: every namespace has 4 metrics of its own and 23 each of Services and Deployments, 8 to an object. That makes
// 20 shapes.
const (
	namespaces   = 200
	perNamespace = 50
	entries      = namespaces * perNamespace
	ofNamespace  = 4
	perObject    = 8
	seed         = 20310301
)

// metricNames are 8 names of Sysdig's metrics.
func metricNames() []string {
	return []string{
		"net.http.request.count", "net.http.request.time", "net.http.error.count", "net.bytes.in",
		"net.bytes.out", "cpu.cores.used", "memory.bytes.used", "net.connection.count.total",
	}
}

// binding is the i-th binding as a person would write it, and what the API server knows of its target.
func binding(i int) (*v1alpha1.SysdigMetricBinding, query.Target) {
	namespace, slot := fmt.Sprintf("team-payments-%03d", i/perNamespace), i%perNamespace
	var (
		name   string
		object v1alpha1.Target
		target query.Target
	)
	if slot < ofNamespace {
		name, object = metricNames()[slot], v1alpha1.Target{APIVersion: "v1", Kind: "Namespace"}
		target.Resource = schema.GroupResource{Resource: "namespaces"}
	} else {
		place := (slot - ofNamespace) / 2
		app := fmt.Sprintf("checkout-backend-%d", place/perObject)
		name = metricNames()[place%perObject]
		if slot%2 == 0 {
			object = v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: app}
			target = query.Target{Resource: schema.GroupResource{Resource: "services"}, Selector: "app.kubernetes.io/name=" + app}
		} else {
			object = v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: app}
			target.Resource = schema.GroupResource{Group: "apps", Resource: "deployments"}
		}
	}
	return &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("checkout-backend-%s-%02d", name, slot), Generation: 1,
			UID:               types.UID(fmt.Sprintf("6f1c2d3e-4b5a-4c7d-8e9f-%012x", i)),
			CreationTimestamp: metav1.NewTime(time.Date(2031, time.March, 1, 12, 0, i, 0, time.UTC)),
		},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			Target: &object, MetricName: name,
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: name, TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupAverage,
				Window: metav1.Duration{Duration: time.Minute},
			}},
			Multiplier: "1", MaxAge: metav1.Duration{Duration: time.Hour}, // the samples outlive the run
		},
	}, target
}

func connection() *v1alpha1.SysdigConnection {
	return &v1alpha1.SysdigConnection{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.SysdigConnectionSpec{
			Endpoint:    v1alpha1.Endpoint{URL: "https://sysdig.example.com", PrometheusPath: "/prometheus"},
			ClusterName: "prod-eu-1",
			Interval:    metav1.Duration{Duration: 30 * time.Second}, IngestionLag: metav1.Duration{Duration: 25 * time.Second},
		},
	}
}

// compile makes a definition of a binding. It goes through JSON first, so that it shares no string with another, like what
// comes from the API server.
func compile(written *v1alpha1.SysdigMetricBinding, target query.Target) (query.Definition, error) {
	text, err := json.Marshal(written)
	if err != nil {
		return query.Definition{}, fmt.Errorf("writing binding %s: %w", written.Name, err)
	}
	var read v1alpha1.SysdigMetricBinding
	if err := json.Unmarshal(text, &read); err != nil {
		return query.Definition{}, fmt.Errorf("reading binding %s: %w", written.Name, err)
	}
	d := query.Compile(&read, connection(), target)
	if d.Refused != nil {
		return d, fmt.Errorf("binding %s: %w", written.Name, d.Refused)
	}
	return d, nil
}

// definitions compiles all bindings.
func definitions() ([]query.Definition, error) {
	all := make([]query.Definition, entries)
	for i := range all {
		var err error
		if all[i], err = compile(binding(i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// outcomes are a round of answers, all fresh.
func outcomes(all []query.Definition, now time.Time) []query.Outcome {
	round := make([]query.Outcome, len(all))
	for i, d := range all {
		sample := metric.Sample{
			Value: valueOf(i), Milli: int64(valueOf(i) * 1000), Time: now.Add(-25 * time.Second), Received: now, Window: d.Question.Shape.Value().Window,
		}
		round[i] = query.Outcome{Question: d.Question, Reading: metric.Reading{Sample: &sample, Asked: sample.Time, Attempted: now}}
	}
	return round
}

// valueOf is what the i-th binding was answered.
func valueOf(i int) float64 { return float64(i) + 0.5 }

// newBoard is a registry that knows these objects, with the definitions.
func newBoard(known registry.Objects, all ...query.Definition) *registry.Registry {
	r := registry.New(clock.RealClock{}, known)
	r.PutConnection(registry.Connection{Name: "default", Interval: 30 * time.Second})
	for _, d := range all {
		r.Put(d)
	}
	return r
}

// nobody is where no object is known; reads by name need none.
func nobody() *objects.Index { return objects.NewIndex(pods.NewIndex(clock.RealClock{})) }

// filled is a registry of all definitions with one round of answers.
func filled() (*registry.Registry, []query.Definition, error) {
	all, err := definitions()
	if err != nil {
		return nil, nil, err
	}
	r := newBoard(nobody(), all...)
	r.File(outcomes(all, time.Now()))
	return r, all, nil
}

// shuffled are the numbers of all bindings in an order that is random and always the same.
func shuffled() []int { return rand.New(rand.NewPCG(seed, seed)).Perm(entries) }
