package binaries

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// required are the versions that the module in a folder requires, as its go.mod says.
func required(t *testing.T, dir string) map[string]string {
	t.Helper()
	if _, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil { // The go command then knows that the test depends on it.
		t.Fatal(err)
	}
	text, err := goCommand(t.Context(), dir, "mod", "edit", "-json")
	if err != nil {
		t.Fatal(err)
	}
	type version struct{ Path, Version string }
	var file struct {
		Require []version
		Replace []struct{ Old, New version }
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, r := range file.Require {
		versions[r.Path] = r.Version
	}
	for _, r := range file.Replace {
		if _, ok := versions[r.Old.Path]; ok {
			versions[r.Old.Path] = r.New.Version
		}
	}
	return versions
}

// TestModulesShareWhatTheyCompile: where the versions of a module differ, it and all that imports it are compiled once more. The first
// build of everything takes some minutes longer for each that is below k8s.io/client-go.
func TestModulesShareWhatTheyCompile(t *testing.T) {
	src, err := findSources()
	if err != nil {
		t.Fatal(err)
	}
	root, ok := moduleRoot(string(src))
	if !ok {
		t.Fatalf("no module around %s", src)
	}
	exceptions := map[string]string{
		"github.com/fxamacker/cbor/v2": "containerd", // needs a newer one than Kubernetes has been tested with, and shares little above it
	}
	kubernetes, helm := src.module("kubernetes"), filepath.Join(root, "tools", "helm")
	for _, pair := range [][2]string{
		{root, kubernetes}, {root, src.module("containerd")}, {root, helm}, {root, filepath.Join(root, "tools")}, {kubernetes, helm},
	} {
		ours, theirs := required(t, pair[0]), required(t, pair[1])
		for path, version := range theirs {
			want, both := ours[path]
			if both && version != want && exceptions[path] != filepath.Base(pair[1]) {
				t.Errorf("%s requires %s %s, and %s requires %s: run \"go get %[2]s@%[5]s\" there, or raise the other", pair[1], path, version, pair[0], want)
			}
		}
	}
}
