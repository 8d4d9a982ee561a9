package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/node"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	operatorName = "sysdig-metrics-operator"
	// standIn and load are the addresses of testdata's Services.
	standIn = "10.96.100.1"
	load    = "10.96.100.2"
	// deadline is how long pods may take until they are ready, and patience how long everything else may. They tell of what never
	// happens.
	deadline, patience = 5 * time.Minute, 10 * time.Minute
)

// world is a node with everything on it.
type world struct {
	t       *testing.T
	root    string // folder of the module
	node    *node.Node
	client  client.Client
	image   string // of the operator, as config names it
	token   string // that the stand-in accepts
	copy    string // folder in which somebody who reads the README stands
	started time.Time
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// newWorld starts a node with the images on it. It ends with the test; with KEEP set, when somebody interrupts it.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, root: moduleRoot(t), copy: t.TempDir(), started: time.Now()}
	w.phase("start the node", func() error {
		var err error
		w.node, err = node.Start(t.Context(), node.Options{
			Cluster: cluster.Options{HPASyncPeriod: 5 * time.Second, HPADownscaleStabilization: 20 * time.Second},
			Log:     os.Stderr,
		})
		return err
	})
	t.Cleanup(func() {
		if t.Failed() {
			w.diagnose()
		}
		if os.Getenv("KEEP") != "" {
			w.node.Keep(context.Background(), os.Stderr)
		}
		if err := w.node.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	scheme, err := app.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = client.New(w.node.Cluster.AdminConfig(), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	w.phase("build and import the images", w.images)
	return w
}

// phase does something and tells how long it took.
func (w *world) phase(what string, do func() error) {
	w.t.Helper()
	start := time.Now()
	err := do()
	fmt.Fprintf(os.Stderr, "%5s  %s: %s\n", clockOf(start.Sub(w.started)), what, time.Since(start).Round(100*time.Millisecond))
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

func clockOf(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// images builds all images under the names that the manifests have.
func (w *world) images() error {
	ctx := w.t.Context()
	builder, err := node.NewBuilder(ctx, w.root)
	if err != nil {
		return err
	}
	if w.image, err = w.imageOf("config/default", operatorName); err != nil {
		return err
	}
	flask, err := w.imageOf("config/samples", "flask")
	if err != nil {
		return err
	}
	archives, err := builder.Programs(ctx, flask)
	if err != nil {
		return err
	}
	operator, err := builder.Operator(ctx, w.image)
	if err != nil {
		return err
	}
	for _, archive := range append(archives, operator) {
		if err := w.node.Import(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// imageOf is the image of a Deployment in a folder of the module.
func (w *world) imageOf(folder, deployment string) (string, error) {
	manifests, err := w.node.Cluster.Kubectl(w.t.Context(), "kustomize", filepath.Join(w.root, folder))
	if err != nil {
		return "", err
	}
	for _, document := range strings.Split(manifests, "\n---\n") {
		var d struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				Template corev1.PodTemplateSpec
			}
		}
		if err := yaml.Unmarshal([]byte(document), &d); err == nil && d.Kind == "Deployment" && d.Metadata.Name == deployment {
			return d.Spec.Template.Spec.Containers[0].Image, nil
		}
	}
	return "", fmt.Errorf("%s has no Deployment %s", folder, deployment)
}

// kubectl runs kubectl as the administrator.
func (w *world) kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), deadline+30*time.Second)
	defer cancel()
	return w.node.Cluster.Kubectl(ctx, args...)
}

// enter runs a line as in a terminal, in the folder of the copy, with kubectl set up for the cluster.
func (w *world) enter(line string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = w.copy
	c := w.node.Cluster
	cmd.Env = append(cmd.Environ(), "PATH="+filepath.Dir(c.KubectlPath())+":"+os.Getenv("PATH"), "KUBECONFIG="+c.AdminKubeconfig(),
		"KUBECACHEDIR="+filepath.Join(c.Dir(), "kubectl-cache"), "KUBERC=off")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("%s: %w: %s", line, err, output)
	}
	return string(output), nil
}

// standInRuns puts the stand-in and the agent on the node. The certificate names the address of the Service.
func (w *world) standInRuns(token string) error {
	w.token = token
	dir := w.t.TempDir()
	certFile, keyFile, err := w.node.Cluster.ServingCertificate("standin", net.ParseIP(standIn))
	if err != nil {
		return err
	}
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", "namespace", "sysdig"},
		{"create", "secret", "generic", "sysdig", "--namespace=sysdig", "--from-file=token=" + tokenFile, "--from-file=tls.crt=" + certFile,
			"--from-file=tls.key=" + keyFile, "--from-file=ca.crt=" + w.node.Cluster.AuthorityFile()},
		{"apply", "--server-side", "-f", "testdata/sysdig.yaml"},
		{"rollout", "status", "--namespace=sysdig", "deployment/standin", "--timeout=" + deadline.String()},
		{"rollout", "status", "--namespace=sysdig", "deployment/agent", "--timeout=" + deadline.String()},
	} {
		if _, err := w.kubectl(args...); err != nil {
			return err
		}
	}
	return nil
}

// install does what the README says, on a copy of config in which the sample connection is edited as it says.
func (w *world) install() error {
	if err := os.CopyFS(filepath.Join(w.copy, "config"), os.DirFS(filepath.Join(w.root, "config"))); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.copy, "token"), []byte(w.token), 0o600); err != nil {
		return err
	}
	if err := w.editConnection(filepath.Join(w.copy, "config", "samples", "connection.yaml")); err != nil {
		return err
	}
	for i, line := range readme(w.t, w.root, "## Install")[0] {
		line = strings.Replace(line, "sysdigmetrics.dev/hosts=us2.app.sysdig.com", "sysdigmetrics.dev/hosts="+standIn, 1)
		fmt.Fprintln(os.Stderr, "       $", line)
		if _, err := w.enter(line); err != nil {
			return err
		}
		if i == 0 {
			if err := w.allowStandIn(); err != nil {
				return err
			}
		}
	}
	if _, err := w.kubectl("rollout", "status", "--namespace="+stage.Namespace, "deployment/"+operatorName, "--timeout="+deadline.String()); err != nil {
		return err
	}
	return w.available()
}

// editConnection writes where the stand-in is into the sample, and what makes the story quick.
func (w *world) editConnection(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c v1alpha1.SysdigConnection
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return err
	}
	bundle, err := os.ReadFile(w.node.Cluster.AuthorityFile())
	if err != nil {
		return err
	}
	c.Spec.Endpoint = v1alpha1.Endpoint{URL: "https://" + standIn, CABundle: string(bundle)}
	c.Spec.ClusterName = "demo"
	c.Spec.Interval.Duration, c.Spec.IngestionLag.Duration = 10*time.Second, 5*time.Second
	object, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(file, object, 0o600)
}

// allowStandIn lets the operator ask an address inside the cluster, which it refuses unless its flags say so.
func (w *world) allowStandIn() error {
	patch := `[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--allow-endpoint-networks=` + standIn + `/32"}]`
	_, err := w.kubectl("patch", "deployment", operatorName, "--namespace="+stage.Namespace, "--type=json", "--patch="+patch)
	return err
}

// available waits for the APIServices that the README's commands have made.
func (w *world) available() error {
	names, err := w.kubectl("get", "apiservices", "-l", "app.kubernetes.io/part-of=sysdig-metrics", "-o", "jsonpath={.items[*].metadata.name}")
	if err != nil {
		return err
	}
	if names == "" {
		return fmt.Errorf("no APIService was installed")
	}
	for _, name := range strings.Fields(names) {
		if err := w.node.Cluster.WaitAPIServiceAvailable(w.t.Context(), name); err != nil {
			return err
		}
	}
	return nil
}

// setRate sets how many requests per second are sent to flask. kube-proxy may take a second to know a new Service.
func (w *world) setRate(rps int) error {
	return w.eventually(func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+load+"/rate?rps="+strconv.Itoa(rps), nil)
		if err != nil {
			return err
		}
		return call(request, nil)
	})
}

// loaded sets the rate and waits for what follows.
func (w *world) loaded(rps int, follows func(context.Context) error) error {
	if err := w.setRate(rps); err != nil {
		return fmt.Errorf("set the rate: %w", err)
	}
	return w.eventually(follows)
}

// sent is what the load generator has sent.
type sent struct {
	Answered, Failed int64
	Last             string
}

func (w *world) sent(ctx context.Context) (s sent, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+load+"/sent", nil)
	if err != nil {
		return s, err
	}
	return s, call(request, &s)
}

func call(request *http.Request, answer any) error {
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// diagnose prints what helps to understand a failure.
func (w *world) diagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "nodes,pods,services,hpa,deployments", "--all-namespaces", "-o", "wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", "--field-selector=type!=Normal"},
		{"describe", "sysdigconnections,sysdigmetricbindings,apiservices", "--all-namespaces"},
		{"logs", "--namespace=" + stage.Namespace, "deployment/" + operatorName, "--tail=60"},
		{"logs", "--namespace=sysdig", "deployment/standin", "--tail=20"},
		{"logs", "--namespace=sysdig", "deployment/agent", "--tail=20"},
	} {
		output, err := w.node.Cluster.Kubectl(ctx, args...)
		fmt.Fprintf(os.Stderr, "--- kubectl %s\n%s", strings.Join(args, " "), output)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}
