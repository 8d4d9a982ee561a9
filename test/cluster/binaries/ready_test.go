package binaries

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// says writes a program that says something, in place of one of a release.
func (r readyMade) says(t *testing.T, c Component, text string) {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\necho '%s'\n", text)
	if err := os.WriteFile(r.path(c), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestReadyMadeProgramsAreOfThePinnedVersions(t *testing.T) {
	wanted := []target{
		{component: Etcd, of: etcdModule, version: "v3.7.3"},
		{component: APIServer, of: kubernetesModule, version: "v1.37.2"},
		{component: Kubectl, of: kubernetesModule, version: "v1.37.2"},
		{component: Kwok, of: kwokModule, version: "v0.8.0"}, // is built
	}
	for name, test := range map[string]struct {
		etcd, server, kubectl string
		want                  []string // in the error; none without
	}{
		"all there":       {"etcd Version: 3.7.3", "Kubernetes v1.37.2", "Client Version: v1.37.2", nil},
		"one is missing":  {"", "Kubernetes v1.37.2", "Client Version: v1.37.2", []string{"etcd is missing (want v3.7.3)", "CONTROL_PLANE"}},
		"one is older":    {"etcd Version: 3.7.3", "Kubernetes v1.37.1", "Client Version: v1.37.2", []string{`kube-apiserver says "Kubernetes v1.37.1", want v1.37.2`}},
		"one begins so":   {"etcd Version: 3.7.31", "Kubernetes v1.37.2", "Client Version: v1.37.2", []string{`etcd says "etcd Version: 3.7.31", want v3.7.3`}},
		"two are missing": {"", "Kubernetes v1.37.2", "", []string{"etcd is missing", "kubectl is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := readyMade(t.TempDir())
			for c, text := range map[Component]string{Etcd: test.etcd, APIServer: test.server, Kubectl: test.kubectl} {
				if text != "" {
					r.says(t, c, text)
				}
			}
			err := r.check(t.Context(), wanted)
			if (err == nil) != (test.want == nil) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestWithoutAFolderAllIsBuilt(t *testing.T) {
	t.Setenv(variable, "")
	r, err := findReadyMade(ControlPlane)
	if err != nil || r.provides(target{of: kubernetesModule}) {
		t.Errorf("%q provides programs, %v", r, err)
	}
	t.Setenv(variable, "somewhere")
	if r, err := findReadyMade(ControlPlane); err == nil {
		t.Errorf("a relative path means %q", r)
	}
	t.Setenv(variable, "/somewhere/")
	if r, err = findReadyMade(ControlPlane); err != nil || !r.provides(target{of: kubernetesModule}) || r.provides(target{of: kwokModule}) {
		t.Errorf("%q provides other programs, %v", r, err)
	}
	if r, err = findReadyMade(Oldest); err != nil || r != "" {
		t.Errorf("the oldest control plane comes from %q, %v", r, err)
	}
}
