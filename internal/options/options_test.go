package options_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/options"
)

func TestParse(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "sysdig-metrics")
	o, err := options.Parse(nil, func(string) {})
	if err != nil || o.Namespace != "sysdig-metrics" || o.SecurePort != 6443 || !o.ManageCertificates || !o.LeaderElect {
		t.Errorf("the defaults are %+v, %v", o, err)
	}
	o, err = options.Parse([]string{"--namespace=other", "--secure-port=8443", "--log-level=debug", "--leader-elect=false"}, func(string) {})
	if err != nil || o.Namespace != "other" || o.SecurePort != 8443 || o.LogLevel.String() != "debug" || o.LeaderElect {
		t.Errorf("got %+v, %v", o, err)
	}
	help := ""
	if _, err := options.Parse([]string{"--help"}, func(s string) { help = s }); !errors.Is(err, pflag.ErrHelp) || !strings.Contains(help, "--secure-port") {
		t.Errorf("--help gave %v and %q", err, help)
	}
}

func TestHowManyBindingsOfANamespaceAreServed(t *testing.T) {
	for args, want := range map[string]int{"--namespace=a": 1000, "--namespace=a --max-bindings-per-namespace=1": 1} {
		if o, err := options.Parse(strings.Fields(args), func(string) {}); err != nil || o.MaxBindingsPerNamespace != want {
			t.Errorf("%s: %d, %v, want %d", args, o.MaxBindingsPerNamespace, err, want)
		}
	}
	for _, none := range []string{"0", "-1", "many"} {
		if _, err := options.Parse([]string{"--namespace=a", "--max-bindings-per-namespace=" + none}, func(string) {}); err == nil || !strings.Contains(err.Error(), "max-bindings-per-namespace") {
			t.Errorf("%s: got %v", none, err)
		}
	}
}

func TestTLSVersion(t *testing.T) {
	for args, want := range map[string]uint16{
		"--namespace=a":                       tls.VersionTLS13,
		"--namespace=a --tls-min-version=1.3": tls.VersionTLS13,
		"--namespace=a --tls-min-version=1.2": tls.VersionTLS12,
	} {
		if o, err := options.Parse(strings.Fields(args), func(string) {}); err != nil || o.MinTLSVersion != want || o.Profiling {
			t.Errorf("%s: %+v, %v, want version %#x and no profiling", args, o, err, want)
		}
	}
}

func TestServe(t *testing.T) {
	for args, want := range map[string][]metric.API{
		"--namespace=a":                                   {metric.CustomMetrics, metric.ExternalMetrics},
		"--namespace=a --serve=custom,external":           {metric.CustomMetrics, metric.ExternalMetrics},
		"--namespace=a --serve=custom":                    {metric.CustomMetrics},
		"--namespace=a --serve=external":                  {metric.ExternalMetrics},
		"--namespace=a --serve=external --serve=custom":   {metric.CustomMetrics, metric.ExternalMetrics},
		"--namespace=a --serve=external --serve=external": {metric.ExternalMetrics},
	} {
		o, err := options.Parse(strings.Fields(args), func(string) {})
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		for _, api := range metric.APIs() {
			if got := o.Serves(api); got != slices.Contains(want, api) {
				t.Errorf("%s: it serves %s: %t", args, api, got)
			}
		}
	}
}

func TestBroadReaders(t *testing.T) {
	for args, want := range map[string][]string{
		"--namespace=a":                                     {"system:serviceaccount:kube-system:horizontal-pod-autoscaler"},
		"--namespace=a --broad-readers=":                    nil,
		"--namespace=a --broad-readers=jane,john":           {"jane", "john"},
		"--namespace=a --broad-readers=a --broad-readers=b": {"a", "b"},
	} {
		o, err := options.Parse(strings.Fields(args), func(string) {})
		if err != nil || !slices.Equal(o.BroadReaders, want) {
			t.Errorf("%s: %q, %v, want %q", args, o.BroadReaders, err, want)
		}
	}
	// A user without a name is nobody's; in a list it is a slip of the hand.
	if _, err := options.Parse([]string{"--namespace=a", "--broad-readers=jane,"}, func(string) {}); err == nil || !strings.Contains(err.Error(), "--broad-readers") {
		t.Errorf("an empty name gave %v", err)
	}
}

func TestAllowedNetworks(t *testing.T) {
	for args, want := range map[string]string{
		"--namespace=a": "[]",
		"--namespace=a --allow-endpoint-networks=10.96.3.4/12,fd00::/8":                              "[10.96.0.0/12 fd00::/8]",
		"--namespace=a --allow-endpoint-networks=127.0.0.0/8 --allow-endpoint-networks=192.0.2.1/32": "[127.0.0.0/8 192.0.2.1/32]",
	} {
		o, err := options.Parse(strings.Fields(args), func(string) {})
		if got := fmt.Sprint(o.AllowEndpointNetworks); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", args, got, err, want)
		}
	}
}

func TestWrongFlagsNameThemselves(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	for args, want := range map[string]string{
		"":                                   "--namespace",
		"--namespace=a --secure-port=0":      "--secure-port",
		"--namespace=a --secure-port=x":      "--secure-port",
		"--namespace=a --bind-address=host":  "--bind-address",
		"--namespace=a --log-level=loud":     "--log-level",
		"--namespace=a --cert-dir=":          "--cert-dir",
		"--namespace=a --deploymentname=web": "deploymentname",
		"--namespace=a serve":                "serve",
		"--namespace=a --serve=":             "--serve: there is nothing to serve: say custom, external, or custom,external",
		"--namespace=a --serve=object":       `--serve: "object" is no API of the operator: say custom, external, or custom,external`,
		"--namespace=a --serve=custom,":      "--serve",

		"--namespace=a --tls-min-version=1.1":                    `--tls-min-version: "1.1" is none of 1.2 and 1.3`,
		"--namespace=a --shutdown-delay-duration=1m":             "--shutdown-delay-duration",
		"--namespace=a --shutdown-delay-duration=-1s":            "--shutdown-delay-duration",
		"--namespace=a --profiling --metrics-bind-address=0":     "--profiling",
		"--namespace=a --allow-endpoint-networks=127.0.0.1":      `--allow-endpoint-networks: "127.0.0.1" is no network such as`,
		"--namespace=a --allow-endpoint-networks=10.0.0.0/8,all": `"all" is no network`,
	} {
		if _, err := options.Parse(strings.Fields(args), func(string) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want something about %s", args, err, want)
		}
	}
}
