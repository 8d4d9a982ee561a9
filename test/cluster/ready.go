package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const (
	// readyTimeout is how long a component may take until it is ready; on an idle machine it takes a few seconds.
	readyTimeout = 5 * time.Minute
	pollInterval = 100 * time.Millisecond
	nodeName     = "node-1"
)

// waitHealthy waits until a component answers 200 at path.
func (c *Cluster) waitHealthy(ctx context.Context, component binaries.Component, port int, path string) error {
	client, err := rest.HTTPClientFor(c.config) // All servers' certificates have the same authority.
	if err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	defer client.CloseIdleConnections()
	client.Timeout = 10 * time.Second
	return c.waitFor(ctx, fmt.Sprintf("%s to be healthy", component), component, func(ctx context.Context) error {
		return get(ctx, client, url(port)+path)
	})
}

// get asks for a URL and returns an error unless the answer is 200.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("request %s: %w", url, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() // Nothing depends on it.
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("read %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", url, response.Status, body)
	}
	return nil
}

// waitFor polls check until it returns nil. It gives up when the deadline passes or when any component has ended
// that nobody ends on purpose.
// The component is the one whose log the error quotes.
func (c *Cluster) waitFor(ctx context.Context, what string, component binaries.Component, check func(context.Context) error) error {
	last := errors.New("no answer")
	err := wait.PollUntilContextTimeout(ctx, pollInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		for _, p := range c.processes {
			if p.ended() && !p.stopping.Load() {
				return false, p.failure()
			}
		}
		err := check(ctx)
		if err != nil && ctx.Err() == nil {
			last = err // What fails because the time is over explains nothing.
		}
		return err == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case !wait.Interrupted(err):
		return err
	}
	for _, p := range c.processes {
		if p.component == component {
			return fmt.Errorf("wait for %s: %w: %w; the end of %s:\n%s", what, err, last, p.logFile, tail(p.logFile, quotedLines))
		}
	}
	return fmt.Errorf("wait for %s: %w: %w", what, err, last)
}

// waitUsable creates the node and waits until pods can be created in the default namespace and run.
func (c *Cluster) waitUsable(ctx context.Context) error {
	if !c.layout.opts.NoNodes && !c.layout.opts.Address.IsValid() {
		if _, err := c.client.CoreV1().Nodes().Create(ctx, newNode(), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create the node: %w", err)
		}
		if err := c.waitFor(ctx, "the node to be Ready", binaries.Kwok, c.checkNode); err != nil {
			return err
		}
	}
	return c.waitFor(ctx, "the default service account", binaries.ControllerManager, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (c *Cluster) checkNode(ctx context.Context) error {
	node, err := c.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the node is not Ready")
}

// newNode is a node that only exists in the API: 64 CPUs, 256 GiB of memory and 500 pods.
func newNode() *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("256Gi"),
		corev1.ResourcePods:             resource.MustParse("500"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{
			corev1.LabelHostname: nodeName, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity},
	}
}
