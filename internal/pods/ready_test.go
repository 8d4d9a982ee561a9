package pods_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
)

type change = func(*corev1.Pod)

// ready makes a pod ready since some time before noon, and unready not ready since then.
func ready(ago time.Duration) change   { return readiness(corev1.ConditionTrue, ago) }
func unready(ago time.Duration) change { return readiness(corev1.ConditionFalse, ago) }

func readiness(is corev1.ConditionStatus, ago time.Duration) change {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-24 * time.Hour))},
			{Type: corev1.PodReady, Status: is, LastTransitionTime: metav1.NewTime(noon.Add(-ago))},
		}
	}
}

func ownedBy(apiVersion, kind, name string) change {
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: ptr.To(true)}}
	}
}

func labelled(name, value string) change { return func(p *corev1.Pod) { p.Labels[name] = value } }

func ends(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.NewTime(noon)) }

var deployed = []change{ownedBy("apps/v1", "ReplicaSet", "web-7c9f"), labelled("pod-template-hash", "7c9f"), ready(time.Hour)}

// byWorkload are names of pods by their owners.
type byWorkload = map[metric.Workload][]string

var (
	web    = metric.Workload{Type: "deployment", Name: "web"}
	nobody = metric.Workload{}
)

// wantReady expects the pods of namespace shop that have been ready since a minute before noon.
func (x *index) wantReady(selector string, want byWorkload) {
	x.t.Helper()
	if got := x.Ready("shop", selector, noon.Add(-time.Minute)); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		x.t.Errorf("ready are %v, want %v", got, want)
	}
}

// add is the event of a pod as the informer gives it.
func (x *index) add(p *corev1.Pod) {
	x.t.Helper()
	stripped, err := pods.Strip(p)
	if err != nil {
		x.t.Fatal(err)
	}
	x.OnUpdate(nil, stripped)
}

func TestTheOwnerOfAPodIsTheWorkloadThatSysdigNames(t *testing.T) {
	for name, test := range map[string]struct {
		changes []change
		owner   metric.Workload
	}{
		"a Deployment":                      {deployed, web},
		"a StatefulSet":                     {[]change{ownedBy("apps/v1", "StatefulSet", "db")}, metric.Workload{Type: "statefulset", Name: "db"}},
		"a DaemonSet":                       {[]change{ownedBy("apps/v1", "DaemonSet", "agent")}, metric.Workload{Type: "daemonset", Name: "agent"}},
		"nobody":                            {nil, nobody},
		"a Job":                             {[]change{ownedBy("batch/v1", "Job", "web")}, nobody},
		"another group's StatefulSet":       {[]change{ownedBy("apps.example.com/v1", "StatefulSet", "db")}, nobody},
		"a ReplicaSet without a Deployment": {[]change{ownedBy("apps/v1", "ReplicaSet", "web-7c9f")}, nobody},
		"a ReplicaSet of another hash":      {[]change{ownedBy("apps/v1", "ReplicaSet", "web-7c9f"), labelled("pod-template-hash", "c9f")}, nobody},
		"a ReplicaSet whose name is a hash": {[]change{ownedBy("apps/v1", "ReplicaSet", "7c9f"), labelled("pod-template-hash", "7c9f")}, nobody},
		"an owner that does not control it": {[]change{ownedBy("apps/v1", "StatefulSet", "db"), func(p *corev1.Pod) {
			p.OwnerReferences[0].Controller = nil
		}}, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			x.add(pod("a", "web", append(slices.Clone(test.changes), ready(time.Hour))...))
			x.wantReady("", byWorkload{test.owner: {"a"}})
		})
	}
}

func TestReadyPodsAreThoseThatHaveBeenReadyLongEnough(t *testing.T) {
	for name, test := range map[string]struct {
		changes []change
		counts  bool
	}{
		"ready for an hour":                   {[]change{ready(time.Hour)}, true},
		"ready for exactly as long":           {[]change{ready(time.Minute)}, true},
		"ready a second too late":             {[]change{ready(59 * time.Second)}, false},
		"not ready":                           {[]change{unready(time.Hour)}, false},
		"without conditions":                  {nil, false},
		"ready, nobody knows since when":      {[]change{ready(time.Hour), func(p *corev1.Pod) { p.Status.Conditions[1].LastTransitionTime = metav1.Time{} }}, false},
		"about to end":                        {[]change{ready(time.Hour), ends}, false},
		"it has failed":                       {[]change{ready(time.Hour), phase(corev1.PodFailed)}, false},
		"in another namespace":                {[]change{ready(time.Hour), in("bank")}, false},
		"the selector does not select it":     {[]change{ready(time.Hour), labelled("app", "api")}, false},
		"ready, and more than anybody counts": {[]change{ready(1e6 * time.Hour)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			x.add(pod("a", "web", test.changes...))
			want := byWorkload{}
			if test.counts {
				want[nobody] = []string{"a"}
			}
			x.wantReady("app=web", want)
		})
	}
	if got := newIndex(t).Ready("shop", "app in (", noon); got != nil {
		t.Errorf("a selector that cannot be parsed selects %v", got)
	}
}

// TestReadinessGoesWithTheEvents changes nothing of which labels pods carried when.
func TestReadinessGoesWithTheEvents(t *testing.T) {
	x := newIndex(t)
	more := func(changes ...change) []change { return append(slices.Clone(deployed), changes...) }
	for _, name := range []string{"c", "a", "b"} {
		x.add(pod(name, "web", deployed...))
	}
	x.wantReady("app=web", byWorkload{web: {"a", "b", "c"}})

	x.add(pod("b", "web", more(unready(0))...))
	x.wantReady("app=web", byWorkload{web: {"a", "c"}})
	x.add(pod("b", "web", more(ready(30*time.Second))...))
	x.wantReady("app=web", byWorkload{web: {"a", "c"}})
	x.add(pod("b", "web", more(ready(2*time.Minute))...))
	x.wantReady("app=web", byWorkload{web: {"a", "b", "c"}})

	x.add(pod("a", "web", more(ends)...))
	x.want("web", 0, "a", "b", "c")
	x.wantReady("app=web", byWorkload{web: {"b", "c"}})
	x.OnDelete(pod("a", "web"))
	x.want("web", window, "a", "b", "c")
	x.add(pod("a", "web", more(ready(10*time.Second))...)) // made again
	x.wantReady("app=web", byWorkload{web: {"b", "c"}})

	x.add(pod("c", "api", more(labelled("app", "api"))...))
	x.wantReady("app=web", byWorkload{web: {"b"}})
	x.wantReady("app=api", byWorkload{web: {"c"}})
	x.want("web", window, "a", "b", "c")
	x.add(pod("c", "api", ready(time.Hour))) // released by its owner
	x.wantReady("", byWorkload{web: {"b"}, nobody: {"c"}})
}

// TestAnEventThatChangesNothingTakesNoMemory: kubelets report pods again and again.
func TestAnEventThatChangesNothingTakesNoMemory(t *testing.T) {
	x := newIndex(t)
	p, again := pod("a", "web", deployed...), pod("a", "web", append(slices.Clone(deployed), unready(0))...)
	x.OnAdd(p, false)
	if got := testing.AllocsPerRun(100, func() {
		x.OnUpdate(nil, again)
		x.OnUpdate(nil, p)
	}); got > 0 {
		t.Errorf("two events take %v allocations", got)
	}
}

func BenchmarkReady(b *testing.B) {
	x := pods.NewIndex(clock.RealClock{})
	for i := range 50_000 {
		app := fmt.Sprintf("app-%05d", i/5)
		x.OnAdd(pod(fmt.Sprintf("%s-7c9f-%d", app, i%5), app, ownedBy("apps/v1", "ReplicaSet", app+"-7c9f"), labelled("pod-template-hash", "7c9f"), ready(time.Hour)), true)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := x.Ready("shop", "", noon); len(got) != 10_000 {
			b.Fatal(len(got))
		}
	}
}
