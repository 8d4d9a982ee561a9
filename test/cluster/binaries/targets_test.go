package binaries

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		k, err := cacheKey(targets, "")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	etcd := target{component: Etcd, module: fakeModule(t, "one"), pkg: "example.com/etcd", ldflags: "-s"}
	kwok := target{component: Kwok, module: fakeModule(t, "two"), pkg: "example.com/kwok", ldflags: "-s"}
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
	if got, err := cacheKey([]target{etcd, kwok}, "/ready"); err != nil || got == base {
		t.Errorf("ready-made programs have the same key, %v", err)
	}
	lost := etcd
	lost.module = t.TempDir()
	if _, err := cacheKey([]target{lost}, ""); !errors.Is(err, os.ErrNotExist) {
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

func TestOneBuildMakesAllOfAModule(t *testing.T) {
	src, err := findSources()
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[Set][]int{ControlPlane: {6}, Node: {8, 3}, Oldest: {3}} {
		targets, _, err := src.targets(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, g := range groups(targets) {
			got = append(got, len(g))
		}
		if !slices.Equal(got, want) {
			t.Errorf("set %d is built in parts of %v, want %v", set, got, want)
		}
		for _, target := range targets {
			if target.version == "" || target.pkg == "" {
				t.Errorf("%+v lacks something", target)
			}
		}
	}
}
