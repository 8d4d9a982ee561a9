// Command sysdig-standin serves a stand-in for the Sysdig Monitor API whose series follow the pods of a cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sysdig-metrics/sysdig-metrics-operator/cmd/sysdig-standin/internal/standin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := standin.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
