package binaries

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

// Ensure returns the executables of a set, and builds those that are missing.
//
// They are kept in the user's cache folder, below sysdig-metrics-operator/testbed, under a key of the pinned module
// versions, the linker flags and the Go toolchain, so that every clone of the repository shares them. log receives the progress of a
// first build, which takes minutes, and may be nil. Processes that call this at the same time take turns. It needs the go command and
// must run inside a clone of the repository.
//
// When the environment variable CONTROL_PLANE names a folder, the programs of etcd and Kubernetes are taken from there: each has to be
// there, and of the version that is pinned.
func Ensure(ctx context.Context, log io.Writer, set Set) (Folder, error) {
	if log == nil {
		log = io.Discard
	}
	src, err := findSources()
	if err != nil {
		return Folder{}, err
	}
	ready, err := findReadyMade(set)
	if err != nil {
		return Folder{}, err
	}
	wanted, folder, err := src.targets(ctx, set)
	if err != nil {
		return Folder{}, err
	}
	if err := ready.check(ctx, wanted); err != nil {
		return Folder{}, err
	}
	key, err := cacheKey(folder, ready)
	if err != nil {
		return Folder{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Folder{}, fmt.Errorf("find a folder for the binaries: %w", err)
	}
	f := Folder{dir: filepath.Join(cache, "sysdig-metrics-operator", "testbed", key)}
	if len(f.missing(wanted)) == 0 && f.hasStages(wanted) {
		return f, nil
	}
	return f, f.fill(ctx, log, src, ready, wanted)
}

// missing returns the targets that have no executable yet.
func (f Folder) missing(targets []target) (out []target) {
	for _, t := range targets {
		if !exists(f.Path(t.component)) {
			out = append(out, t)
		}
	}
	return out
}

// hasStages tells whether kwok's stages are there, if kwok is among the targets.
func (f Folder) hasStages(targets []target) bool {
	return exists(f.Stages()) || !slices.ContainsFunc(targets, func(t target) bool { return t.component == Kwok })
}

// fill adds what is missing while it holds the folder's lock.
func (f Folder) fill(ctx context.Context, log io.Writer, src sources, ready readyMade, targets []target) error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("create the binaries' folder: %w", err)
	}
	unlock, err := Lock(ctx, filepath.Join(f.dir, ".lock"), log)
	if err != nil {
		return err
	}
	defer unlock()

	var builds []target
	for _, t := range f.missing(targets) { // Another process may have built them while this one waited.
		if !ready.provides(t) {
			builds = append(builds, t)
			continue
		}
		if err := ready.link(t, f.Path(t.component)); err != nil {
			return err
		}
	}
	for _, group := range groups(builds) {
		if err := f.build(ctx, log, group); err != nil {
			return err
		}
	}
	if f.hasStages(targets) {
		return nil
	}
	return f.writeStages(ctx, src)
}

// exists tells whether a regular file is at path, or a link to one.
func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Lock takes the exclusive lock of a file, which the kernel frees when the process ends, and returns the function that frees it. It waits
// until ctx is done, and says so. The file is made when it is missing.
func Lock(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open a lock: %w", err)
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
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if first {
			fmt.Fprintln(log, "waiting for another process that builds the same ...")
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another process that builds the same: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
