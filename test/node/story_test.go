// Package node_test plays the story of the README with everything in pods, on a real node: the operator's own image, installed by
// the README's commands, and real requests.
package node_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/node"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

func TestMain(m *testing.M) {
	run := func() int { return node.Run(m, os.Stderr) }
	if node.Inside() {
		os.Exit(run())
	}
	os.Exit(leaks.Run(run))
}

const (
	// steady, busy and the replicas that busy needs at 100 requests per second and pod are the README's.
	steady, busy = 20, 800
	lowest       = 2
	// window is that of the sample bindings.
	window = time.Minute
	// tolerance is how far a value may be from what was counted in its window: an agent asks the pods one after the other, and later than
	// the point says.
	tolerance = 0.1
	// lost is which part of the requests may fail while pods come and go.
	lost = 0.001
)

// TestStory installs the operator as the README says and plays its story: load drives flask from 2 replicas to 8, where they
// stay, and idle brings them back.
func TestStory(t *testing.T) {
	node.Require(t)
	w := newWorld(t)
	w.phase("start the stand-in and the agent", func() error { return w.standInRuns(rand.Text()) })
	w.phase("install as the README says", w.install)
	w.phase("check the operator's pod", func() error { return w.eventually(w.checkOperator) })
	w.phase("apply config/samples and start the load generator", w.sampleRuns)

	watch := w.watchReplicas()
	w.phase("steady load", func() error {
		began := time.Now()
		return w.loaded(steady, func(ctx context.Context) error { return watch.checkValues(ctx, began) })
	})
	w.phase("README: look at the binding", w.lookAtBinding)
	busySince := time.Now()
	w.phase("load until the replicas settle", func() error {
		watch.rising(true)
		return w.loaded(busy, watch.settled(busy/100-1, busy/100+1, 30*time.Second))
	})
	w.phase("compare values with the requests that were answered", func() error {
		return w.eventually(func(ctx context.Context) error { return watch.checkValues(ctx, busySince) })
	})
	watch.rising(false)
	w.phase("idle until the replicas are back", func() error {
		return w.loaded(0, watch.settled(lowest, lowest, 10*time.Second))
	})
	if fall := watch.end(); fall != nil {
		t.Error(fall)
	}
	w.phase("check what was lost, and the operator's pod again", func() error {
		return errors.Join(w.checkLost(), w.eventually(w.checkOperator), w.checkLog())
	})
	w.phase("uninstall as the README says", w.uninstall)
}

// sampleRuns applies config/samples and waits for its pods.
func (w *world) sampleRuns() error {
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", w.copy + "/config/samples"},
		{"rollout", "status", "deployment/flask", "--timeout=" + deadline.String()},
		{"apply", "--server-side", "-f", "testdata/load.yaml"},
		{"rollout", "status", "deployment/load", "--timeout=" + deadline.String()},
	} {
		if _, err := w.kubectl(args...); err != nil {
			return err
		}
	}
	return nil
}

// eventually polls a condition.
func (w *world) eventually(condition func(context.Context) error) error {
	return stage.Wait(w.t.Context(), patience, condition)
}

// value asks for what a binding is served as, at the path in its status.
func (w *world) value(ctx context.Context, binding string) (v1beta2.MetricValue, error) {
	c := w.node.Cluster
	path, err := c.Kubectl(ctx, "get", "smb", binding, "-o", "jsonpath={.status.metricPath}")
	if err != nil {
		return v1beta2.MetricValue{}, err
	}
	if path == "" {
		return v1beta2.MetricValue{}, fmt.Errorf("%s has no path in its status", binding)
	}
	text, err := c.Kubectl(ctx, "get", "--raw", path)
	if err != nil {
		return v1beta2.MetricValue{}, err
	}
	var list v1beta2.MetricValueList
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return v1beta2.MetricValue{}, err
	}
	if len(list.Items) != 1 {
		return v1beta2.MetricValue{}, fmt.Errorf("%s has %d values: %s", path, len(list.Items), text)
	}
	return list.Items[0], nil
}

// checkValues compares what kubectl get --raw answers for the Service, the Deployment and the namespace with the requests that were
// answered in the window of the value, which has to begin after a moment.
func (s *watch) checkValues(ctx context.Context, since time.Time) error {
	replicas, err := s.w.replicas(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for binding, kind := range map[string]string{
		"flask-requests": "Service", "flask-deployment-requests": "Deployment", "namespace-requests": "Namespace",
	} {
		got, err := s.w.value(ctx, binding)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		end := got.Timestamp.Time
		if began := end.Add(-window); began.Before(since) {
			errs = append(errs, fmt.Errorf("%s is of a window that began at %s, before %s", binding, began, since))
			continue
		}
		want, err := s.counts.rate(end.Add(-window), end)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if kind != "Namespace" {
			want /= float64(replicas)
		}
		value := float64(got.Value.MilliValue()) / 1000
		if got.DescribedObject.Kind != kind || want == 0 || math.Abs(value-want) > tolerance*want {
			errs = append(errs, fmt.Errorf("%s is %v of a %s, want %.1f of a %s", binding, value, got.DescribedObject.Kind, want, kind))
		}
	}
	return errors.Join(errs...)
}

// lookAtBinding runs the README's commands about a binding.
func (w *world) lookAtBinding() error {
	for _, line := range readme(w.t, w.root, "## Install")[1] {
		output, err := w.enter(line)
		if err != nil {
			return err
		}
		if !strings.Contains(output, "flask") {
			return fmt.Errorf("%s says nothing of flask: %s", line, output)
		}
	}
	return nil
}

// checkLost tells how many requests have failed.
func (w *world) checkLost() error {
	s, err := w.sent(w.t.Context())
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "       %d requests were answered, %d failed %s\n", s.Answered, s.Failed, s.Last)
	if float64(s.Failed) > lost*float64(s.Answered) {
		return fmt.Errorf("%d of %d requests failed: %s", s.Failed, s.Answered, s.Last)
	}
	return nil
}

// replicas is how many pods flask shall have.
func (w *world) replicas(ctx context.Context) (int32, error) {
	var d appsv1.Deployment
	if err := w.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "flask"}, &d); err != nil {
		return 0, err
	}
	return *d.Spec.Replicas, nil
}

// uninstall does what the README says and looks for what is left.
func (w *world) uninstall() error {
	for _, line := range readme(w.t, w.root, "### Uninstall")[0] {
		fmt.Fprintln(os.Stderr, "       $", line)
		if _, err := w.enter(line); err != nil {
			return err
		}
	}
	left, err := w.kubectl("get", "apiservices", "-o", `jsonpath={range .items[?(@.spec.service)]}{.metadata.name} {end}`)
	if err != nil {
		return err
	}
	if left != "" {
		return fmt.Errorf("APIServices without a backend are left: %s", left)
	}
	return w.eventually(func(ctx context.Context) error {
		var namespace corev1.Namespace
		err := w.client.Get(ctx, client.ObjectKey{Name: stage.Namespace}, &namespace)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("the namespace is %s", namespace.Status.Phase))
	})
}
