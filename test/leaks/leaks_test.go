//go:build linux

package leaks

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m.Run)) }

func TestWhatTestsLeaveIsTold(t *testing.T) {
	process := func(t *testing.T) (end func()) {
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	}
	// The shell ends at once, and what it started goes on without a parent.
	orphan := func(t *testing.T) (end func()) {
		out, err := exec.Command("sh", "-c", "setsid sleep 601 >/dev/null 2>&1 & echo $!").Output()
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = exec.Command("kill", strings.TrimSpace(string(out))).Run() }
	}
	port := func(t *testing.T) (end func()) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = listener.Close() }
	}
	for name, test := range map[string]struct {
		leave func(*testing.T) (end func())
		want  string
	}{
		"a process": {process, "sleep 600"}, "a process whose parent is gone": {orphan, "sleep 601"}, "a port": {port, "port "},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			var end func()
			code := run(&log, 0, func() int {
				end = test.leave(t)
				return 0
			})
			defer end()
			if code != 1 || !strings.Contains(log.String(), test.want) {
				t.Errorf("the code is %d, and it says %q", code, log.String())
			}
			if code := run(&log, time.Hour, func() int {
				end()
				return 0
			}); code != 0 {
				t.Errorf("when nothing is left the code is %d", code)
			}
		})
	}
}

func TestASceneThatFailsIsNoSuccess(t *testing.T) {
	for _, test := range []struct {
		code int
		err  error
		want int
	}{{0, nil, 0}, {7, nil, 7}, {0, errors.New("the scene"), 1}} {
		if code := RunScene(func() (int, error) { return test.code, test.err }); code != test.want {
			t.Errorf("%d, %v: the code is %d, want %d", test.code, test.err, code, test.want)
		}
	}
}

func TestTestsThatFailKeepTheirCode(t *testing.T) {
	var log strings.Builder
	if code := run(&log, time.Hour, func() int { return 7 }); code != 7 || log.Len() > 0 {
		t.Errorf("the code is %d, and it says %q", code, log.String())
	}
}

// TestPackagesLookForLeaks: a package whose tests start processes or servers has a TestMain that looks for what they leave.
func TestPackagesLookForLeaks(t *testing.T) {
	const module = "github.com/sysdig-metrics/sysdig-metrics-operator"
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,TestGoFiles,XTestGoFiles", module+"/...")
	list.Dir = filepath.Join("..", "..")
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	starting := []string{
		"os/exec", "net/http/httptest", module + "/internal/sysdig/sysdigtest", module + "/test/cluster", module + "/test/stage", module + "/test/node",
	}
	seen := 0
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var p struct {
			ImportPath, Dir                                               string
			Imports, TestImports, XTestImports, TestGoFiles, XTestGoFiles []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		files := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		if len(files) == 0 || p.ImportPath == module+"/test/leaks" || !slices.ContainsFunc(imports, func(i string) bool { return slices.Contains(starting, i) }) {
			continue
		}
		seen++
		looks := slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			return err == nil && (bytes.Contains(text, []byte("leaks.Run(")) || bytes.Contains(text, []byte("leaks.RunScene(")))
		})
		if !looks {
			t.Errorf("%s: write func TestMain(m *testing.M) { os.Exit(leaks.Run(m.Run)) }", p.ImportPath)
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages start something", seen)
	}
}
