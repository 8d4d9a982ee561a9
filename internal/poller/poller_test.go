package poller_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// ready is a stage with a connection.
func ready(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.connect(s.client())
	return s
}

func (s *stage) wantRequests(want int) {
	s.t.Helper()
	if got := len(s.questions()); got != want {
		s.t.Fatalf("at %s: %d requests, want %d", s.clk.Now().Sub(noon), got, want)
	}
}

// wantSent counts heartbeats too.
func (s *stage) wantSent(want int) {
	s.t.Helper()
	if got := s.sysdig.RequestCount(); got != want {
		s.t.Fatalf("at %s: %d requests with heartbeats, want %d", s.clk.Now().Sub(noon), got, want)
	}
}

func (s *stage) wantReason(d query.Definition, want metric.Reason) {
	s.t.Helper()
	if sample, failure := s.serve(d); failure == nil || failure.Reason != want {
		s.t.Fatalf("%s: got %v, %v; want %s", d.Binding, sample, failure, want)
	}
}

func TestBindingsOfAShapeShareARequest(t *testing.T) {
	s := ready(t)
	var all []query.Definition
	for i := range 50 {
		name := fmt.Sprintf("app-%d", i)
		s.load(name, 2, float64(i+1))
		all = append(all, s.bind(name))
	}
	s.tick()
	s.wantRequests(1)
	for i, d := range all {
		s.wantValue(d, float64(i+1))
	}
	s.bind("cores", metricNamed("cpu.cores.used"))
	s.clk.SetTime(secondSlot)
	s.tick()
	s.wantRequests(3)
}

func TestAConnectionIsAskedOncePerInterval(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	s.bind("web")
	if next := s.tick(); !next.Equal(secondSlot) {
		t.Errorf("next round at %s, want %s", next, secondSlot)
	}
	s.clk.SetTime(secondSlot.Add(-1))
	s.tick()
	s.wantRequests(1)
	s.clk.Step(1)
	s.tick()
	s.wantRequests(2)
}

func TestEveryQuestionNamesItsTime(t *testing.T) {
	s := ready(t)
	s.bind("web")
	s.tick()
	if got, want := s.questions()[0].Time, fmt.Sprint(noon.Add(-25*time.Second).Unix()); got != want {
		t.Errorf("asked about %s, want %s", got, want)
	}
}

func TestANewBindingIsAskedAtOnceAndAlone(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	s.load("api", 1, perPod)
	web := s.bind("web")
	s.tick()
	s.clk.Step(10 * time.Second)
	cores, api := s.bind("cores", metricNamed("cpu.cores.used")), s.bind("api")
	if next := s.tick(); !next.Equal(secondSlot) {
		t.Errorf("next round at %s, want that of the interval, %s", next, secondSlot)
	}
	s.wantRequests(3)
	s.wantReason(cores, metric.NoData)
	s.wantValue(api, perPod)
	s.wantValue(web, perPod)
	for _, r := range s.questions()[1:] {
		if strings.Contains(r.Query, `"web"`) {
			t.Errorf("asked again: %s", r.Query)
		}
	}
}

func TestAnEditedQuestionIsPendingUntilItIsAnswered(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	s.bind("web")
	s.tick()
	thousand := func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Multiplier = "1000" }
	web := s.bind("web", thousand)
	s.wantReason(web, metric.Pending)
	s.tick()
	s.wantValue(web, perPod*1000)
}

func TestARefusalStopsTheRestOfTheRound(t *testing.T) {
	for status, reason := range map[int]metric.Reason{401: metric.Unauthorized, 403: metric.Unauthorized, 429: metric.RateLimited} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := ready(t)
			s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: status, Query: "some_metric"})
			var all []query.Definition
			for i := range 40 {
				all = append(all, s.bind(fmt.Sprintf("app-%d", i), metricNamed(fmt.Sprintf("some_metric_%d", i))))
			}
			s.tick()
			if got := len(s.questions()); got > 8 {
				t.Errorf("%d requests, want no more than were under way at a time", got)
			}
			for _, d := range all {
				s.wantReason(d, reason)
			}
			if c, _ := s.registry.Connection("default"); c.Health == nil || c.Health.Reason != reason {
				t.Errorf("the connection's health is %v", c.Health)
			}
		})
	}
}

func TestAnErrorOfOneShapeLeavesTheOthersAlone(t *testing.T) {
	for status, reason := range map[int]metric.Reason{400: metric.Rejected, 422: metric.Rejected, 500: metric.Unavailable} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := ready(t)
			s.load("web", 1, perPod)
			s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: status, Query: "bad_metric"})
			web, bad := s.bind("web"), s.bind("bad", metricNamed("bad_metric"))
			s.tick()
			s.wantValue(web, perPod)
			s.wantReason(bad, reason)
			if c, _ := s.registry.Connection("default"); c.Health != nil || c.Attempted.IsZero() {
				t.Errorf("the connection's health is %v", c.Health)
			}
		})
	}
}

func TestRetryAfterSilencesTheConnection(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429, RetryAfter: 5 * time.Minute, Times: 1})
	if next := s.tick(); next.After(noon.Add(time.Minute)) {
		t.Errorf("next look at %s, want within a minute", next)
	}
	s.wantSent(1)
	s.run(2*time.Minute, func() {})
	api := s.bind("api")
	s.run(2*time.Minute+55*time.Second, func() { s.wantReason(web, metric.RateLimited) })
	s.wantReason(api, metric.RateLimited)
	s.wantSent(1)
	s.clk.Step(5 * time.Second)
	s.tick()
	s.wantSent(3)
	s.wantValue(web, perPod)
}

func TestAnotherTokenIsTriedAtOnce(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429, RetryAfter: 4 * time.Hour, Times: 1})
	s.tick()
	s.clk.Step(5 * time.Second)
	s.tick()
	s.wantSent(1)
	s.connect(s.client())
	s.tick()
	s.wantValue(web, perPod)
	s.tick()
	s.wantSent(3)
}

func TestAnEditForgetsNothingThatSysdigHasAskedFor(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	client := s.client()
	s.connect(client)
	s.tick()
	s.wantValue(web, perPod)
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429, RetryAfter: 4 * time.Hour, Times: 1})
	s.run(2*interval, func() {})
	sent := s.sysdig.RequestCount()
	for range 20 {
		s.edit(client)
		s.clk.Step(5 * time.Second)
		s.tick()
	}
	if more := s.sysdig.RequestCount() - sent; more != 0 {
		t.Errorf("%d requests were sent before the time that Sysdig has asked for", more)
	}
	s.connect(client)
	s.tick()
	if s.sysdig.RequestCount() == sent {
		t.Error("another token is not tried")
	}
}

// TestAnEditLeavesRefusedQueriesAlone, and another token tries them at once.
func TestAnEditLeavesRefusedQueriesAlone(t *testing.T) {
	s := ready(t)
	client := s.client()
	s.connect(client)
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 422, Query: "bad_metric", Times: 1})
	s.fill("bad_metric", "web", "web-0", perPod*10)
	bad := s.bind("web", metricNamed("bad_metric"))
	s.tick()
	s.wantReason(bad, metric.Rejected)
	asked := s.asked("bad_metric", noon)
	for range 10 { // the quarantine is a minute
		s.edit(client)
		s.clk.Step(5 * time.Second)
		s.tick()
	}
	if more := s.asked("bad_metric", noon) - asked; more != 0 {
		t.Errorf("what Sysdig refuses was asked %d times because of edits", more)
	}
	s.connect(client)
	s.tick()
	s.wantValue(bad, perPod)
}

// TestASecretThatGoesWhileSysdigAsksToWait: the token that comes back is the same, and waits on.
func TestASecretThatGoesWhileSysdigAsksToWait(t *testing.T) {
	s := ready(t)
	client := s.client()
	s.connect(client)
	web := s.bind("web")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 429, RetryAfter: time.Hour, Times: 1})
	s.tick()
	s.wantSent(1)
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, Heartbeat: heartbeat(), Access: s.access, Refused: metric.Failf(metric.Unauthorized, "no token")})
	s.clk.Step(time.Second)
	s.tick()
	s.wantReason(web, metric.Unauthorized)
	s.edit(client)
	s.run(30*time.Minute, func() {})
	s.wantReason(web, metric.RateLimited)
	s.wantSent(1)
}

func TestAConnectionThatCannotBeUsedSaysWhy(t *testing.T) {
	s := newStage(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	s.tick()
	s.wantReason(web, metric.Pending)
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, Heartbeat: heartbeat(), Refused: metric.Failf(metric.Unauthorized, "no token")})
	s.tick()
	s.wantReason(web, metric.Unauthorized)
	s.wantRequests(0)
	s.clk.Step(time.Second)
	s.connect(s.client())
	s.tick()
	s.wantValue(web, perPod)
}

func TestConnectionsHaveTheirOwnRhythm(t *testing.T) {
	s := ready(t)
	s.load("web", 1, perPod)
	web := s.bind("web")
	other := connection()
	other.Name = "slow"
	s.registry.PutConnection(registry.Connection{Name: "slow", Interval: 5 * time.Minute, Heartbeat: query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: query.ScopeOf(other)}, Source: s.client()})
	b := &v1alpha1.SysdigMetricBinding{}
	b.Namespace, b.Name = "shop", "slow"
	b.Spec.Target = &v1alpha1.Target{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}
	b.Spec.Source.PromQL = &v1alpha1.PromQLSource{Query: "sum(slow_metric)"}
	b.Spec.Multiplier, b.Spec.MaxAge.Duration = "1", 10*time.Minute
	s.registry.Put(query.Compile(b, other, query.Target{Resource: schema.GroupResource{Group: "apps", Resource: "deployments"}}))
	slow := 0
	s.run(4*time.Minute, func() {})
	for _, r := range s.questions() {
		if strings.Contains(r.Query, "slow_metric") {
			slow++
		}
	}
	if slow != 1 || len(s.questions()) != 9 {
		t.Errorf("%d requests of the slow connection and %d in all, want 1 and 9", slow, len(s.questions()))
	}
	s.wantValue(web, perPod)
}

func TestAServiceIsTheMeanOfItsPods(t *testing.T) {
	s := ready(t)
	s.load("web", 3, perPod)
	s.exist("web", "web-0", "web-1", "silent-0")
	s.exist("api", "web-2")
	service := s.bind("web", func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.Target = &v1alpha1.Target{APIVersion: "v1", Kind: "Service", Name: "web"}
	})
	s.tick()
	s.wantValue(service, perPod)
}

// TestWindowsAreWholeInSpiteOfTheLag moves through all phases of the grid while the newest bucket lacks half of the pods.
func TestWindowsAreWholeInSpiteOfTheLag(t *testing.T) {
	s := ready(t)
	s.sysdig.Store().SetPartialNewest(0.5)
	s.load("web", 20, perPod)
	sum := func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.GroupAggregation = v1alpha1.GroupSum }
	web := s.bind("web", sum)
	source, request := s.client(), query.Plan([]query.Question{web.Question}, query.Whole)[0]
	for range 25 {
		s.tick()
		s.wantValue(web, 20*perPod)
		at := query.Attempt{At: s.clk.Now(), Received: s.clk.Now()}
		answer, err := source.Query(t.Context(), request.PromQL, at.At)
		if err != nil {
			t.Fatal(err)
		}
		if naive := request.Read(answer, at, nil)[0].Reading.Sample; naive == nil || naive.Value > 20*perPod*0.85 {
			t.Errorf("at %s: asked about now the value is %v: the control does not bite", s.clk.Now().Sub(noon), naive)
		}
		s.clk.Step(interval + time.Second)
	}
}

// TestALagThatIsLongerThanExpectedDelaysValuesAndLeavesThemWhole lets ingestion take longer than the connection says, with a newest
// bucket that lacks half of the pods.
func TestALagThatIsLongerThanExpectedDelaysValuesAndLeavesThemWhole(t *testing.T) {
	for _, lag := range []time.Duration{35 * time.Second, 40 * time.Second, 55 * time.Second, 70 * time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			s := ready(t)
			s.sysdig.Store().SetLag(lag)
			s.sysdig.Store().SetPartialNewest(0.5)
			s.load("web", 20, perPod)
			web := s.bind("web", func(b *v1alpha1.SysdigMetricBinding) { b.Spec.Source.Metric.GroupAggregation = v1alpha1.GroupSum })
			for range 25 {
				s.run(interval+time.Second, func() { s.wantValue(web, 20*perPod) })
			}
		})
	}
}

// TestAGapThatIsNotFilledInIsNotAFall lets all agents stop for six minutes. What they report afterwards counts when it covers
// the window.
func TestAGapThatIsNotFilledInIsNotAFall(t *testing.T) {
	s := newStage(t)
	s.connect(s.client())
	web := s.bind("web")
	for name, value := range map[string]float64{"gap_up": 1, sysdigtest.MetricHTTPRequests: perPod * 10} {
		lset := map[string]string{
			"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelPod: "web-0",
			sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web",
		}
		points := func(time.Time) float64 { return value }
		sysdigtest.Fill(s.sysdig.Store(), lset, noon.Add(-10*time.Minute), noon, points)
		sysdigtest.Fill(s.sysdig.Store(), lset, noon.Add(6*time.Minute), noon.Add(20*time.Minute), points)
	}
	beat := heartbeat()
	beat.Metric = "gap_up"
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: beat, Source: s.client()})
	s.run(10*time.Minute, func() {
		if sample, _ := s.serve(web); sample != nil && sample.Value < perPod*5/6 {
			t.Fatalf("at %s the value is %v", s.clk.Now().Sub(noon), sample.Value)
		}
	})
	s.wantValue(web, perPod)
}

// TestAStopOfIngestionIsNoAbsenceOfData makes sure that spec.onNoData speaks of the workload only.
func TestAStopOfIngestionIsNoAbsenceOfData(t *testing.T) {
	s := ready(t)
	s.load("web", 2, perPod)
	zero := func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.OnNoData = v1alpha1.OnNoData{Action: v1alpha1.NoDataValue, Value: "0"}
	}
	web, idle := s.bind("web", zero), s.bind("idle", zero)
	s.run(time.Minute, func() { s.wantValue(web, perPod); s.wantValue(idle, 0) })
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultOldPoints})
	s.run(10*time.Minute, func() {
		if sample, _ := s.serve(web); sample != nil && sample.Value != perPod {
			t.Fatalf("at %s the value is %v", s.clk.Now().Sub(noon), sample.Value)
		}
	})
	s.wantReason(web, metric.Stale)
	s.wantReason(idle, metric.Stale)
	s.sysdig.ClearFault()
	s.run(interval, func() {})
	s.wantValue(web, perPod)
	s.wantValue(idle, 0)
}

func TestQuestionTime(t *testing.T) {
	tests := map[string]struct{ after, lag, want time.Duration }{
		"on the grid":                    {0, 30 * time.Second, -25 * time.Second},
		"just before a point":            {9999 * time.Millisecond, 30 * time.Second, -25 * time.Second},
		"a lag that is no multiple":      {0, 25 * time.Second, -25 * time.Second},
		"a lag just beyond a multiple":   {0, 21 * time.Second, -25 * time.Second},
		"no lag, within a step of now":   {3 * time.Second, 0, 5 * time.Second},
		"a step later, a point later on": {10 * time.Second, 30 * time.Second, -15 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := query.QuestionTime(noon.Add(test.after), test.lag).Sub(noon); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestATickThatIsStoppedFilesNothing(t *testing.T) {
	s := ready(t)
	web := s.bind("web")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.poller.Tick(ctx)
	s.poller.Wait()
	s.wantReason(web, metric.Pending)
	if c, _ := s.registry.Connection("default"); !c.Attempted.IsZero() {
		t.Error("the connection counts as attempted")
	}
}
