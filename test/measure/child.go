package measure

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// stopGrace is how long a child may take to end.
const stopGrace = 2 * time.Minute

// Child is this program again, with other arguments: a server in a process of its own, so that its usage is that of
// serving alone. It answers each line of its input with a line of JSON, see [Answer].
type Child struct {
	cmd  *exec.Cmd
	kill context.CancelFunc
	in   io.WriteCloser
	out  *bufio.Reader
	log  bytes.Buffer // to be read after the end
}

// StartChild starts this program again. It ends with the context, and when this process does.
func StartChild(ctx context.Context, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &Child{kill: cancel}
	c.cmd = exec.CommandContext(ctx, self, args...)
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

// PID is the id of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask asks a question of one line and decodes the answer.
func (c *Child) Ask(question string, answer any) error {
	if _, err := io.WriteString(c.in, question+"\n"); err != nil {
		return fmt.Errorf("asking a server %q: %w", question, err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the answer of a server to %q: %w", question, err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		return fmt.Errorf("the answer of a server to %q: %w", question, err)
	}
	return nil
}

// Stop ends the process and waits for it.
func (c *Child) Stop() error {
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

// Answer is the child's side of [Child.Ask]: it answers questions until the input ends.
func Answer(in io.Reader, out io.Writer, answer func(question string) (any, error)) error {
	encoder := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		said, err := answer(lines.Text())
		if err != nil {
			return err
		}
		if err := encoder.Encode(said); err != nil {
			return fmt.Errorf("answering %q: %w", lines.Text(), err)
		}
	}
	return nil
}
