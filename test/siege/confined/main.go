// Command confined becomes the operator within a memory cgroup, as in a container with a limit: it moves itself there and is replaced by
// the operator. --siege-program is that, --siege-limit its limit in bytes, and --siege-procs the file by which a process joins the cgroup,
// if there is one; all other flags are the operator's.
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	const own = "--siege-"
	said := map[string]string{}
	for _, arg := range args {
		if rest, ok := strings.CutPrefix(arg, own); ok {
			name, value, _ := strings.Cut(rest, "=")
			said[name] = value
		}
	}
	if said["procs"] != "" {
		if err := os.WriteFile(said["procs"], []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return fmt.Errorf("moving into the cgroup: %w", err)
		}
	}
	args = slices.DeleteFunc(args, func(arg string) bool { return strings.HasPrefix(arg, own) })
	return syscall.Exec(said["program"], append([]string{said["program"]}, args...), append(os.Environ(), "GOMEMLIMIT="+said["limit"]))
}
