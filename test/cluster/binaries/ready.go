package binaries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// variable names a folder of ready-made programs.
const variable = "CONTROL_PLANE"

// versionTimeout bounds how long a ready-made program may take to say its version.
const versionTimeout = time.Minute

// readyMade is a folder of ready-made programs of etcd and Kubernetes, as their releases have them; empty when all are built.
type readyMade string

// provides tells whether a program is taken from the folder.
func (r readyMade) provides(t target) bool {
	return r != "" && (t.of == etcdModule || t.of == kubernetesModule)
}

// path is where a program is.
func (r readyMade) path(c Component) string { return filepath.Join(string(r), string(c)) }

// check makes sure that all that the folder provides is there, and of the pinned versions. The error names all that is wrong.
func (r readyMade) check(ctx context.Context, wanted []target) error {
	var wrong []error
	for _, t := range wanted {
		if r.provides(t) {
			wrong = append(wrong, r.checkOne(ctx, t))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("%s=%s cannot be used:\n%w\nput the programs of these versions there, or unset %s to have them built", variable, string(r), err, variable)
	}
	return nil
}

// checkOne asks a program for its version.
func (r readyMade) checkOne(ctx context.Context, t target) error {
	if _, err := os.Stat(r.path(t.component)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing (want %s)", t.component, t.version)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	args := []string{"--version"}
	if t.component == Kubectl {
		args = []string{"version", "--client"}
	}
	said, err := output(exec.CommandContext(ctx, r.path(t.component), args...))
	if err != nil {
		return fmt.Errorf("%s does not say its version (want %s): %w", t.component, t.version, err)
	}
	first, _, _ := strings.Cut(said, "\n")
	is := func(word string) bool { return strings.TrimPrefix(word, "v") == strings.TrimPrefix(t.version, "v") }
	if !slices.ContainsFunc(strings.Fields(first), is) {
		return fmt.Errorf("%s says %q, want %s", t.component, first, t.version)
	}
	return nil
}

// link puts a link to a program at a path.
func (r readyMade) link(t target, path string) error {
	if err := os.Symlink(r.path(t.component), path); err != nil {
		return fmt.Errorf("use the %s of %s: %w", t.component, variable, err)
	}
	return nil
}

// findReadyMade reads the environment. The oldest control plane is always built.
func findReadyMade(set Set) (readyMade, error) {
	dir := os.Getenv(variable)
	if dir == "" || set == Oldest {
		return "", nil
	}
	if !filepath.IsAbs(dir) { // Each package is tested in a folder of its own.
		return "", fmt.Errorf("%s=%s is relative: give the absolute path of the folder", variable, dir)
	}
	return readyMade(filepath.Clean(dir)), nil
}
