// Command times measures the parts of the gate: how long each takes, how much of that is computing and how much is waiting, how much
// memory it needs at most, and the same of each package's tests in it.
//
//	go run ./hack/times [--cold] TARGET ...
//
// Targets are those of the Makefile. With --cold all caches are empty: of modules, builds, programs of the control plane, and linters;
// downloads are a row of their own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// modules are the folders whose modules the gate needs.
func modules() []string {
	return []string{".", "tools", "tools/lint", "tools/helm", "test/cluster/binaries/kubernetes", "test/cluster/binaries/containerd"}
}

func main() {
	if file := os.Getenv(recordVariable); file != "" {
		os.Exit(record(file, os.Args[1:]))
	}
	cold := flag.Bool("cold", false, "begin with empty caches")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := measure(ctx, os.Stdout, flag.Args(), *cold)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "times:", err)
		os.Exit(1)
	}
}

// measure runs the targets one after the other and prints a table.
func measure(ctx context.Context, out io.Writer, targets []string, cold bool) (err error) {
	dir, err := os.MkdirTemp("", "times-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeAll(ctx, dir)) }()
	env, err := environment(dir, cold)
	if err != nil {
		return err
	}
	var rows []row
	if cold {
		downloads := row{name: "downloads"}
		for _, module := range modules() {
			one, err := run(ctx, module, env, "go", "mod", "download")
			if err != nil {
				return err
			}
			downloads.add(one)
		}
		rows = append(rows, downloads)
	}
	for _, target := range targets {
		file := filepath.Join(dir, target+".jsonl")
		whole, failure := run(ctx, ".", append(env, recordVariable+"="+file), "make", "--no-print-directory", target)
		whole.name = "make " + target
		tests, readErr := recorded(file)
		rows = append(append(rows, whole), tests...)
		if err = errors.Join(failure, readErr); err != nil {
			break // What was measured until then is printed.
		}
	}
	return errors.Join(err, print(out, rows))
}

// environment makes the Go tool run test binaries by way of this program, and with cold caches all caches empty.
func environment(dir string, cold bool) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(self, unicode.IsSpace) { // The go command splits what -exec names.
		return nil, fmt.Errorf("the path of this program holds a space: %s: set TMPDIR to a folder without", self)
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "EXEC=-exec="+self, rootVariable+"="+root)
	if cold {
		for name, folder := range map[string]string{"GOCACHE": "build", "GOMODCACHE": "modules", "XDG_CACHE_HOME": "cache"} {
			env = append(env, name+"="+filepath.Join(dir, folder))
		}
	}
	return env, nil
}

// run runs a command, whose output goes to standard error, and measures it.
func run(ctx context.Context, dir string, env []string, name string, args ...string) (row, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, os.Stderr, os.Stderr
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return row{}, err
	}
	peak := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	r := row{wall: time.Since(started), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), memory: peak()}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return r, err
}

// removeAll removes a folder, the module cache's files without write permission included.
func removeAll(ctx context.Context, dir string) error {
	clean := exec.CommandContext(context.WithoutCancel(ctx), "chmod", "-R", "u+w", dir)
	return errors.Join(clean.Run(), os.RemoveAll(dir))
}
