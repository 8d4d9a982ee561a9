package manifests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
)

var variants = []string{"default", "overlays/dev", "overlays/production", "overlays/custom-only", "overlays/external-only", certManager}

// certManager needs kinds that are not there: test/packages applies it.
const certManager = "overlays/cert-manager"

func TestOverlaysAreAccepted(t *testing.T) {
	for _, folder := range variants {
		t.Run(folder, func(t *testing.T) {
			if folder != certManager {
				kubectl(t, install(folder, "--dry-run=server")...)
			}
			deployment := deploymentOf(t, folder)
			if deployment.Spec.Template.Spec.PriorityClassName != "" {
				createPriorityClass(t, folder)
			}
			if _, err := createPod(t.Context(), deployment); err != nil {
				t.Errorf("the namespace refuses the Deployment's pod: %v", err)
			}
		})
	}
}

func TestOverlaysKeepTheRestrictedSecurityContext(t *testing.T) {
	yes, no := true, false
	wantPod := &corev1.PodSecurityContext{
		RunAsNonRoot:   &yes,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	wantContainer := &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	for _, folder := range variants {
		t.Run(folder, func(t *testing.T) {
			spec := deploymentOf(t, folder).Spec.Template.Spec
			if !reflect.DeepEqual(spec.SecurityContext, wantPod) {
				t.Errorf("the pod's security context is %v, want %v", spec.SecurityContext, wantPod)
			}
			if len(spec.Containers) != 1 || len(spec.InitContainers) != 0 {
				t.Fatalf("there are %d containers and %d before them, want one and none", len(spec.Containers), len(spec.InitContainers))
			}
			if got := spec.Containers[0].SecurityContext; !reflect.DeepEqual(got, wantContainer) {
				t.Errorf("the container's security context is %v, want %v", got, wantContainer)
			}
			for _, volume := range spec.Volumes {
				if issued := folder == certManager && volume.Secret != nil; volume.EmptyDir == nil && !issued {
					t.Errorf("the volume %s comes from elsewhere", volume.Name)
				}
			}
		})
	}
}

// Without this the acceptance above would prove nothing.
func TestTheNamespaceRefusesAPodWithoutSecurityContext(t *testing.T) {
	deployment := deploymentOf(t, "default")
	deployment.Spec.Template.Spec.Containers[0].SecurityContext = nil
	_, err := createPod(t.Context(), deployment)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `violates PodSecurity "restricted`) {
		t.Errorf("the error is %v, want a violation of PodSecurity", err)
	}
}

func TestTheOperatorUnderstandsTheArguments(t *testing.T) {
	t.Setenv("POD_NAMESPACE", namespace)
	for _, folder := range variants {
		t.Run(folder, func(t *testing.T) {
			container := deploymentOf(t, folder).Spec.Template.Spec.Containers[0]
			parsed, err := options.Parse(container.Args, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if want := folder != certManager; parsed.ManageCertificates != want {
				t.Errorf("it manages certificates: %t, want %t", parsed.ManageCertificates, want)
			}
			if want := folder != "overlays/dev"; parsed.LeaderElect != want {
				t.Errorf("leader election is %t, want %t", parsed.LeaderElect, want)
			}
			if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return int(p.ContainerPort) == parsed.SecurePort }) {
				t.Errorf("no container port is the secure port %d", parsed.SecurePort)
			}
			if !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
				return strings.HasPrefix(parsed.CertDir, m.MountPath+"/")
			}) {
				t.Errorf("no volume holds the folder %s, and the root is read-only", parsed.CertDir)
			}
		})
	}
}

// A folder that brings an API group serves it, and the other way round.
func TestEachFolderBringsWhatItServes(t *testing.T) {
	t.Setenv("POD_NAMESPACE", namespace)
	byAPI := map[metric.API][]string{metric.CustomMetrics: {v1beta1Custom, v1beta2Custom}, metric.ExternalMetrics: {v1beta1External}}
	for folder, serve := range map[string][]metric.API{
		"operator": nil, "default": metric.APIs(), "overlays/dev": metric.APIs(), "overlays/production": metric.APIs(), certManager: metric.APIs(),
		"overlays/custom-only": {metric.CustomMetrics}, "overlays/external-only": {metric.ExternalMetrics},
	} {
		t.Run(folder, func(t *testing.T) {
			var want []string
			for _, api := range serve {
				want = append(want, byAPI[api]...)
			}
			var got []string
			for _, raw := range findAll(t, folder, "APIService") {
				var s apiregistrationv1.APIService
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, &s); err != nil {
					t.Fatal(err)
				}
				got = append(got, s.Name)
				if s.Labels[partOf] != product || s.Spec.Service.Name != account || s.Spec.Service.Namespace != namespace || s.Spec.InsecureSkipTLSVerify {
					t.Errorf("it is %+v", s)
				}
				// Beside a v1beta1 of somebody else, HPAs must not ask our v1beta2.
				if priority := map[bool]int32{true: 1, false: 100}[s.Spec.Version == "v1beta2"]; s.Spec.VersionPriority != priority {
					t.Errorf("%s has the priority %d, want %d", s.Name, s.Spec.VersionPriority, priority)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("it brings %q, want %q", got, want)
			}
			parsed, err := options.Parse(deploymentOf(t, folder).Spec.Template.Spec.Containers[0].Args, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			for _, api := range metric.APIs() {
				if folder != "operator" && parsed.Serves(api) != slices.Contains(serve, api) {
					t.Errorf("it serves %q, want %q", parsed.Serve, serve)
				}
			}
		})
	}
}

// TestEachFolderLetsUsersReadWhatItServes: an overlay that leaves an API group to another adapter says nothing about who reads it.
func TestEachFolderLetsUsersReadWhatItServes(t *testing.T) {
	const customRole, externalRole = "sysdig-metrics-custom-metrics-viewer", "sysdig-metrics-external-metrics-viewer"
	both := map[string][]string{custom: {customRole}, external: {externalRole}}
	for folder, want := range map[string]map[string][]string{
		"default": both, "overlays/dev": both, "overlays/production": both, certManager: both,
		"overlays/custom-only": {custom: {customRole}}, "overlays/external-only": {external: {externalRole}},
	} {
		t.Run(folder, func(t *testing.T) {
			got := map[string][]string{}
			for _, raw := range findAll(t, folder, "ClusterRole") {
				var role rbacv1.ClusterRole
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, &role); err != nil {
					t.Fatal(err)
				}
				for _, rule := range role.Rules {
					for _, group := range []string{custom, external} {
						if slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, "*") {
							got[group] = append(got[group], role.Name)
						}
					}
				}
				if strings.HasSuffix(role.Name, "-metrics-viewer") && role.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "true" {
					t.Errorf("%s is no part of the role view: %v", role.Name, role.Labels)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the roles by API group are %v, want %v", got, want)
			}
		})
	}
}

func TestReplicas(t *testing.T) {
	for folder, want := range map[string]int32{"default": 1, "overlays/dev": 1, "overlays/production": 2} {
		if got := deploymentOf(t, folder).Spec.Replicas; got == nil || *got != want {
			t.Errorf("%s has %v replicas, want %d", folder, got, want)
		}
	}
}

func TestProductionNeverLosesBothReplicasAtOnce(t *testing.T) {
	var budget policyv1.PodDisruptionBudget
	find(t, "overlays/production", "PodDisruptionBudget", &budget)
	deployment := deploymentOf(t, "overlays/production")
	if got := budget.Spec.MaxUnavailable; got == nil || got.IntValue() != 1 || budget.Spec.MinAvailable != nil {
		t.Errorf("the budget is %v, want one pod to be away at most", budget.Spec)
	}
	if budget.Namespace != deployment.Namespace || !reflect.DeepEqual(budget.Spec.Selector, deployment.Spec.Selector) {
		t.Errorf("the budget is of %s %v, the Deployment of %s %v",
			budget.Namespace, budget.Spec.Selector, deployment.Namespace, deployment.Spec.Selector)
	}
	for _, c := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		if c.TopologyKey == corev1.LabelHostname && reflect.DeepEqual(c.LabelSelector, deployment.Spec.Selector) {
			return
		}
	}
	t.Error("nothing puts the replicas on different nodes")
}

// Without a rule for the kube-apiserver, and for whom it asks, production would be cut off.
func TestTheNetworkPolicyLetsInWhoHasToComeIn(t *testing.T) {
	var policy networkingv1.NetworkPolicy
	find(t, "overlays/production", "NetworkPolicy", &policy)
	deployment := deploymentOf(t, "overlays/production")
	if policy.Namespace != deployment.Namespace || !reflect.DeepEqual(policy.Spec.PodSelector, *deployment.Spec.Selector) {
		t.Errorf("it is about %s %v, the Deployment is %s %v", policy.Namespace, policy.Spec.PodSelector, deployment.Namespace, deployment.Spec.Selector)
	}
	in := map[string][]networkingv1.NetworkPolicyPeer{}
	for _, rule := range policy.Spec.Ingress {
		for _, port := range rule.Ports {
			in[port.Port.String()] = rule.From
		}
	}
	labelled := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"metrics": "enabled"}}}}
	// The kube-apiserver is no pod that could be selected, and probes come from the node, which no policy keeps away.
	if want := map[string][]networkingv1.NetworkPolicyPeer{"https": nil, "metrics": labelled}; !reflect.DeepEqual(in, want) {
		t.Errorf("may come in: %v, want %v", in, want)
	}
	out := map[string]bool{}
	for _, rule := range policy.Spec.Egress {
		for _, port := range rule.Ports {
			protocol := corev1.ProtocolTCP
			if port.Protocol != nil {
				protocol = *port.Protocol
			}
			out[string(protocol)+" "+port.Port.String()] = true
		}
	}
	want := map[string]bool{"UDP 53": true, "TCP 53": true, "TCP 443": true, "TCP 6443": true}
	if !reflect.DeepEqual(out, want) || len(policy.Spec.PolicyTypes) != 2 {
		t.Errorf("it may reach %v, by %v, want %v", out, policy.Spec.PolicyTypes, want)
	}
}

func TestProductionHasAPriorityAndRoom(t *testing.T) {
	var class schedulingv1.PriorityClass
	find(t, "overlays/production", "PriorityClass", &class)
	pod := deploymentOf(t, "overlays/production").Spec.Template.Spec
	if pod.PriorityClassName != class.Name || class.GlobalDefault || class.Value <= 0 || class.Value >= 1_000_000_000 {
		t.Errorf("the pods have the class %s, and there is %+v", pod.PriorityClassName, class)
	}
	room := pod.Containers[0].Resources
	if room.Requests.Cpu().IsZero() || room.Requests.Memory().IsZero() || room.Limits.Memory().Cmp(*room.Requests.Memory()) < 0 || !room.Limits.Cpu().IsZero() {
		t.Errorf("the resources are %+v", room)
	}
}

// createPod makes the Deployment's pod without keeping it.
func createPod(ctx context.Context, d *appsv1.Deployment) (*corev1.Pod, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "trial", Namespace: d.Namespace, Labels: d.Spec.Template.Labels},
		Spec:       d.Spec.Template.Spec,
	}
	return client.CoreV1().Pods(d.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

// createPriorityClass creates that of a folder, unless it is there: no pod is taken without its class, not even for a trial.
func createPriorityClass(t *testing.T, folder string) {
	t.Helper()
	var class schedulingv1.PriorityClass
	find(t, folder, "PriorityClass", &class)
	if _, err := client.SchedulingV1().PriorityClasses().Create(t.Context(), &class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func deploymentOf(t *testing.T, folder string) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	find(t, folder, "Deployment", deployment)
	return deployment
}

// find renders a folder of config and reads the only object of a kind.
func find(t *testing.T, folder, kind string, into any) {
	t.Helper()
	found := findAll(t, folder, kind)
	if len(found) != 1 {
		t.Fatalf("%s has %d objects of kind %s, want 1", folder, len(found), kind)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found[0].Object, into); err != nil {
		t.Fatal(err)
	}
}

// findAll renders a folder of config and returns the objects of a kind.
func findAll(t *testing.T, folder, kind string) (found []unstructured.Unstructured) {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(kubectl(t, "kustomize", config+"/"+folder)), 4096)
	for {
		var raw json.RawMessage
		var object unstructured.Unstructured
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err == nil {
			err = object.UnmarshalJSON(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
		if object.GetKind() == kind {
			found = append(found, object)
		}
	}
}
