package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// controller is where Linux shows memory cgroups, version 1.
const controller = "/sys/fs/cgroup/memory"

// cgroup is a memory cgroup; nil where this process may make none.
type cgroup struct{ path string }

// newCgroup makes a cgroup with a limit in bytes.
func newCgroup(limit int64) (*cgroup, error) {
	g := &cgroup{filepath.Join(controller, fmt.Sprint("siege-", os.Getpid()))}
	if err := os.Mkdir(g.path, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(g.file("memory.limit_in_bytes"), []byte(strconv.FormatInt(limit, 10)), 0o600); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

func (g *cgroup) file(name string) string { return filepath.Join(g.path, name) }

// procs is the file by which a process joins; empty without a cgroup.
func (g *cgroup) procs() string {
	if g == nil {
		return ""
	}
	return g.file("cgroup.procs")
}

// kills is how often the kernel has killed a process for its memory.
func (g *cgroup) kills() (n int) {
	if g == nil {
		return 0
	}
	text, _ := os.ReadFile(g.file("memory.oom_control"))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ = strconv.Atoi(strings.TrimSpace(rest))
		}
	}
	return n
}

// remove removes the cgroup, when its processes are gone.
func (g *cgroup) remove() (err error) {
	if g == nil {
		return nil
	}
	for range 50 {
		if err = os.Remove(g.path); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// memory is what a process holds, and the most that it has held, in MiB; zero when it is gone.
func memory(pid int) (now, most int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			now = kib >> 10
		case "VmHWM:":
			most = kib >> 10
		}
	}
	return now, most
}
