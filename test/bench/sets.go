package main

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// Beside the namespace that is read there are others, and in it a second app.
const (
	crowded        = "team-checkout"
	others         = 10
	podsOfOthers   = 500
	neighbour      = "checkout-frontend"
	podsOfNeighbor = 100
	servicesOfSet  = 500
)

// The apps whose pods are read.
const (
	alike   = "checkout-backend"  // a Deployment: the labels of its pods are equal
	unalike = "checkout-database" // a StatefulSet: each pod has labels of its own
)

var (
	podResource     = schema.GroupResource{Resource: "pods"}
	serviceResource = schema.GroupResource{Resource: "services"}
)

// podOf is the i-th pod of an app.
func podOf(namespace, app string, i int) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{
		appLabel: app, "app.kubernetes.io/part-of": "checkout",
	}}}
	if app == unalike {
		pod.Name = fmt.Sprintf("%s-%d", app, i)
		pod.Labels["statefulset.kubernetes.io/pod-name"] = pod.Name
		pod.Labels["apps.kubernetes.io/pod-index"] = fmt.Sprint(i)
		return pod
	}
	const hash = "6b7d9c5f48"
	pod.Name = fmt.Sprintf("%s-%s-%05x", app, hash, i*7919%(1<<20)) // in no order, as the names of a Deployment's pods
	pod.Labels["pod-template-hash"] = hash
	return pod
}

const appLabel = "app.kubernetes.io/name"

// crowd are the pods of a cluster in which one app has n pods.
func crowd(app string, n int) []*corev1.Pod {
	all := make([]*corev1.Pod, 0, n+podsOfNeighbor+others*podsOfOthers)
	for i := range n {
		all = append(all, podOf(crowded, app, i))
	}
	for i := range podsOfNeighbor {
		all = append(all, podOf(crowded, neighbour, i))
	}
	for other := range others {
		for i := range podsOfOthers {
			all = append(all, podOf(fmt.Sprintf("team-other-%d", other), alike, i))
		}
	}
	return all
}

func indexOf(all []*corev1.Pod) *pods.Index {
	index := pods.NewIndex(clock.RealClock{})
	fill(index, all)
	return index
}

func fill[T any](handler toolscache.ResourceEventHandler, all []T) {
	for _, one := range all {
		handler.OnAdd(one, true)
	}
}

// set is a binding of all objects of a kind that a selector matches.
func set(kind string, resource schema.GroupResource, selector map[string]string) (query.Definition, error) {
	return compile(&v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: crowded, Name: "checkout-" + strings.ToLower(kind), Generation: 1, UID: types.UID("6f1c2d3e-4b5a-4c7d-8e9f-" + kind),
			CreationTimestamp: metav1.NewTime(time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)),
		},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			Target:     &v1alpha1.Target{APIVersion: "v1", Kind: kind, Selector: &v1alpha1.ObjectSelector{MatchLabels: selector}},
			MetricName: metricNames()[0],
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: metricNames()[0], TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupAverage,
				Window: metav1.Duration{Duration: time.Minute},
			}},
			Multiplier: "1", MaxAge: metav1.Duration{Duration: time.Hour},
		},
	}, query.Target{Resource: resource})
}

// outcomeOf is the answer to a question about all objects. want is what each was answered.
func outcomeOf(d query.Definition, names []string, now time.Time) (outcome query.Outcome, want map[string]float64, err error) {
	outcome = query.Outcome{
		Question: d.Question, Objects: make(map[string]query.Found, len(names)),
		Reading: metric.Reading{Asked: now.Add(-25 * time.Second), Attempted: now},
	}
	want = make(map[string]float64, len(names))
	for i, name := range names {
		own := strings.Clone(name) // the text of an answer
		sample, failure := metric.NewSample(d.Question.Measure, []metric.Series{{Pod: own, Raw: valueOf(i)}}, false, outcome.Reading.Asked, now, time.Minute)
		if failure != nil {
			return outcome, nil, failure
		}
		outcome.Objects[own] = query.Found{Sample: sample}
		want[name] = valueOf(i)
	}
	return outcome, want, nil
}

// podSet is a cluster in which one binding serves the n pods of an app.
func podSet(app string, n int) (content, error) {
	d, err := set("Pod", podResource, map[string]string{appLabel: app})
	if err != nil {
		return content{}, err
	}
	return answered(d, objects.NewIndex(indexOf(crowd(app, n))))
}

// serviceSet is a cluster in which one binding serves all Services of a team, and does not serve as many others.
func serviceSet() (content, error) {
	d, err := set("Service", serviceResource, map[string]string{"team": "payments"})
	if err != nil {
		return content{}, err
	}
	var all []*corev1.Service
	for i := range servicesOfSet {
		for _, team := range []string{"payments", "orders"} {
			name := fmt.Sprintf("%s-checkout-%03d", team, i)
			all = append(all, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: crowded, Name: name, Labels: map[string]string{"team": team, appLabel: name}},
				Spec:       corev1.ServiceSpec{Selector: map[string]string{appLabel: name}},
			})
		}
	}
	index := nobody()
	fill(index.Feed(serviceResource), all)
	return answered(d, index)
}

// answered is a registry of one set with one round of answers.
func answered(d query.Definition, known registry.Objects) (content, error) {
	names := known.Select(d.Claim.Resource, d.Claim.Namespace, d.Selector)
	outcome, want, err := outcomeOf(d, names, time.Now())
	if err != nil {
		return content{}, err
	}
	board := newBoard(known, d)
	board.File([]query.Outcome{outcome})
	return content{board: board, claims: []metric.Claim{d.Claim}, want: func(int) map[string]float64 { return want }}, nil
}
