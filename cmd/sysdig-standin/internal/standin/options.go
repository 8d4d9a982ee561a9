package standin

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// options are the program's flags.
type options struct {
	listen            string
	kubeconfig        string
	cluster           string
	tokenFile         string
	tlsDir            string
	tlsCertFile       string
	tlsKeyFile        string
	pathPrefix        string
	lag               time.Duration
	clockSkew         time.Duration
	rps               float64
	requestsPerMinute int
	ibmInstance       string
	ibmKeyFile        string
	ibmTokenLifetime  time.Duration
	iamOnly           bool
	workloads         []workload
}

// workload names a workload and selects the pods that share its load.
type workload struct {
	namespace, kind, name string
	service               string
	selector              labels.Selector
	// counted means that the control API is told what its pods served, and the cluster is not asked for them.
	counted bool
}

// String returns the workload as it is written in flags: namespace/kind/name.
func (w workload) String() string { return w.namespace + "/" + w.kind + "/" + w.name }

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("sysdig-standin", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to listen on, of the loopback interface unless --tls-cert-file is set; port 0 picks a free port")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `file`; without it, the configuration of the pod the program runs in")
	flags.StringVar(&o.cluster, "cluster", "demo", "`name` of the cluster in the series")
	flags.StringVar(&o.tokenFile, "token-file", "", "`file` with the accepted API tokens, one on each line (required)")
	flags.StringVar(&o.tlsDir, "tls-dir", "", "serve HTTPS and write the authority's certificate to ca.crt in this `folder`")
	flags.StringVar(&o.tlsCertFile, "tls-cert-file", "", "serve HTTPS, on any address, with the certificate in this `file`")
	flags.StringVar(&o.tlsKeyFile, "tls-key-file", "", "`file` with the key of --tls-cert-file")
	flags.StringVar(&o.pathPrefix, "path-prefix", "", "`path` before /prometheus and before /api, unless it ends in /api itself")
	flags.DurationVar(&o.lag, "lag", sysdigtest.DefaultLag, "time from a point's timestamp until queries see it")
	flags.DurationVar(&o.clockSkew, "clock-skew", 0, "how far the clock of the stand-in is ahead of this machine's; negative: behind")
	flags.Float64Var(&o.rps, "rps", 0, "requests per second of each workload at the start")
	flags.IntVar(&o.requestsPerMinute, "requests-per-minute", 0, "request budget of each token; 0 means unlimited")
	flags.StringVar(&o.ibmInstance, "ibm-instance", "", "`GUID` that makes the stand-in an instance of IBM Cloud Monitoring with its identity service")
	flags.StringVar(&o.ibmKeyFile, "ibm-api-key-file", "", "`file` with the API keys that the identity service accepts, one on each line")
	flags.DurationVar(&o.ibmTokenLifetime, "ibm-token-lifetime", time.Hour, "how long a token of the identity service lives")
	flags.BoolVar(&o.iamOnly, "iam-only", false, "accept nothing but tokens of the identity service")
	flags.Func("workload", "workload `namespace/kind/name` that gets load; may be repeated", o.addWorkload)
	flags.Func("selector", "label `selector` of the pods of the workload before it", o.addSelector)
	flags.BoolFunc("counted", "the requests of the workload before it are counted elsewhere and told to /control/counts; in the place of --selector", o.setCounted)
	flags.Func("service", "`name` of the Service of the workload before it, which only the data API shows", o.addService)
	if err := flags.Parse(args); err != nil {
		return options{}, fmt.Errorf("flags: %w", err)
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.validate()
}

func (o *options) validate() error {
	switch {
	case o.tokenFile == "":
		return errors.New("--token-file is required")
	case (o.ibmInstance == "") != (o.ibmKeyFile == ""), o.iamOnly && o.ibmInstance == "":
		return errors.New("--ibm-instance and --ibm-api-key-file need each other, and --iam-only both")
	case o.ibmTokenLifetime < time.Second:
		return errors.New("--ibm-token-lifetime is a second at least")
	case (o.tlsCertFile == "") != (o.tlsKeyFile == ""), o.tlsCertFile != "" && o.tlsDir != "":
		return errors.New("--tls-cert-file and --tls-key-file need each other, and exclude --tls-dir")
	case len(o.workloads) == 0:
		return errors.New("--workload is required")
	}
	for _, w := range o.workloads {
		if (w.selector == nil) != w.counted {
			return fmt.Errorf("--workload %s needs a --selector after it, or --counted", w)
		}
	}
	return nil
}

func (o *options) addWorkload(s string) error {
	parts := strings.Split(s, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return errors.New("want namespace/kind/name")
	}
	o.workloads = append(o.workloads, workload{namespace: parts[0], kind: strings.ToLower(parts[1]), name: parts[2]})
	return nil
}

func (o *options) addSelector(s string) error {
	if len(o.workloads) == 0 {
		return errors.New("want a --workload before it")
	}
	selector, err := labels.Parse(s)
	if err != nil {
		return fmt.Errorf("selector: %w", err)
	}
	o.workloads[len(o.workloads)-1].selector = selector
	return nil
}

func (o *options) setCounted(string) error {
	if len(o.workloads) == 0 {
		return errors.New("want a --workload before it")
	}
	o.workloads[len(o.workloads)-1].counted = true
	return nil
}

// watches tells whether the pods of a workload are watched in a cluster.
func (o *options) watches() bool {
	return slices.ContainsFunc(o.workloads, func(w workload) bool { return !w.counted })
}

func (o *options) addService(s string) error {
	if len(o.workloads) == 0 {
		return errors.New("want a --workload before it")
	}
	o.workloads[len(o.workloads)-1].service = s
	return nil
}

// ibm returns the instance that the stand-in is; nil for none.
func (o *options) ibm() (*sysdigtest.IBM, error) {
	if o.ibmInstance == "" {
		return nil, nil
	}
	keys, err := readTokens(o.ibmKeyFile)
	if err != nil {
		return nil, err
	}
	return &sysdigtest.IBM{InstanceID: o.ibmInstance, APIKeys: keys, TokenLifetime: o.ibmTokenLifetime}, nil
}

// readTokens returns the tokens or keys of a file, one on each line.
func readTokens(file string) ([]string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	tokens := strings.Fields(string(raw))
	if len(tokens) == 0 {
		return nil, fmt.Errorf("tokens: %s holds none", file)
	}
	return tokens, nil
}
