package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Set is a choice of programs.
type Set int

const (
	// ControlPlane is what [Etcd] to [Kwok] name.
	ControlPlane Set = iota + 1
	// Node is the control plane and the programs of a node.
	Node
	// Oldest is the API server, the controller manager and the scheduler of the oldest Kubernetes that the operator is tested on.
	Oldest
)

const (
	etcdModule       = "go.etcd.io/etcd/server/v3"
	kubernetesModule = "k8s.io/kubernetes"
	kwokModule       = "sigs.k8s.io/kwok"
	containerdModule = "github.com/containerd/containerd/v2"
)

// target is one executable to build.
type target struct {
	component Component
	module    string // folder to build in
	pkg       string // import path of the main package
	of        string // path of the module that the package is of
	version   string // of that module, such as v1.2.3
	ldflags   string
}

// targets lists the executables of a set, and all that are kept in the same folder.
func (s sources) targets(ctx context.Context, set Set) (wanted, folder []target, err error) {
	if set == Oldest {
		wanted, err = s.pinned(ctx, "oldest", kubernetesTargets(APIServer, ControllerManager, Scheduler))
		return wanted, wanted, err
	}
	plane, err := s.pinned(ctx, "kubernetes", slices.Concat(
		[]target{{component: Etcd, of: etcdModule, pkg: etcdModule}},
		kubernetesTargets(APIServer, ControllerManager, Scheduler, Kubectl),
		[]target{{component: Kwok, of: kwokModule, pkg: kwokModule + "/cmd/kwok"}}))
	if err != nil {
		return nil, nil, err
	}
	node, err := s.pinned(ctx, "kubernetes", kubernetesTargets(Kubelet, KubeProxy))
	if err != nil {
		return nil, nil, err
	}
	var containers []target
	for _, c := range []Component{Containerd, ContainerdShim, Ctr} {
		containers = append(containers, target{component: c, of: containerdModule, pkg: containerdModule + "/cmd/" + string(c)})
	}
	if containers, err = s.pinned(ctx, "containerd", containers); err != nil {
		return nil, nil, err
	}
	folder = slices.Concat(plane, node, containers)
	if set == Node {
		return folder, folder, nil
	}
	return plane, folder, nil
}

func kubernetesTargets(components ...Component) (targets []target) {
	for _, c := range components {
		targets = append(targets, target{component: c, of: kubernetesModule, pkg: kubernetesModule + "/cmd/" + string(c)})
	}
	return targets
}

// pinned fills in where targets are built, which versions a module pins, and the linker flags that belong to them.
func (s sources) pinned(ctx context.Context, module string, targets []target) ([]target, error) {
	args := []string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}
	for _, t := range targets {
		if !slices.Contains(args, t.of) {
			args = append(args, t.of)
		}
	}
	text, err := goCommand(ctx, s.module(module), args...)
	if err != nil {
		return nil, fmt.Errorf("find the pinned versions: %w", err)
	}
	versions, flags := map[string]string{}, "-s -w"
	for line := range strings.Lines(text) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[path] = version
	}
	if version, ok := versions[kubernetesModule]; ok {
		if flags, err = versionFlags(version); err != nil {
			return nil, err
		}
	}
	for i := range targets {
		t := &targets[i]
		t.module, t.version, t.ldflags = s.module(module), versions[t.of], flags
	}
	return targets, nil
}

// versionFlags are the linker flags that make Kubernetes' programs report the version. Without them they report v0.0.0, which
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

// groups puts together what one go build makes: targets of equal modules and linker flags, in their order.
func groups(targets []target) (out [][]target) {
	for _, t := range targets {
		i := slices.IndexFunc(out, func(g []target) bool { return g[0].module == t.module && g[0].ldflags == t.ldflags })
		if i < 0 {
			out = append(out, []target{t})
			continue
		}
		out[i] = append(out[i], t)
	}
	return out
}

// cacheKey identifies everything that decides what the executables of a folder contain.
func cacheKey(folder []target, ready readyMade) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, buildFlags, ready)
	var modules []string
	for _, t := range folder {
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
