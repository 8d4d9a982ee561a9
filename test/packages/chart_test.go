package packages_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	root    = "../.."
	chart   = root + "/charts/sysdig-metrics-operator"
	release = "sysdig-metrics"
)

// helm is a release's life in a cluster.
type helm struct {
	t       *testing.T
	cluster *cluster.Cluster
	program string
}

func startHelm(t *testing.T) *helm {
	t.Helper()
	// The Go tool builds helm, and tells where it is.
	find := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/helm/go.mod", "-n", "helm")
	find.Dir, find.Stderr = root, os.Stderr
	program, err := find.Output()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return &helm{t: t, cluster: c, program: strings.TrimSpace(string(program))}
}

// part is a part of the test by itself.
func (h *helm) part(name string, do func()) {
	all := h.t
	defer func() { h.t = all }()
	all.Run(name, func(t *testing.T) {
		h.t = t
		do()
	})
}

// try runs helm in the operator's namespace. The error holds what it says.
func (h *helm) try(args ...string) error {
	h.t.Helper()
	var said bytes.Buffer
	command := exec.CommandContext(h.t.Context(), h.program, append([]string{"--namespace", stage.Namespace}, args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+h.cluster.AdminKubeconfig(), "HELM_CACHE_HOME="+h.cluster.Dir(), "HELM_CONFIG_HOME="+h.cluster.Dir())
	command.Stdout, command.Stderr = &said, &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, &said)
	}
	return nil
}

func (h *helm) run(args ...string) {
	h.t.Helper()
	if err := h.try(args...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *helm) kubectl(args ...string) string {
	h.t.Helper()
	out, err := h.cluster.Kubectl(h.t.Context(), args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// want compares what kubectl says.
func (h *helm) want(want string, args ...string) {
	h.t.Helper()
	if got := h.kubectl(args...); got != want {
		h.t.Errorf("kubectl %s says %q, want %q", strings.Join(args, " "), got, want)
	}
}

// certificate is the Secret that the operator fills.
const certificate = "sysdig-metrics-serving-cert"

// issue writes into the Secret as the operator does.
func (h *helm) issue() {
	h.t.Helper()
	h.kubectl("patch", "secret", certificate, "-n", stage.Namespace, "--type=merge", "-p", `{"data":{"tls.crt":"`+authentic+`"}}`, "--field-manager="+operator)
}

// holds compares what the Secret of the certificate holds.
func (h *helm) holds(want string) {
	h.t.Helper()
	h.want(want, "get", "secret", certificate, "-n", stage.Namespace, `-o=jsonpath={.data.tls\.crt}`)
}

const foreign = `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.external.metrics.k8s.io}
spec:
  group: external.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: other-adapter, namespace: monitoring, port: 443}
`

const (
	backend   = "-o=jsonpath={.spec.service.namespace}/{.spec.service.name}"
	bundle    = "-o=jsonpath={.spec.caBundle}"
	authentic = "LS0tLS1CRUdJTg=="
	external  = "apiservice/v1beta1.external.metrics.k8s.io"
	custom    = "apiservice/v1beta2.custom.metrics.k8s.io"
)

// older makes a chart whose kinds lack what the newest have.
func older(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "templates", "crds.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	without := bytes.Replace(text, []byte("    shortNames:\n    - smb\n"), nil, 1)
	if len(without) == len(text) {
		t.Fatal("the kinds are written otherwise")
	}
	if err := os.WriteFile(path, without, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestALifeWithHelm plays what docs/install.md says of Helm, in its order.
func TestALifeWithHelm(t *testing.T) {
	t.Parallel()
	h := startHelm(t)
	h.kubectl("create", "namespace", "monitoring")
	file := filepath.Join(t.TempDir(), "foreign.yaml")
	if err := os.WriteFile(file, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}

	h.part("Helm refuses to take another adapter's API, and installs nothing", func() {
		h.kubectl("apply", "-f", file)
		err := h.try("install", release, chart, "--create-namespace")
		if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") || !strings.Contains(err.Error(), "v1beta1.external.metrics.k8s.io") {
			h.t.Errorf("the error is %v", err)
		}
		h.want("monitoring/other-adapter", "get", external, backend)
		h.want("", "get", "deployments,clusterroles,crds", "--ignore-not-found", "-n", stage.Namespace, "-o=name", "-l=app.kubernetes.io/managed-by=Helm")
	})
	h.part("it installs what the other adapter does not serve", func() {
		h.run("upgrade", "--install", release, older(h.t), "--create-namespace", "--set=serve.external=false")
		h.want("sysdig-metrics/sysdig-metrics-operator", "get", custom, backend)
		h.want("monitoring/other-adapter", "get", external, backend)
		h.kubectl("delete", external)
	})
	h.part("an upgrade brings what is new in the kinds, and keeps what the operator wrote", func() {
		h.holds("")
		h.issue()
		h.want("", "get", "crd/sysdigmetricbindings.autoscaling.sysdigmetrics.dev", "-o=jsonpath={.spec.names.shortNames}")
		h.kubectl("patch", custom, "--type=merge", "-p", `{"spec":{"caBundle":"`+authentic+`"}}`, "--field-manager=sysdig-metrics-operator")
		h.run("upgrade", release, chart, "--values="+chart+"/values-production.yaml")
		h.want(`["smb"]`, "get", "crd/sysdigmetricbindings.autoscaling.sysdigmetrics.dev", "-o=jsonpath={.spec.names.shortNames}")
		h.want(authentic, "get", custom, bundle)
		h.holds(authentic)
		h.want("sysdig-metrics/sysdig-metrics-operator", "get", external, backend)
		h.want("2", "get", "-n", stage.Namespace, "deployment/"+operator, "-o=jsonpath={.spec.replicas}")
	})
	h.part("its pods are those of a restricted namespace", func() {
		out := h.kubectl("label", "--dry-run=server", "namespace", stage.Namespace, "pod-security.kubernetes.io/enforce=restricted")
		if strings.Contains(strings.ToLower(out), "violat") {
			h.t.Error(out)
		}
		h.kubectl("label", "namespace", stage.Namespace, "pod-security.kubernetes.io/enforce=restricted")
	})
	h.part("an upgrade brings back the Secret of the certificate when somebody has deleted it", func() {
		h.kubectl("delete", "secret", certificate, "-n", stage.Namespace)
		h.run("upgrade", release, chart, "--reuse-values")
		h.holds("")
	})
	h.part("it lets go of an API that another adapter has taken", func() {
		h.kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", file)
		h.kubectl("annotate", external, "helm.sh/resource-policy=keep")
		h.run("upgrade", release, chart, "--reuse-values", "--set=serve.external=false")
		h.want("monitoring/other-adapter", "get", external, backend)
	})
	h.part("an uninstallation leaves no API and no right behind, but the kinds", func() {
		h.run("uninstall", release)
		h.want("apiservice.apiregistration.k8s.io/v1beta1.external.metrics.k8s.io",
			"get", "apiservices", "-l=app.kubernetes.io/part-of=sysdig-metrics", "-o=name") // the other adapter's, with our label
		h.kubectl("delete", external)
		h.want("", "get", "secrets", "-n", stage.Namespace, "-o=name")
		h.want("", "get", "clusterroles,clusterrolebindings,priorityclasses,deployments,networkpolicies", "-A", "-l=app.kubernetes.io/managed-by=Helm", "-o=name")
		h.kubectl("get", "smb", "-A")
	})
	h.part("the same release takes the kinds up again", func() {
		h.run("install", release, chart, "--set=crds.keep=false")
		h.run("uninstall", release, "--wait") // kinds take a moment to go
		h.want("", "get", "crds", "-o=name")
	})
	h.part("it takes over what kubectl has installed, when told to", func() {
		h.kubectl("apply", "--server-side", "--field-manager=sysdig-metrics", "-k", root+"/config/default")
		h.kubectl("patch", custom, "--type=merge", "-p", `{"spec":{"caBundle":"`+authentic+`"}}`, "--field-manager=sysdig-metrics-operator")
		if err := h.try("install", release, chart); err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
			h.t.Errorf("without being told: %v", err)
		}
		h.issue()
		h.run("install", release, chart, "--take-ownership", "--force-conflicts")
		h.want(authentic, "get", custom, bundle)
		h.holds(authentic)
	})
}
