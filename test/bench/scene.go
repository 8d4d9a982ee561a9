package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/utils/clock"
	upstream "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/provider"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// scene is what the servers of a duel hold and what is read from them.
type scene struct {
	name  string // for the command line
	title string // for the report
	items int    // of one answer
	fill  func() (content, error)
}

// content is a filled registry, the reads of it, and what they give by the object's name.
type content struct {
	board  *registry.Registry
	claims []metric.Claim
	want   func(i int) map[string]float64
}

// byName is the scene of reads of single objects.
const byName = "bindings"

func scenes() []scene {
	all := []scene{{byName, "objects by name", 1, bindingsContent}}
	for _, n := range []int{10, 500, crowdSize} {
		all = append(all, scene{fmt.Sprintf("pods-%d", n), fmt.Sprintf("%d pods", n), n, func() (content, error) { return podSet(alike, n) }})
	}
	return append(all, scene{"services", fmt.Sprintf("%d Services", servicesOfSet), servicesOfSet, serviceSet})
}

// crowdSize is the largest number of pods, the one that has to be read within 2 ms.
const crowdSize = 5_000

func sceneOf(name string) (scene, error) {
	for _, s := range append(scenes(), discoveryScenes()...) {
		if s.name == name {
			return s, nil
		}
	}
	return scene{}, fmt.Errorf("no scene %q", name)
}

// bindingsContent are all bindings, read in random order.
func bindingsContent() (content, error) {
	board, all, err := filled()
	if err != nil {
		return content{}, err
	}
	order := shuffled()
	c := content{board: board}
	for _, n := range order {
		c.claims = append(c.claims, all[n].Claim)
	}
	c.want = func(i int) map[string]float64 { return map[string]float64{c.claims[i].Object: valueOf(order[i])} }
	return c, nil
}

// paths are the reads as an HPA makes them.
func (c content) paths() []string {
	paths := make([]string, len(c.claims))
	for i, claim := range c.claims {
		paths[i] = claim.Path("v1beta2")
	}
	return paths
}

// newProvider is ours.
func (c content) newProvider() (*provider.Provider, error) {
	metrics, err := provider.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	return provider.New(c.board, clock.RealClock{}, metrics), nil
}

// get reads one object as the serving library does.
func get(p *provider.Provider, claim metric.Claim) (*custom_metrics.MetricValue, error) {
	name := types.NamespacedName{Namespace: claim.Namespace, Name: claim.Object}
	if claim.RootScoped() {
		name.Namespace = ""
	}
	info := upstream.CustomMetricInfo{GroupResource: claim.Resource, Metric: claim.Metric, Namespaced: !claim.RootScoped()}
	return p.GetMetricByName(context.Background(), name, info, labels.Everything())
}

// list reads a set as the serving library does.
func list(p *provider.Provider, claim metric.Claim, objects labels.Selector) (*custom_metrics.MetricValueList, error) {
	info := upstream.CustomMetricInfo{GroupResource: claim.Resource, Metric: claim.Metric, Namespaced: true}
	return p.GetMetricBySelector(context.Background(), claim.Namespace, objects, info, labels.Everything())
}

// readSet reads the only set of a content.
func (c content) readSet(p *provider.Provider) (*custom_metrics.MetricValueList, error) {
	selector, err := labels.Parse(c.claims[0].Selector)
	if err != nil {
		return nil, fmt.Errorf("the selector of a set: %w", err)
	}
	return list(p, c.claims[0], selector)
}
