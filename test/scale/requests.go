package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	// coverage and maxAge are the defaults of connections and bindings.
	coverage = 80
	maxAge   = 2 * time.Minute
	// countedRounds is how many rounds of the steady state are counted.
	countedRounds = 3
	// tickEvery is how far the clock moves at a time.
	tickEvery = 5 * time.Second
	// askTimeout is for one request: only a broken stand-in needs so long.
	askTimeout = time.Minute
)

// way is how Sysdig is asked: by an API and, of the data API, about so many segments at a time.
type way struct {
	api      v1alpha1.API
	segments int
}

func (w way) String() string {
	if w.api == v1alpha1.APIData {
		return fmt.Sprintf("data API, %s segments at a time", whole(float64(w.segments)))
	}
	return "Prometheus API"
}

// ways are those whose requests are counted: the usual API, and the data API with the default and with large pages.
func ways() []way {
	return []way{{v1alpha1.APIPrometheus, 0}, {v1alpha1.APIData, defaultSegments}, {v1alpha1.APIData, 5000}}
}

// spec is the connection as far as questions depend on it.
func (w way) spec() *v1alpha1.SysdigConnection {
	return &v1alpha1.SysdigConnection{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v1alpha1.SysdigConnectionSpec{ClusterName: clusterName, API: w.api, DataAPI: v1alpha1.DataAPI{RateFrom: v1alpha1.RateFromTimeAvg}},
	}
}

// set has a connection ask that way.
func (w way) set(c *v1alpha1.SysdigConnectionSpec) {
	c.API, c.DataAPI.SegmentsPerRequest = w.api, int32(w.segments)
}

// tally is how many requests a round of a scene takes, by way.
type tally struct {
	bindings int
	requests map[way]int
}

// countAll counts the requests of all sizes.
func countAll(ctx context.Context, sizes []int, log io.Writer) ([]tally, error) {
	var all []tally
	for _, size := range sizes {
		s, err := newScene(size)
		if err != nil {
			return all, err
		}
		t := tally{bindings: size, requests: map[way]int{}}
		for _, w := range ways() {
			fmt.Fprintf(log, "%d bindings: counting requests of the %s\n", size, w)
			if t.requests[w], err = s.countRequests(ctx, w); err != nil {
				return all, fmt.Errorf("%d bindings, %s: %w", size, w, err)
			}
		}
		all = append(all, t)
	}
	return all, nil
}

// countRequests runs the poller, the registry and a stand-in in this process, on one clock that is moved by hand, and counts the
// HTTP requests of a round, the heartbeat included. Every binding must serve its value, and every round must take as many.
func (s scene) countRequests(ctx context.Context, w way) (perRound int, err error) {
	clk := clocktesting.NewFakeClock(time.Now())
	server, err := s.serve(clk)
	if err != nil {
		return 0, err
	}
	defer server.Close()
	board, p, err := s.operator(clk, server, w)
	if err != nil {
		return 0, err
	}
	round := func() int {
		before := server.RequestCount()
		for range interval / tickEvery {
			clk.Step(tickEvery)
			poll(ctx, p, server)
		}
		return server.RequestCount() - before
	}
	round() // new questions are asked apart from the others
	perRound = round()
	for range countedRounds - 1 {
		if n := round(); n != perRound {
			return 0, fmt.Errorf("one round takes %d requests, another one %d", perRound, n)
		}
	}
	return perRound, s.expectValues(board, w)
}

// serve starts a stand-in that holds all points of the time that is played.
func (s scene) serve(clk *clocktesting.FakeClock) (*sysdigtest.Server, error) {
	server := sysdigtest.New(sysdigtest.Options{Clock: clk, Tokens: []string{token}})
	for _, one := range s.series() {
		sysdigtest.Fill(server.Store(), one.labels, clk.Now().Add(-history), clk.Now().Add((countedRounds+2)*interval), one.value)
	}
	return server, server.StartTLS()
}

// operator is what the operator's process asks Sysdig with, as far as that decides how often.
func (s scene) operator(clk *clocktesting.FakeClock, server *sysdigtest.Server, w way) (*registry.Registry, *poller.Poller, error) {
	source, err := clientOf(server)
	if err != nil {
		return nil, nil, err
	}
	of := pods.NewIndex(clk)
	for i := range s.pods() {
		one := pod(namespace(i/podsPerApp/s.apps()), app(i/podsPerApp%s.apps()), i%podsPerApp)
		one.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(clk.Now().Add(-history)),
		}}
		of.OnAdd(one, true)
	}
	index := objects.NewIndex(of)
	board := registry.New(clk, index)
	board.PutConnection(registry.Connection{
		Name: "default", Interval: interval, IngestionLag: ingestionLag, Segments: w.segments, Source: source,
		Heartbeat: query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: query.ScopeOf(w.spec()), Coverage: coverage},
	})
	definitions, err := s.definitions(w)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range definitions {
		board.Put(d)
	}
	metrics, err := poller.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return nil, nil, err
	}
	return board, poller.New(clk, board, podsOnly{of}, func() poller.Share { return poller.Share{Count: 1} }, metrics), nil
}

func clientOf(server *sysdigtest.Server) (*sysdig.Client, error) {
	c := sysdig.Config{Token: token, CABundle: server.CABundle(), UserAgent: "scale", Timeout: askTimeout}
	var err error
	if c.QueryURL, err = sysdig.QueryURL("", server.URL, "/prometheus"); err != nil {
		return nil, err
	}
	if c.DataURL, err = sysdig.DataURL("", server.URL); err != nil {
		return nil, err
	}
	return sysdig.NewClient(c)
}

// podsOnly is a cluster in which nobody asks for sets of Services.
type podsOnly struct{ *pods.Index }

// Services implements query.Cluster.
func (podsOnly) Services(string, string) map[string]string { return nil }

// definitions compiles all bindings, as the API server would hand them over.
func (s scene) definitions(w way) ([]query.Definition, error) {
	all := make([]query.Definition, s.bindings)
	for i := range all {
		of := s.subject(i)
		b := of.binding
		b.Generation, b.Spec.Multiplier, b.Spec.MaxAge = 1, "1", metav1.Duration{Duration: maxAge}
		target := query.Target{Resource: schema.ParseGroupResource(of.question().resource)}
		if b.Spec.Target.Kind == "Service" {
			target.Selector = labels.Set{"app": of.app}.String()
		}
		if all[i] = query.Compile(b, w.spec(), target); all[i].Refused != nil {
			return nil, fmt.Errorf("%s/%s: %w", b.Namespace, b.Name, all[i].Refused)
		}
	}
	return all, nil
}

// poll asks what is due, until nothing is.
func poll(ctx context.Context, p *poller.Poller, server *sysdigtest.Server) {
	for before := -1; before < server.RequestCount(); {
		before = server.RequestCount()
		p.Tick(ctx)
		p.Wait()
	}
}

// expectValues tells of the first binding that does not serve its value.
func (s scene) expectValues(board *registry.Registry, w way) error {
	definitions, err := s.definitions(w)
	if err != nil {
		return err
	}
	for i, d := range definitions {
		want := s.subject(i).value
		_, sample, failure, known := board.Serve(d.Claim, nil)
		switch {
		case !known || sample == nil && failure == nil:
			return fmt.Errorf("%s is not served", d.Binding)
		case failure != nil:
			return fmt.Errorf("%s: %w", d.Binding, failure)
		case math.Abs(sample.Value-want) > tolerance*want:
			return fmt.Errorf("%s is %v in place of %v", d.Binding, sample.Value, want)
		}
	}
	return nil
}

// tolerance is how far a sum of floats may be off, in parts of it.
const tolerance = 1e-9

// printRequests has a row for each way of asking.
func printRequests(b *strings.Builder, all []tally) {
	b.WriteString("\n### Requests in a round\n\nThe poller, the registry and the stand-in in one process. The heartbeat counts.\n\n| bindings |")
	for _, t := range all {
		fmt.Fprintf(b, " %s |", whole(float64(t.bindings)))
	}
	b.WriteString("\n| --- |" + strings.Join(slices.Repeat([]string{" ---: |"}, len(all)), "") + "\n")
	for _, w := range ways() {
		fmt.Fprintf(b, "| %s |", w)
		for _, t := range all {
			fmt.Fprintf(b, " %d |", t.requests[w])
		}
		b.WriteString("\n")
	}
}
