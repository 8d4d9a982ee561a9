package manifests_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	targets "github.com/sysdig-metrics/sysdig-metrics-operator/internal/objects"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/pods"
)

const queueKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: queues.example.com
spec:
  group: example.com
  names: {kind: Queue, plural: queues, singular: queue}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const queueReader = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: queue-reader
  labels: {autoscaling.sysdigmetrics.dev/aggregate-to-operator: "true"}
rules:
- {apiGroups: [example.com], resources: [queues], verbs: [list, watch]}
`

// watching is what the operator watches targets with, under its own account.
type watching struct {
	t     *testing.T
	index *targets.Index
	kinds *targets.Kinds

	clock     *clocktesting.FakeClock
	mu        sync.Mutex
	informers map[schema.GroupVersionKind]cache.Informer // that were started
}

// recorder keeps the informers that a cache starts.
type recorder struct {
	cache.Cache
	w *watching
}

func (r recorder) GetInformer(ctx context.Context, object ctrlclient.Object, options ...cache.InformerGetOption) (cache.Informer, error) {
	informer, err := r.Cache.GetInformer(ctx, object, options...)
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.informers[object.GetObjectKind().GroupVersionKind()] = informer
	return informer, err
}

func watchTargets(t *testing.T) *watching {
	t.Helper()
	path, err := testbed.ServiceAccountKubeconfig(t.Context(), namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	restConfig, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(restConfig, cache.Options{Scheme: scheme, DefaultTransform: targets.Strip})
	if err != nil {
		t.Fatal(err)
	}
	var hands sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	hands.Go(func() {
		if err := c.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); hands.Wait() })
	w := &watching{t: t, index: targets.NewIndex(pods.NewIndex(clock.RealClock{})), informers: map[schema.GroupVersionKind]cache.Informer{}}
	w.clock = clocktesting.NewFakeClock(time.Now())
	w.kinds = targets.NewKinds(w.clock, w.index, recorder{c, w}, clientOf(t, namespace, account).AuthorizationV1().SelfSubjectAccessReviews())
	return w
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// want wants a kind until all its objects are known.
func (w *watching) want(owner types.NamespacedName, kind schema.GroupVersionKind, resource schema.GroupResource) {
	w.t.Helper()
	eventually(w.t, "wait for the first list of "+resource.String(), func() bool {
		synced, refused, err := w.kinds.Want(w.t.Context(), owner, kind, resource)
		if refused != nil || err != nil {
			w.t.Fatalf("%s: refused %v, error %v", resource, refused, err)
		}
		return synced
	})
}

// selects waits until the names are those of the objects in namespace default that app=web selects.
func (w *watching) selects(resource schema.GroupResource, names ...string) {
	w.t.Helper()
	web := labels.SelectorFromSet(labels.Set{"app": "web"})
	var got []string
	defer func() {
		if w.t.Failed() {
			w.t.Logf("selected are %q, want %q", got, names)
		}
	}()
	eventually(w.t, "select "+resource.String(), func() bool {
		got = w.index.Select(resource, "default", web)
		return slices.Equal(got, names)
	})
	for _, name := range names {
		if !w.index.Matches(resource, "default", name, web) {
			w.t.Errorf("%s %s does not match", resource, name)
		}
	}
}

// follows checks that the index follows what happens to objects of a kind. The object's text has %s for its name.
func (w *watching) follows(resource schema.GroupResource, text string) {
	w.t.Helper()
	kind := resource.String()
	w.t.Cleanup(func() { remove(w.t, kind, "one", "two", "-n", "default") })
	kubectl(w.t, "create", "-n", "default", "-f", write(w.t, fmt.Appendf(nil, text, "two")))
	kubectl(w.t, "create", "-n", "default", "-f", write(w.t, fmt.Appendf(nil, text, "one")))
	w.selects(resource, "one", "two")
	kubectl(w.t, "label", kind, "two", "-n", "default", "--overwrite", "app=api")
	w.selects(resource, "one")
	kubectl(w.t, "label", kind, "two", "-n", "default", "--overwrite", "app=web")
	w.selects(resource, "one", "two")
	kubectl(w.t, "delete", kind, "one", "-n", "default")
	w.selects(resource, "two")
}

// released checks that nothing is watched after the last release.
func (w *watching) released(kind schema.GroupVersionKind, resource schema.GroupResource, owner types.NamespacedName) {
	w.t.Helper()
	w.mu.Lock()
	informer := w.informers[kind]
	w.mu.Unlock()
	if informer.IsStopped() {
		w.t.Error("the informer ended before")
	}
	w.kinds.Release(owner)
	if got := w.index.Select(resource, "default"); got != nil {
		w.t.Errorf("%q are still there", got)
	}
	eventually(w.t, "end the informer", informer.IsStopped)
}

func TestDeploymentsAreWatchedOnDemand(t *testing.T) {
	w := watchTargets(t)
	kind, resource := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, schema.GroupResource{Group: "apps", Resource: "deployments"}
	owner := types.NamespacedName{Namespace: "default", Name: "binding"}
	w.want(owner, kind, resource)
	w.follows(resource, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
`)
	w.released(kind, resource, owner)
	w.want(owner, kind, resource)
	w.selects(resource, "two")
}

func TestAdministratorsGrantKindsWithALabel(t *testing.T) {
	t.Cleanup(func() { remove(t, "crd", "queues.example.com") })
	kubectl(t, "create", "-f", write(t, []byte(queueKind)))
	kubectl(t, "wait", "--for=condition=Established", "--timeout="+patience.String(), "crd/queues.example.com")
	w := watchTargets(t)
	kind, resource := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Queue"}, schema.GroupResource{Group: "example.com", Resource: "queues"}
	owner := types.NamespacedName{Namespace: "default", Name: "binding"}
	synced, refused, err := w.kinds.Want(t.Context(), owner, kind, resource)
	if err != nil || synced || refused == nil || refused.Reason != metric.Rejected || !strings.Contains(refused.Message, "may not list queues.example.com") {
		t.Fatalf("without a grant: synced %t, refused %v, error %v", synced, refused, err)
	}
	if len(w.informers) > 0 {
		t.Error("an informer was started without a grant")
	}

	t.Cleanup(func() { remove(t, "clusterrole", "queue-reader") })
	kubectl(t, "create", "-f", write(t, []byte(queueReader)))
	eventually(t, "wait for the grant", func() bool {
		w.clock.Step(time.Minute) // a refusal is remembered for a while
		_, refused, err := w.kinds.Want(t.Context(), owner, kind, resource)
		if err != nil {
			t.Fatal(err)
		}
		return refused == nil
	})
	w.want(owner, kind, resource)
	w.follows(resource, "{apiVersion: example.com/v1, kind: Queue, metadata: {name: %s, labels: {app: web}}}")

	// Installing again must not fight with Kubernetes about the gathered rules.
	kubectl(t, install("default")...)
	review, err := operator.may(t.Context(), "list", "example.com", "queues", metav1.NamespaceAll, "")
	if err != nil || !review {
		t.Errorf("after the second installation the operator may list queues: %t, %v", review, err)
	}
	w.released(kind, resource, owner)
}
