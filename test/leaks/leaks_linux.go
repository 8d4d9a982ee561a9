package leaks

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of all processes below it whose own parent ends, so that none gets lost.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// left describes the processes below this one and the ports that this process listens on.
func left() []string { return append(processes(os.Getpid()), listeners()...) }

// processes describes the living processes below one.
func processes(root int) (found []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // It has ended meanwhile.
		}
		// "PID (NAME) STATE PARENT ...", where the name may hold anything.
		end := bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[end+1:]))
		if end < 0 || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	for next := children[root]; len(next) > 0; next = next[1:] {
		pid := next[0]
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		found = append(found, fmt.Sprintf("process %d: %s", pid, bytes.TrimSpace(bytes.ReplaceAll(args, []byte{0}, []byte{' '}))))
		next = append(next, children[pid]...)
	}
	return found
}

// listeners describes the TCP ports that this process listens on.
func listeners() (found []string) {
	mine := map[string]bool{}
	files, _ := filepath.Glob("/proc/self/fd/*")
	for _, file := range files {
		target, _ := os.Readlink(file)
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	const listen = "0A" // TCP_LISTEN, include/net/tcp_states.h
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line) // number, local address, remote address, state, ..., inode
			if len(fields) < 10 || fields[3] != listen || !mine[fields[9]] {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			port, _ := strconv.ParseUint(hex, 16, 16)
			found = append(found, fmt.Sprintf("port %d", port))
		}
	}
	return found
}
