// Command licences writes under which licences the operator's dependencies are, or with -verify tells what has changed. A licence that
// is not on the list of those allowed is an error either way. It needs no network: the modules are in Go's cache.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// page is where the list is, from the module's root.
const page = "docs/licences.md"

// allowed are licences that ask for no more than to be named, by their SPDX identifiers.
func allowed() []string { return []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("licences", flag.ContinueOnError)
	verify := flags.Bool("verify", false, "compare, and write nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	packages, err := list(ctx, "./cmd/sysdig-metrics-operator")
	if err != nil {
		return err
	}
	known, err := assets.DefaultClassifier()
	if err != nil {
		return fmt.Errorf("reading the texts of licences: %w", err)
	}
	byModule, err := licences(known, packages)
	if err != nil {
		return err
	}
	if err := check(byModule); err != nil {
		return err
	}
	content := table(byModule)
	if !*verify {
		return os.WriteFile(page, content, 0o644)
	}
	if old, err := os.ReadFile(page); err != nil || !bytes.Equal(old, content) {
		return fmt.Errorf("%s is out of date", page)
	}
	return nil
}

// goPackage is what the Go tool tells of a package.
type goPackage struct {
	Dir    string
	Module *struct {
		Path, Dir string
		Main      bool
	}
}

// list returns the packages of other modules that a program of ours is built from.
func list(ctx context.Context, program string) (packages []goPackage, err error) {
	command := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Dir,Module", program)
	command.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("listing packages: %w", err)
		}
		if p.Module != nil && !p.Module.Main {
			packages = append(packages, p)
		}
	}
}

// set holds the names of licences.
type set map[string]bool

// licences finds those of each module's packages that are used.
func licences(known *classifier.Classifier, packages []goPackage) (map[string]set, error) {
	byModule, byFile := map[string]set{}, map[string]set{}
	for _, p := range packages {
		found := byModule[p.Module.Path]
		if found == nil {
			found = set{}
			byModule[p.Module.Path] = found
		}
		files, err := nearest(p.Dir, p.Module.Dir)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if byFile[file] == nil {
				if byFile[file], err = classify(known, file); err != nil {
					return nil, err
				}
			}
			maps.Copy(found, byFile[file])
		}
	}
	return byModule, nil
}

// nearest returns the licence files of the first folder that has any, from a package's up to its module's.
func nearest(dir, module string) (files []string, err error) {
	licence := regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying)([-._].*)?$`)
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("looking for a licence: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() && licence.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
		if len(files) > 0 || dir == module {
			return files, nil
		}
		dir = filepath.Dir(dir)
	}
}

// classify names the licences whose texts are in a file. One that nobody knows is named unknown.
func classify(known *classifier.Classifier, file string) (set, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a licence: %w", err)
	}
	found := set{}
	for _, match := range known.Match(text).Matches {
		if match.MatchType == "License" {
			found[match.Name] = true
		}
	}
	if len(found) == 0 {
		found["unknown"] = true
	}
	return found, nil
}

// check tells which modules have no licence, or one that is not allowed.
func check(byModule map[string]set) error {
	var problems []error
	for _, module := range slices.Sorted(maps.Keys(byModule)) {
		if len(byModule[module]) == 0 {
			problems = append(problems, fmt.Errorf("%s has no licence", module))
		}
		for _, licence := range slices.Sorted(maps.Keys(byModule[module])) {
			if !slices.Contains(allowed(), licence) {
				problems = append(problems, fmt.Errorf("%s has the licence %s, which is none of %s", module, licence, strings.Join(allowed(), ", ")))
			}
		}
	}
	return errors.Join(problems...)
}

// table is the page that lists them.
func table(byModule map[string]set) []byte {
	var out bytes.Buffer
	out.WriteString("# Licences\n\nWhat the operator's program is built from, beside Go's own libraries (BSD-3-Clause), and under which licences.\n" +
		"`make update-licences` writes this page and refuses other licences than " + strings.Join(allowed(), ", ") + ".\n\n| module | licence |\n| --- | --- |\n")
	for _, module := range slices.Sorted(maps.Keys(byModule)) {
		fmt.Fprintf(&out, "| `%s` | %s |\n", module, strings.Join(slices.Sorted(maps.Keys(byModule[module])), ", "))
	}
	return out.Bytes()
}
