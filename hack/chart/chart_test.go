package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// program has the Go tool build helm, and tells where it is: to start it through the Go tool takes a second each time.
var program = sync.OnceValues(func() (string, error) {
	path, err := exec.Command("go", "tool", "-modfile=tools/helm/go.mod", "-n", "helm").Output()
	return strings.TrimSpace(string(path)), err
})

// helm runs helm at the module's root.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatalf("building helm: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// rendered are the objects that the chart makes, in a namespace, with these arguments.
func rendered(t *testing.T, release string, args ...string) map[string]object {
	t.Helper()
	out, err := helm(t, append([]string{"template", "sysdig", folder, "--namespace", release}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return byKey(t, out)
}

func byKey(t *testing.T, manifests string) map[string]object {
	t.Helper()
	objects, err := parse([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]object{}
	for _, o := range objects {
		if _, twice := all[o.key()]; twice {
			t.Errorf("%s is there twice", o.key())
		}
		all[o.key()] = o
	}
	return all
}

// built are the objects of a folder of config, without the namespace, which is Helm's.
func built(t *testing.T, folder string) map[string]object {
	t.Helper()
	manifests, err := kustomize(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	all := byKey(t, string(manifests))
	delete(all, "v1/Namespace//"+namespace)
	return all
}

func wantEqual(t *testing.T, got, want map[string]object) {
	t.Helper()
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing", key)
		}
	}
	for key, o := range got {
		other, ok := want[key]
		if !ok {
			t.Errorf("%s is too much", key)
		} else if difference := cmp.Diff(other.Object, o.Object); difference != "" {
			t.Errorf("%s differs (- want, + got):\n%s", key, difference)
		}
	}
}

// own makes a kustomization of overlays and components, as docs/install.md tells users to.
func own(t *testing.T, base string, components ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, filepath.Join(root, "config"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%s/%s]\ncomponents: [%s/%s]\n", relative, base, relative, strings.Join(components, ","+relative+"/"))
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownOfThePage is the kustomization of docs/install.md, with this checkout in the place of a tag.
func ownOfThePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, found := range regexp.MustCompile(`(?m)^- https://\S+//config/(\S+)\?ref=`).FindAllStringSubmatch(string(page), -1) {
		parts = append(parts, found[1])
	}
	if len(parts) != 3 {
		t.Fatalf("the kustomization of the page has the parts %q", parts)
	}
	return own(t, parts[0], parts[1:]...)
}

// There is no second truth: what the chart makes is what kustomize makes.
func TestTheChartMakesWhatTheManifestsSay(t *testing.T) {
	t.Chdir("../..")
	production := "--values=" + folder + "/values-production.yaml"
	const issued, custom, external = "--set=certManager.enabled=true", "--set=serve.external=false", "--set=serve.custom=false"
	for _, row := range []struct {
		folder string
		args   []string
	}{
		{"config/default", nil},
		{"config/overlays/production", []string{production}},
		{"config/overlays/cert-manager", []string{issued}},
		{"config/overlays/custom-only", []string{custom}},
		{"config/overlays/external-only", []string{external}},
		{own(t, "overlays/production", "components/cert-manager"), []string{production, issued}},
		{own(t, "overlays/custom-only", "components/cert-manager"), []string{custom, issued}},
		{own(t, "overlays/external-only", "components/cert-manager"), []string{external, issued}},
		{ownOfThePage(t), []string{production, issued, custom}},
	} {
		t.Run(row.folder+" "+strings.Join(row.args, " "), func(t *testing.T) {
			wantEqual(t, rendered(t, namespace, append(row.args, "--set=crds.keep=false")...), built(t, row.folder))
		})
	}
}

// Beyond the manifests the chart has Helm's annotation that keeps the kinds, unless told otherwise.
func TestTheKindsAreKept(t *testing.T) {
	t.Chdir("../..")
	want := built(t, "config/default")
	for _, o := range want {
		if o.GetKind() == "CustomResourceDefinition" {
			annotations := o.GetAnnotations()
			annotations["helm.sh/resource-policy"] = "keep"
			o.SetAnnotations(annotations)
		}
	}
	wantEqual(t, rendered(t, namespace), want)
	maps.DeleteFunc(want, func(_ string, o object) bool { return o.GetKind() == "CustomResourceDefinition" })
	wantEqual(t, rendered(t, namespace, "--set=crds.enabled=false"), want)
}

// Nothing stays behind in the namespace of the manifests when the release is in another.
func TestTheChartMayBeInstalledInAnotherNamespace(t *testing.T) {
	t.Chdir("../..")
	args := []string{"--values=" + folder + "/values-production.yaml", "--set=certManager.enabled=true"}
	const elsewhere = "elsewhere"
	want := map[string]object{}
	for _, o := range rendered(t, namespace, args...) {
		moved, _ := move(o.Object, elsewhere).(map[string]any)
		o.Object = moved
		want[o.key()] = o
	}
	got := rendered(t, elsewhere, args...)
	wantEqual(t, got, want)
	for key, o := range got {
		text, err := linesOf(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range []string{"namespace: " + namespace, "." + namespace + ".svc", ": " + namespace + "/"} {
			if slices.ContainsFunc(text, func(line string) bool {
				return strings.HasSuffix(line, trace) || !strings.HasPrefix(trace, "namespace") && strings.Contains(line, trace)
			}) {
				t.Errorf("%s has %q:\n%s", key, trace, strings.Join(text, "\n"))
			}
		}
	}
}

// move puts a tree's references to our namespace into another.
func move(tree any, into string) any {
	switch node := tree.(type) {
	case map[string]any:
		for key, value := range node {
			if key == "namespace" && value == namespace {
				node[key] = into
			} else {
				node[key] = move(value, into)
			}
		}
	case []any:
		for i, value := range node {
			node[i] = move(value, into)
		}
	case string:
		node = strings.ReplaceAll(node, "."+namespace+".svc", "."+into+".svc")
		return strings.ReplaceAll(node, namespace+"/sysdig-metrics-serving", into+"/sysdig-metrics-serving")
	}
	return tree
}

// Each value that the manifests do not set arrives where it is meant to.
func TestValuesArriveInTheDeployment(t *testing.T) {
	t.Chdir("../..")
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	values := filepath.Join(t.TempDir(), "values.yaml")
	content := `
image: {repository: registry.example.com:5000/mirror/operator, digest: "` + digest + `", pullPolicy: Always}
imagePullSecrets: [{name: mirror}]
replicas: 3
priorityClass: {name: platform}
nodeSelector: {disk: fast}
tolerations: [{key: platform, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
podAnnotations: {example.com/a: "1"}
podLabels: {team: platform}
extraArgs: [--log-level=debug]
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy:3128"}]
resources: {limits: {memory: 2Gi}}
`
	if err := os.WriteFile(values, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	deployment := deploymentOf(t, rendered(t, namespace, "--values="+values))
	pod := deployment.Spec.Template.Spec
	container := pod.Containers[0]
	for what, row := range map[string][2]any{
		"replicas":     {*deployment.Spec.Replicas, int32(3)},
		"image":        {container.Image, "registry.example.com:5000/mirror/operator@" + digest},
		"pull policy":  {string(container.ImagePullPolicy), "Always"},
		"pull secret":  {pod.ImagePullSecrets[0].Name, "mirror"},
		"priority":     {pod.PriorityClassName, "platform"},
		"nodes":        {pod.NodeSelector["disk"], "fast"},
		"tolerations":  {pod.Tolerations[0].Key, "platform"},
		"affinity":     {pod.Affinity.NodeAffinity != nil, true},
		"spread":       {pod.TopologySpreadConstraints[0].TopologyKey, "zone"},
		"annotations":  {deployment.Spec.Template.Annotations["example.com/a"], "1"},
		"labels":       {fmt.Sprint(deployment.Spec.Template.Labels), "map[app.kubernetes.io/name:sysdig-metrics-operator team:platform]"},
		"flags":        {container.Args[len(container.Args)-1], "--log-level=debug"},
		"environment":  {container.Env[len(container.Env)-1].Value, "http://proxy:3128"},
		"memory limit": {container.Resources.Limits.Memory().String(), "2Gi"},
		"CPU request":  {container.Resources.Requests.Cpu().String(), "50m"},
	} {
		if row[0] != row[1] {
			t.Errorf("%s: %v, want %v", what, row[0], row[1])
		}
	}
	if got := deploymentOf(t, rendered(t, namespace, "--set=image.tag=v9")).Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, "/"+name+":v9") {
		t.Errorf("the image is %s", got)
	}
	const rule = `--set-json=networkPolicy={"enabled":true,"extraEgress":[{"ports":[{"port":3128}]}]}`
	policy := rendered(t, namespace, rule)["networking.k8s.io/v1/NetworkPolicy/"+namespace+"/"+name]
	if port, err := at(policy.Object, "spec", "egress", 2, "ports", 0, "port"); err != nil || port != int64(3128) {
		t.Errorf("the third rule is for port %v: %v", port, err)
	}
}

func deploymentOf(t *testing.T, objects map[string]object) *appsv1.Deployment {
	t.Helper()
	deployment := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects["apps/v1/Deployment/"+namespace+"/"+name].Object, deployment); err != nil {
		t.Fatal(err)
	}
	return deployment
}

func TestWrongValuesAreRefused(t *testing.T) {
	t.Chdir("../..")
	for set, want := range map[string]string{
		"replica=2":                                     "additional properties 'replica' not allowed",
		"replicas=0":                                    "at '/replicas': minimum: got 0, want 1",
		"replicas=two":                                  "at '/replicas': got string, want integer",
		"image=operator":                                "at '/image': got string, want object",
		"image.repository=":                             "at '/image/repository'",
		"image.pullPolicy=Sometimes":                    "at '/image/pullPolicy'",
		"image.digest=latest":                           "at '/image/digest'",
		"certManager=true":                              "at '/certManager': got boolean, want object",
		"certManager.enabled=yes":                       "at '/certManager/enabled': got string, want boolean",
		"crds.delete=true":                              "additional properties 'delete' not allowed",
		"serve.custom=false,serve.external=false":       "at '/serve': 'anyOf' failed",
		"serve.pods=true":                               "additional properties 'pods' not allowed",
		"networkPolicy.extraEgress[0].port=1":           "additional properties 'port' not allowed",
		"priorityClass.name=Not_A_Name":                 "at '/priorityClass/name'",
		"resources.memory=1Gi":                          "additional properties 'memory' not allowed",
		"resources.limits.memory=much":                  "at '/resources/limits/memory'",
		"tolerations[0].effect=Never":                   "at '/tolerations/0/effect'",
		"extraArgs[0]=log-level=debug":                  "at '/extraArgs/0'",
		"extraEnv[0].value=x":                           "missing property 'name'",
		`podLabels.app\.kubernetes\.io/name=other`:      "at '/podLabels'",
		"imagePullSecrets[0]=mirror":                    "at '/imagePullSecrets/0': got string, want object",
		"topologySpreadConstraints[0].topologyKey=zone": "missing properties",
		"affinity.nodes=none":                           "additional properties 'nodes' not allowed",
	} {
		t.Run(set, func(t *testing.T) {
			_, err := helm(t, "template", "sysdig", folder, "--set", set)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want %q", err, want)
			}
		})
	}
}

func TestHelmFindsNoFault(t *testing.T) {
	t.Chdir("../..")
	for _, args := range [][]string{nil, {"--values=" + folder + "/values-production.yaml"}, {"--set=certManager.enabled=true"}} {
		if _, err := helm(t, append([]string{"lint", "--strict", folder}, args...)...); err != nil {
			t.Error(err)
		}
	}
}
