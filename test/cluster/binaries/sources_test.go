package binaries

import (
	"path/filepath"
	"testing"
)

func TestModuleRootSkipsOtherModules(t *testing.T) {
	src, err := findSources()
	if err != nil {
		t.Fatal(err)
	}
	root, ok := moduleRoot(src.module("kubernetes")) // It has a go.mod of its own.
	if !ok || filepath.Join(root, "test", "cluster", "binaries") != string(src) {
		t.Errorf("root is %q, %t", root, ok)
	}
	if root, ok := moduleRoot(t.TempDir()); ok {
		t.Errorf("a folder outside has the root %q", root)
	}
}
