package binaries

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// buildFlags are those of everything else that the Makefile compiles, so that what two programs have in common is compiled once.
const buildFlags = "-trimpath -buildvcs=false"

// tellEvery is how often a build tells how far it is.
const tellEvery = 20 * time.Second

// build makes the executables of a group with one go build, in a folder of their own, and moves them: a half-written file is never used.
func (f Folder) build(ctx context.Context, log io.Writer, group []target) error {
	start := time.Now()
	names := make([]string, len(group))
	pkgs := make([]string, len(group))
	for i, t := range group {
		names[i], pkgs[i] = string(t.component), t.pkg
	}
	fmt.Fprintf(log, "building %s\n", strings.Join(names, ", "))
	tmp, err := os.MkdirTemp(f.dir, ".build-")
	if err != nil {
		return fmt.Errorf("create a folder to build in: %w", err)
	}
	defer os.RemoveAll(tmp)

	left, err := toCompile(ctx, group[0].module, pkgs)
	if err != nil {
		return err
	}
	if err := compile(ctx, log, group[0], tmp, pkgs, left); err != nil {
		return fmt.Errorf("build %s: %w", strings.Join(names, ", "), err)
	}
	for _, t := range group {
		if err := os.Rename(filepath.Join(tmp, executable(t.pkg)), f.Path(t.component)); err != nil {
			return fmt.Errorf("keep %s: %w", t.component, err)
		}
	}
	fmt.Fprintf(log, "built %s in %s\n", strings.Join(names, ", "), time.Since(start).Round(time.Second))
	return nil
}

// executable is the name that go build gives a program: the last element of its path that is no version of a module.
func executable(pkg string) string {
	base := path.Base(pkg)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		return path.Base(path.Dir(pkg))
	}
	return base
}

// compile runs go build, which names each package that it begins to compile, and tells how far it is.
func compile(ctx context.Context, log io.Writer, of target, dir string, pkgs []string, left *remaining) error {
	cmd := goCmd(ctx, of.module, append([]string{"build", "-v", "-ldflags", of.ldflags, "-o", dir + string(filepath.Separator)}, pkgs...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := every(tellEvery, func() { fmt.Fprintln(log, left.progress(time.Now())) })
	defer stop()
	var said []string // what is no name of a package
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if line := lines.Text(); !left.began(line) {
			said = append(said, line)
		}
	}
	_, _ = io.Copy(io.Discard, stderr) // after a line that is too long to be read
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, strings.Join(said, "\n"))
	}
	return nil
}

// every calls a function at every interval until the returned one is called, which returns when no further call can happen.
func every(interval time.Duration, do func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				do()
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// writeStages concatenates the stages that come with kwok's module: nodes become and stay Ready, pods become Running.
func (f Folder) writeStages(ctx context.Context, src sources) error {
	dir, err := goCommand(ctx, src.module("kubernetes"), "list", "-m", "-f", "{{.Dir}}", kwokModule)
	if err != nil {
		return fmt.Errorf("find kwok's module: %w", err)
	}
	if dir = strings.TrimSpace(dir); dir == "" {
		return errors.New("kwok's module is not in the module cache")
	}
	var out bytes.Buffer
	for _, stage := range []string{"node/fast", "node/heartbeat-with-lease", "pod/fast"} {
		cmd := exec.CommandContext(ctx, f.Path(Kubectl), "kustomize", filepath.Join(dir, "kustomize", "stage", filepath.FromSlash(stage)))
		text, err := output(cmd)
		if err != nil {
			return fmt.Errorf("read kwok's stage %s: %w", stage, err)
		}
		fmt.Fprintf(&out, "---\n%s", text)
	}
	tmp := f.Stages() + ".tmp"
	if err := os.WriteFile(tmp, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write kwok's stages: %w", err)
	}
	if err := os.Rename(tmp, f.Stages()); err != nil {
		return fmt.Errorf("keep kwok's stages: %w", err)
	}
	return nil
}

// goCmd is the go command in a module's folder, for this machine, without cgo, and with the flags of everything else.
func goCmd(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="+buildFlags, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	return cmd
}

// goCommand runs the go command and returns what it prints.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	return output(goCmd(ctx, dir, args...))
}

// output runs a command and returns its standard output; an error carries its standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
