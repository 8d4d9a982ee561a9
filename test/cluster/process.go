package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const (
	// stopGrace is how long a process may take to end after SIGTERM.
	stopGrace = time.Minute
	// killGrace is how long a process may take to disappear after SIGKILL.
	killGrace = time.Minute
	// quotedLines is how many lines of a log an error quotes.
	quotedLines = 20
)

// process is a running component.
type process struct {
	component binaries.Component
	path      string // of its binary
	logFile   string
	handle    *os.Process
	done      chan struct{} // closed when the process has ended
	state     string        // how it ended; set before done is closed
	stopping  atomic.Bool   // somebody ends it on purpose
}

// ended tells whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// failure describes a process that ended by itself: its name, how it ended and the end of its log.
func (p *process) failure() error {
	return fmt.Errorf("%s ended early (%s); the end of %s:\n%s", p.component, p.state, p.logFile, tail(p.logFile, quotedLines))
}

// stop sends SIGTERM, and SIGKILL after stopGrace or as soon as ctx is done. It returns when the process has ended.
func (p *process) stop(ctx context.Context) error {
	p.stopping.Store(true)
	if p.ended() {
		return nil
	}
	if err := p.handle.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.component, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if err := p.handle.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.component, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(killGrace):
		return fmt.Errorf("%s (process %d) still runs %s after SIGKILL", p.component, p.handle.Pid, killGrace)
	}
}

// stopAll ends the clients of the API server, then the API server, then etcd, so that none logs errors about another.
func stopAll(ctx context.Context, processes []*process) error {
	phase := map[binaries.Component]int{binaries.APIServer: 1, binaries.Etcd: 2}
	var errs []error
	for i := range 3 {
		results := make(chan error, len(processes))
		started := 0
		for _, p := range processes {
			if phase[p.component] == i {
				started++
				go func() { results <- p.stop(ctx) }()
			}
		}
		for range started {
			errs = append(errs, <-results)
		}
	}
	return errors.Join(errs...)
}

// launcher starts processes from one operating system thread that lives until close is called.
// Linux signals a child's parent-death when the thread that forked it ends, not when the whole parent does, and the Go
// runtime ends threads at will unless a goroutine is locked to them.
type launcher struct {
	requests chan launch
}

type launch struct {
	cmd    *exec.Cmd
	result chan<- error
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan launch)}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for r := range l.requests {
			r.result <- r.cmd.Start()
		}
	}()
	return l
}

// start starts a component whose output goes to logFile. detach lets it outlive this process; otherwise it dies
// with it (on Linux). env is its whole environment.
func (l *launcher) start(c binaries.Component, path string, args, env []string, logFile string, detach bool) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("create the log of %s: %w", c, err)
	}
	defer log.Close() // The child has its own descriptor.
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = filepath.Dir(logFile), env
	cmd.Stdout, cmd.Stderr = log, log // Files, not pipes: a detached child keeps them.
	cmd.SysProcAttr = childAttributes(detach)

	result := make(chan error, 1)
	l.requests <- launch{cmd, result}
	if err := <-result; err != nil {
		return nil, fmt.Errorf("start %s: %w", c, err)
	}
	p := &process{component: c, path: path, logFile: logFile, handle: cmd.Process, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // The state says how it ended.
		p.state = cmd.ProcessState.String()
		close(p.done)
	}()
	return p, nil
}

// close lets the thread go. Children that still run and are not detached die.
func (l *launcher) close() { close(l.requests) }

// tail returns the last n lines of a file, or why it cannot be read.
func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
