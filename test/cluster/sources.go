package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const projectModule = "github.com/sysdig-metrics/sysdig-metrics-operator"

// sources locates the modules that pin what the control plane and nodes are built from.
type sources struct {
	kubernetes string // folder of the module for etcd and Kubernetes
	kwok       string // folder of the module for kwok
	containerd string // folder of the module for containerd
	oldest     string // folder of the module for the oldest Kubernetes
}

// target is one executable to build.
type target struct {
	component Component
	module    string // folder to build in
	pkg       string // import path of the main package
	ldflags   string
}

// findSources looks for the clone around the working directory, then around this source file.
func findSources() (sources, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // Not absolute when built with -trimpath.
		starts = append(starts, filepath.Dir(file))
	}
	for _, start := range starts {
		if root, ok := moduleRoot(start); ok {
			binaries := filepath.Join(root, "test", "cluster", "binaries")
			return sources{
				kubernetes: filepath.Join(binaries, "kubernetes"), kwok: filepath.Join(binaries, "kwok"), containerd: filepath.Join(binaries, "containerd"),
				oldest: filepath.Join(binaries, "oldest"),
			}, nil
		}
	}
	return sources{}, fmt.Errorf("no clone of %s around %s: run this inside the repository", projectModule, strings.Join(starts, " or "))
}

// moduleRoot walks up from dir to the folder whose go.mod declares the project's module.
func moduleRoot(dir string) (string, bool) {
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && declares(data, projectModule) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// declares tells whether a go.mod file's module line names the module.
func declares(gomod []byte, module string) bool {
	for line := range strings.Lines(string(gomod)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], `"`) == module
		}
	}
	return false
}

// selection is which executables are wanted, of all that share a folder.
type selection struct{ wanted, folder []target }

func (s sources) forControlPlane(ctx context.Context) (selection, error) {
	plane, node, err := s.newest(ctx)
	return selection{wanted: plane, folder: slices.Concat(plane, node)}, err
}

func (s sources) forNode(ctx context.Context) (selection, error) {
	plane, node, err := s.newest(ctx)
	return selection{wanted: node, folder: slices.Concat(plane, node)}, err
}

func (s sources) forOldest(ctx context.Context) (selection, error) {
	flags, err := kubernetesFlags(ctx, s.oldest)
	targets := kubernetesTargets(s.oldest, flags, APIServer, ControllerManager, Scheduler)
	return selection{wanted: targets, folder: targets}, err
}

// newest lists the executables of the control plane and those of a node in build order, the one that takes longest to compile
// first.
func (s sources) newest(ctx context.Context) (plane, node []target, err error) {
	flags, err := kubernetesFlags(ctx, s.kubernetes)
	if err != nil {
		return nil, nil, err
	}
	plane = append(plane, target{Etcd, s.kubernetes, "go.etcd.io/etcd/server/v3", flags})
	plane = append(plane, kubernetesTargets(s.kubernetes, flags, APIServer, ControllerManager, Scheduler, Kubectl)...)
	plane = append(plane, target{Kwok, s.kwok, "sigs.k8s.io/kwok/cmd/kwok", "-s -w"})
	node = kubernetesTargets(s.kubernetes, flags, Kubelet, KubeProxy)
	for _, c := range []Component{Containerd, ContainerdShim, Ctr} {
		node = append(node, target{c, s.containerd, "github.com/containerd/containerd/v2/cmd/" + string(c), "-s -w"})
	}
	return plane, node, nil
}

func kubernetesTargets(module, flags string, components ...Component) (targets []target) {
	for _, c := range components {
		targets = append(targets, target{c, module, "k8s.io/kubernetes/cmd/" + string(c), flags})
	}
	return targets
}

// kubernetesFlags are the linker flags of the Kubernetes version that a module pins.
func kubernetesFlags(ctx context.Context, module string) (string, error) {
	version, err := goCommand(ctx, module, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return "", fmt.Errorf("find the pinned Kubernetes version: %w", err)
	}
	return versionFlags(strings.TrimSpace(version))
}

// versionFlags are the linker flags that make the programs report the version. Without them they report v0.0.0, which
// clients refuse.
func versionFlags(version string) (string, error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if !strings.HasPrefix(version, "v") || len(parts) != 3 {
		return "", fmt.Errorf("the pinned Kubernetes version %q is not like v1.2.3", version)
	}
	const pkg = "k8s.io/component-base/version"
	return fmt.Sprintf("-s -w -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s",
		pkg, version, parts[0], parts[1]), nil
}

// cacheKey identifies everything that decides what the executables contain.
func cacheKey(targets []target) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var modules []string
	for _, t := range targets {
		fmt.Fprintln(h, t.component, t.pkg, t.ldflags)
		if !slices.Contains(modules, t.module) {
			modules = append(modules, t.module)
		}
	}
	for _, dir := range modules {
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := hashFile(h, filepath.Join(dir, name)); err != nil {
				return "", fmt.Errorf("compute the key of the binaries' folder: %w", err)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func hashFile(w io.Writer, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, filepath.Base(path), len(data))
	_, err = w.Write(data)
	return err
}

// writeStages concatenates the stages that come with kwok's module: nodes become and stay Ready, pods become Running.
func (b Binaries) writeStages(ctx context.Context, src sources) error {
	dir, err := goCommand(ctx, src.kwok, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok")
	if err != nil {
		return fmt.Errorf("find kwok's module: %w", err)
	}
	if dir = strings.TrimSpace(dir); dir == "" {
		return errors.New("kwok's module is not in the module cache")
	}
	var out bytes.Buffer
	for _, stage := range []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"} {
		cmd := exec.CommandContext(ctx, b.Path(Kubectl), "kustomize", filepath.Join(dir, "kustomize", "stage", filepath.FromSlash(stage)))
		text, err := output(cmd)
		if err != nil {
			return fmt.Errorf("read kwok's stage %s: %w", stage, err)
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	tmp := b.Stages() + ".tmp"
	if err := os.WriteFile(tmp, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write kwok's stages: %w", err)
	}
	if err := os.Rename(tmp, b.Stages()); err != nil {
		return fmt.Errorf("keep kwok's stages: %w", err)
	}
	return nil
}

// goCommand runs the go command in a module's folder, for this machine and without cgo, and returns what it prints.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	return output(cmd)
}

// output runs a command and returns its standard output; an error carries its standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
