// Command profiled is the operator with an endpoint for profiles, which the product does not have. --pprof is where it listens;
// all other flags are the operator's.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // registers its handlers
	"os"
	"slices"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/app"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	const flag = "--pprof="
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, flag) })
	if i < 0 {
		return errors.New("--pprof is required")
	}
	address := strings.TrimPrefix(args[i], flag)
	if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("--pprof: %q is not on the loopback interface", address)
	}
	o, err := options.Parse(slices.Delete(slices.Clone(args), i, i+1), func(string) {})
	if err != nil {
		return err
	}
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second}
	go func() { fmt.Fprintln(os.Stderr, server.ListenAndServe()) }()
	return app.Run(ctrl.SetupSignalHandler(), o, "profiled")
}
