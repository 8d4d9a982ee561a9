package main

import (
	"context"
	"net"
	"strconv"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// child is a server of a scene in a process of its own.
type child struct {
	*measure.Child
	address string
}

// startChild starts this program again as a server of a scene, with more arguments if need be. It ends with the context, and
// when this process does.
func startChild(ctx context.Context, scene, kind string, port int, certificates string, more ...string) (*child, error) {
	c, err := measure.StartChild(ctx, append([]string{
		serveCommand, "--scene=" + scene, "--provider=" + kind, "--port=" + strconv.Itoa(port), "--certificates=" + certificates,
	}, more...)...)
	if err != nil {
		return nil, err
	}
	return &child{Child: c, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, nil
}

// usage is what the process has used so far.
func (c *child) usage() (u usage, err error) {
	err = c.Ask("usage", &u)
	return u, err
}
