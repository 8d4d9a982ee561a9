package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/serving"
)

// Requests for metrics at a time; the next ones get 503.
const (
	// strangers are those whose tokens are under review, or that are answered.
	strangers = 32
	// scrapes are those that are answered: some 100 KB each.
	scrapes = 8
)

// nowhere is the address of what is not served.
const nowhere = "0"

// addEndpoints adds the operator's own metrics and its probes. controller-runtime's servers of both let anybody on the network
// open as many connections as the memory holds; these have bounds.
func (a *assembly) addEndpoints(ctx context.Context) error {
	return errors.Join(a.addProbes(ctx), a.addMetrics())
}

// addProbes serves /healthz, which is right while the process runs, and /readyz.
func (a *assembly) addProbes(ctx context.Context) error {
	checks, err := a.readiness(ctx)
	if err != nil || a.options.HealthAddress == nowhere {
		return err
	}
	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{
		"/healthz": &healthz.Handler{Checks: map[string]healthz.Checker{"ping": healthz.Ping}},
		"/readyz":  &healthz.Handler{Checks: checks},
	} {
		mux.Handle(path, http.StripPrefix(path, handler))
		mux.Handle(path+"/", http.StripPrefix(path, handler))
	}
	endpoint, err := serving.Listen("probes", a.options.HealthAddress, a.isNode, a.refused)
	if err != nil {
		return err
	}
	return a.manager.Add(endpoint.Serve(once(mux), nil))
}

// once ends the connection behind an answer: probes come by a new one each, and nobody else has a use for more.
func once(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		next.ServeHTTP(w, r)
	})
}

// addMetrics serves the metrics, and pprof if it is wanted, to who may read these paths, with the certificate of the aggregated
// API.
func (a *assembly) addMetrics() error {
	if a.options.MetricsAddress == nowhere {
		return nil
	}
	endpoint, err := serving.Listen("metrics", a.options.MetricsAddress, a.isNode, a.refused)
	if err != nil {
		return err
	}
	protect, err := filters.WithAuthenticationAndAuthorization(a.manager.GetConfig(), a.manager.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("who may read metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	if a.options.Profiling {
		for path, handler := range map[string]http.HandlerFunc{
			"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
		} {
			mux.HandleFunc("/debug/pprof/"+path, handler)
		}
	}
	protected, err := protect(a.manager.GetLogger().WithName("metrics"), endpoint.Known(few(mux, serving.NewShares(scrapes))))
	if err != nil {
		return fmt.Errorf("who may read metrics: %w", err)
	}
	pair := serving.NewKeyPair(a.options.CertDir)
	secure := &tls.Config{MinVersion: a.options.MinTLSVersion, GetCertificate: pair.GetCertificate, NextProtos: []string{"http/1.1"}}
	return a.manager.Add(endpoint.Serve(few(protected, serving.NewShares(strangers)), func(l net.Listener) net.Listener { return tls.NewListener(l, secure) }))
}

// few answers some requests at a time and refuses the others, so that nothing piles up. The addresses share the places.
func few(next http.Handler, places *serving.Shares) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.RemoteAddr
		if host, _, err := net.SplitHostPort(from); err == nil {
			from = host
		}
		if !places.Take(from) {
			http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
			return
		}
		defer places.Release(from)
		next.ServeHTTP(w, r)
	})
}
