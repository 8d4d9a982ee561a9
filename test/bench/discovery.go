package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
)

// discovered is what reading the discovery of one API costs.
type discovered struct {
	title             string
	metrics           metric.API
	size, transferred int           // bytes of the answer, and when the client takes it compressed
	elapsed           time.Duration // of one read
	cpu               time.Duration
}

// discoveryScenes have as many bindings in each of the two APIs. Nothing is read from them but what there is.
func discoveryScenes() []scene {
	return []scene{
		{"discovery-8", "8 names", 0, func() (content, error) { return bound(false) }},
		{"discovery-distinct", "each a name of its own", 0, func() (content, error) { return bound(true) }},
	}
}

// discoveryPaths are the two APIs as discovery knows them.
func discoveryPaths() map[metric.API]string {
	return map[metric.API]string{
		metric.CustomMetrics:   "/apis/" + string(metric.CustomMetrics) + "/v1beta2",
		metric.ExternalMetrics: "/apis/" + string(metric.ExternalMetrics) + "/v1beta1",
	}
}

// bound is a registry of all bindings, and of as many external ones, under names of the usual length.
func bound(distinct bool) (content, error) {
	var all []query.Definition
	for i := range entries {
		for _, external := range []bool{false, true} {
			b, target := binding(i)
			if external {
				b.Name, b.Spec.Target, target = b.Name+"-external", nil, query.Target{}
				b.Namespace = fmt.Sprintf("team-payments-%04d", i/len(metricNames()))
				b.Spec.MetricName = metricNames()[i%len(metricNames())]
			}
			if distinct {
				b.Spec.MetricName = fmt.Sprintf("%s.%05d", b.Spec.MetricName, i)
			}
			d, err := compile(b, target)
			if err != nil {
				return content{}, err
			}
			all = append(all, d)
		}
	}
	return content{board: newBoard(nobody(), all...)}, nil
}

// discover measures reads of discovery, one at a time.
func discover(ctx context.Context, p plan, log io.Writer) (all []discovered, err error) {
	for _, s := range discoveryScenes() {
		fmt.Fprintf(log, "discovery, %s\n", s.title)
		of, err := discoverScene(ctx, p, s)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

func discoverScene(ctx context.Context, p plan, s scene) (all []discovered, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	roots, err := writeCertificate(dir, time.Now())
	if err != nil {
		return nil, err
	}
	ports, err := cluster.FreePorts(1)
	if err != nil {
		return nil, err
	}
	c, err := startChild(ctx, s.name, ours, ports[0], dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	for _, api := range []metric.API{metric.CustomMetrics, metric.ExternalMetrics} {
		path := discoveryPaths()[api]
		f := &fighter{child: c, load: newLoad(roots, requests([]string{path}))}
		one, err := f.discover(ctx, p, path)
		f.load.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		one.title, one.metrics = s.title, api
		all = append(all, one)
	}
	return all, nil
}

// discover reads one path over one connection.
func (f *fighter) discover(ctx context.Context, p plan, path string) (discovered, error) {
	if err := f.warmUp(ctx, plan{connections: 1, window: p.window / 2}); err != nil {
		return discovered{}, err
	}
	var d discovered
	var err error
	if d.size, err = f.load.sizeOf(request(path, "")); err != nil {
		return d, err
	}
	if d.transferred, err = f.load.sizeOf(request(path, "Accept-Encoding: gzip\r\n")); err != nil {
		return d, err
	}
	w, err := f.measure(ctx, p.window)
	if err != nil {
		return d, err
	}
	d.elapsed, d.cpu = w.elapsed/time.Duration(w.reads), w.used.CPU/time.Duration(w.reads)
	return d, nil
}

// sizeOf is how many bytes the answer to a request has.
func (l *load) sizeOf(request []byte) (int, error) {
	c := l.conns[0]
	if err := c.tls.SetDeadline(time.Now().Add(readDeadline)); err != nil {
		return 0, fmt.Errorf("setting a deadline: %w", err)
	}
	var body bytes.Buffer
	err := c.read(request, &body)
	return body.Len(), err
}
