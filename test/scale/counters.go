package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"
	"k8s.io/client-go/kubernetes"
)

// counters are what was counted up to a moment, or between two.
type counters struct {
	// cpu is what the operator's process has used, user and system, in seconds.
	cpu float64
	// served and failed are reads that the operator has answered.
	served, failed float64
	// sent are the operator's requests to the API server that are not GET, reviews among them.
	sent float64
	// status, leases and reviews are such requests as the API server, or the operator, has told them apart.
	status, leases, reviews float64
}

// minus is what was counted since an earlier moment.
func (c counters) minus(o counters) counters {
	return counters{
		cpu: c.cpu - o.cpu, served: c.served - o.served, failed: c.failed - o.failed, sent: c.sent - o.sent,
		status: c.status - o.status, leases: c.leases - o.leases, reviews: c.reviews - o.reviews,
	}
}

// writes are the operator's writes to the API server; a review stores nothing.
func (c counters) writes() float64 { return c.sent - c.reviews }

// events are the writes that are neither of status nor of leases.
func (c counters) events() float64 { return c.writes() - c.status - c.leases }

// meter reads counters of the operator and of the API server.
type meter struct {
	operator  func(context.Context) (metrics string, err error)
	apiServer kubernetes.Interface
	pid       int
}

func (m meter) read(ctx context.Context) (counters, error) {
	var c counters
	own, err := m.operator(ctx)
	if err != nil {
		return c, fmt.Errorf("metrics of the operator: %w", err)
	}
	operator, err := parseMetrics(strings.NewReader(own))
	if err != nil {
		return c, err
	}
	raw, err := m.apiServer.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return c, fmt.Errorf("metrics of the API server: %w", err)
	}
	apiServer, err := parseMetrics(bytes.NewReader(raw))
	if err != nil {
		return c, err
	}
	if c.cpu, err = cpuOf(m.pid); err != nil {
		return c, err
	}
	const reads, client, requests = "sysdig_metrics_reads_total", "rest_client_requests_total", "apiserver_request_total"
	c.served = operator.sum(reads, label{"result", "Served"})
	c.failed = operator.sum(reads) - c.served
	c.sent = operator.sum(client) - operator.sum(client, label{"method", http.MethodGet})
	c.leases = operator.sum(client, label{"method", http.MethodPut}) // it updates nothing else but, at its start, the certificate
	for _, kind := range []string{"sysdigmetricbindings", "sysdigconnections"} {
		c.status += apiServer.sum(requests, label{"resource", kind}, label{"subresource", "status"})
	}
	for _, kind := range []string{"subjectaccessreviews", "selfsubjectaccessreviews", "tokenreviews"} {
		c.reviews += apiServer.sum(requests, label{"resource", kind})
	}
	return c, nil
}

// families are counters and gauges by name.
type families map[string][]counted

// counted is one of them.
type counted struct {
	labels map[string]string
	value  float64
}

// label is a label that has to have a value.
type label struct{ name, value string }

// sum adds up the series of a metric that have all labels.
func (f families) sum(name string, labels ...label) (total float64) {
next:
	for _, s := range f[name] {
		for _, l := range labels {
			if s.labels[l.name] != l.value {
				continue next
			}
		}
		total += s.value
	}
	return total
}

// parseMetrics reads the text format of Prometheus.
func parseMetrics(text io.Reader) (families, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	all := families{}
	for name, family := range parsed {
		for _, m := range family.GetMetric() {
			s := counted{labels: map[string]string{}, value: m.GetCounter().GetValue() + m.GetGauge().GetValue()}
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			all[name] = append(all[name], s)
		}
	}
	return all, nil
}

// cpuOf is what a process has used since it started, in seconds.
func cpuOf(pid int) (float64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	stat, err := p.Stat()
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	return stat.CPUTime(), nil
}

// memory is what a process holds, in bytes.
type memory struct {
	now, peak uint64 // resident
}

func memoryOf(pid int) (memory, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return memory{}, fmt.Errorf("process %d: %w", pid, err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return memory{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return memory{now: status.VmRSS, peak: status.VmHWM}, nil
}
