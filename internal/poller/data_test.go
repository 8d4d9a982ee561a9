package poller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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

// pageSize is small, so that answers have several pages.
const pageSize = 10

// newDataStage is a stage whose connection asks the data API.
func newDataStage(t *testing.T, edits ...func(*registry.Connection)) *stage {
	t.Helper()
	s := newStage(t)
	s.byData = true
	s.connectData(edits...)
	return s
}

func (s *stage) connectData(edits ...func(*registry.Connection)) {
	s.t.Helper()
	c := registry.Connection{
		Name: "default", Interval: interval, IngestionLag: interval, Segments: pageSize, Source: s.client(),
		Heartbeat: query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: query.ScopeOf(s.connection())},
	}
	for _, edit := range edits {
		edit(&c)
	}
	s.registry.PutConnection(c)
}

func within(requestsPerMinute int) func(*registry.Connection) {
	return func(c *registry.Connection) { c.RequestsPerMinute = requestsPerMinute }
}

func covered(minimum int) func(*registry.Connection) {
	return func(c *registry.Connection) { c.Heartbeat.Coverage = minimum }
}

// post is a request to the data API.
type post struct {
	sysdigtest.Request
	sampled bool
	values  []string
}

func (p post) beat() bool { return slices.Equal(p.values, []string{"uptime"}) }

// posts are the requests to the data API since a time.
func (s *stage) posts(since time.Time) (beats, questions []post) {
	s.t.Helper()
	for _, r := range s.sysdig.Requests() {
		if r.Path != "/api/data" || r.At.Before(since) {
			continue
		}
		var body struct {
			Sampling int64 `json:"sampling"`
			Metrics  []struct {
				ID           string          `json:"id"`
				Aggregations json.RawMessage `json:"aggregations"`
			} `json:"metrics"`
		}
		if err := json.Unmarshal([]byte(r.Query), &body); err != nil {
			s.t.Fatal(err)
		}
		p := post{Request: r, sampled: body.Sampling != 0}
		for _, m := range body.Metrics {
			if m.Aggregations != nil {
				p.values = append(p.values, m.ID)
			}
		}
		if p.beat() {
			beats = append(beats, p)
		} else {
			questions = append(questions, p)
		}
	}
	return beats, questions
}

// workloads binds a metric of n workloads, too many for a request to name them, and expects each to have a value of its own.
func (s *stage) workloads(n int, metricName string, change ...func(*v1alpha1.SysdigMetricBinding)) []query.Definition {
	s.t.Helper()
	var all []query.Definition
	for i := range n {
		workload := fmt.Sprintf("app-%02d", i)
		s.fill(metricName, workload, workload+"-0", float64(i+1)*10)
		all = append(all, s.bind(workload, append([]func(*v1alpha1.SysdigMetricBinding){metricNamed(metricName), func(b *v1alpha1.SysdigMetricBinding) {
			b.Name, b.Spec.MetricName = workload+"-"+metricName, metricName
		}}, change...)...))
	}
	return all
}

func windowOf(d time.Duration) func(*v1alpha1.SysdigMetricBinding) {
	return func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.Window.Duration = d }
}

func patient(b *v1alpha1.SysdigMetricBinding) { b.Spec.MaxAge.Duration = 5 * time.Minute }

func TestMetricsOfAFamilyGoOutInOnePostForTimesAndOneForValues(t *testing.T) {
	s := newDataStage(t)
	all := s.shapes(6)
	s.tick()
	for _, d := range all {
		s.wantValue(d, perPod)
	}
	beats, questions := s.posts(noon)
	if len(beats) != 1 || len(questions) != 2 || !questions[0].sampled || questions[1].sampled {
		t.Fatalf("%d heartbeats and %d questions, want 1 and 2: times, then values", len(beats), len(questions))
	}
	for _, q := range questions {
		if len(q.values) != len(all) {
			t.Errorf("a question has the metrics %q", q.values)
		}
	}
	// The control is of another family: it is asked by itself.
	s.clk.SetTime(secondSlot)
	s.bind("web", metricNamed("metric_00"), windowOf(2*time.Minute), func(b *v1alpha1.SysdigMetricBinding) { b.Name, b.Spec.MetricName = "longer", "longer" })
	s.tick()
	if _, questions = s.posts(secondSlot); len(questions) != 4 {
		t.Errorf("%d questions for two families, want 4", len(questions))
	}
}

func TestEachPageIsAPostWhateverItsMetrics(t *testing.T) {
	s := newDataStage(t)
	all := [][]query.Definition{s.workloads(25, "metric_a"), s.workloads(25, "metric_b"), s.workloads(25, "metric_c")}
	s.tick()
	for _, of := range all {
		for i, d := range of {
			s.wantValue(d, float64(i+1))
		}
	}
	// Of each, 10, 10 and 5 segments, and nothing behind them.
	if _, questions := s.posts(noon); len(questions) != 8 {
		t.Errorf("%d posts, want 4 for the times and 4 for the values", len(questions))
	}
}

// TestAPostThatIsRefusedIsAskedMetricByMetricOnce has one of six metrics not exist. It is refused by itself from then on.
func TestAPostThatIsRefusedIsAskedMetricByMetricOnce(t *testing.T) {
	s := newDataStage(t)
	good := s.shapes(5)
	bad := s.bind("web", metricNamed("metric_that_is_not_there"), func(b *v1alpha1.SysdigMetricBinding) { b.Name, b.Spec.MetricName = "bad", "bad" })
	s.tick()
	for _, d := range good {
		s.wantValue(d, perPod)
	}
	_, failure := s.serve(bad)
	if failure == nil || failure.Reason != metric.Rejected || !strings.Contains(failure.Message, "'metric_that_is_not_there' is not a Sysdig Cloud metric") {
		t.Errorf("what does not exist is %v", failure)
	}
	if _, questions := s.posts(noon); len(questions) != 1+5*2+1 {
		t.Errorf("%d posts in the first round, want the one that is refused, and two for each metric that exists", len(questions))
	}
	s.clk.SetTime(secondSlot)
	s.tick()
	if _, questions := s.posts(secondSlot); len(questions) != 2 || len(questions[0].values) != 5 {
		t.Errorf("the next round takes %d posts, want 2 as without the one at fault", len(questions))
	}
	s.run(20*time.Minute, func() {
		for _, d := range good {
			s.wantValue(d, perPod)
		}
	})
	others, alone := 0, 0
	_, questions := s.posts(secondSlot.Add(time.Second))
	for _, q := range questions {
		switch {
		case slices.Equal(q.values, []string{"metric_that_is_not_there"}):
			alone++
		case len(q.values) == 5:
			others++
		default:
			t.Fatalf("%q are asked together", q.values)
		}
	}
	if alone < 2 || alone > 5 || others < 76 || others > 82 {
		t.Errorf("in 40 rounds, %d posts for what is refused and %d for the others", alone, others)
	}
	// It joins the others when it is there.
	s.fill("metric_that_is_not_there", "web", "web-0", perPod*10)
	s.run(20*time.Minute, func() {})
	s.wantValue(bad, perPod)
	if _, questions = s.posts(s.clk.Now().Add(time.Second - interval)); len(questions) != 2 || len(questions[0].values) != 6 {
		t.Errorf("%d posts in the end", len(questions))
	}
}

// TestWhatIsNoRefusalSplitsNoPost: it would be worse to ask for each metric then.
func TestWhatIsNoRefusalSplitsNoPost(t *testing.T) {
	for name, test := range map[string]struct {
		fault  sysdigtest.Fault
		reason metric.Reason
		posts  int
	}{
		"429":                      {sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429}, metric.RateLimited, 1},
		"401":                      {sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 401}, metric.Unauthorized, 1},
		"500":                      {sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500}, metric.Unavailable, 1},
		"no answer":                {sysdigtest.Fault{Kind: sysdigtest.FaultHang}, metric.Unavailable, 1},
		"the control is a refusal": {sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 400}, metric.Rejected, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDataStage(t)
			source := s.hasty("metric_")
			source.hangs.Store(test.fault.Kind == sysdigtest.FaultHang)
			s.connectData(func(c *registry.Connection) { c.Source = source })
			all := s.shapes(6)
			test.fault.Query = "metric_"
			s.sysdig.SetFault(test.fault)
			s.tick()
			for _, d := range all {
				s.wantReason(d, test.reason)
			}
			if _, questions := s.posts(noon); len(questions) != test.posts {
				t.Errorf("%d posts, want %d", len(questions), test.posts)
			}
		})
	}
}

// TestTheBudgetCountsPages has three families of four pages, for times and for values, and a heartbeat: 50 requests a minute, of which
// 30 are allowed.
func TestTheBudgetCountsPages(t *testing.T) {
	const allowed = 30
	s := newDataStage(t, within(allowed))
	s.sysdig.SetRequestsPerMinute(allowed)
	windows := []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute}
	var all [][]query.Definition
	for i, w := range windows {
		all = append(all, s.workloads(25, fmt.Sprint("metric_", i), windowOf(w), patient))
	}
	s.run(4*time.Minute, func() {})
	from := s.clk.Now()
	s.run(20*time.Minute, func() {
		for _, of := range all {
			s.wantValue(of[7], 8)
		}
	})
	if got := s.statuses(noon.Add(time.Minute)); got[429] > 0 || len(got) != 1 {
		t.Errorf("answers after the first minute: %v", got)
	}
	_, questions := s.posts(from)
	asked := map[string]int{}
	for _, q := range questions {
		asked[q.values[0]]++
	}
	if counts := slices.Sorted(maps.Values(asked)); len(counts) != len(windows) || counts[2]-counts[0] > 8 || counts[0] < 8*20 {
		t.Errorf("how many posts each family took: %v; want all alike", asked)
	}
	if u := s.usage(); u.Wanted != 50 || u.EffectiveInterval != 50*time.Second || u.Allowed != allowed || u.Used < allowed*3/4 || u.Used > allowed*5/4 || u.Refused == 0 {
		t.Errorf("the status would show %+v", u)
	}
}

// lossy is a Sysdig that loses the second page of answers about a namespace.
type lossy struct {
	registry.Source
	namespace string
}

func (l *lossy) Data(ctx context.Context, request sysdig.DataRequest) (sysdig.DataAnswer, error) {
	answer, err := l.Source.Data(ctx, request)
	if l.namespace != "" && strings.Contains(request.Filter, l.namespace) && request.From == pageSize {
		answer.Rows = nil
	}
	return answer, err
}

func TestAPageThatIsLostHalvesTheNamespacesUntilTheOthersAreServed(t *testing.T) {
	s := newDataStage(t)
	source := &lossy{Source: s.client(), namespace: "poison"}
	s.connectData(func(c *registry.Connection) { c.Source = source })
	var others []query.Definition
	for i := range 7 {
		namespace := fmt.Sprint("ns-", i)
		s.fillIn(namespace, "shared_metric", perPod*10)
		others = append(others, s.bind("web", metricNamed("shared_metric"), in(namespace)))
	}
	poison := s.workloads(25, "shared_metric", in("poison"))
	for i := range poison {
		workload := fmt.Sprintf("app-%02d", i)
		sysdigtest.Fill(s.sysdig.Store(), map[string]string{
			"__name__": "shared_metric", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "poison",
			sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: workload, sysdigtest.LabelPod: workload,
		}, noon.Add(-15*time.Minute), noon.Add(80*time.Minute), func(time.Time) float64 { return float64(i+1) * 10 })
	}
	s.tick()
	s.wantReason(poison[0], metric.Truncated)
	s.run(5*time.Minute, func() {})
	for _, d := range others {
		s.wantValue(d, perPod)
	}
	for _, d := range poison {
		s.wantReason(d, metric.Truncated)
	}
	source.namespace = ""
	s.run(time.Minute, func() {})
	for i, d := range poison {
		s.wantValue(d, float64(i+1))
	}
}

// TestWhatTheBudgetCanNeverHoldSaysSo has an answer of 14 pages and 10 requests a minute. It must not take them from the others.
func TestWhatTheBudgetCanNeverHoldSaysSo(t *testing.T) {
	s := newDataStage(t, within(10))
	s.load("web", 1, perPod)
	web := s.bind("web", windowOf(2*time.Minute), patient)
	s.tick()
	s.wantValue(web, perPod)
	big := s.workloads(60, "metric_a")
	s.run(6*time.Minute, func() { s.wantValue(web, perPod) })
	_, failure := s.serve(big[0])
	if failure == nil || failure.Reason != metric.Truncated || !strings.Contains(failure.Message, "raise spec.quota.requestsPerMinute") {
		t.Errorf("what costs too much is %v", failure)
	}
	from := s.clk.Now()
	s.run(20*time.Minute, func() { s.wantValue(web, perPod) })
	_, questions := s.posts(from)
	tried := 0
	for _, q := range questions {
		if q.values[0] == "metric_a" {
			tried++
		}
	}
	if tried > 5*10 { // it would be 200 if it took all there is
		t.Errorf("%d requests in 20 minutes for what cannot be had", tried)
	}
	// With more, it is served.
	s.connectData(within(60))
	s.run(2*time.Minute, func() {})
	for i, d := range big {
		s.wantValue(d, float64(i+1))
	}
}

// TestAHeartbeatThatTheBudgetCanNeverHoldSaysSo has one of nine requests, and 5 a minute.
func TestAHeartbeatThatTheBudgetCanNeverHoldSaysSo(t *testing.T) {
	s := newDataStage(t, within(5), covered(80))
	for i := range 75 {
		s.watched(fmt.Sprint("web-", i), -time.Hour, span{before, after})
	}
	web := s.bind("web", sumOfPods)
	s.run(5*time.Minute, func() {})
	s.wantReason(web, metric.RateLimited)
	c, _ := s.registry.Connection("default")
	if c.Health == nil || !strings.HasPrefix(c.Health.Message, "the heartbeat of connection default takes more than 5 requests") {
		t.Errorf("the connection's health is %v", c.Health)
	}
	s.connectData(within(30), covered(80))
	s.run(2*time.Minute, func() {})
	s.wantValue(web, 75*perPod)
}
