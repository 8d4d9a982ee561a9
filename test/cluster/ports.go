package cluster

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
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

// FreePorts chooses n ports of the loopback address on which nothing listens.
func FreePorts(n int) ([]int, error) {
	var chosen []int
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if slices.Contains(chosen, port) || !isFree(port) {
			continue
		}
		if chosen = append(chosen, port); len(chosen) == n {
			return chosen, nil
		}
	}
	return nil, errors.New("no free ports on the loopback address")
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
