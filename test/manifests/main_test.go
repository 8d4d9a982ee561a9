// Package manifests_test applies what is in config to a real API server and checks what users and the operator see.
package manifests_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

const (
	config    = "../../config"
	group     = "autoscaling.sysdigmetrics.dev"
	namespace = "sysdig-metrics"          // of the operator
	account   = "sysdig-metrics-operator" // of the operator
	manager   = "sysdig-metrics"          // of the fields that an installation sets
	// patience is the end of every wait, which tells of what never happens.
	patience = 5 * time.Minute
)

var (
	bindings    = schema.GroupVersionResource{Group: group, Version: "v1alpha1", Resource: "sysdigmetricbindings"}
	connections = schema.GroupVersionResource{Group: group, Version: "v1alpha1", Resource: "sysdigconnections"}
)

// The control plane that all tests share, with config/default applied.
var (
	testbed *cluster.Cluster
	client  kubernetes.Interface
	objects dynamic.Interface
)

// oldest is set by make e2e-oldest.
var oldest = flag.Bool("oldest", false, "run on the oldest Kubernetes that is supported")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(leaks.RunScene(func() (int, error) { return run(m) }))
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // The first start builds the control plane.
	defer cancel()
	// The HPA controller looks at an HPA when its spec is written, and not again: the tests write the status in its place.
	if testbed, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr, HPASyncPeriod: time.Hour, Oldest: *oldest}); err != nil {
		return 0, err
	}
	defer func() {
		if stopErr := testbed.Stop(context.Background()); err == nil {
			err = stopErr
		}
	}()
	if client, err = kubernetes.NewForConfig(testbed.AdminConfig()); err != nil {
		return 0, fmt.Errorf("create a client: %w", err)
	}
	if objects, err = dynamic.NewForConfig(testbed.AdminConfig()); err != nil {
		return 0, fmt.Errorf("create a dynamic client: %w", err)
	}
	if err := applyDefault(ctx); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// applyDefault applies config/default and waits for the two kinds.
func applyDefault(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := testbed.Kubectl(ctx, install("default")...); err != nil {
		return fmt.Errorf("apply config/default: %w", err)
	}
	if _, err := testbed.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout="+patience.String(),
		"crd/sysdigmetricbindings."+group, "crd/sysdigconnections."+group); err != nil {
		return fmt.Errorf("wait for the kinds: %w", err)
	}
	return nil
}

// install is the command that applies a folder of config, as config/default says it.
func install(folder string, more ...string) []string {
	return append([]string{"apply", "--server-side", "--field-manager=" + manager, "-k", config + "/" + folder}, more...)
}

// try runs kubectl as the administrator.
func try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return testbed.Kubectl(ctx, args...)
}

// kubectl is try for what has to work.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// temporary creates an object with kubectl create until the test's end.
func temporary(t *testing.T, kind, name, flag, namespace string, more ...string) {
	t.Helper()
	kubectl(t, append([]string{"create", kind, name, flag, namespace}, more...)...)
	t.Cleanup(func() { remove(t, kind, name, flag, namespace) })
}

// remove also works when the test is over.
func remove(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if _, err := testbed.Kubectl(ctx, append([]string{"delete", "--ignore-not-found"}, args...)...); err != nil {
		t.Error(err)
	}
}

// write makes a file for kubectl and returns its path.
func write(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// parse reads one object from YAML.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// changed is the object with a merge patch (RFC 7386, as YAML) to its spec.
func changed(t *testing.T, object, change string) *unstructured.Unstructured {
	t.Helper()
	result := parse(t, object)
	result.Object["spec"] = merge(result.Object["spec"], parse(t, change).Object)
	return result
}

func merge(old, change any) any {
	changes, ok := change.(map[string]any)
	if !ok {
		return change
	}
	result, ok := old.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for key, value := range changes {
		if value == nil {
			delete(result, key)
		} else {
			result[key] = merge(result[key], value)
		}
	}
	return result
}
