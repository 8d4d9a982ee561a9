package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// syncPeriod is how often the HPA looks at the metric.
	syncPeriod = 5 * time.Second
	// patience is how long the HPA waits before it scales down. Kubernetes' own default is 5 minutes.
	patience = 20 * time.Second
	// quotedLines is how much of the operator's log a failure quotes.
	quotedLines = 30
)

// scene is a control plane with the operator, the stand-in and the samples.
type scene struct {
	stage    *stage.Stage
	standIn  *standIn
	observer *observer
}

// setScene makes a scene. With a folder the processes outlive this one; otherwise everything is temporary. When it
// fails no process is left.
func setScene(ctx context.Context, dir string, log io.Writer) (*scene, error) {
	s, err := stage.Start(ctx, stage.Options{
		Cluster: cluster.Options{
			Dir: dir, Detach: dir != "",
			HPASyncPeriod: syncPeriod, HPADownscaleStabilization: patience,
		},
		Log: log,
	})
	if err != nil {
		return nil, err
	}
	c := &scene{stage: s}
	if err := c.furnish(ctx, log); err != nil {
		return nil, errors.Join(err, s.Cluster.Stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// furnish starts the stand-in, connects the operator to it and applies the samples.
func (c *scene) furnish(ctx context.Context, log io.Writer) (err error) {
	if c.standIn, err = startStandIn(ctx, c.stage); err != nil {
		return err
	}
	fmt.Fprintln(log, "applying a SysdigConnection and config/samples")
	in := c.standIn
	if err := c.stage.Connect(ctx, "default", clusterName, in.url, in.bundle, in.token); err != nil {
		return err
	}
	samples := filepath.Join(c.stage.Root, "config", "samples")
	if _, err := c.stage.Cluster.Kubectl(ctx, "apply", "--server-side", "-k", samples); err != nil {
		return err
	}
	c.observer, err = newObserver(c.stage.Client, c.stage.Cluster.AdminConfig())
	return err
}

// alive returns why a process of the scene has ended.
func (c *scene) alive() error {
	return errors.Join(c.stage.OperatorFailure(), c.standIn.process.Failure())
}

// diagnosis is what helps to understand a story that did not hold.
func (c *scene) diagnosis(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var b strings.Builder
	b.WriteString("Conditions of the HorizontalPodAutoscaler flask:\n")
	var h autoscalingv2.HorizontalPodAutoscaler
	if err := c.stage.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: app}, &h); err != nil {
		fmt.Fprintf(&b, "  %v\n", err)
	}
	for _, condition := range h.Status.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s: %s\n", condition.Type, condition.Status, condition.Reason, condition.Message)
	}
	lines := strings.Split(strings.TrimSpace(c.stage.OperatorLog()), "\n")
	b.WriteString("The end of the operator's log:\n")
	for _, line := range lines[max(0, len(lines)-quotedLines):] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}
