// Command chart writes the Helm chart from what is in config, or with -verify tells what is out of date.
//
// The manifests are what kustomize builds of config/default. What is in config/overlays/production and config/components/cert-manager
// beside it becomes objects that values switch on, and the values that do so. Only what a chart has and a kustomization has not is
// kept in files: the schema of the values, and their descriptions.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// folder is where the chart is, from the module's root.
const folder = "charts/sysdig-metrics-operator"

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("chart", flag.ContinueOnError)
	verify := flags.Bool("verify", false, "compare, and write nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var c config
	for _, build := range []struct {
		folder string
		into   *[]object
	}{
		{"config/default", &c.standard}, {"config/overlays/production", &c.production}, {"config/overlays/cert-manager", &c.certManager},
	} {
		text, err := kustomize(ctx, build.folder)
		if err != nil {
			return err
		}
		if *build.into, err = parse(text); err != nil {
			return fmt.Errorf("%s: %w", build.folder, err)
		}
	}
	files, err := generate(c)
	if err != nil {
		return err
	}
	if *verify {
		return compare(files, folder)
	}
	return write(files, folder)
}

// kustomize builds a folder of config.
func kustomize(ctx context.Context, folder string) ([]byte, error) {
	var problems bytes.Buffer
	build := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/helm/go.mod", "kustomize", "build", folder)
	build.Stderr = &problems
	text, err := build.Output()
	if err != nil {
		return nil, fmt.Errorf("building %s: %w\n%s", folder, err, &problems)
	}
	return text, nil
}

// compare tells what in the folder is not as generated. Files that nobody generates are out of date as well.
func compare(files map[string][]byte, folder string) error {
	var problems []error
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(got, want) {
			problems = append(problems, fmt.Errorf("%s/%s is out of date", folder, name))
		}
	}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		if _, known := files[filepath.ToSlash(name)]; !known {
			problems = append(problems, fmt.Errorf("%s is not generated", path))
		}
		return nil
	})
	return errors.Join(append(problems, err)...)
}

// write replaces the folder.
func write(files map[string][]byte, folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("clearing %s: %w", folder, err)
	}
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the chart: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("writing the chart: %w", err)
		}
	}
	return nil
}
