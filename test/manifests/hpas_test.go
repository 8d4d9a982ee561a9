package manifests_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/hpas"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 50
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: v1, kind: Service, name: web}
      metric: {name: requests}
      target: {type: AverageValue, averageValue: "100"}
`

var requestsOfWeb = metric.Claim{Namespace: "default", Resource: schema.GroupResource{Resource: "services"}, Object: "web", Metric: "requests"}

// followed is a watch of HPAs under an account, and what it has logged.
type followed struct {
	*hpas.Watch
	mu   sync.Mutex
	said []string
}

func followHPAs(t *testing.T, namespace, account string) *followed {
	t.Helper()
	f := &followed{Watch: hpas.NewWatch(clientOf(t, namespace, account).AutoscalingV2())}
	ctx, cancel := context.WithCancel(log.IntoContext(t.Context(), funcr.New(func(_, line string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.said = append(f.said, line)
	}, funcr.Options{})))
	var hands sync.WaitGroup
	hands.Go(func() {
		if err := f.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); hands.Wait() })
	return f
}

// wantLimit waits until a value, in thousandths, exceeds the HPA's target, and the one below does not.
func (f *followed) wantLimit(t *testing.T, limit int64) {
	t.Helper()
	eventually(t, "wait for the target", func() bool {
		return !f.Exceeds(requestsOfWeb, "Service", limit) && f.Exceeds(requestsOfWeb, "Service", limit+1)
	})
}

// looked waits until the controller has looked at the HPA after its spec was written, and found no Deployment to scale. It does
// not look again for an hour. The controller of Kubernetes 1.32 has not looked before that either.
func looked(t *testing.T) {
	t.Helper()
	if *oldest {
		return
	}
	kubectl(t, "wait", "hpa", "web", "-n", "default", "--for=condition=AbleToScale=False", "--timeout="+patience.String())
}

// scaled makes an HPA with a status as its controller writes it.
func scaled(t *testing.T, replicas string) {
	t.Helper()
	kubectl(t, "patch", "hpa", "web", "-n", "default", "--subresource=status", "--type=merge", "-p",
		`{"status": {"currentReplicas": `+replicas+`, "desiredReplicas": `+replicas+`, "conditions": [{"type": "AbleToScale", "status": "True"}]}}`)
}

func TestTheOperatorFollowsHPAs(t *testing.T) {
	f := followHPAs(t, namespace, account)
	t.Cleanup(func() { remove(t, "hpa", "web", "-n", "default") })
	kubectl(t, "create", "-f", write(t, []byte(autoscaler)))
	looked(t)
	scaled(t, "10")
	f.wantLimit(t, 1_100_000)
	scaled(t, "20")
	f.wantLimit(t, 2_200_000)
	kubectl(t, "patch", "hpa", "web", "-n", "default", "--type=json", "-p",
		`[{"op": "replace", "path": "/spec/metrics/0/object/target/averageValue", "value": "50"}]`)
	looked(t)
	scaled(t, "20")
	f.wantLimit(t, 1_100_000)
	kubectl(t, "delete", "hpa", "web", "-n", "default")
	eventually(t, "wait for the end", func() bool { return !f.Exceeds(requestsOfWeb, "Service", 9_000_000) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.said) > 0 {
		t.Errorf("it said %q", f.said)
	}
}

// TestWithoutThePermissionNoHPAIsKnown is an upgrade with the ClusterRole of an older version, until it is applied.
func TestWithoutThePermissionNoHPAIsKnown(t *testing.T) {
	t.Cleanup(func() { remove(t, "hpa", "web", "-n", "default") })
	kubectl(t, "create", "-f", write(t, []byte(autoscaler)))
	looked(t)
	scaled(t, "10")
	temporary(t, "serviceaccount", "older", "-n", "default")
	f := followHPAs(t, "default", "older")
	lines := func(want ...string) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.said) != len(want) {
			return false
		}
		for i, text := range want {
			if !strings.Contains(f.said[i], text) {
				t.Fatalf("it said %q, want %q", f.said, want)
			}
		}
		return true
	}
	eventually(t, "wait for the refusal", func() bool { return lines("cannot be watched") })
	if f.Exceeds(requestsOfWeb, "Service", 9_000_000) {
		t.Error("an HPA is known")
	}

	t.Cleanup(func() { remove(t, "clusterrole,clusterrolebinding", "autoscaler-reader") })
	kubectl(t, "create", "clusterrole", "autoscaler-reader", "--verb=list,watch", "--resource=horizontalpodautoscalers.autoscaling")
	kubectl(t, "create", "clusterrolebinding", "autoscaler-reader", "--clusterrole=autoscaler-reader", "--serviceaccount=default:older")
	f.wantLimit(t, 1_100_000)
	if !lines("cannot be watched", "can be watched now") {
		t.Errorf("it said %q", f.said)
	}
}
