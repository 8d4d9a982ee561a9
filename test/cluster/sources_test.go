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

// fakeModule writes module files with the given contents and returns their folder.
func fakeModule(t *testing.T, contents string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCacheKey(t *testing.T) {
	key := func(targets ...target) string {
		k, err := cacheKey(targets)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	etcd := target{Etcd, fakeModule(t, "one"), "example.com/etcd", "-s"}
	kwok := target{Kwok, fakeModule(t, "two"), "example.com/kwok", "-s"}
	base := key(etcd, kwok)

	if len(base) != 12 {
		t.Errorf("the key %q has not 12 characters", base)
	}
	moved := etcd
	moved.module = fakeModule(t, "one")
	if got := key(moved, kwok); got != base {
		t.Errorf("another clone has the key %s, want %s", got, base)
	}
	updated := kwok
	updated.module = fakeModule(t, "three")
	if got := key(etcd, updated); got == base {
		t.Error("other module files have the same key")
	}
	linked := etcd
	linked.ldflags = "-w"
	if got := key(linked, kwok); got == base {
		t.Error("other linker flags have the same key")
	}
	lost := etcd
	lost.module = t.TempDir()
	if _, err := cacheKey([]target{lost}); !errors.Is(err, os.ErrNotExist) {
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
