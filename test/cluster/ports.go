package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// The range from which ports are drawn. It lies below the ports that Linux and macOS give to outgoing connections, so
// that none of those takes a port between its choice and its use.
const (
	firstPort = 20000
	lastPort  = 29999
)

// freePorts chooses ports of the loopback address on which nothing listens.
func freePorts() (ports, error) {
	chosen, err := FreePorts(5)
	if err != nil {
		return ports{}, err
	}
	return ports{chosen[0], chosen[1], chosen[2], chosen[3], chosen[4]}, nil
}

// FreePorts chooses n ports of the loopback address on which nothing listens, and which no other process that lives has been given here.
func FreePorts(n int) ([]int, error) {
	var chosen []int
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if slices.Contains(chosen, port) || !reserve(port) || !isFree(port) {
			continue
		}
		if chosen = append(chosen, port); len(chosen) == n {
			return chosen, nil
		}
	}
	return nil, fmt.Errorf("no free ports on the loopback address that can be locked in %s", portLocks())
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// reserve keeps a port for this process as long as it lives: it tells whether no other one has it. Several packages are tested at the
// same time, and between the choice of a port and its use there may be seconds.
func reserve(port int) bool {
	dir := portLocks()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false
	}
	// Not an os.File, which would be closed when nobody refers to it any more: the kernel closes this one at the end of the process.
	fd, err := syscall.Open(filepath.Join(dir, strconv.Itoa(port)), syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return false
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = syscall.Close(fd)
		return false
	}
	return true
}

// portLocks is the folder of the locks of ports.
func portLocks() string {
	return filepath.Join(os.TempDir(), "sysdig-metrics-test-ports-"+strconv.Itoa(os.Getuid()))
}
