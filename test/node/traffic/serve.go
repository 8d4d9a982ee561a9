package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// drain is how long a server goes on after SIGTERM: until no node sends it new connections.
	drain = 10 * time.Second
	// stopTimeout is how long requests may take to finish after that.
	stopTimeout = 5 * time.Second
)

// served is the answer to /requests.
type served struct {
	// Requests is how many requests the pod has answered since it started, those to /requests left out.
	Requests int64 `json:"requests"`
}

// serve answers every request with a short text, and tells at /requests how many it has answered.
func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	listen := flags.String("listen", ":5000", "`address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the pod's name: %w", err)
	}
	var answered atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answered.Add(1)
		_, _ = fmt.Fprintln(w, "hello from", host)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(served{Requests: answered.Load()})
	})
	return listenAndServe(ctx, *listen, mux)
}

// listenAndServe serves until the context ends, and then a little longer.
func listenAndServe(ctx context.Context, address string, h http.Handler) error {
	server := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	time.Sleep(drain)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
