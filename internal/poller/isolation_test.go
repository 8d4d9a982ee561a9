package poller_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// asked counts the requests since a time whose query contains a text.
func (s *stage) asked(text string, since time.Time) (n int) {
	for _, r := range s.questions() {
		if strings.Contains(r.Query, text) && !r.At.Before(since) {
			n++
		}
	}
	return n
}

// in moves a binding, and what it describes, to another namespace.
func in(namespace string) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Namespace = namespace }
}

// fillIn adds the load of a workload in a namespace.
func (s *stage) fillIn(namespace, name string, value float64) {
	sysdigtest.Fill(s.sysdig.Store(), map[string]string{
		"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: namespace,
		sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: "web-0",
	}, noon.Add(-15*time.Minute), noon.Add(80*time.Minute), func(time.Time) float64 { return value })
}

// TestOneBadShapeAmongAThousandBindingsHurtsNobodyElse lets Sysdig refuse one of 21 shapes, in words that hold the token and are
// long.
func TestOneBadShapeAmongAThousandBindingsHurtsNobodyElse(t *testing.T) {
	s := newStage(t)
	s.connectWithin(60)
	for shape := range 20 {
		for pod := range 50 {
			s.fill(fmt.Sprint("metric_", shape), fmt.Sprint("web-", pod), fmt.Sprint("web-", pod, "-0"), perPod*10)
		}
	}
	var good []query.Definition
	for i := range 999 {
		good = append(good, s.bind(fmt.Sprint("web-", i/20), metricNamed(fmt.Sprint("metric_", i%20)), func(b *v1alpha1.SysdigMetricBinding) {
			b.Name, b.Spec.MetricName = fmt.Sprint("good-", i), fmt.Sprint("m-", i%20)
		}))
	}
	bad := s.bind("bad", metricNamed("bad_metric"))
	s.sysdig.SetFault(sysdigtest.Fault{
		Kind: sysdigtest.FaultStatus, Status: 422, Query: "bad_metric",
		Body: `{"status":"error","errorType":"execution","error":"too many samples for ` + token + ` ` + strings.Repeat("x", 4000) + `"}`,
	})
	attempts := map[int]time.Time{}
	s.run(20*time.Minute, func() {
		for i := range good {
			if i%37 == 0 { // some of each shape
				s.wantValue(good[i], perPod)
				standing, _ := s.registry.Standing(good[i].Binding)
				if late := s.clk.Now().Sub(standing.Sample.Received); late > interval+time.Second {
					t.Fatalf("at %s: binding %d missed a round", s.clk.Now().Sub(noon), i)
				}
				attempts[i] = standing.Sample.Received
			}
		}
	})
	_, failure := s.serve(bad)
	if failure == nil || failure.Reason != metric.Rejected || !strings.Contains(failure.Message, "too many samples for [token]") || len(failure.Message) > 500 {
		t.Errorf("got %v; want Sysdig's own words, without the token and bounded", failure)
	}
	if strings.Contains(failure.Error(), token) {
		t.Error("the token is shown")
	}
	// One a minute, doubling: at 0, 1, 3, 7, 15 minutes.
	if n := s.asked("bad_metric", noon); n < 4 || n > 6 {
		t.Errorf("what Sysdig refuses was asked %d times in 20 minutes, want a growing pause", n)
	}
	// A binding that joins the refused shape is told at once and costs nothing.
	before := s.sysdig.RequestCount()
	joins := s.bind("joins", metricNamed("bad_metric"))
	s.tick()
	s.wantReason(joins, metric.Rejected)
	if sent := s.sysdig.RequestCount() - before; sent != 0 {
		t.Errorf("%d requests for a shape in quarantine", sent)
	}
	// An edit leaves the quarantine behind.
	s.fill("mended_metric", "bad", "bad-0", perPod*10)
	mended := s.bind("bad", metricNamed("mended_metric"))
	s.run(interval, func() {})
	s.wantValue(mended, perPod)
	// Success ends it, too.
	s.sysdig.ClearFault()
	s.fill("bad_metric", "joins", "joins-0", perPod*10)
	s.run(35*time.Minute, func() {})
	s.wantValue(joins, perPod)
}

// poisoned makes requests fail that ask about one namespace of the shape, and others answer.
func poisoned(fault sysdigtest.Fault, namespace string) sysdigtest.Fault {
	fault.Query = namespace
	return fault
}

// TestAShapeThatKeepsFailingIsHalvedUntilTheOthersAreServed lets every answer fail that holds namespace "poison", in a shape of 16
// namespaces.
func TestAShapeThatKeepsFailingIsHalvedUntilTheOthersAreServed(t *testing.T) {
	for name, fault := range map[string]sysdigtest.Fault{
		"an answer that is too large": {Kind: sysdigtest.FaultWarnings, Body: "results truncated"},
		"an error of the backend":     {Kind: sysdigtest.FaultStatus, Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.connectWithin(60)
			c, _ := s.registry.Connection("default")
			c.Heartbeat.Coverage = 0 // a heartbeat that names the namespace would fail too
			s.registry.PutConnection(c)
			s.load("steady", 1, perPod) // another shape that does well
			steady := s.bind("steady")
			var others []query.Definition
			for i := range 15 {
				namespace := fmt.Sprint("ns-", i)
				s.fillIn(namespace, "shared_metric", perPod*10)
				others = append(others, s.bind("web", metricNamed("shared_metric"), in(namespace)))
			}
			s.fillIn("poison", "shared_metric", perPod*10)
			poison := s.bind("web", metricNamed("shared_metric"), in("poison"))
			s.sysdig.SetFault(poisoned(fault, "poison"))
			s.run(20*time.Minute, func() { s.wantValue(steady, perPod) })
			for _, d := range others {
				s.wantValue(d, perPod)
			}
			if sample, failure := s.serve(poison); sample != nil || failure.Reason != metric.Truncated && failure.Reason != metric.Unavailable {
				t.Errorf("the poisoned namespace is served %v, %v", sample, failure)
			}
			if n := s.asked("shared_metric", s.clk.Now().Add(-interval)); n < 2 || n > 7 {
				t.Errorf("%d requests a round for the shape, want no more than a few parts", n)
			}
			s.sysdig.ClearFault()
			s.run(time.Minute, func() {})
			s.wantValue(poison, perPod)
		})
	}
}

// TestWhatSpeaksOfTheConnectionHalvesNothing lets whole rounds fail.
func TestWhatSpeaksOfTheConnectionHalvesNothing(t *testing.T) {
	for name, fault := range map[string]sysdigtest.Fault{
		"429":                          {Kind: sysdigtest.FaultStatus, Status: 429, Query: "metric_"},
		"401":                          {Kind: sysdigtest.FaultStatus, Status: 401, Query: "metric_"},
		"500 to all but the heartbeat": {Kind: sysdigtest.FaultStatus, Status: 500, Query: "metric_"},
		"500 to all":                   {Kind: sysdigtest.FaultStatus, Status: 500},
		"400":                          {Kind: sysdigtest.FaultStatus, Status: 400, Query: "metric_"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.connectWithin(120)
			for i := range 8 {
				for _, m := range []string{"metric_a", "metric_b"} {
					s.fillIn(fmt.Sprint("ns-", i), m, perPod*10)
					s.bind("web", metricNamed(m), in(fmt.Sprint("ns-", i)), func(b *v1alpha1.SysdigMetricBinding) { b.Name = m })
				}
			}
			s.sysdig.SetFault(fault)
			s.run(10*time.Minute, func() {})
			s.sysdig.ClearFault()
			s.run(35*time.Minute, func() {})
			if n := s.asked("metric_", s.clk.Now().Add(-interval)); n != 2 {
				t.Errorf("%d requests a round for two shapes", n)
			}
		})
	}
}

// TestAShapeThatIsSlowDelaysNobody lets ten shapes hang, more than there are places, beside one that does not.
func TestAShapeThatIsSlowDelaysNobody(t *testing.T) {
	s := newStage(t)
	source := s.hasty("slow_metric")
	source.hangs.Store(true)
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: source})
	s.load("web", 1, perPod)
	web := s.bind("web")
	for i := range 10 {
		s.bind("web", metricNamed(fmt.Sprint("slow_metric_", i)), func(b *v1alpha1.SysdigMetricBinding) {
			b.Name, b.Spec.MetricName = fmt.Sprint("slow-", i), fmt.Sprint("s-", i)
		})
	}
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang, Query: "slow_metric"})
	s.run(time.Minute, func() {})
	// From now on they hang until the end of the test. A new binding, and the shape that is well, must not queue behind them.
	source.hangs.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.clk.SetTime(noon.Add(2*time.Minute + 500*time.Millisecond))
	before := s.sysdig.FaultCount()
	s.poller.Tick(ctx)
	s.eventually("all places of slow shapes are taken", func() bool { return s.sysdig.FaultCount()-before == 2 })
	s.eventually("the shape that is well is asked in this round", func() bool {
		sample, _ := s.serve(web)
		return sample != nil && sample.Received.Equal(s.clk.Now())
	})
	s.load("api", 1, perPod)
	api := s.bind("api")
	s.eventually("a new binding is answered at once", func() bool {
		s.poller.Tick(ctx) // what is asked already is not asked again
		_, failure := s.serve(api)
		return failure == nil
	})
	if n := s.sysdig.FaultCount() - before; n != 2 {
		t.Errorf("%d requests of slow shapes, want the two that hang", n)
	}
	cancel()
	s.poller.Wait()
}

// held is a Sysdig that answers about one metric when it is told to.
type held struct {
	registry.Source
	of  string
	now chan struct{}
}

func (h held) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	if strings.Contains(promQL, h.of) {
		<-h.now
	}
	return h.Source.Query(ctx, promQL, at)
}

// TestARequestIsNeverUnderWayTwice ticks again and again while a shape is not answered.
func TestARequestIsNeverUnderWayTwice(t *testing.T) {
	s := newStage(t)
	source := held{Source: s.client(), of: "slow_metric", now: make(chan struct{})}
	s.connect(source)
	s.bind("web", metricNamed("slow_metric"))
	for range 20 {
		s.poller.Tick(t.Context())
		s.clk.Step(10 * time.Second)
	}
	close(source.now)
	s.poller.Wait()
	if n := len(s.questions()); n != 1 {
		t.Errorf("%d requests, want the one that was under way", n)
	}
	s.tick()
	if n := len(s.questions()); n != 2 {
		t.Errorf("%d requests, want another one now that it is answered", n)
	}
}

// TestRoundsGiveMemoryBack has answers that fill it once.
func TestRoundsGiveMemoryBack(t *testing.T) {
	for _, byData := range []bool{false, true} {
		s := newStage(t)
		s.byData, s.memory = byData, sysdig.NewMemory(8<<20)
		for i := range 300 {
			s.fill(sysdigtest.MetricHTTPRequests, "web", fmt.Sprintf("web-%03d", i), 10*perPod)
			s.fill(sysdigtest.MetricUp, "web", fmt.Sprintf("web-%03d", i), 1)
		}
		s.connectData(func(c *registry.Connection) { c.Segments, c.Heartbeat.Coverage = 1000, 80 })
		web := s.bind("web", sumOfPods)
		s.run(10*interval, func() {})
		s.wantValue(web, 300*perPod)
	}
}
