// Command drill plays outages of Sysdig, and of the operator, to more than 200 Deployments with HPAs on a real control plane, all
// side by side, each with a stand-in and a connection of its own. It prints tables in Markdown; progress goes to standard error.
// It fails when an HPA took replicas away that the load needed, came too late with those that it needs, or when an adapter
// without guards did no harm in the same outages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	p, err := parse(args)
	if err != nil {
		return err
	}
	r, failed := run(ctx, p, os.Stderr)
	return errors.Join(failed, r.print(os.Stdout), r.wrong())
}

// parse turns flags into a plan.
func parse(args []string) (plan, error) {
	flags := flag.NewFlagSet("drill", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "with the shortest intervals, some minutes in all; the delays mean little")
	only := flags.String("only", "", "names of incidents, with commas between")
	apis := flags.String("api", string(v1alpha1.APIPrometheus), "APIs of Sysdig that are asked, with commas between: Prometheus, Data")
	control := flags.Duration("control", -1, "how long the control run's incidents last; 0 for none")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	if flags.NArg() > 0 {
		return plan{}, errors.New("want no arguments but flags")
	}
	p := fullPlan()
	if *quick {
		p = quickPlan()
	}
	if *control >= 0 {
		p.control = control.Round(time.Second)
	}
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	p.apis = nil
	for name := range strings.SplitSeq(*apis, ",") {
		api := v1alpha1.API(name)
		if api != v1alpha1.APIPrometheus && api != v1alpha1.APIData || slices.Contains(p.apis, api) {
			return plan{}, fmt.Errorf("--api: want Prometheus, Data or both, not %q", *apis)
		}
		p.apis = append(p.apis, api)
	}
	_, err := pick(p.only, p.apis)
	return p, err
}
