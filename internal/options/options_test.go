package options_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"

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
	} {
		if _, err := options.Parse(strings.Fields(args), func(string) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want something about %s", args, err, want)
		}
	}
}
