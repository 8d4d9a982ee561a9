package poller_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// span is a stretch of time after noon during which the agent of a pod reports, both ends included.
type span struct{ from, until time.Duration }

const (
	before = -15 * time.Minute
	after  = 40 * time.Minute
)

// watched is a pod of Deployment web that has been ready since some time after noon, and is seen by its agent.
func (s *stage) watched(name string, since time.Duration, seen ...span) *corev1.Pod {
	s.t.Helper()
	for _, one := range seen {
		for series, value := range map[string]float64{sysdigtest.MetricUp: 1, sysdigtest.MetricHTTPRequests: perPod * 10} {
			sysdigtest.Fill(s.sysdig.Store(), map[string]string{
				"__name__": series, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop",
				sysdigtest.LabelWorkloadType: "deployment", sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: name,
			}, noon.Add(one.from), noon.Add(one.until), func(time.Time) float64 { return value })
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{"app": "web", "pod-template-hash": "7c9f"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7c9f", Controller: ptr.To(true)}},
		},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(since))},
		}},
	}
	s.pods.OnAdd(pod, false)
	return pod
}

// covering is a stage whose connection wants so many percent of pods to be seen.
func covering(t *testing.T, minimum int) *stage {
	t.Helper()
	s := newStage(t)
	beat := heartbeat()
	beat.Coverage = minimum
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: beat, Source: s.client()})
	return s
}

func sumOfPods(b *v1alpha1.SysdigMetricBinding) {
	b.Spec.Source.Metric.GroupAggregation = v1alpha1.GroupSum
}

// orZero takes no series for no requests.
func orZero(b *v1alpha1.SysdigMetricBinding) {
	b.Spec.OnNoData = v1alpha1.OnNoData{Action: v1alpha1.NoDataValue, Value: "0"}
}

// lowest runs for a while and returns the lowest value that is served, and how often none is because of Partial.
func (s *stage) lowest(d query.Definition, during time.Duration) (value float64, partial int) {
	s.t.Helper()
	value = math.Inf(1)
	s.run(during, func() {
		sample, failure := s.serve(d)
		switch {
		case failure == nil:
			value = min(value, sample.Value)
		case failure.Reason == metric.Partial:
			partial++
		}
	})
	return value, partial
}

// TestWhatAgentsDoNotSeeIsNoFall lets agents stop and come back. Up to one point of a pod may be missing from a value.
func TestWhatAgentsDoNotSeeIsNoFall(t *testing.T) {
	const pods = 4
	always, outage, restart := []span{{before, after}}, []span{{before, time.Minute}, {6 * time.Minute, after}}, []span{{before, time.Minute}, {100 * time.Second, after}}
	for name, test := range map[string]struct {
		half [2][]span // of the pods
		back time.Duration
		// partial tells whether the last sample gets too old meanwhile.
		partial bool
		control float64
	}{
		"half of the nodes fall silent":     {[2][]span{always, outage}, 6 * time.Minute, true, pods * perPod / 2},
		"all nodes of it fall silent":       {[2][]span{outage, outage}, 6 * time.Minute, true, 0},
		"the agents of some nodes restart":  {[2][]span{always, restart}, 100 * time.Second, false, pods * perPod * 3 / 4},
		"the agents of all of them restart": {[2][]span{restart, restart}, 100 * time.Second, false, pods * perPod / 2},
	} {
		for _, minimum := range []int{80, 0} {
			t.Run(fmt.Sprintf("%s, %d %%", name, minimum), func(t *testing.T) {
				s := covering(t, minimum)
				for i := range pods {
					s.watched(fmt.Sprint("web-", i), -time.Hour, test.half[i%2]...)
				}
				web := s.bind("web", sumOfPods, orZero)
				// The windows that end at the newest point are full again, and the next round comes.
				covered := test.back + time.Minute + interval + interval
				lowest, partial := s.lowest(web, covered)
				if minimum == 0 {
					if lowest > test.control+0.01 {
						t.Errorf("without the rule the lowest value is %v, want %v", lowest, test.control)
					}
					return
				}
				if lowest < pods*perPod*5/6 || (partial > 0) != test.partial {
					t.Errorf("the lowest value is %v, and Partial is answered %d times", lowest, partial)
				}
				sample := s.sampleOf(web)
				if age := s.clk.Since(sample.Time); age > 2*interval+10*time.Second {
					t.Errorf("the value is %s old when the window has been covered for an interval", age)
				}
				if lowest, partial = s.lowest(web, 3*time.Minute); lowest != pods*perPod || partial > 0 {
					t.Errorf("afterwards the lowest value is %v, and Partial is answered %d times", lowest, partial)
				}
			})
		}
	}
}

// TestARolloutIsNeverPartial replaces all pods. The control takes the new ones for old.
func TestARolloutIsNeverPartial(t *testing.T) {
	const pods, at = 4, 2 * time.Minute
	for name, since := range map[string]time.Duration{"new pods are young": at, "control: they look old": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := covering(t, 80)
			var old []*corev1.Pod
			for i := range pods {
				old = append(old, s.watched(fmt.Sprint("web-old-", i), -time.Hour, span{before, at - 10*time.Second}))
			}
			web := s.bind("web", sumOfPods, func(b *v1alpha1.SysdigMetricBinding) {
				b.Spec.Source.Metric.Window.Duration, b.Spec.MaxAge.Duration = 3*time.Minute, 70*time.Second
			})
			if lowest, partial := s.lowest(web, at); lowest != pods*perPod || partial > 0 {
				t.Fatalf("before, the lowest value is %v, and Partial is answered %d times", lowest, partial)
			}
			for i, pod := range old {
				s.watched(fmt.Sprint("web-new-", i), since, span{at, after})
				s.pods.OnDelete(pod)
			}
			lowest, partial := s.lowest(web, 10*time.Minute)
			if since == at && (partial > 0 || lowest < pods*perPod-0.01) {
				t.Errorf("the lowest value is %v, and Partial is answered %d times", lowest, partial)
			}
			if since != at && partial == 0 {
				t.Error("pods that look old and are not seen are not missed")
			}
		})
	}
}

// TestNewQuestionsAskForTheirOwnPods: what was heard a moment ago is of other namespaces.
func TestNewQuestionsAskForTheirOwnPods(t *testing.T) {
	s := covering(t, 80)
	s.watched("web-0", -time.Hour, span{before, after})
	s.load("other", 1, perPod)
	s.bind("other", func(b *v1alpha1.SysdigMetricBinding) { b.Namespace = "bank" })
	s.tick()
	s.clk.Step(time.Second)
	web := s.bind("web")
	s.tick()
	s.wantValue(web, perPod)
}

// TestARateInRawPromQLWaitsForItsRange lets all agents stop for six minutes: a rate over five reads low until the gap has left them.
func TestARateInRawPromQLWaitsForItsRange(t *testing.T) {
	s := newStage(t)
	gap := []span{{before, 0}, {6 * time.Minute, after}}
	for _, one := range gap {
		for name, value := range map[string]func(time.Time) float64{
			"gap_up":    func(time.Time) float64 { return 1 },
			"gap_total": func(t time.Time) float64 { return perPod * t.Sub(noon.Add(before)).Seconds() },
			"gap_delta": func(time.Time) float64 { return perPod * 10 },
		} {
			sysdigtest.Fill(s.sysdig.Store(), map[string]string{
				"__name__": name, sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelPod: "web-0",
			}, noon.Add(one.from), noon.Add(one.until), value)
		}
	}
	beat := heartbeat()
	beat.Metric = "gap_up"
	s.registry.PutConnection(registry.Connection{Name: "default", Interval: interval, IngestionLag: interval, Heartbeat: beat, Source: s.client()})
	raw := func(text string) func(*v1alpha1.SysdigMetricBinding) {
		return func(b *v1alpha1.SysdigMetricBinding) {
			b.Name, b.Spec.MetricName = "raw-"+fmt.Sprint(len(text)), fmt.Sprint("raw-", len(text))
			b.Spec.Source = v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: text}}
		}
	}
	ranged := s.bind("web", raw("sum(sum_over_time(gap_delta[5m])) / 300"))
	// The control says nothing of its range: a subquery of instant values has one, a value of now has none.
	instant := s.bind("web", raw("sum(gap_delta) / 10"))
	lowest := math.Inf(1)
	s.run(13*time.Minute, func() {
		if sample, _ := s.serve(ranged); sample != nil {
			lowest = min(lowest, sample.Value)
			if sample.Window != 5*time.Minute {
				t.Fatalf("the window is %s", sample.Window)
			}
		}
		if s.clk.Now().Equal(noon.Add(8 * time.Minute)) {
			s.wantReason(ranged, metric.Stale)
			s.wantValue(instant, perPod)
		}
	})
	if lowest < perPod*29.0/30 {
		t.Errorf("the lowest rate is %v", lowest)
	}
	s.wantValue(ranged, perPod)
}
