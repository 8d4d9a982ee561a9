package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const (
	// probeTimeout is how long it may take to find out whether the machine can run a node.
	probeTimeout = 30 * time.Second
	// prepareTimeout is how long building what nodes are made of may take: it takes 15 to 30 minutes the first time.
	prepareTimeout = 60 * time.Minute
	// abandonedAfter is how old a folder has to be whose lock nobody holds: a new one is locked within moments.
	abandonedAfter = time.Minute
	// unfit is the exit code of a process whose namespaces could not be furnished.
	unfit = 3
)

// Run is for TestMain: it runs the tests in namespaces of their own, and returns the exit code. Where no node can run, it runs
// them here, and [Require] skips them. Before, it builds what nodes are made of; log receives the progress.
func Run(m Tests, log io.Writer) int {
	if dir := os.Getenv(insideVariable); dir != "" {
		return inside(m, dir)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if reason := examine(ctx); reason != "" {
		if err := os.Setenv(reasonVariable, reason); err != nil {
			panic(err) // The name is fine.
		}
		return m.Run()
	}
	code, err := 1, prepare(ctx, log)
	if err == nil {
		code, err = enter(ctx)
	}
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	return code
}

func reason() string { return os.Getenv(reasonVariable) }

// inside is what the first process of the namespaces does.
func inside(m Tests, dir string) int {
	if err := furnish(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return unfit
	}
	if os.Getenv(probeVariable) != "" {
		return 0
	}
	return m.Run()
}

// examine returns why no node can run here; nothing if one can.
func examine(ctx context.Context) string {
	if os.Geteuid() != 0 {
		return "that takes root"
	}
	if missing := missing(); len(missing) > 0 {
		return "the machine lacks " + strings.Join(missing, ", ") + "; hack/node-packages.sh installs Debian's packages"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := probe(ctx); err != nil {
		return err.Error()
	}
	return ""
}

// probe furnishes namespaces and leaves them.
func probe(ctx context.Context) error {
	var said strings.Builder
	code, err := within(ctx, &said, nil, probeVariable+"=1")
	if err == nil && code != 0 {
		err = errors.New(strings.TrimSpace(said.String()))
	}
	return err
}

// prepare builds what nodes are made of while there is a network.
func prepare(ctx context.Context, log io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if _, err := binaries.Ensure(ctx, log, binaries.Node); err != nil {
		return err
	}
	fmt.Fprintln(log, "downloading the operator's modules, for its Dockerfile")
	_, err := command(ctx, "go", "mod", "download")
	return err
}

// enter runs the tests in the namespaces.
func enter(ctx context.Context) (code int, err error) {
	// The file of the log of what the test reads would be written by both processes.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
	return within(ctx, os.Stderr, args)
}

// within starts this program as the first process of new namespaces, with a folder and a cgroup that are gone when it returns.
func within(ctx context.Context, stderr io.Writer, args []string, env ...string) (code int, err error) {
	sweep()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return 0, fmt.Errorf("make the node's folder: %w", err)
	}
	lock, err := hold(dir)
	if err != nil {
		return 0, errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, removeAll(dir), lock.Close()) }()
	if err := makeCgroups(filepath.Base(dir)); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(cmd.Environ(), insideVariable+"="+dir), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, // and with the first process of the namespaces all others end
	}
	runtime.LockOSThread() // Linux means the death of the thread.
	defer runtime.UnlockOSThread()
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("run in namespaces: %w", errors.Join(err, context.Cause(ctx)))
	}
	return 0, nil
}

// hold locks a folder for as long as this process lives, so that nobody sweeps it.
func hold(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the node's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the node's folder: %w", err), f.Close())
	}
	return f, nil
}

// sweep removes what killed processes have left: folders and empty cgroups. What cannot be removed now is left for the next.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < abandonedAfter {
			continue
		}
		if lock, err := hold(dir); err == nil {
			_ = removeAll(dir)
			_ = lock.Close()
		}
	}
}

// removeAll removes the cgroups and the folder of a node that has ended.
func removeAll(dir string) error {
	return errors.Join(removeCgroups(filepath.Base(dir)), os.RemoveAll(dir))
}
