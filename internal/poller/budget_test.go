package poller_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
)

// connectWithin puts the connection "default" with a quota into the registry.
func (s *stage) connectWithin(requestsPerMinute int) {
	s.registry.PutConnection(registry.Connection{
		Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: s.client(),
		RequestsPerMinute: requestsPerMinute,
	})
}

// shapes binds n metrics that all hold the same value, each a shape of its own.
func (s *stage) shapes(n int, change ...func(*v1alpha1.SysdigMetricBinding)) []query.Definition {
	s.t.Helper()
	var all []query.Definition
	for i := range n {
		name := fmt.Sprintf("metric_%02d", i)
		s.fill(name, "web", "web-0", perPod*10)
		all = append(all, s.bind("web", append(slices.Clone(change), metricNamed(name), func(b *v1alpha1.SysdigMetricBinding) {
			b.Name, b.Spec.MetricName = fmt.Sprint("web-", i), fmt.Sprint("m-", i)
		})...))
	}
	return all
}

// statuses counts the answers since a time by their HTTP status.
func (s *stage) statuses(since time.Time) map[int]int {
	counts := map[int]int{}
	for _, r := range s.sysdig.Requests() {
		if !r.At.Before(since) {
			counts[r.Status]++
		}
	}
	return counts
}

func (s *stage) usage() registry.Usage {
	c, _ := s.registry.Connection("default")
	return c.Usage
}

// TestAQuarterOfWhatIsWantedStretchesAllAlike has 20 shapes and a heartbeat, which at 30 s are 42 requests a minute, and a Sysdig that
// allows 10.
func TestAQuarterOfWhatIsWantedStretchesAllAlike(t *testing.T) {
	const shapes, allowed = 20, 10
	s := newStage(t)
	s.sysdig.SetRequestsPerMinute(allowed)
	s.connectWithin(60)
	all := s.shapes(shapes, func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MaxAge.Duration = 5 * time.Minute })
	s.run(4*time.Minute, func() {}) // every shape was asked once
	s.run(20*time.Minute, func() {
		for _, d := range all {
			s.wantValue(d, perPod)
		}
	})
	if after := s.statuses(noon.Add(time.Minute)); after[429] > 0 || after[200] < 20*allowed*9/10 {
		t.Errorf("answers after the first minute: %v; want no 429, and that what is allowed is used", after)
	}
	asked := map[string]int{}
	for _, r := range s.questions() {
		asked[r.Query]++
	}
	if counts := slices.Sorted(maps.Values(asked)); len(counts) != shapes || counts[shapes-1]-counts[0] > 1 {
		t.Errorf("how often each was asked: %v; want all alike", counts)
	}
	u := s.usage()
	if u.Wanted != 42 || u.Allowed != allowed || u.AllowedBy != "Sysdig's X-RateLimit-Limit" || u.Used > allowed || u.Refused == 0 || u.EffectiveInterval != 133*time.Second {
		t.Errorf("the status would show %+v", u)
	}
}

// TestWhatWouldPassItsMaxAgeSaysSo has a quota that is too small for a maxAge.
func TestWhatWouldPassItsMaxAgeSaysSo(t *testing.T) {
	s := newStage(t)
	s.connectWithin(10)
	patient := s.shapes(19, func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MaxAge.Duration = 5 * time.Minute })[0]
	s.load("api", 1, perPod)
	hasty := s.bind("api")
	s.run(4*time.Minute, func() {})
	told := 0
	s.run(10*time.Minute, func() {
		if sample, failure := s.serve(hasty); sample == nil {
			told++
			if failure.Reason != metric.RateLimited {
				t.Fatalf("at %s: %v, want RateLimited", s.clk.Now().Sub(noon), failure)
			}
		}
	})
	if told == 0 {
		t.Error("the value was never too old: the test shows nothing")
	}
	for d, want := range map[*query.Definition]metric.Reason{&patient: "", &hasty: metric.RateLimited} {
		standing, _ := s.registry.Standing(d.Binding)
		if got := standing.Failure; (got == nil) != (want == "") || got != nil && got.Reason != want {
			t.Errorf("%s: %v, want %q", d.Binding.Name, got, want)
		}
	}
}

func TestAQuotaThatCarriesTheIntervalStretchesNothing(t *testing.T) {
	s := newStage(t)
	s.sysdig.SetRequestsPerMinute(60)
	s.connectWithin(60)
	all := s.shapes(20)
	s.run(10*time.Minute, func() {
		for _, d := range all {
			s.wantValue(d, perPod)
		}
	})
	if got := s.statuses(noon); got[429] > 0 || len(got) != 1 {
		t.Errorf("answers: %v", got)
	}
	if u := s.usage(); u.EffectiveInterval != interval || u.Refused != 0 || u.Wanted != 42 || u.Allowed != 60 || u.Used < 40 || u.Used > 44 {
		t.Errorf("the status would show %+v", u)
	}
}

// mute is a Sysdig that does not say how many requests it allows.
type mute struct{ registry.Source }

func (m mute) Query(ctx context.Context, promQL string, at time.Time) (sysdig.Answer, error) {
	answer, err := m.Source.Query(ctx, promQL, at)
	answer.RateLimit = 0
	return answer, err
}

// TestWithoutABudgetSysdigRefuses is the control: the same load without a quota, at a Sysdig that does not say what it allows
// before it refuses.
func TestWithoutABudgetSysdigRefuses(t *testing.T) {
	s := newStage(t)
	s.sysdig.SetRequestsPerMinute(10)
	s.registry.PutConnection(registry.Connection{
		Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: heartbeat(), Source: mute{s.client()},
	})
	s.shapes(20)
	s.run(time.Minute, func() {})
	if got := s.statuses(noon); got[429] == 0 {
		t.Errorf("answers: %v", got)
	}
}

// TestTwoReplicasShareOneBudget lets two pollers ask the same Sysdig, which counts their requests together.
func TestTwoReplicasShareOneBudget(t *testing.T) {
	const allowed = 24
	s := newStage(t)
	s.sysdig.SetRequestsPerMinute(allowed)
	other := s.replica(1)
	s.replicas = 2
	for _, one := range []*stage{s, other} {
		one.connectWithin(60)
		one.shapes(20, func(b *v1alpha1.SysdigMetricBinding) { b.Spec.MaxAge.Duration = 5 * time.Minute })
	}
	next := [2]time.Time{}
	both := [2]*stage{s, other}
	for end := noon.Add(15 * time.Minute); s.clk.Now().Before(end); s.clk.Step(500 * time.Millisecond) {
		for i, one := range both {
			if !s.clk.Now().Before(next[i]) {
				next[i] = one.tick()
			}
		}
	}
	if got := s.statuses(noon.Add(time.Minute)); got[429] > 0 || got[200] < 14*allowed*9/10 {
		t.Errorf("answers after the first minute: %v; want no 429, and that what is allowed is used", got)
	}
	for i, one := range both {
		if u := one.usage(); u.Wanted != 84 || u.Replicas != 2 || u.Allowed != allowed || u.Used > allowed/2+1 {
			t.Errorf("replica %d: the status would show %+v", i, u)
		}
	}
}

// replica is another poller of another replica, on the same clock and Sysdig.
func (s *stage) replica(rank int) *stage {
	s.t.Helper()
	other := newStageWith(s.t, s.clk, s.sysdig)
	other.rank, other.replicas = rank, rank+1
	return other
}

func TestReplicasAreStaggered(t *testing.T) {
	s := newStage(t)
	other := s.replica(1)
	s.replicas = 2
	for _, one := range []*stage{s, other} {
		one.connectWithin(60)
		one.shapes(1)
		one.tick()
	}
	s.clk.SetTime(noon.Add(time.Minute))
	a, b := s.tick(), other.tick()
	if apart := b.Sub(a).Abs(); apart < 10*time.Second || apart > 20*time.Second {
		t.Errorf("rounds begin at %s and %s, want them apart", a, b)
	}
}
