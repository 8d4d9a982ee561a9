package binaries

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExecutablesHaveTheNamesOfTheirPackages(t *testing.T) {
	for pkg, want := range map[string]string{"go.etcd.io/etcd/server/v3": "server", "k8s.io/kubernetes/cmd/kubectl": "kubectl", "example.com/v": "v"} {
		if got := executable(pkg); got != want {
			t.Errorf("%s becomes %s, want %s", pkg, got, want)
		}
	}
}

// program writes a module of two programs; the second does not compile unless it is right.
func program(t *testing.T, right bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	second := "package main\n\nfunc main() { println(version) }\n\nvar version string\n"
	if !right {
		second = strings.Replace(second, "version string", "other string", 1)
	}
	for name, content := range map[string]string{
		"go.mod": "module example.com/programs\n\ngo 1.26\n", "one/main.go": "package main\n\nfunc main() {}\n", "two/main.go": second,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOneBuildMakesTwoPrograms(t *testing.T) {
	for _, right := range []bool{true, false} {
		module := program(t, right)
		f := Folder{dir: t.TempDir()}
		group := []target{
			{component: "first", module: module, pkg: "example.com/programs/one", ldflags: "-s -X main.version=v9"},
			{component: "second", module: module, pkg: "example.com/programs/two", ldflags: "-s -X main.version=v9"},
		}
		var log strings.Builder
		err := f.build(t.Context(), &log, group)
		if (err == nil) != right {
			t.Fatalf("right %t: %v\n%s", right, err, log.String())
		}
		left, globErr := filepath.Glob(filepath.Join(f.dir, "*"))
		hidden, _ := filepath.Glob(filepath.Join(f.dir, ".*"))
		if globErr != nil || len(hidden) != 0 {
			t.Errorf("%q stay behind, %v", hidden, globErr)
		}
		if !right {
			if !strings.Contains(err.Error(), "undefined: version") || len(left) != 0 {
				t.Errorf("the error is %v, and %q were made", err, left)
			}
			continue
		}
		said, err := exec.CommandContext(t.Context(), f.Path("second")).CombinedOutput()
		if err != nil || strings.TrimSpace(string(said)) != "v9" || len(left) != 2 {
			t.Errorf("%q were made, the second says %q, %v", left, said, err)
		}
	}
}

func TestProgressGoesByTheSource(t *testing.T) {
	start := time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)
	r := newRemaining(start, map[string]int64{"a": 1, "b": 100, "c": 299})
	for _, step := range []struct {
		line  string
		named bool
		after time.Duration
		want  string
	}{
		{"a", true, 20 * time.Second, "  1 of 3 packages, 20s so far"}, // too little to tell
		{"b", true, time.Minute, "  2 of 3 packages, 1m0s so far, about 3m0s left"},
		{"# c", false, 2 * time.Minute, "  2 of 3 packages, 2m0s so far, about 6m0s left"},
		{"c", true, 3 * time.Minute, "  compiled; linking (3m0s so far)"},
		{"c", false, 4 * time.Minute, "  compiled; linking (4m0s so far)"},
	} {
		if named := r.began(step.line); named != step.named {
			t.Errorf("%q is a package: %t, want %t", step.line, named, step.named)
		}
		if got := r.progress(start.Add(step.after)); got != step.want {
			t.Errorf("after %s: %q, want %q", step.after, got, step.want)
		}
	}
}
