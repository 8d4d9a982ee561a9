// Command build makes sure that the binaries of the test control plane, or with --node also those of a node, are in the
// user's cache folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

func main() {
	node := flag.Bool("node", false, "build the programs of a node, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := cluster.EnsureBinaries(ctx, os.Stdout)
	if err == nil && *node {
		_, err = cluster.EnsureNodeBinaries(ctx, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
