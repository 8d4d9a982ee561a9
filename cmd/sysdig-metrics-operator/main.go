// The sysdig-metrics-operator serves Sysdig Monitor metrics to HorizontalPodAutoscalers.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: 0 after a signal or for help, 2 for wrong flags, 1 for everything else.
func run(args []string) int {
	o, err := options.Parse(args, func(flags string) {
		_, _ = fmt.Fprintf(os.Stdout, "sysdig-metrics-operator %s serves Sysdig Monitor metrics to HorizontalPodAutoscalers.\n\nFlags:\n%s", version, flags)
	})
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := app.Run(ctrl.SetupSignalHandler(), o, version); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
