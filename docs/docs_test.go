// Package docs_test checks what the documents promise.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

// documents are all Markdown files of the project, by path from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			content, err := os.ReadFile(filepath.Join("..", path))
			if err != nil {
				return err
			}
			all[path] = string(content)
		}
		return nil
	})
	if err != nil || len(all) < 5 {
		t.Fatalf("%d documents, %v", len(all), err)
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for path, content := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(content, -1) {
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestEveryReasonHasItsRow(t *testing.T) {
	page := documents(t)["docs/failure-modes.md"]
	for _, reason := range metric.Reasons() {
		if !strings.Contains(page, "| `"+string(reason)+"` |") {
			t.Errorf("docs/failure-modes.md has no row for %s", reason)
		}
	}
}

// TestExamplesAreValid decodes every YAML example of our kinds strictly: a misspelled field is an error.
func TestExamplesAreValid(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	examples := 0
	for path, content := range documents(t) {
		for _, match := range block.FindAllStringSubmatch(content, -1) {
			var object any
			switch {
			case strings.Contains(match[1], "kind: SysdigMetricBinding"):
				object = &v1alpha1.SysdigMetricBinding{}
			case strings.Contains(match[1], "kind: SysdigConnection"):
				object = &v1alpha1.SysdigConnection{}
			default:
				continue
			}
			examples++
			for _, document := range strings.Split(match[1], "\n---\n") {
				if strings.Contains(document, "kind: Sysdig") {
					if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
						t.Errorf("%s: %v in\n%s", path, err, document)
					}
				}
			}
		}
	}
	if examples < 3 {
		t.Errorf("only %d examples were found", examples)
	}
}

// TestEveryFieldIsDocumented looks for each field of a spec on the page of its kind.
func TestEveryFieldIsDocumented(t *testing.T) {
	for kind, fields := range map[string][]string{
		"docs/sysdigconnection.md": {
			"endpoint.region", "endpoint.url", "endpoint.prometheusPath", "endpoint.caBundle", "endpoint.headers", "clusterName",
			"allClusters", "tokenSecretRef.name", "allowedNamespaces.from", "interval", "ingestionLag", "heartbeatMetric", "coverage.minimum", "labelNames",
		},
		"docs/sysdigmetricbinding.md": {
			"connectionRef.name", "target", "metricName", "source.metric", "source.promQL", "multiplier", "onNoData", "maxAge", "suspend",
			"timeAggregation", "counterType", "groupAggregation", "window", "where", "objectLabel",
			"target.apiVersion", "target.name", "target.selector", "dimensions", "bounds", "objects", "metricPath",
		},
	} {
		page := documents(t)[kind]
		for _, field := range fields {
			if !strings.Contains(page, "`"+field) && !strings.Contains(page, field+"`") {
				t.Errorf("%s does not explain %s", kind, field)
			}
		}
	}
}

// TestReadmeFetchesThePinnedPrograms: ready-made programs of another version are refused.
func TestReadmeFetchesThePinnedPrograms(t *testing.T) {
	text, err := os.ReadFile("../test/cluster/binaries/kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	readme := documents(t)["README.md"]
	for module, url := range map[string]string{
		"k8s.io/kubernetes":         "dl.k8s.io/$V/kubernetes-server-linux-amd64.tar.gz",
		"go.etcd.io/etcd/server/v3": "releases/download/$V/etcd-$V-linux-amd64.tar.gz",
	} {
		pinned := regexp.MustCompile(`\n\t` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(text)
		if pinned == nil {
			t.Fatalf("%s is not pinned", module)
		}
		if want := strings.ReplaceAll(url, "$V", string(pinned[1])); !strings.Contains(readme, want) {
			t.Errorf("README.md fetches no %s", want)
		}
	}
}
