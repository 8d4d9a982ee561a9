package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// text is a licence as its authors wrote it.
func text(t *testing.T, name, file string) []byte {
	t.Helper()
	content, err := assets.ReadLicenseFile("License/" + name + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestLicences(t *testing.T) {
	known, err := assets.DefaultClassifier()
	if err != nil {
		t.Fatal(err)
	}
	mit, gpl := text(t, "MIT", "pristine.txt"), text(t, "GPL-3.0", "license.txt")
	for name, row := range map[string]struct {
		files   map[string][]byte
		problem string
	}{
		"of the module":                       {map[string][]byte{"LICENSE": mit}, ""},
		"in a file with another name":         {map[string][]byte{"COPYING.md": mit}, ""},
		"one of two that is refused":          {map[string][]byte{"LICENSE": mit, "LICENSE-GPL.txt": gpl}, "m has the licence GPL-3.0"},
		"of the package, not of the module":   {map[string][]byte{"LICENSE": mit, "a/b/LICENCE": gpl}, "m has the licence GPL-3.0"},
		"of the module, not of a neighbour":   {map[string][]byte{"LICENSE": mit, "c/LICENSE": gpl}, ""},
		"that is none":                        {map[string][]byte{"LICENSE": []byte("Ask us.")}, "m has the licence unknown"},
		"that is not there":                   {nil, "m has no licence"},
		"whose name is that of a Go file":     {map[string][]byte{"license.go": mit}, "m has no licence"},
		"of the folder that holds the module": {map[string][]byte{"../LICENSE": mit}, "m has no licence"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := problemOf(t, known, row.files); row.problem == "" && got != "" || !strings.Contains(got, row.problem) {
				t.Errorf("the problem is %q, want %q", got, row.problem)
			}
		})
	}
}

// problemOf is what is wrong with the package a/b of a module with these files.
func problemOf(t *testing.T, known *classifier.Classifier, files map[string][]byte) string {
	t.Helper()
	module := filepath.Join(t.TempDir(), "module")
	dir := filepath.Join(module, "a", "b")
	for _, folder := range []string{dir, filepath.Join(module, "c")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(module, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := goPackage{Dir: dir, Module: &struct {
		Path, Dir string
		Main      bool
	}{Path: "m", Dir: module}}
	byModule, err := licences(known, []goPackage{p})
	if err != nil {
		t.Fatal(err)
	}
	if err := check(byModule); err != nil {
		return err.Error()
	}
	return ""
}
