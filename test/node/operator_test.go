package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

// checkOperator looks at the operator's pods, and at what the kernel says of their processes.
func (w *world) checkOperator(ctx context.Context) error {
	var pods corev1.PodList
	err := w.client.List(ctx, &pods, client.InNamespace(stage.Namespace), client.MatchingLabels{"app.kubernetes.io/name": operatorName})
	if err != nil {
		return err
	}
	running := 0
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			continue // of the rollout before
		}
		running++
		for _, c := range pod.Status.ContainerStatuses {
			if c.Image != w.image || c.RestartCount != 0 || !c.Ready {
				return fmt.Errorf("pod %s runs %s, was restarted %d times, ready: %t; want %s, never, ready", pod.Name, c.Image, c.RestartCount, c.Ready, w.image)
			}
		}
	}
	if running == 0 {
		return errors.New("no pod of the operator runs")
	}
	return checkProcesses()
}

// checkProcesses compares what the operator's processes may do with the strictest that a pod can have.
func checkProcesses() error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	found := 0
	var errs []error
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(line), "/"+operatorName+"\x00") {
			continue // It may have ended.
		}
		found++
		errs = append(errs, checkProcess(filepath.Dir(file)))
	}
	if found == 0 {
		errs = append(errs, errors.New("the operator has no process on this node"))
	}
	return errors.Join(errs...)
}

func checkProcess(proc string) error {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	const none = "0000000000000000"
	var errs []error
	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
		"NoNewPrivs": "1", "Seccomp": "2", // a filter
	} {
		if fields[name] != want {
			errs = append(errs, fmt.Errorf("the operator's process has %s %q, want %q", name, fields[name], want))
		}
	}
	mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	readOnly := false
	for line := range strings.Lines(string(mounts)) {
		// The fifth field is where it is mounted, the sixth how; see proc(5).
		if f := strings.Fields(line); len(f) > 5 && f[4] == "/" {
			readOnly = strings.HasPrefix(f[5], "ro")
		}
	}
	if !readOnly {
		errs = append(errs, errors.New("the operator may write to its root file system"))
	}
	return errors.Join(errs...)
}

// checkLog looks for the token in what the operator has logged.
func (w *world) checkLog() error {
	log, err := w.kubectl("logs", "--namespace="+stage.Namespace, "-l", "app.kubernetes.io/name="+operatorName, "--tail=-1")
	if err != nil {
		return err
	}
	if !strings.Contains(log, "Sysdig") {
		return fmt.Errorf("the operator has logged nothing of itself: %q", log)
	}
	if strings.Contains(log, w.token) {
		return errors.New("the operator has logged the token")
	}
	return nil
}
