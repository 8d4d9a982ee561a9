package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeSources writes module files with the given contents.
func fakeSources(t *testing.T, contents string) sources {
	t.Helper()
	root := t.TempDir()
	src := sources{kubernetes: filepath.Join(root, "kubernetes"), kwok: filepath.Join(root, "kwok"), containerd: filepath.Join(root, "containerd")}
	for _, dir := range []string{src.kubernetes, src.kwok, src.containerd} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return src
}

func TestCacheKey(t *testing.T) {
	targets := []target{{Etcd, "folder", "example.com/etcd", "-s"}}
	key := func(src sources, targets []target) string {
		k, err := src.cacheKey(targets)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := key(fakeSources(t, "one"), targets)

	if len(base) != 12 {
		t.Errorf("the key %q has not 12 characters", base)
	}
	moved := []target{{Etcd, "elsewhere", "example.com/etcd", "-s"}}
	if got := key(fakeSources(t, "one"), moved); got != base {
		t.Errorf("another clone has the key %s, want %s", got, base)
	}
	if got := key(fakeSources(t, "two"), targets); got == base {
		t.Error("other module files have the same key")
	}
	if got := key(fakeSources(t, "one"), []target{{Etcd, "folder", "example.com/etcd", "-w"}}); got == base {
		t.Error("other linker flags have the same key")
	}
	empty := sources{kubernetes: t.TempDir(), kwok: t.TempDir(), containerd: t.TempDir()}
	if _, err := empty.cacheKey(targets); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without module files the error is %v", err)
	}
}

func TestVersionFlags(t *testing.T) {
	flags, err := versionFlags("v1.98.7")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version.gitVersion=v1.98.7 ", "version.gitMajor=1 ", "version.gitMinor=98"} {
		if !strings.Contains(flags+" ", want) {
			t.Errorf("%q lacks %q", flags, want)
		}
	}
	for _, bad := range []string{"", "1.2.3", "v1.2", "master"} {
		if flags, err := versionFlags(bad); err == nil {
			t.Errorf("version %q gives %q, want an error", bad, flags)
		}
	}
}

func TestModuleRootSkipsOtherModules(t *testing.T) {
	src, err := findSources()
	if err != nil {
		t.Fatal(err)
	}
	root, ok := moduleRoot(src.kwok) // It has a go.mod of its own.
	if !ok || filepath.Join(root, "test", "cluster", "binaries", "kwok") != src.kwok {
		t.Errorf("root is %q, %t", root, ok)
	}
	if root, ok := moduleRoot(t.TempDir()); ok {
		t.Errorf("a folder outside has the root %q", root)
	}
}

func TestLockFileExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var log strings.Builder
	if _, err := lockFile(ctx, path, &log); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second lock gives %v, want a deadline", err)
	}
	if !strings.Contains(log.String(), "waiting") {
		t.Errorf("the log %q does not tell of the wait", log.String())
	}
	unlock()
	unlock, err = lockFile(t.Context(), path, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
