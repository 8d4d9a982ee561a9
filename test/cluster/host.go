package cluster

import (
	"context"
	"os"
	"syscall"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// HostProcess is a process of this machine that runs beside the control plane and ends with it.
type HostProcess struct{ process *process }

// StartHostProcess starts a program of this machine. name names it and its log file; its arguments must hold a path
// below Dir, so that [StopDir] can tell it from a stranger that got its process id later. It ends with the cluster.
func (c *Cluster) StartHostProcess(name, path string, args ...string) (*HostProcess, error) {
	p, err := c.launch(binaries.Component(name), path, args)
	if err != nil {
		return nil, err
	}
	return &HostProcess{process: p}, nil
}

// PID is the id of the process.
func (h *HostProcess) PID() int { return h.process.handle.Pid }

// LogFile is the path of the file that holds the process's output.
func (h *HostProcess) LogFile() string { return h.process.logFile }

// Failure tells how the process ended, with the end of its log; nil while it runs.
func (h *HostProcess) Failure() error {
	if !h.process.ended() {
		return nil
	}
	return h.process.failure()
}

// Stop ends the process with SIGTERM, and with SIGKILL after five seconds or as soon as ctx is done.
func (h *HostProcess) Stop(ctx context.Context) error { return h.process.stop(ctx) }

// Terminate asks the process to end with SIGTERM, as the kubelet does, and does not wait for it.
func (h *HostProcess) Terminate() error {
	h.process.stopping.Store(true)
	return h.process.handle.Signal(syscall.SIGTERM)
}

// Done is closed when the process has ended.
func (h *HostProcess) Done() <-chan struct{} { return h.process.done }

// Kill ends the process with SIGKILL.
func (h *HostProcess) Kill() error {
	h.process.stopping.Store(true)
	return h.process.handle.Signal(os.Kill)
}
