package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// source is the load of one workload as the control API sees and sets it.
type source struct {
	name string
	pods *podSet

	mu     sync.Mutex
	rps    float64
	silent bool
}

// state is a source in answers of the control API.
type state struct {
	Workload string   `json:"workload"`
	RPS      float64  `json:"rps"`
	Silent   bool     `json:"silent"`
	Pods     []string `json:"pods"`
}

func (s *source) state() state {
	pods := append([]string{}, s.pods.names()...)
	s.mu.Lock()
	defer s.mu.Unlock()
	return state{Workload: s.name, RPS: s.rps, Silent: s.silent, Pods: pods}
}

// control is the API under /control/ that steers load and faults, and is told what was counted.
type control struct {
	server  *sysdigtest.Server
	sources []*source
	counts  counts
}

func (c *control) register() {
	c.server.Handle("GET /control/load", http.HandlerFunc(c.showLoad))
	c.server.Handle("PUT /control/load", answered(c.setLoad))
	c.server.Handle("POST /control/counts", &c.counts)
	c.server.Handle("PUT /control/fault", answered(c.setFault))
	c.server.Handle("DELETE /control/fault", answered(func(url.Values) error {
		c.server.ClearFault()
		return nil
	}))
}

// answered turns a function of the query parameters into a handler: 204, or 400 with the error.
func answered(f func(url.Values) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(r.URL.Query()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

func (c *control) showLoad(w http.ResponseWriter, _ *http.Request) {
	states := make([]state, 0, len(c.sources))
	for _, s := range c.sources {
		states = append(states, s.state())
	}
	w.Header().Set("Content-Type", "application/json")
	// The only failure is a client that went away.
	_ = json.NewEncoder(w).Encode(states)
}

// setLoad sets rps, silent or both for the workload that is named, or for all.
func (c *control) setLoad(params url.Values) error {
	if err := only(params, "rps", "silent", "workload"); err != nil {
		return err
	}
	if !params.Has("rps") && !params.Has("silent") {
		return errors.New("rps or silent is required")
	}
	rps, err := value(params, "rps", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	if err != nil {
		return err
	}
	if rps < 0 || math.IsNaN(rps) || math.IsInf(rps, 0) {
		return fmt.Errorf("rps: %v is not a rate", rps)
	}
	silent, err := value(params, "silent", strconv.ParseBool)
	if err != nil {
		return err
	}
	name := params.Get("workload")
	if name != "" && !slices.ContainsFunc(c.sources, func(s *source) bool { return s.name == name }) {
		return fmt.Errorf("workload: no %q here", name)
	}
	for _, s := range c.sources {
		if name != "" && s.name != name {
			continue
		}
		s.mu.Lock()
		if params.Has("rps") {
			s.rps = rps
		}
		if params.Has("silent") {
			s.silent = silent
		}
		s.mu.Unlock()
	}
	return nil
}

func (c *control) setFault(params url.Values) error {
	f, err := parseFault(params)
	if err != nil {
		return err
	}
	c.server.SetFault(f)
	return nil
}

func parseFault(params url.Values) (sysdigtest.Fault, error) {
	err := only(params, "kind", "delay", "status", "body", "contentType", "retryAfter", "url", "query", "route", "times")
	if err != nil {
		return sysdigtest.Fault{}, err
	}
	f := sysdigtest.Fault{
		Kind:        sysdigtest.FaultKind(params.Get("kind")),
		Body:        params.Get("body"),
		ContentType: params.Get("contentType"),
		URL:         params.Get("url"),
		Query:       params.Get("query"),
		Route:       params.Get("route"),
	}
	if kinds := sysdigtest.FaultKinds(); !slices.Contains(kinds, f.Kind) {
		return f, fmt.Errorf("kind: %q is none of %q", f.Kind, kinds)
	}
	var errs [4]error
	f.Delay, errs[0] = value(params, "delay", time.ParseDuration)
	f.RetryAfter, errs[1] = value(params, "retryAfter", time.ParseDuration)
	f.Status, errs[2] = value(params, "status", strconv.Atoi)
	f.Times, errs[3] = value(params, "times", strconv.Atoi)
	if err := errors.Join(errs[:]...); err != nil {
		return f, err
	}
	if f.Kind == sysdigtest.FaultStatus && (f.Status < 200 || f.Status > 599) {
		return f, fmt.Errorf("status: %d is none from 200 to 599", f.Status)
	}
	return f, nil
}

// only refuses parameters that are not known, so that a slip of the pen does not pass for success.
func only(params url.Values, known ...string) error {
	for name := range params {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown parameter %q, known are %q", name, known)
		}
	}
	return nil
}

// value parses a parameter; an absent one is the zero value.
func value[T any](params url.Values, name string, parse func(string) (T, error)) (T, error) {
	var zero T
	if !params.Has(name) {
		return zero, nil
	}
	v, err := parse(params.Get(name))
	if err != nil {
		return zero, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}
