package cluster_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheMakefileKnowsWhoNeedsAControlPlane: make check would start one, and build it, for a package that is missing in the lists.
func TestTheMakefileKnowsWhoNeedsAControlPlane(t *testing.T) {
	root := filepath.Join("..", "..")
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"./test/node"} // has a target of its own
	for line := range strings.Lines(string(makefile)) {
		if name, packages, ok := strings.Cut(line, " = "); ok && strings.HasPrefix(name, "PLANE") {
			known = append(known, strings.Fields(packages)...)
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,TestImports,XTestImports", "./...")
	list.Dir = root
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/sysdig-metrics/sysdig-metrics-operator"
	found := 0
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); {
		var p struct {
			ImportPath                string
			TestImports, XTestImports []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		imports := append(p.TestImports, p.XTestImports...)
		if !slices.Contains(imports, module+"/test/cluster") && !slices.Contains(imports, module+"/test/stage") {
			continue
		}
		found++
		if name := "." + strings.TrimPrefix(p.ImportPath, module); !slices.Contains(known, name) {
			t.Errorf("the tests of %s may start a control plane: put it into PLANE or PLANE_RACED in the Makefile, which have %q", name, known)
		}
	}
	if found < 8 {
		t.Errorf("only %d packages use a control plane", found)
	}
}
