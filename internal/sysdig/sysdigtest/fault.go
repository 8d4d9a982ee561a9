package sysdigtest

import (
	"strings"
	"sync"
	"time"
)

// FaultKind names a way to fail.
type FaultKind string

const (
	// FaultDelay answers normally after Fault.Delay. A query that is delayed beyond its timeout, 2 minutes at most,
	// gets 503 when the timeout ends; a call of the classic API gets 504 after 30 seconds.
	FaultDelay FaultKind = "delay"
	// FaultHang never answers: it waits until the client goes away or the server closes.
	FaultHang FaultKind = "hang"
	// FaultReset resets the connection without an answer.
	FaultReset FaultKind = "reset"
	// FaultTruncate sends the headers of the true answer and half of its body, and cuts the connection.
	FaultTruncate FaultKind = "truncate"
	// FaultStatus answers with Fault.Status, Body, ContentType and RetryAfter, whatever the token.
	FaultStatus FaultKind = "status"
	// FaultDrip sends the true answer byte by byte with Fault.Delay before each byte.
	FaultDrip FaultKind = "drip"
	// FaultRedirect sends the client to Fault.URL with status 302, or Fault.Status when set.
	FaultRedirect FaultKind = "redirect"
	// FaultEmpty answers every call with success and no data.
	FaultEmpty FaultKind = "empty"
	// FaultNaN turns every stored value into NaN, which the data API writes as null; times and label sets stay.
	FaultNaN FaultKind = "nan"
	// FaultOldPoints freezes ingestion: no point that was not visible when the fault was set becomes visible.
	FaultOldPoints FaultKind = "old-points"
	// FaultWarnings adds Fault.Body to the warnings of an otherwise normal answer; the classic API has none.
	FaultWarnings FaultKind = "warnings"
	// FaultGarbage answers 200 with Fault.Body, or with the page of a proxy when Body is empty.
	FaultGarbage FaultKind = "garbage"
)

// FaultKinds returns all kinds.
func FaultKinds() []FaultKind {
	return []FaultKind{
		FaultDelay, FaultHang, FaultReset, FaultTruncate, FaultStatus, FaultDrip, FaultRedirect,
		FaultEmpty, FaultNaN, FaultOldPoints, FaultWarnings, FaultGarbage,
	}
}

// Fault describes a failure and the requests that meet it. Hang, reset, status, redirect and garbage stand for the
// network or a proxy: they come before the token is looked at and spend no request budget. The others come after both.
type Fault struct {
	// Kind says what happens. The other fields below it say how, as described there.
	Kind        FaultKind
	Delay       time.Duration
	Status      int
	Body        string
	ContentType string
	RetryAfter  time.Duration
	URL         string

	// Query restricts the fault to requests whose query text, match[] parameters or body of a call of the data API contain it.
	// That body counts as if it held the PromQL names of its metrics and keys, too.
	Query string
	// Route restricts the fault to one endpoint: query, query_range, series, labels, label, metadata; of the classic API data,
	// data/metrics, v2/metrics/descriptors, v3/labels. Only a fault that names identity/token meets IBM's identity service.
	Route string
	// Times is how many requests meet the fault before it is used up; 0 means all.
	Times int
}

// faults holds the faults in force.
type faults struct {
	mu     sync.Mutex
	active []*activeFault
	hits   int
}

// activeFault is a fault with its state.
type activeFault struct {
	Fault
	// frozen is the newest timestamp, in milliseconds, that was visible when the fault was set.
	frozen int64
	hits   int
}

// SetFault puts faults in force in place of those set before. A request meets the first one that matches it.
// Calling it without arguments is [Server.ClearFault].
func (s *Server) SetFault(all ...Fault) {
	frozen := s.store.view().newest
	active := make([]*activeFault, 0, len(all))
	for _, f := range all {
		active = append(active, &activeFault{Fault: f, frozen: frozen})
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active, s.faults.hits = active, 0
}

// ClearFault ends all faults: the next request is answered normally. Requests that hang already go on hanging.
func (s *Server) ClearFault() { s.SetFault() }

// FaultCount returns how many requests met a fault since [Server.SetFault].
func (s *Server) FaultCount() int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.hits
}

// pick returns the fault that a request meets; its Kind is empty when it meets none.
func (f *faults) pick(route string, texts ...string) activeFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.active {
		if a.Times > 0 && a.hits >= a.Times || a.Route != route && (a.Route != "" || route == routeToken) {
			continue
		}
		if strings.Contains(strings.Join(texts, "\n"), a.Query) {
			a.hits++
			f.hits++
			return *a
		}
	}
	return activeFault{}
}
