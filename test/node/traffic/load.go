package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// workers is how many requests are under way at a time, at most.
	workers = 64
	// arrears is for how long requests that could not be sent are sent later: on a machine that is busy for seconds the rate still holds
	// over a minute.
	arrears = 10 * time.Second
	// lookEvery is how often a worker without a request looks for one.
	lookEvery = 20 * time.Millisecond
	// perConnection is how many requests share a connection. A Service chooses a pod for each connection, so that new pods get
	// their share as soon as connections end.
	perConnection = 10
	// requestTimeout is when a request has failed. One that is only slow has not.
	requestTimeout = time.Minute
	// maxRate bounds the requests per second.
	maxRate = 5000
)

// sent is the answer to /sent.
type sent struct {
	// Answered is how many requests were answered 200 since the start, and Failed how many were not.
	Answered int64 `json:"answered"`
	Failed   int64 `json:"failed"`
	// Last is why a request failed the last time.
	Last string `json:"last,omitempty"`
}

// generator sends requests at a rate that PUT /rate?rps= sets.
type generator struct {
	limiter atomic.Pointer[rate.Limiter] // nil while nothing is sent

	answered, failed atomic.Int64
	last             atomic.Value // of string
}

// load sends requests to a URL at a rate that is 0 at the start.
func load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	listen := flags.String("listen", ":8080", "`address` of the control API: PUT /rate?rps=, GET /sent")
	url := flags.String("url", "", "`URL` to ask (required)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" {
		return errors.New("--url is required")
	}
	g := &generator{}
	var group sync.WaitGroup
	defer group.Wait()
	for range workers {
		group.Go(func() { g.work(ctx, sender(*url)) })
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /rate", g.setRate)
	mux.HandleFunc("GET /sent", g.show)
	return listenAndServe(ctx, *listen, mux)
}

func (g *generator) setRate(w http.ResponseWriter, r *http.Request) {
	rps, err := strconv.ParseFloat(r.FormValue("rps"), 64)
	if err != nil || rps < 0 || rps > maxRate {
		http.Error(w, fmt.Sprintf("rps: a number from 0 to %d", maxRate), http.StatusBadRequest)
		return
	}
	g.limiter.Store(nil)
	if rps > 0 {
		limiter := rate.NewLimiter(rate.Limit(rps), max(1, int(rps*arrears.Seconds())))
		limiter.AllowN(time.Now(), limiter.Burst()) // nothing is in arrears yet
		g.limiter.Store(limiter)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g *generator) show(w http.ResponseWriter, _ *http.Request) {
	last, _ := g.last.Load().(string)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(sent{Answered: g.answered.Load(), Failed: g.failed.Load(), Last: last})
}

// work sends one request after the other.
func (g *generator) work(ctx context.Context, send func(context.Context) error) {
	for g.admit(ctx) {
		if err := send(ctx); err != nil {
			g.failed.Add(1)
			g.last.Store(err.Error())
		} else {
			g.answered.Add(1)
		}
	}
}

// sender returns what sends a request to a URL, over connections of its own.
func sender(url string) func(context.Context) error {
	transport := &http.Transport{MaxConnsPerHost: 1}
	client := &http.Client{Transport: transport, Timeout: requestTimeout}
	n := 0
	return func(ctx context.Context) error {
		err := ask(ctx, client, url)
		if n++; n%perConnection == 0 {
			transport.CloseIdleConnections()
		}
		return err
	}
}

// admit waits until a request may be sent; false when the context has ended. It looks again and again, so that a change of the
// rate is seen soon.
func (g *generator) admit(ctx context.Context) bool {
	for ctx.Err() == nil {
		if limiter := g.limiter.Load(); limiter != nil && limiter.Allow() {
			return true
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
	return false
}

func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
