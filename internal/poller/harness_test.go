package poller_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/poller"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const (
	token    = "00000000-bbbb-4000-8000-000000000001"
	interval = 30 * time.Second
	maxAge   = 2 * time.Minute
	// ample is how long a request or a goroutine may take that is well, on a machine with much else to do.
	ample = 2 * time.Minute
	// perPod is the load of each pod in requests per second.
	perPod = 10.0
)

// noon is on the grid of points, where the edges of windows show.
var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// stage is a poller with everything around it: a Sysdig, a client, indexes, a registry, all on one fake clock.
type stage struct {
	t        *testing.T
	clk      *clocktesting.FakeClock
	sysdig   *sysdigtest.Server
	registry *registry.Registry
	poller   *poller.Poller
	metrics  *prometheus.Registry
	pods     *pods.Index
	services toolscache.ResourceEventHandler
	// rank and replicas are those of the poller; replicas 0 is 1.
	rank, replicas int
	// memory is what answers may take; nil is some of each client's own.
	memory *sysdig.Memory
	// byData has bindings be compiled for the data API.
	byData bool
	// access is that of the connection.
	access int64
}

// cluster is what the poller has to know of objects.
type cluster struct {
	*pods.Index
	objects *objects.Index
}

func (c cluster) Services(namespace, selector string) map[string]string {
	parsed, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	services := map[string]string{}
	for _, s := range c.objects.Services(namespace, parsed) {
		services[s.Name] = s.Selector
	}
	return services
}

// newStage starts a Sysdig whose points become visible after 20 s, and whose workloads web-0 … run in namespace shop.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := newEmptyStage(t)
	s.fill(sysdigtest.MetricUp, "heart", "heart-0", 1)
	return s
}

// newEmptyStage starts a Sysdig to which nothing reports.
func newEmptyStage(t *testing.T) *stage {
	t.Helper()
	clk := clocktesting.NewFakeClock(noon)
	server := sysdigtest.New(sysdigtest.Options{Clock: clk, Tokens: []string{token}})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return newStageWith(t, clk, server)
}

// newStageWith is a poller of a Sysdig that others may ask too.
func newStageWith(t *testing.T, clk *clocktesting.FakeClock, server *sysdigtest.Server) *stage {
	t.Helper()
	return newStageOn(t, clk, clk, server)
}

// newStageOn has a clock of its own, which may be wrong.
func newStageOn(t *testing.T, clk *clocktesting.FakeClock, ours clock.Clock, server *sysdigtest.Server) *stage {
	t.Helper()
	s := &stage{t: t, clk: clk, sysdig: server}
	s.pods = pods.NewIndex(ours)
	index := objects.NewIndex(s.pods)
	s.services = index.Feed(schema.GroupResource{Resource: "services"})
	s.registry, s.metrics = registry.New(ours, index), prometheus.NewRegistry()
	metrics, err := poller.NewMetrics(s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	s.poller = poller.New(ours, s.registry, cluster{s.pods, index}, s.share, metrics)
	return s
}

// share tells the poller of other replicas.
func (s *stage) share() poller.Share { return poller.Share{Rank: s.rank, Count: max(s.replicas, 1)} }

// exist makes pods with the label app.
func (s *stage) exist(app string, names ...string) {
	for _, name := range names {
		s.pods.OnAdd(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}}}, false)
	}
}

// load adds points of the native HTTP counter for pods of a workload, long before and after the test.
func (s *stage) load(workload string, pods int, rps float64) {
	for i := range pods {
		s.fill(sysdigtest.MetricHTTPRequests, workload, fmt.Sprintf("%s-%d", workload, i), rps*10)
	}
}

func (s *stage) fill(name, workload, pod string, value float64) {
	s.fillWith(name, workload, pod, func(time.Time) float64 { return value })
}

func (s *stage) fillWith(name, workload, pod string, value func(time.Time) float64) {
	lset := map[string]string{
		"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop",
		sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: workload, sysdigtest.LabelPod: pod,
	}
	sysdigtest.Fill(s.sysdig.Store(), lset, noon.Add(-15*time.Minute), noon.Add(80*time.Minute), value)
}

// heartbeat is that of connection "default".
func heartbeat() query.Heartbeat {
	return query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: query.ScopeOf(connection()), Coverage: 80}
}

func isHeartbeat(promQL string) bool {
	return strings.HasPrefix(promQL, heartbeat().PromQL(query.Needs{}))
}

// questions are the requests that were no heartbeats.
func (s *stage) questions() []sysdigtest.Request {
	return slices.DeleteFunc(s.sysdig.Requests(), func(r sysdigtest.Request) bool { return isHeartbeat(r.Query) })
}

// client is a real client of the stand-in.
func (s *stage) client() *sysdig.Client { s.t.Helper(); return s.clientOf(s.sysdig.URL) }

func (s *stage) clientOf(base string) *sysdig.Client {
	s.t.Helper()
	address, err := url.Parse(base + "/prometheus/api/v1/query")
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := url.Parse(base + "/api/data")
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := sysdig.NewClient(sysdig.Config{QueryURL: address, DataURL: data, Token: token, UserAgent: "test", Timeout: ample, Memory: s.memory})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

// connect puts the connection "default" into the registry, with a token that it did not have before.
func (s *stage) connect(source registry.Source) {
	s.access++
	s.edit(source)
}

// edit puts the connection "default" into the registry again. Neither its endpoint nor its token is another.
func (s *stage) edit(source registry.Source) {
	s.registry.PutConnection(registry.Connection{
		Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: source, Access: s.access,
	})
}

// connection is that which bindings are compiled for.
func (s *stage) connection() *v1alpha1.SysdigConnection {
	c := connection()
	if s.byData {
		c.Spec.API, c.Spec.DataAPI.RateFrom = v1alpha1.APIData, v1alpha1.RateFromTimeAvg
	}
	return c
}

func connection() *v1alpha1.SysdigConnection {
	return &v1alpha1.SysdigConnection{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.SysdigConnectionSpec{
			Endpoint: v1alpha1.Endpoint{URL: "https://sysdig.example.com"}, ClusterName: "c1",
			Interval: metav1.Duration{Duration: interval}, IngestionLag: metav1.Duration{Duration: interval},
		},
	}
}

// bind compiles a binding of a Deployment's HTTP rate and puts it into the registry. change edits the binding before.
func (s *stage) bind(workload string, change ...func(*v1alpha1.SysdigMetricBinding)) query.Definition {
	s.t.Helper()
	b := &v1alpha1.SysdigMetricBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: workload, UID: "uid"},
		Spec: v1alpha1.SysdigMetricBindingSpec{
			Target: &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: workload},
			Source: v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: "net.http.request.count", TimeAggregation: v1alpha1.TimeRate,
				GroupAggregation: v1alpha1.GroupAverage, Window: metav1.Duration{Duration: time.Minute},
			}},
			Multiplier: "1", MaxAge: metav1.Duration{Duration: maxAge},
		},
	}
	for _, edit := range change {
		edit(b)
	}
	if m := b.Spec.Source.Metric; m != nil && m.CounterType == "" && !strings.Contains(m.Name, ".") && m.TimeAggregation == v1alpha1.TimeRate {
		m.CounterType = v1alpha1.CounterDelta // as names that are not Sysdig's own have to say
	}
	d := query.Compile(b, s.connection(), query.Target{Resource: resourceOf(b.Spec.Target), Selector: "app=web"})
	if d.Refused != nil {
		s.t.Fatal(d.Refused)
	}
	s.registry.Put(d)
	return d
}

func resourceOf(t *v1alpha1.Target) schema.GroupResource {
	switch {
	case t == nil:
		return schema.GroupResource{}
	case t.Kind == "Deployment":
		return schema.GroupResource{Group: "apps", Resource: "deployments"}
	}
	return schema.GroupResource{Resource: strings.ToLower(t.Kind) + "s"}
}

// metricNamed gives a binding's question a shape of its own.
func metricNamed(name string) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Name = name }
}

func (s *stage) serve(d query.Definition) (*metric.Sample, *metric.Failure) {
	s.t.Helper()
	_, sample, failure, known := s.registry.Serve(d.Claim, nil)
	if !known {
		s.t.Fatalf("%v is not claimed", d.Claim)
	}
	return sample, failure
}

// sampleOf is the fresh sample of a binding.
func (s *stage) sampleOf(d query.Definition) *metric.Sample {
	s.t.Helper()
	sample, failure := s.serve(d)
	if failure != nil {
		s.t.Fatalf("at %s: %v", s.clk.Now().Sub(noon), failure)
	}
	return sample
}

// wantValue expects a fresh sample.
func (s *stage) wantValue(d query.Definition, want float64) {
	s.t.Helper()
	if sample, failure := s.serve(d); failure != nil || sample.Value != want {
		s.t.Fatalf("at %s: got %v, %v; want %v", s.clk.Now().Sub(noon), sample, failure, want)
	}
}

// eventually waits for what other goroutines bring about.
func (s *stage) eventually(what string, done func() bool) {
	s.t.Helper()
	for began := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(began) > ample {
			s.t.Fatalf("at %s, did not happen: %s", s.clk.Now().Sub(noon), what)
		}
	}
}

// tick starts what is due, waits for the answers, and goes on until nothing is due any more. It returns when to come back.
func (s *stage) tick() time.Time {
	for {
		before := s.sysdig.RequestCount()
		s.poller.Tick(s.t.Context())
		s.poller.Wait()
		next := s.poller.Tick(s.t.Context()) // as the loop does when a round has ended
		s.poller.Wait()
		if s.sysdig.RequestCount() == before {
			return next
		}
	}
}

// run moves the clock in steps of 5 s and to whenever the poller asked to be called again, and calls each after each step.
func (s *stage) run(d time.Duration, each func()) {
	s.t.Helper()
	next := s.clk.Now()
	for end := s.clk.Now().Add(d); ; {
		if !s.clk.Now().Before(next) {
			next = s.tick()
		}
		each()
		if !s.clk.Now().Before(end) {
			return
		}
		step := min(5*time.Second, end.Sub(s.clk.Now()))
		if until := next.Sub(s.clk.Now()); until > 0 {
			step = min(step, until)
		}
		s.clk.Step(step)
	}
}

// firstSlot is the first time on the grid of connection "default" after noon.
var firstSlot = noon.Add(500 * time.Millisecond)

// secondSlot is the next.
var secondSlot = firstSlot.Add(interval)
