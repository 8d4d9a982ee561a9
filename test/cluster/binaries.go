package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Component names one program of the control plane. It is also the name of its executable and of its log file.
type Component string

// The programs of the control plane.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
	Kubectl           Component = "kubectl"
	Kwok              Component = "kwok"
)

// The programs of a node that runs pods. containerd finds runc and the CNI plugins on the machine.
const (
	Kubelet        Component = "kubelet"
	KubeProxy      Component = "kube-proxy"
	Containerd     Component = "containerd"
	ContainerdShim Component = "containerd-shim-runc-v2"
	Ctr            Component = "ctr"
)

const stagesFile = "kwok-stages.yaml"

// Binaries is a folder that holds the executables of components and kwok's stages.
type Binaries struct {
	dir string
}

// Dir returns the folder's absolute path.
func (b Binaries) Dir() string { return b.dir }

// Path returns the absolute path of a component's executable.
func (b Binaries) Path(c Component) string { return filepath.Join(b.dir, string(c)) }

// Stages returns the absolute path of the kwok configuration that makes nodes Ready and pods Running.
func (b Binaries) Stages() string { return filepath.Join(b.dir, stagesFile) }

// EnsureBinaries returns the executables of the control plane and builds those that are missing.
//
// They are kept in the user's cache folder, below sysdig-metrics-operator/testbed, under a key of the pinned module
// versions, the linker flags and the Go toolchain, so that every clone of the repository shares them. The first build
// takes 10 to 15 minutes on two cores; log receives the progress, and may be nil. Processes that call this at the same time
// take turns. It needs the go command and must run inside a clone of the repository.
func EnsureBinaries(ctx context.Context, log io.Writer) (Binaries, error) {
	return ensure(ctx, log, sources.forControlPlane)
}

// EnsureNodeBinaries is [EnsureBinaries] for the programs of a node that runs pods. It takes 5 to 10 minutes more the first
// time. Binaries.Path finds these and those of the control plane.
func EnsureNodeBinaries(ctx context.Context, log io.Writer) (Binaries, error) {
	return ensure(ctx, log, sources.forNode)
}

// EnsureOldestBinaries is [EnsureBinaries] for the API server, the controller manager and the scheduler of the oldest Kubernetes
// that the operator is tested on. It takes about 10 minutes the first time.
func EnsureOldestBinaries(ctx context.Context, log io.Writer) (Binaries, error) {
	return ensure(ctx, log, sources.forOldest)
}

// ensure builds what is missing of a selection.
func ensure(ctx context.Context, log io.Writer, choose func(sources, context.Context) (selection, error)) (Binaries, error) {
	if log == nil {
		log = io.Discard
	}
	src, err := findSources()
	if err != nil {
		return Binaries{}, err
	}
	chosen, err := choose(src, ctx)
	if err != nil {
		return Binaries{}, err
	}
	key, err := cacheKey(chosen.folder)
	if err != nil {
		return Binaries{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Binaries{}, fmt.Errorf("find a folder for the binaries: %w", err)
	}
	b := Binaries{dir: filepath.Join(cache, "sysdig-metrics-operator", "testbed", key)}
	if b.complete(chosen.wanted) {
		return b, nil
	}
	if err := b.fill(ctx, log, src, chosen.wanted); err != nil {
		return Binaries{}, err
	}
	return b, nil
}

// missing returns the targets that have no executable yet.
func (b Binaries) missing(targets []target) []target {
	var out []target
	for _, t := range targets {
		if !exists(b.Path(t.component)) {
			out = append(out, t)
		}
	}
	return out
}

func (b Binaries) complete(targets []target) bool {
	return len(b.missing(targets)) == 0 && (exists(b.Stages()) || !needStages(targets))
}

// needStages tells whether kwok is among the targets.
func needStages(targets []target) bool {
	return slices.ContainsFunc(targets, func(t target) bool { return t.component == Kwok })
}

// fill builds what is missing while it holds the folder's lock.
func (b Binaries) fill(ctx context.Context, log io.Writer, src sources, targets []target) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("create the binaries' folder: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(b.dir, ".lock"), log)
	if err != nil {
		return err
	}
	defer unlock()

	missing := b.missing(targets) // Another process may have built them while this one waited.
	for i, t := range missing {
		what := fmt.Sprintf("%s (%d/%d, a few minutes the first time)", t.component, i+1, len(missing))
		if err := b.build(ctx, log, what, t); err != nil {
			return err
		}
	}
	if exists(b.Stages()) || !needStages(targets) {
		return nil
	}
	return b.writeStages(ctx, src)
}

// build links one executable under a temporary name and renames it, so that a half-written file is never used.
func (b Binaries) build(ctx context.Context, log io.Writer, what string, t target) error {
	start := time.Now()
	fmt.Fprintf(log, "building %s ...\n", what)
	stop := heartbeat(30*time.Second, func() {
		fmt.Fprintf(log, "still building %s: %s so far\n", t.component, time.Since(start).Round(time.Second))
	})
	defer stop()

	tmp := b.Path(t.component) + ".tmp"
	defer os.Remove(tmp) // It is gone already when all went well.
	if _, err := goCommand(ctx, t.module, "build", "-trimpath", "-ldflags", t.ldflags, "-o", tmp, t.pkg); err != nil {
		return fmt.Errorf("build %s: %w", t.component, err)
	}
	if err := os.Rename(tmp, b.Path(t.component)); err != nil {
		return fmt.Errorf("keep %s: %w", t.component, err)
	}
	stop()
	fmt.Fprintf(log, "built %s in %s\n", t.component, time.Since(start).Round(100*time.Millisecond))
	return nil
}

// exists tells whether a regular file is at path.
func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lockFile takes an exclusive lock that the kernel frees when the process ends, and returns the function that frees it.
func lockFile(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the binaries' folder: %w", err)
	}
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for first := true; ; first = false {
		err := tryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the binaries' folder: %w", err)
		}
		if first {
			fmt.Fprintln(log, "waiting for another process that builds the control plane ...")
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that builds the control plane: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// heartbeat calls beat at every interval until the returned function is called. That function may be called twice
// and returns when no further beat can happen.
func heartbeat(interval time.Duration, beat func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				beat()
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
