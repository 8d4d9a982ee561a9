package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// reader knows the objects that a test put there.
type reader struct {
	client.Reader
	objects []client.Object
}

func (r reader) Get(_ context.Context, key types.NamespacedName, into client.Object, _ ...client.GetOption) error {
	for _, o := range r.objects {
		if client.ObjectKeyFromObject(o) != key {
			continue
		}
		switch into := into.(type) {
		case *v1alpha1.SysdigMetricBinding:
			if b, ok := o.(*v1alpha1.SysdigMetricBinding); ok {
				*into = *b
				return nil
			}
		case *v1alpha1.SysdigConnection:
			if c, ok := o.(*v1alpha1.SysdigConnection); ok {
				*into = *c
				return nil
			}
		case *corev1.Secret:
			if s, ok := o.(*corev1.Secret); ok {
				*into = *s
				return nil
			}
		case *corev1.Namespace:
			if n, ok := o.(*corev1.Namespace); ok {
				*into = *n
				return nil
			}
		case *corev1.Service:
			if s, ok := o.(*corev1.Service); ok {
				*into = *s
				return nil
			}
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: fmt.Sprintf("%T", into)}, key.Name)
}

// kinds answers what the test says and notes what it was asked.
type kinds struct {
	synced  bool
	refused *metric.Failure
	err     error
	asked   []string
}

func (k *kinds) Want(_ context.Context, binding types.NamespacedName, kind schema.GroupVersionKind, resource schema.GroupResource) (bool, *metric.Failure, error) {
	k.asked = append(k.asked, fmt.Sprintf("want %s %s %s %s", binding.Name, kind.GroupVersion(), kind.Kind, resource))
	return k.synced, k.refused, k.err
}

func (k *kinds) Release(binding types.NamespacedName) {
	k.asked = append(k.asked, "release "+binding.Name)
}

// definitions remembers what was put last.
type definitions struct {
	put     *query.Definition
	puts    int
	deleted []string
	told    registry.Catalogue
}

func (d *definitions) CatalogueOf(string) registry.Catalogue { return d.told }

func (d *definitions) Put(definition query.Definition) {
	d.put = &definition
	d.puts++
}

func (d *definitions) Delete(binding types.NamespacedName) {
	d.deleted = append(d.deleted, binding.Name)
}

func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Service"}, {Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "kafka.strimzi.io", Version: "v1beta2", Kind: "KafkaTopic"},
	} {
		m.Add(kind, meta.RESTScopeNamespace)
	}
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, meta.RESTScopeRoot)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, meta.RESTScopeRoot)
	return m
}

// complete is a binding that can be asked, of a target.
func complete(target *v1alpha1.Target) *v1alpha1.SysdigMetricBinding {
	b := binding()
	b.Spec = v1alpha1.SysdigMetricBindingSpec{
		ConnectionRef: v1alpha1.ConnectionReference{Name: "default"}, Target: target, Multiplier: "1", MaxAge: metav1.Duration{Duration: 2 * time.Minute},
		Source: v1alpha1.Source{PromQL: &v1alpha1.PromQLSource{Query: "sum by (name) (x)"}},
	}
	if target != nil && target.Selector != nil {
		b.Spec.Source.PromQL.ObjectLabel = "name"
	}
	return b
}

func named(apiVersion, kind, name string) *v1alpha1.Target {
	return &v1alpha1.Target{APIVersion: apiVersion, Kind: kind, Name: name}
}

func selected(apiVersion, kind string) *v1alpha1.Target {
	return &v1alpha1.Target{APIVersion: apiVersion, Kind: kind, Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"app": "web"}}}
}

func TestTheKindOfATargetIsWatched(t *testing.T) {
	const topics, kafka = "want web kafka.strimzi.io/v1beta2 KafkaTopic kafkatopics.kafka.strimzi.io", "kafka.strimzi.io/v1beta2"
	forbidden := metric.Failf(metric.Rejected, "the operator may not list kafkatopics")
	tests := map[string]struct {
		target *v1alpha1.Target
		kinds  kinds
		asked  []string
		reason metric.Reason // empty when it is asked
		text   string
		again  time.Duration
		failed bool
		claim  metric.Claim
	}{
		"by selector": {
			target: selected(kafka, "KafkaTopic"), kinds: kinds{synced: true}, asked: []string{topics},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Selector: "app=web", Metric: "web"},
		},
		"by selector, while the objects are being listed": {
			target: selected(kafka, "KafkaTopic"), asked: []string{topics}, reason: metric.Pending, text: "the objects of kind KafkaTopic are being listed", again: soon,
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Selector: "app=web", Metric: "web"},
		},
		"by selector, of a kind that may not be listed": {
			target: selected(kafka, "KafkaTopic"), kinds: kinds{refused: forbidden}, asked: []string{topics}, reason: metric.Rejected, text: "may not list kafkatopics", again: recheck,
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Selector: "app=web", Metric: "web"},
		},
		"by selector, and the API server does not answer": {
			target: selected(kafka, "KafkaTopic"), kinds: kinds{err: errors.New("timeout")}, asked: []string{topics}, failed: true,
		},
		"by name": {
			target: named(kafka, "KafkaTopic", "orders"), kinds: kinds{synced: true}, asked: []string{"release web"},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Object: "orders", Metric: "web"},
		},
		"by name, while the objects are being listed": {
			target: named(kafka, "KafkaTopic", "orders"), asked: []string{"release web"},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Object: "orders", Metric: "web"},
		},
		"by name, of a kind that may not be listed": {
			target: named(kafka, "KafkaTopic", "orders"), kinds: kinds{refused: forbidden}, asked: []string{"release web"},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Group: "kafka.strimzi.io", Resource: "kafkatopics"}, Object: "orders", Metric: "web"},
		},
		"pods by selector": {
			target: selected("v1", "Pod"), kinds: kinds{synced: true}, asked: []string{"want web v1 Pod pods"},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "pods"}, Selector: "app=web", Metric: "web"},
		},
		"Services by selector need no Service of a name": {
			target: selected("v1", "Service"), kinds: kinds{synced: true}, asked: []string{"want web v1 Service services"},
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "services"}, Selector: "app=web", Metric: "web"},
		},
		"a Service that does not exist": {
			target: named("v1", "Service", "gone"), asked: []string{"release web"}, reason: metric.Rejected, text: "there is no Service gone", again: recheck,
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "services"}, Object: "gone", Metric: "web"},
		},
		"the namespace": {
			target: named("v1", "Namespace", ""), asked: []string{"release web"},
			claim: metric.NamespaceClaim("shop", "web"),
		},
		"without a target nothing is watched": {
			asked: []string{"release web"}, claim: metric.ExternalClaim("shop", "web"),
		},
		"a kind that is cluster-scoped": {
			target: named("v1", "Node", "a"), asked: []string{"release web"}, reason: metric.Rejected, text: "Node is cluster-scoped", again: recheck,
			claim: metric.Claim{Namespace: "shop", Resource: schema.GroupResource{Resource: "nodes"}, Object: "a", Metric: "web"},
		},
		"a kind that is not installed": {
			target: selected("example.com/v1", "Thing"), asked: []string{"release web"}, reason: metric.Rejected, text: "no kind Thing in example.com/v1", again: recheck,
			claim: metric.Claim{Namespace: "shop", Selector: "app=web", Metric: "web"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			connection := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
			defined := &definitions{}
			r := &BindingReconciler{Client: reader{objects: []client.Object{complete(test.target), connection}}, Mapper: mapper(), Definitions: defined, Kinds: &test.kinds, Clock: clocktesting.NewFakeClock(now)}
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
			if !slices.Equal(test.kinds.asked, test.asked) {
				t.Errorf("asked %q, want %q", test.kinds.asked, test.asked)
			}
			if test.failed {
				if err == nil || defined.put != nil {
					t.Errorf("got %v and %+v, want an error and what was put before", err, defined.put)
				}
				return
			}
			if err != nil || defined.put == nil || result.RequeueAfter != test.again {
				t.Fatalf("got %v, %+v, %+v; want a look after %s", err, result, defined.put, test.again)
			}
			if defined.put.Claim != test.claim {
				t.Errorf("it claims %+v, want %+v", defined.put.Claim, test.claim)
			}
			refused := defined.put.Refused
			if test.reason == "" && refused != nil || test.reason != "" && (refused == nil || refused.Reason != test.reason || !strings.Contains(refused.Message, test.text)) {
				t.Errorf("it is refused because %v, want %q with %q", refused, test.reason, test.text)
			}
			if defined.put.Claim.Set() != (defined.put.Selector != nil) {
				t.Errorf("the selector is %v", defined.put.Selector)
			}
		})
	}
}

func TestABindingThatIsGoneWatchesNothing(t *testing.T) {
	watched, defined := &kinds{}, &definitions{}
	r := &BindingReconciler{Client: reader{}, Mapper: mapper(), Definitions: defined, Kinds: watched, Clock: clocktesting.NewFakeClock(now)}
	result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
	if err != nil || result.RequeueAfter != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	if !slices.Equal(watched.asked, []string{"release web"}) || !slices.Equal(defined.deleted, []string{"web"}) || defined.put != nil {
		t.Errorf("asked %q, deleted %q, put %+v", watched.asked, defined.deleted, defined.put)
	}
}

// TestALabelThatOnlySysdigKnowsIsLookedUpAgain compiles a binding by a connection to the data API before and after Sysdig has told its
// labels.
func TestALabelThatOnlySysdigKnowsIsLookedUpAgain(t *testing.T) {
	told := map[string]string{"cloud_provider_region": "cloudProvider.region"}
	for name, test := range map[string]struct {
		api   v1alpha1.API
		label string
		told  map[string]string
		where string
		again time.Duration
	}{
		"before it is told":             {v1alpha1.APIData, "cloud_provider_region", nil, `cloud_provider_region = "eu"`, recheck},
		"when it is told":               {v1alpha1.APIData, "cloud_provider_region", told, `cloudProvider.region = "eu"`, recheck},
		"one of the table":              {v1alpha1.APIData, "kube_node_name", nil, `kubernetes.node.name = "eu"`, 0},
		"one of the table, and a list":  {v1alpha1.APIData, "kube_node_name", told, `kubernetes.node.name = "eu"`, 0},
		"one that has its dots":         {v1alpha1.APIData, "cloudProvider.region", told, `cloudProvider.region = "eu"`, 0},
		"one by rule":                   {v1alpha1.APIData, "kube_pod_label_app", nil, `kubernetes.pod.label.app = "eu"`, 0},
		"the Prometheus API needs none": {v1alpha1.APIPrometheus, "cloud_provider_region", nil, `,cloud_provider_region="eu"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := complete(named("apps/v1", "Deployment", "web"))
			b.Spec.Source = v1alpha1.Source{Metric: &v1alpha1.MetricSource{
				Name: "net.http.request.count", TimeAggregation: v1alpha1.TimeRate, GroupAggregation: v1alpha1.GroupAverage, Window: metav1.Duration{Duration: time.Minute},
				Where: []v1alpha1.LabelFilter{{Label: test.label, Operator: v1alpha1.FilterIn, Values: []string{"eu"}}},
			}}
			connection := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.SysdigConnectionSpec{API: test.api, ClusterName: "c1"}}
			defined := &definitions{told: registry.Catalogue{Labels: test.told}}
			r := &BindingReconciler{Client: reader{objects: []client.Object{b, connection}}, Mapper: mapper(), Definitions: defined, Kinds: &kinds{}, Clock: clocktesting.NewFakeClock(now)}
			result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
			if err != nil || defined.put == nil || defined.put.Refused != nil {
				t.Fatalf("got %v, %+v", err, defined.put)
			}
			if where := defined.put.Question.Shape.Value().Where; where != test.where || result.RequeueAfter != test.again {
				t.Errorf("it is asked where %s, and looked at again after %s; want %s and %s", where, result.RequeueAfter, test.where, test.again)
			}
		})
	}
}

// TestAMetricThatSysdigsPagesDisagreeOnIsLookedUpAgain compiles a binding before and after Sysdig has told its names.
func TestAMetricThatSysdigsPagesDisagreeOnIsLookedUpAgain(t *testing.T) {
	b := complete(named("apps/v1", "Deployment", "web"))
	b.Spec.Source = v1alpha1.Source{Metric: &v1alpha1.MetricSource{
		Name: "file.bytes.total", TimeAggregation: v1alpha1.TimeSum, GroupAggregation: v1alpha1.GroupSum, Window: metav1.Duration{Duration: time.Minute},
	}}
	connection := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default", UID: "c"}, Spec: v1alpha1.SysdigConnectionSpec{API: v1alpha1.APIPrometheus, ClusterName: "c1"}}
	defined := &definitions{}
	r := &BindingReconciler{Client: reader{objects: []client.Object{b, connection}}, Mapper: mapper(), Definitions: defined, Kinds: &kinds{}, Clock: clocktesting.NewFakeClock(now)}
	for _, step := range []struct {
		told []string
		want string
	}{
		{nil, "sysdig_container_file_total_bytes"},
		{[]string{"sysdig_container_file_bytes_total"}, "sysdig_container_file_bytes_total"},
		{[]string{"sysdig_container_file_total_bytes"}, "sysdig_container_file_total_bytes"},
	} {
		defined.told.Metrics = step.told
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
		if err != nil || defined.put == nil || defined.put.Refused != nil {
			t.Fatalf("got %v, %+v", err, defined.put)
		}
		if got := defined.put.Question.Shape.Value().Metric; got != step.want || result.RequeueAfter != recheck {
			t.Errorf("when %q are told it is asked as %s, and looked at again after %s; want %s", step.told, got, result.RequeueAfter, step.want)
		}
	}
}

// TestWhatWasCompiledIsNotCompiledAgain reconciles one binding for many reasons.
func TestWhatWasCompiledIsNotCompiledAgain(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		// connection is how often an edit of the connection and another connection have it compiled.
		connection int
	}{
		"one that is taken":                    {"sum(x)", 1},
		"one that the connection refuses":      {`sum(x{kube_cluster_name="another"})`, 1},
		"one that is refused for its own text": {"absent(x)", 0},
		"one that costs too much":              {strings.Repeat("-", 8000) + "absent(x)", 0},
		"one that is no query":                 {"sum(", 0},
		"one that looks back a year":           {"sum(rate(x[1y]))", 0},
		"one with a large regular expression":  {`sum(x{a=~"` + strings.Repeat("a{0,999}", 100) + `"})`, 0},
		"one of many selectors":                {"a+b+c+d+e+f+g+h+i+j+k", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := complete(named("v1", "Service", "web"))
			b.Spec.Source.PromQL.Query, b.Generation = test.text, 1
			connection := &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default", Generation: 1}, Spec: v1alpha1.SysdigConnectionSpec{ClusterName: "c1"}}
			n := test.connection
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}}
			has := []client.Object{b, connection, service}
			defined := &definitions{}
			r := &BindingReconciler{Mapper: mapper(), Definitions: defined, Kinds: &kinds{}, Clock: clocktesting.NewFakeClock(now)}
			for _, step := range []struct {
				why  string
				edit func()
				puts int
			}{
				{"it is new", func() {}, 1},
				{"somebody labels its namespace", func() {}, 1},
				{"its status changes", func() { b.Status.Query = "y" }, 1},
				{"it is edited", func() { b.Generation = 2 }, 2},
				{"its connection is edited", func() { connection.Generation = 2 }, 2 + n},
				{"its connection is made anew", func() { connection.UID = "another" }, 2 + 2*n},
				{"its Service selects others", func() { service.Spec.Selector["app"] = "api" }, 3 + 2*n},
				{"its Service goes", func() { has = has[:2] }, 4 + 2*n},
				{"its Service is back", func() { has = has[:3] }, 5 + 2*n},
				{"it is made anew", func() { b.UID = "another" }, 6 + 2*n},
				{"nothing happens", func() {}, 6 + 2*n},
			} {
				step.edit()
				r.Client = reader{objects: has}
				result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
				if err != nil || defined.puts != step.puts {
					t.Fatalf("%s: %v, %d definitions, want %d", step.why, err, defined.puts, step.puts)
				}
				if again := result.RequeueAfter != 0; again != (len(has) == 2) {
					t.Errorf("%s: it is looked at again after %s", step.why, result.RequeueAfter)
				}
			}
		})
	}
}

// discovery counts lookups of kinds.
type discovery struct {
	meta.RESTMapper
	lookups int
}

func (d *discovery) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	d.lookups++
	return d.RESTMapper.RESTMapping(kind, versions...)
}

// TestMadeUpKindsCostAFewLookups names kinds that there are not in many bindings of two namespaces.
func TestMadeUpKindsCostAFewLookups(t *testing.T) {
	clk, asked := clocktesting.NewFakeClock(now), &discovery{RESTMapper: mapper()}
	l := newKindLookup(asked, clk)
	missing := func(namespace, kind string) {
		t.Helper()
		if mapping, refused, err := l.find(namespace, schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: kind}); mapping != nil || refused == nil || err != nil {
			t.Fatalf("got %v, %v, %v", mapping, refused, err)
		}
	}
	there := func(namespace, kind string) {
		t.Helper()
		if mapping, refused, err := l.find(namespace, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind}); mapping == nil || refused != nil || err != nil {
			t.Errorf("%s gets %v, %v", namespace, refused, err)
		}
		asked.lookups--
	}
	for range 1000 {
		missing("shop", "Thing")
		missing("bank", "Thing")
	}
	if asked.lookups != 1 {
		t.Errorf("one kind was looked up %d times", asked.lookups)
	}
	for i := range 1000 {
		missing("shop", fmt.Sprint("Thing", i))
	}
	if asked.lookups != maxMissing {
		t.Errorf("many kinds were looked up %d times", asked.lookups)
	}
	there("bank", "Deployment")
	there("shop", "Deployment") // it is known to be there
	clk.Step(recheck)
	missing("shop", "Thing")
	if asked.lookups != maxMissing+1 {
		t.Errorf("a kind that was not there is not looked up again: %d lookups", asked.lookups)
	}
}

// TestAConnectionThatIsForbiddenLooksLikeOneThatIsNotThere, so that nobody finds names by trying. The control is a namespace that may.
func TestAConnectionThatIsForbiddenLooksLikeOneThatIsNotThere(t *testing.T) {
	only := func(team string) *v1alpha1.SysdigConnection {
		return &v1alpha1.SysdigConnection{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.SysdigConnectionSpec{
			AllowedNamespaces: v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &v1alpha1.ObjectSelector{MatchLabels: map[string]string{"team": team}}},
			Endpoint:          v1alpha1.Endpoint{Region: "us2", PrometheusPath: "/prometheus"}, ClusterName: "c",
		}}
	}
	broken := only("a")
	broken.Spec.AllowedNamespaces.Selector.MatchExpressions = []v1alpha1.LabelRequirement{{Key: "team", Operator: "Sometimes"}}
	told := map[string]string{}
	for name, connection := range map[string]*v1alpha1.SysdigConnection{"absent": nil, "forbidden": only("b"), "broken": broken, "allowed": only("a")} {
		b := complete(named("apps/v1", "Deployment", "web"))
		objects := []client.Object{b, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.Namespace, Labels: map[string]string{"team": "a"}}}}
		if connection != nil {
			objects = append(objects, connection)
		}
		put := &definitions{}
		r := &BindingReconciler{Client: reader{objects: objects}, Mapper: mapper(), Definitions: put, Kinds: &kinds{}, Clock: clocktesting.NewFakeClock(now)}
		result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(b)})
		if err != nil {
			t.Fatal(err)
		}
		told[name] = fmt.Sprintf("%v, looked at again after %s, query %q", put.put.Refused, result.RequeueAfter, put.put.Query())
	}
	if told["absent"] != told["forbidden"] || told["absent"] != told["broken"] || told["absent"] == told["allowed"] {
		t.Errorf("got %q", told)
	}
	if !strings.Contains(told["absent"], "spec.connectionRef.name: ") || !strings.Contains(told["absent"], "ask the platform team") {
		t.Errorf("the cure is not in %q", told["absent"])
	}
}
