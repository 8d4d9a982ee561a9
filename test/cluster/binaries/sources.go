package binaries

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const projectModule = "github.com/sysdig-metrics/sysdig-metrics-operator"

// sources is the folder that holds the modules which pin what the programs are built from: kubernetes, containerd and oldest.
type sources string

// module is the folder of a module.
func (s sources) module(name string) string { return filepath.Join(string(s), name) }

// findSources looks for the clone around the working directory, then around this source file.
func findSources() (sources, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // Not absolute when built with -trimpath.
		starts = append(starts, filepath.Dir(file))
	}
	for _, start := range starts {
		if root, ok := moduleRoot(start); ok {
			return sources(filepath.Join(root, "test", "cluster", "binaries")), nil
		}
	}
	return "", fmt.Errorf("no clone of %s around %s: run this inside the repository", projectModule, strings.Join(starts, " or "))
}

// moduleRoot walks up from dir to the folder whose go.mod declares the project's module.
func moduleRoot(dir string) (string, bool) {
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && declares(data, projectModule) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// declares tells whether a go.mod file's module line names the module.
func declares(gomod []byte, module string) bool {
	for line := range strings.Lines(string(gomod)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], `"`) == module
		}
	}
	return false
}
