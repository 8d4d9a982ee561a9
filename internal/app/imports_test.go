package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sysdig-metrics/sysdig-metrics-operator/"

// mayImport says which of our own packages each package may import. It is the data path, read downwards; what is not
// listed may be imported by nobody.
var mayImport = map[string][]string{
	"api/v1alpha1":      {},
	"internal/metric":   {},
	"internal/sysdig":   {"internal/metric"},
	"internal/query":    {"api/v1alpha1", "internal/metric", "internal/sysdig"},
	"internal/registry": {"internal/metric", "internal/query", "internal/sysdig"},
	"internal/labelled": {},
	"internal/pods":     {"internal/labelled", "internal/metric"},
	"internal/objects":  {"internal/labelled", "internal/metric"},
	"internal/hpas":     {"internal/metric"},
	"internal/poller":   {"internal/metric", "internal/query", "internal/registry", "internal/sysdig"},
	"internal/provider": {"internal/metric"},
	"internal/replicas": {},
	"internal/egress":   {},
	"internal/serving":  {},
	"internal/options":  {"internal/metric"},
	"controllers":       {"api/v1alpha1", "internal/labelled", "internal/metric", "internal/query", "internal/registry", "internal/sysdig"},
	"internal/app": {
		"api/v1alpha1", "controllers", "internal/egress", "internal/hpas", "internal/metric", "internal/objects", "internal/options", "internal/pods", "internal/poller", "internal/provider",
		"internal/registry", "internal/replicas", "internal/serving", "internal/sysdig",
	},
	"cmd/sysdig-metrics-operator": {"internal/app", "internal/options"},
}

// TestImportsFollowTheDataPath compares the imports of the operator's packages with the table above.
func TestImportsFollowTheDataPath(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"api/...", module+"internal/...", module+"controllers/...", module+"cmd/sysdig-metrics-operator/...")
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasSuffix(name, "sysdigtest") {
			continue // the stand-in is no part of the operator
		}
		seen[name] = true
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in the table: say what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if ours, isOurs := strings.CutPrefix(imported, module); isOurs && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("the table lists %s, which does not exist", name)
		}
	}
}
