package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

const pidFile = "processes.json"

// record is what the pid file holds.
type record struct {
	// Dir is the folder as it stands in the processes' arguments.
	Dir string `json:"dir"`
	// Temporary means that the folder was made by Start and goes with the cluster.
	Temporary bool            `json:"temporary"`
	Processes []processRecord `json:"processes"`
}

type processRecord struct {
	Component binaries.Component `json:"component"`
	PID       int                `json:"pid"`
	Path      string             `json:"path"`
}

// writeRecord keeps the processes' ids in dir, so that StopDir finds them.
func writeRecord(dir string, r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the pid file: %w", err)
	}
	tmp := filepath.Join(dir, pidFile+".tmp")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, pidFile)); err != nil {
		return fmt.Errorf("keep the pid file: %w", err)
	}
	return nil
}

// StopDir ends the cluster whose folder is dir, from any process: it reads the process ids that Start left there and
// ends those that still are what was started. It removes the folder if Start chose it. When ctx is done the
// processes are killed at once. The error is an [os.ErrNotExist] when no cluster was started in dir.
func StopDir(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return fmt.Errorf("read the cluster's pid file: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("parse the cluster's pid file: %w", err)
	}
	watching, cancel := context.WithCancel(context.Background())
	defer cancel()
	var processes []*process
	for _, entry := range r.Processes {
		p, err := adopt(watching, entry, r.Dir)
		if err != nil {
			return err
		}
		if p != nil {
			processes = append(processes, p)
		}
	}
	if err := stopAll(ctx, processes); err != nil {
		return err
	}
	return removeRecord(r.Dir, r.Temporary)
}

// removeRecord removes what is left of a cluster that was stopped.
func removeRecord(dir string, temporary bool) error {
	if temporary {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the cluster's folder: %w", err)
		}
		return nil
	}
	if err := os.Remove(filepath.Join(dir, pidFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the pid file: %w", err)
	}
	return nil
}

// adopt takes over a process that another process started. It returns nil when the process has ended or when its
// id now belongs to something else. It watches the process until ctx is done.
func adopt(ctx context.Context, entry processRecord, dir string) (*process, error) {
	// The handle comes first: it keeps meaning the same process when the id is given to another one later.
	handle, err := os.FindProcess(entry.PID)
	if err != nil {
		return nil, fmt.Errorf("find %s (process %d): %w", entry.Component, entry.PID, err)
	}
	running := func() bool {
		line := commandLine(entry.PID)
		return strings.HasPrefix(line, entry.Path+" ") && strings.Contains(line, dir)
	}
	if !running() {
		return nil, handle.Release()
	}
	p := &process{component: entry.Component, handle: handle, done: make(chan struct{}), state: "ended"}
	go func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for running() {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
		close(p.done)
	}()
	return p, nil
}
