// Command build makes sure that the binaries of the test control plane are in the user's cache folder.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := cluster.EnsureBinaries(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
