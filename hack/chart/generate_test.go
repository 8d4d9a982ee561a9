package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Braces of a description are no template.
func TestBracesAreNotLost(t *testing.T) {
	const want = "description: use {{ .Values.x }} here\n"
	template, err := (&text{}).render(object{&unstructured.Unstructured{Object: map[string]any{"description": "use {{ .Values.x }} here"}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := write(map[string][]byte{
		"Chart.yaml":       []byte("apiVersion: v2\nname: c\nversion: 1.0.0\n"),
		"templates/c.yaml": []byte(template),
	}, dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	out, err := helm(t, "template", "c", dir)
	if err != nil || !strings.HasSuffix(out, want) {
		t.Errorf("%s became %s: %v", template, out, err)
	}
}

// What the generator does not know is an error, and not left out.
func TestUnknownObjectsAreRefused(t *testing.T) {
	of := func(kind string) object {
		return object{&unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "x"}}}}
	}
	if _, err := generate(config{standard: []object{of("ConfigMap")}}); err == nil || !strings.Contains(err.Error(), "the kind ConfigMap") {
		t.Errorf("a ConfigMap: %v", err)
	}
	if _, err := generate(config{production: []object{of("Service")}}); err == nil || !strings.Contains(err.Error(), "no value of the chart switches on v1/Service//x") {
		t.Errorf("a Service that production only has: %v", err)
	}
}

func TestVerifyTellsWhatIsOutOfDate(t *testing.T) {
	files := map[string][]byte{"Chart.yaml": []byte("a"), "templates/x.yaml": []byte("b")}
	for name, row := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"nothing": {func(string) error { return nil }, ""},
		"a file that was edited": {
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte("c"), 0o600) }, "/Chart.yaml is out of date",
		},
		"a file that is gone": {func(dir string) error { return os.Remove(filepath.Join(dir, "templates/x.yaml")) }, "/templates/x.yaml is out of date"},
		"a file that nobody knows": {
			func(dir string) error { return os.WriteFile(filepath.Join(dir, "templates/y.yaml"), nil, 0o600) }, "/templates/y.yaml is not generated",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "chart")
			if err := write(files, dir); err != nil {
				t.Fatal(err)
			}
			if err := row.change(dir); err != nil {
				t.Fatal(err)
			}
			err := compare(files, dir)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("verify says %v, want %q", err, row.want)
			}
		})
	}
}
