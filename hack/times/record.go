package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// recordVariable names the file to which this program, in place of another one that the go command starts, appends what that took.
	recordVariable = "TIMES_RECORD"
	// rootVariable is the folder of the module.
	rootVariable = "TIMES_ROOT"
)

// entry is what one process of tests took, with those that it started and waited for.
type entry struct {
	Name      string
	Wall, CPU time.Duration
	Memory    int64 // bytes
}

// record runs a program, notes what it took, and returns its exit code.
func record(file string, command []string) int {
	signal.Ignore(os.Interrupt) // It is the program's.
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, recordVariable+"=") })
	started := time.Now()
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "times:", err)
		return 1
	}
	peak := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	dir, _ := os.Getwd()
	line, _ := json.Marshal(entry{nameOf(os.Getenv(rootVariable), dir, command), time.Since(started), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak()})
	if err := appendLine(file, line); err != nil {
		fmt.Fprintln(os.Stderr, "times:", err)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	}
	return 0
}

// nameOf names a run of tests by its package, and says what it fuzzes; others by their program.
func nameOf(root, dir string, command []string) string {
	program := filepath.Base(command[0])
	if !strings.HasSuffix(program, ".test") {
		return "go run " + program
	}
	name := strings.TrimPrefix(dir, root+string(filepath.Separator))
	for _, arg := range command {
		if target, ok := strings.CutPrefix(arg, "-test.fuzz="); ok {
			return name + " " + strings.Trim(target, "^$")
		}
	}
	return name
}

func appendLine(file string, line []byte) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// recorded reads the entries of a file, the longest first. None is no error.
func recorded(file string) (rows []row, err error) {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		rows = append(rows, row{"  " + e.Name, e.Wall, e.CPU, e.Memory})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return int(b.wall - a.wall) })
	return rows, nil
}
