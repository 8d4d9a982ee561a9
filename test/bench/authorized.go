package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// reader is the user that HPAs read as. Kubernetes' own roles let it read all metrics.
const reader = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// contender is a server of the duel of authorized reads. All authenticate a reader by the certificate and the headers of
// the aggregation layer; they differ in what they ask the API server then.
type contender struct {
	kind      string // its key in the duel
	title     string
	provider  string
	arguments []string // of serve
	group     string   // of the reader
}

const (
	reviewed   = "reviewed"   // each read costs a review
	unreviewed = "unreviewed" // no read does
)

// contenders are all of them, ours first.
func contenders() []contender {
	return []contender{
		{ours, "registry, broad reviews", ours, []string{"--broad-readers=" + reader}, "system:serviceaccounts"},
		{reviewed, "no-op, a review for each read", noop, nil, "system:serviceaccounts"},
		// Whom the serving library lets through unasked.
		{unreviewed, "no-op, without authorization", noop, nil, "system:masters"},
	}
}

// headers are those with which the aggregation layer passes on who reads.
func (c contender) headers() string {
	return "X-Remote-User: " + reader + "\r\nX-Remote-Group: " + c.group +
		"\r\nX-Remote-Group: system:serviceaccounts:kube-system\r\nX-Remote-Group: system:authenticated\r\n"
}

// authorizedRows are what is told of authorized reads, the processor time first.
func authorizedRows() []row {
	return []row{
		{"CPU per read, with the API server", window.cpuOfBoth, nanos},
		{"of it in the API server", window.cpuBehind, nanos},
		{"reviews per read", func(w window) float64 { return w.reviews / float64(w.reads) }, func(v float64) string { return fmt.Sprintf("%.4f", v) }},
		{"reads per second", window.readsPerSecond, func(v float64) string { return fmt.Sprintf("%.0f/s", v) }},
	}
}

func (w window) cpuBehind() float64 { return float64(w.behind.Nanoseconds()) / float64(w.reads) }
func (w window) cpuOfBoth() float64 { return w.cpuPerRead() + w.cpuBehind() }

// authorities is the control plane that authorizes reads.
type authorities struct {
	cluster    *cluster.Cluster
	client     kubernetes.Interface
	kubeconfig string // of the servers
}

// startAuthorities starts a control plane that has nothing else to do.
func startAuthorities(ctx context.Context, log io.Writer) (a *authorities, err error) {
	running, err := cluster.Start(ctx, cluster.Options{Log: log, NoNodes: true})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, running.Stop(context.WithoutCancel(ctx)))
		}
	}()
	a = &authorities{cluster: running}
	if a.client, err = kubernetes.NewForConfig(running.AdminConfig()); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	a.kubeconfig, err = running.DelegatingKubeconfig(ctx, "bench")
	return a, err
}

// reviews is how many SubjectAccessReviews the API server has answered.
func (a *authorities) reviews(ctx context.Context) (float64, error) {
	text, err := a.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("the metrics of the API server: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("the metrics of the API server: %w", err)
	}
	total := 0.0
	for _, m := range families["apiserver_request_total"].GetMetric() {
		for _, label := range m.GetLabel() {
			if label.GetName() == "resource" && label.GetValue() == "subjectaccessreviews" {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total, nil
}

// idle is the share of a processor that the API server uses while nobody reads.
func (a *authorities) idle(ctx context.Context, length time.Duration) (float64, error) {
	before, err := a.cluster.CPUTime(binaries.APIServer)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(length):
	}
	after, err := a.cluster.CPUTime(binaries.APIServer)
	return float64(after-before) / float64(time.Since(started)), err
}

// measure is a window of a server, and of the API server beyond what it does when nobody reads. Reviews are counted
// outside of the window, because counting costs.
func (a *authorities) measure(ctx context.Context, f *fighter, length time.Duration, idle float64) (window, error) {
	reviews, err := a.reviews(ctx)
	if err != nil {
		return window{}, err
	}
	behind, err := a.cluster.CPUTime(binaries.APIServer)
	if err != nil {
		return window{}, err
	}
	w, err := f.measure(ctx, length)
	if err != nil {
		return window{}, err
	}
	if w.behind, err = a.cluster.CPUTime(binaries.APIServer); err != nil {
		return window{}, err
	}
	w.behind -= behind + time.Duration(idle*float64(w.elapsed))
	w.reviews, err = a.reviews(ctx)
	w.reviews -= reviews
	return w, err
}

// fightAuthorized compares reads that are authorized by broad reviews, one by one, and not at all. Each read is of another
// object than the last one; the servers take turns as in fight.
func fightAuthorized(ctx context.Context, p plan, log io.Writer) (result duel, err error) {
	s, err := sceneOf(byName)
	if err != nil {
		return result, err
	}
	c, err := s.fill()
	if err != nil {
		return result, err
	}
	result = duel{scene: s, rounds: p.pairs, windows: map[string][]window{}}
	a, err := startAuthorities(ctx, log)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, a.cluster.Stop(context.WithoutCancel(ctx))) }()
	fighters, err := a.fighters(ctx, p, s, c)
	defer func() {
		for _, f := range fighters {
			err = errors.Join(err, f.leave())
		}
	}()
	if err != nil {
		return result, err
	}
	if err := fighters[0].load.verify(fighters[0].load.conns[0], verified, c.want); err != nil {
		return result, err
	}
	for turn := range result.rounds {
		fmt.Fprintf(log, "authorized reads: turn %d of %d\n", turn+1, result.rounds)
		idle, err := a.idle(ctx, p.window)
		if err != nil {
			return result, err
		}
		for i := range fighters {
			i = (i + turn) % len(fighters)
			kind := contenders()[i].kind
			w, err := a.measure(ctx, fighters[i], p.window, idle)
			if err != nil {
				return result, fmt.Errorf("%s: %w", kind, err)
			}
			result.windows[kind] = append(result.windows[kind], w)
		}
	}
	return result, nil
}

// fighters starts the contenders. Those that it returns have started, also after an error.
func (a *authorities) fighters(ctx context.Context, p plan, s scene, c content) (fighters []*fighter, err error) {
	dir := a.cluster.Dir()
	roots, err := writeCertificate(dir, time.Now())
	if err != nil {
		return nil, err
	}
	frontProxy, err := a.cluster.FrontProxyCertificate()
	if err != nil {
		return nil, err
	}
	ports, err := cluster.FreePorts(len(contenders()))
	if err != nil {
		return nil, err
	}
	for i, one := range contenders() {
		child, err := startChild(ctx, s.name, one.provider, ports[i], dir, append(one.arguments, "--kubeconfig="+a.kubeconfig)...)
		if err != nil {
			return fighters, err
		}
		var reads [][]byte
		for _, path := range c.paths() {
			reads = append(reads, request(path, one.headers()))
		}
		f := &fighter{child: child, load: newLoad(roots, reads)}
		f.load.tls.Certificates = []tls.Certificate{frontProxy}
		fighters = append(fighters, f)
		if err := f.warmUpTrusted(ctx, p); err != nil {
			return fighters, fmt.Errorf("%s: %w", one.kind, err)
		}
	}
	return fighters, nil
}

// warmUpTrusted warms up as soon as the server knows the authority of the certificate. Until then everybody is anonymous
// to it, on connections of that time for good.
func (f *fighter) warmUpTrusted(ctx context.Context, p plan) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		err := f.warmUp(ctx, p)
		if err == nil || ctx.Err() != nil {
			return err
		}
		f.load.close()
		f.load.conns = nil
		time.Sleep(100 * time.Millisecond)
	}
}

// printAuthorized writes the tables of authorized reads.
func (d duel) printAuthorized(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Authorized reads\n\n"+
		"The same reads of single objects by the HPA controller's user, as the aggregation layer passes them on, with a real "+
		"kube-apiserver for authorization. Its processor time counts, less what it uses when nobody reads. %d rounds.\n\n", d.rounds)
	b.WriteString("|")
	for _, c := range contenders() {
		b.WriteString(" | " + c.title)
	}
	b.WriteString(" |\n| --- |" + strings.Repeat(" ---: |", len(contenders())) + "\n")
	for _, row := range authorizedRows() {
		b.WriteString("| " + row.name)
		for _, c := range contenders() {
			var values []float64
			for _, w := range d.windows[c.kind] {
				values = append(values, row.value(w))
			}
			b.WriteString(" | " + row.show(measure.Summarize(values).Median))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n| registry beside | | ratio (median) | middle half | range |\n| --- | --- | ---: | ---: | ---: |\n")
	for _, c := range contenders()[1:] {
		row := authorizedRows()[0]
		_, _, ratio := d.compare(c.kind, row.value)
		fmt.Fprintf(b, "| %s | %s | %.3f | %.3f to %.3f | %.3f to %.3f |\n", c.title, row.name,
			ratio.Median, ratio.LowerQuartile, ratio.UpperQuartile, ratio.Smallest, ratio.Largest)
	}
}
