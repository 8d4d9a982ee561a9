package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// parentVariable makes the test binary play a parent that is killed; its value is the folder of the child's log.
const parentVariable = "TESTCLUSTER_PARENT"

// startScript starts a shell script as a child that does not outlive the test.
func startScript(t *testing.T, script string) *process {
	t.Helper()
	l := newLauncher()
	log := filepath.Join(t.TempDir(), "script.log")
	p, err := l.start("script", "/bin/sh", []string{"-c", script}, nil, log, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.handle.Kill()
		<-p.done
		l.close()
	})
	return p
}

// waitFor waits until a condition holds; only what hangs takes two minutes.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within two minutes", what)
		case <-ticker.C:
		}
	}
}

func TestStopKillsWhatIgnoresSIGTERM(t *testing.T) {
	p := startScript(t, `trap "" TERM; echo ready; exec sleep 60`)
	waitFor(t, "the script's start", func() bool { return tail(p.logFile, 1) == "ready" })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.stop(ctx); err != nil {
		t.Fatal(err)
	}
	if !p.ended() || !strings.Contains(p.state, "killed") {
		t.Errorf("the process is %q, want killed", p.state)
	}
}

func TestFailureQuotesTheEndOfTheLog(t *testing.T) {
	p := startScript(t, `i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo "line $i;"; done; exit 3`)
	<-p.done
	message := p.failure().Error()
	for _, want := range []string{"script ended early (exit status 3)", "line 11;", "line 30;"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q lacks %q", message, want)
		}
	}
	if strings.Contains(message, "line 10;") {
		t.Errorf("%q quotes more than %d lines", message, quotedLines)
	}
}

func TestAdoptTakesOnlyTheSameProgram(t *testing.T) {
	dir := t.TempDir()
	p := startScript(t, "exec sleep 60 # "+dir)
	waitFor(t, "sleep to run", func() bool { return strings.HasPrefix(commandLine(p.handle.Pid), "sleep ") })
	for _, entry := range []processRecord{
		{binaries.Etcd, p.handle.Pid, "/elsewhere/etcd"}, // another program
		{binaries.Etcd, p.handle.Pid, "sleep"},           // the same program, but not for this folder
	} {
		if got, err := adopt(t.Context(), entry, dir); err != nil || got != nil {
			t.Errorf("%v was taken over as %v, %v", entry, got, err)
		}
	}
	got, err := adopt(t.Context(), processRecord{binaries.Etcd, p.handle.Pid, "sleep"}, "60")
	if err != nil || got == nil {
		t.Fatalf("the process was not taken over: %v", err)
	}
	if err := got.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

func TestChildrenDieWithAKilledParent(t *testing.T) {
	if dir := os.Getenv(parentVariable); dir != "" {
		playParent(dir)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends children with their parent")
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.CommandContext(t.Context(), executable, "-test.run=^"+t.Name()+"$")
	parent.Env = append(parent.Environ(), parentVariable+"="+t.TempDir())
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	pid, parseErr := strconv.Atoi(strings.TrimSpace(line))
	running := commandLine(pid)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // It was killed.
	if readErr != nil || parseErr != nil || !strings.HasSuffix(running, "sleep 60") {
		t.Fatalf("the parent printed %q (%v, %v) for a process %q", line, readErr, parseErr, running)
	}
	waitFor(t, "the child's end", func() bool { return commandLine(pid) == "" })
}

// playParent starts a child, prints its process id and waits to be killed.
func playParent(dir string) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := newLauncher().start("sleep", sleep, []string{"60"}, nil, filepath.Join(dir, "sleep.log"), false)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.handle.Pid)
	<-p.done
}
