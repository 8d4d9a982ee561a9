package serving_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// service is what the APIServices point to, in the namespace default.
	service = "metrics"
	// controller is the user that HPAs read as.
	controller = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	// autoscalers is how many HPAs there are, each with metrics of all three kinds.
	autoscalers = 12
)

// apiService is one version of an API group.
const apiService = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %[2]s.%[1]s}
spec:
  group: %[1]s
  version: %[2]s
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: %[3]s
  service: {namespace: default, name: metrics, port: %[4]d}
---
`

// autoscaler is a Deployment with an HPA.
const autoscaler = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-%[1]d, namespace: default}
spec:
  selector: {matchLabels: {app: web-%[1]d}}
  template:
    metadata: {labels: {app: web-%[1]d}}
    spec: {containers: [{name: web, image: example.com/web}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web-%[1]d, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web-%[1]d}
  maxReplicas: 3
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: v1, kind: Service, name: web-%[1]d}
      metric: {name: requests}
      target: {type: Value, value: "1"}
  - type: Pods
    pods:
      metric: {name: requests-%[1]d}
      target: {type: AverageValue, averageValue: "1"}
  - type: External
    external:
      metric: {name: queue-%[1]d}
      target: {type: AverageValue, averageValue: "1"}
---
`

// TestTheHPAControllerIsABroadReader lets the real one read through the real aggregation layer.
func TestTheHPAControllerIsABroadReader(t *testing.T) {
	t.Parallel()
	s := start(t, controller)
	bundle := base64.StdEncoding.EncodeToString(s.bundle)
	manifest := ""
	for _, of := range [][2]string{{custom, "v1beta1"}, {custom, "v1beta2"}, {external, "v1beta1"}} {
		manifest += fmt.Sprintf(apiService, of[0], of[1], bundle, s.port)
	}
	for i := range autoscalers {
		manifest += fmt.Sprintf(autoscaler, i)
	}
	if err := testbed.ExposeHostProcess(t.Context(), types.NamespacedName{Namespace: "default", Name: service}, s.port); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubectl(t, "delete", "--ignore-not-found", "-f", file) })
	kubectl(t, "apply", "-f", file)
	s.waitRead(t)
	groups := byGroup(audit.of(t, controller))
	for _, group := range []string{custom, external} {
		reviews := groups[group]
		if len(reviews) == 0 {
			t.Errorf("%s: the HPA controller was not reviewed", group)
		}
		expectRemembered(t, group, reviews)
	}
}

// waitRead returns when the metrics of all HPAs were read several times.
func (s *server) waitRead(t *testing.T) {
	t.Helper()
	const times = 5
	for i := range autoscalers {
		for _, read := range []string{fmt.Sprintf("web-%d requests", i), fmt.Sprintf("* requests-%d", i), fmt.Sprintf("queue-%d", i)} {
			eventually(t, fmt.Sprintf("%d reads of %s", times, read), func() (bool, string) {
				n := s.reads.of(read)
				return n >= times, fmt.Sprint(n)
			})
		}
	}
}

// kubectl runs a command that has to work.
func kubectl(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if _, err := testbed.Kubectl(ctx, args...); err != nil {
		t.Fatalf("kubectl %v: %v", args, err)
	}
}
