package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// stopGrace is how long a server may take to end.
const stopGrace = 10 * time.Second

// child is a server in a process of its own, so that its usage is that of serving alone.
type child struct {
	address string
	cmd     *exec.Cmd
	kill    context.CancelFunc
	in      io.WriteCloser
	out     *bufio.Reader
	log     bytes.Buffer // to be read after the end
}

// startChild starts this program again as a server of a scene, with more arguments if need be. It ends with the context, and
// when this process does.
func startChild(ctx context.Context, scene, kind string, port int, certificates string, more ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &child{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), kill: cancel}
	c.cmd = exec.CommandContext(ctx, self, append([]string{
		serveCommand, "--scene=" + scene, "--provider=" + kind, "--port=" + strconv.Itoa(port), "--certificates=" + certificates,
	}, more...)...)
	c.cmd.WaitDelay, c.cmd.Stderr = stopGrace, &c.log
	in, err := c.cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("talking to a server: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listening to a server: %w", err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	return c, nil
}

// usage is what the process has used so far.
func (c *child) usage() (usage, error) {
	var u usage
	if _, err := io.WriteString(c.in, "usage\n"); err != nil {
		return u, fmt.Errorf("asking a server for its usage: %w", err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("the usage of a server: %w", err)
	}
	if err := json.Unmarshal(line, &u); err != nil {
		return u, fmt.Errorf("the usage of a server: %w", err)
	}
	return u, nil
}

// stop ends the process and waits for it.
func (c *child) stop() error {
	defer c.kill()
	closed := c.in.Close()
	timer := time.AfterFunc(stopGrace, c.kill)
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("a server ended with %w; its log: %s", err, c.log.Bytes())
	}
	if closed != nil && !errors.Is(closed, os.ErrClosed) {
		return fmt.Errorf("ending a server: %w", closed)
	}
	return nil
}
