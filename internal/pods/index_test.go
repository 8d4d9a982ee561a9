package pods_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
)

var noon = time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)

// window is that of the questions, unless a test says otherwise.
const window = time.Minute

type index struct {
	*pods.Index
	t   *testing.T
	clk *clocktesting.FakeClock
}

func newIndex(t *testing.T) *index {
	clk := clocktesting.NewFakeClock(noon)
	return &index{Index: pods.NewIndex(clk), t: t, clk: clk}
}

// pod is a running pod of namespace shop with the label app.
func pod(name, app string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": app}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func phase(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

func in(namespace string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Namespace = namespace } }

func (x *index) want(app string, window time.Duration, names ...string) {
	x.t.Helper()
	if got, unknown := x.Selected("shop", "app="+app, window); !slices.Equal(got, names) || unknown != nil {
		x.t.Errorf("after %s, window %s, app %s: got %q, %v, want %q", x.clk.Now().Sub(noon), window, app, got, unknown, names)
	}
}

func TestPodsAreSelectedByLabelAndNamespaceInOrder(t *testing.T) {
	x := newIndex(t)
	for _, p := range []*corev1.Pod{pod("c", "web"), pod("a", "web"), pod("b", "api"), pod("d", "web", in("bank")), pod("e", "web", phase(corev1.PodPending))} {
		x.OnAdd(p, true)
	}
	x.want("web", window, "a", "c", "e")
	x.want("web", 0, "a", "c", "e")
	x.want("none", window)
	if got, _ := x.Selected("bank", "app in (web, api)", window); !slices.Equal(got, []string{"d"}) {
		t.Errorf("got %q", got)
	}
	if got, _ := x.Selected("shop", "app in (", window); got != nil {
		t.Errorf("a selector that cannot be parsed selects %q", got)
	}
	if got, _ := x.Selected("nowhere", "app=web", window); got != nil {
		t.Errorf("a namespace without pods has %q", got)
	}
}

func TestAPodIsRememberedForTheWindow(t *testing.T) {
	goes := map[string]func(*index, *corev1.Pod){
		"it is deleted":           func(x *index, p *corev1.Pod) { x.OnDelete(p) },
		"its deletion was missed": func(x *index, p *corev1.Pod) { x.OnDelete(cache.DeletedFinalStateUnknown{Obj: p}) },
		"it succeeds":             func(x *index, p *corev1.Pod) { x.OnUpdate(p, pod(p.Name, "web", phase(corev1.PodSucceeded))) },
		"it fails":                func(x *index, p *corev1.Pod) { x.OnUpdate(p, pod(p.Name, "web", phase(corev1.PodFailed))) },
		"it gets another label":   func(x *index, p *corev1.Pod) { x.OnUpdate(p, pod(p.Name, "api")) },
		"it fails and is deleted so": func(x *index, p *corev1.Pod) {
			x.OnUpdate(p, pod(p.Name, "web", phase(corev1.PodFailed)))
			x.OnDelete(p)
		},
	}
	for name, end := range goes {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t)
			p := pod("a", "web")
			x.OnAdd(p, false)
			x.clk.Step(10 * time.Minute)
			x.want("web", window, "a")
			end(x, p)
			x.want("web", window, "a")
			x.clk.Step(window)
			x.want("web", window, "a")
			x.clk.Step(1)
			x.want("web", window)
			x.want("web", time.Hour, "a")
		})
	}
}

func TestTheSecondEventOfAnEndDoesNotProlongIt(t *testing.T) {
	x := newIndex(t)
	p := pod("a", "web")
	x.OnAdd(p, false)
	x.OnUpdate(p, pod("a", "web", phase(corev1.PodFailed)))
	x.clk.Step(window + 1)
	x.OnDelete(p)
	x.want("web", window)
}

func TestAPodThatWasNeverSeenRunningIsNotSelected(t *testing.T) {
	x := newIndex(t)
	x.OnAdd(pod("a", "web", phase(corev1.PodSucceeded)), true)
	x.OnDelete(pod("b", "web"))
	x.OnDelete("nonsense")
	x.OnAdd(nil, false)
	x.want("web", time.Hour)
}

func TestAPodWithAnotherLabelCountsForBothWithinTheWindow(t *testing.T) {
	x := newIndex(t)
	p := pod("a", "web")
	x.OnAdd(p, false)
	x.clk.Step(time.Minute)
	x.OnUpdate(p, pod("a", "api"))
	x.want("web", window, "a")
	x.want("api", window, "a")
	x.clk.Step(30 * time.Second)
	x.OnUpdate(pod("a", "api"), pod("a", "web"))
	x.clk.Step(45 * time.Second)
	x.want("web", window, "a")
	x.want("api", window, "a")
	x.clk.Step(16 * time.Second)
	x.want("web", window, "a")
	x.want("api", window)
}

func TestAPodThatIsMadeAgainIsSelectedOnce(t *testing.T) {
	x := newIndex(t)
	x.OnAdd(pod("a", "web"), false)
	x.OnDelete(pod("a", "web"))
	x.clk.Step(10 * time.Second)
	x.OnAdd(pod("a", "web"), false)
	x.OnUpdate(pod("a", "web"), pod("a", "web"))
	x.want("web", window, "a")
	x.clk.Step(time.Hour)
	x.want("web", 0, "a")
	x.OnDelete(pod("a", "web"))
	x.clk.Step(window + 1)
	x.want("web", window)
}

func TestWhatIsGoneIsForgottenAfterAWhile(t *testing.T) {
	x := newIndex(t)
	x.OnAdd(pod("a", "web"), false)
	x.OnAdd(pod("b", "web"), false)
	x.OnDelete(pod("a", "web"))
	x.clk.Step(70 * time.Minute)
	x.want("web", 24*time.Hour, "a", "b")
	x.clk.Step(1)
	x.want("web", 24*time.Hour, "b")
}

// TestManyShortLivedPodsAreForgottenWhereNobodyAsks: most namespaces have no Service with a binding.
func TestManyShortLivedPodsAreForgottenWhereNobodyAsks(t *testing.T) {
	x := newIndex(t)
	for i := range 1000 {
		p := pod(fmt.Sprint("job-", i), "job", in(fmt.Sprint("batch-", i%7)))
		x.OnAdd(p, false)
		x.OnUpdate(p, pod(p.Name, "job", in(p.Namespace), phase(corev1.PodSucceeded)))
		x.OnDelete(p)
		x.clk.Step(time.Minute)
	}
	if _, departures, gone := pods.Remembered(x.Index); departures > 0 || gone > 80 {
		t.Errorf("%d departures and the labels of %d pods are remembered, want those of the last 70 minutes", departures, gone)
	}
}

func TestEventsAndQuestionsAtTheSameTime(t *testing.T) {
	x := newIndex(t)
	var hands sync.WaitGroup
	for hand := range 4 {
		hands.Go(func() {
			for i := range 300 {
				p := pod(fmt.Sprint("p-", i%10), fmt.Sprint("app-", hand%2))
				x.OnAdd(p, false)
				x.Selected("shop", "app=app-1", window)
				x.Present("shop", labels.Everything())
				x.Matches("shop", p.Name, labels.Everything())
				x.OnDelete(p)
				x.clk.Step(10 * time.Second)
			}
		})
	}
	hands.Wait()
	if got := x.Present("shop"); got != nil {
		t.Errorf("%q are present", got)
	}
	x.clk.Step(2 * time.Hour)
	x.want("app-1", 24*time.Hour)
}

func TestStrip(t *testing.T) {
	since, start := metav1.NewTime(noon), metav1.NewTime(noon.Add(-time.Hour))
	full := pod("a", "web", ownedBy("apps/v1", "StatefulSet", "web"), ends, func(p *corev1.Pod) {
		p.OwnerReferences[0].UID, p.OwnerReferences[0].BlockOwnerDeletion = "owner", ptr.To(true)
		p.UID, p.ResourceVersion = "uid", "7"
		p.Annotations, p.ManagedFields = map[string]string{"a": "b"}, []metav1.ManagedFieldsEntry{{Manager: "m"}}
		p.Spec.Containers = []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "SECRET", Value: "s"}}}}
		p.Status.StartTime, p.Status.PodIP = &start, "192.0.2.1"
		p.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: since, Message: "long"},
		}
	})
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "a", UID: "uid", ResourceVersion: "7", Labels: map[string]string{"app": "web"}, DeletionTimestamp: full.DeletionTimestamp,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: ptr.To(true)}},
		},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			PodIP:      "192.0.2.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: since}},
		},
	}
	got, err := pods.Strip(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	again, err := pods.Strip(got)
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("stripped twice: %+v, %v", again, err)
	}
	lost := cache.DeletedFinalStateUnknown{Key: "shop/a", Obj: full}
	if got, err := pods.Strip(lost); err != nil || !reflect.DeepEqual(got, lost) {
		t.Errorf("got %+v, %v", got, err)
	}
}
