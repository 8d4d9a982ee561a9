// Command build makes sure that the binaries of the test control plane are in the user's cache folder, with --node also those
// of a node, with --oldest also those of the oldest control plane.
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
	oldest := flag.Bool("oldest", false, "build the oldest control plane, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := cluster.EnsureBinaries(ctx, os.Stdout)
	if err == nil && *node {
		_, err = cluster.EnsureNodeBinaries(ctx, os.Stdout)
	}
	if err == nil && *oldest {
		_, err = cluster.EnsureOldestBinaries(ctx, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
