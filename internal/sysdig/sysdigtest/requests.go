package sysdigtest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"sync"
	"time"
)

// maxRequests is how many requests the log keeps.
const maxRequests = 10_000

// Request is what the server noted about one request.
type Request struct {
	// At is when the request arrived.
	At time.Time
	// Method and Path are those of the request line.
	Method, Path string
	// Query is the query text and Time the time parameter, both as sent; of a call of the data API, its body and its end.
	Query, Time string
	// Params are all parameters of query string and form body; of an API key, the [Fingerprint].
	Params url.Values
	// Token is the [Fingerprint] of the bearer token; empty when there was none.
	Token string
	// Fault is the fault that the request met, if any.
	Fault FaultKind
	// Answered is when the answer was sent; zero while it was not, and for good when the connection was cut instead.
	Answered time.Time
	// Status is the status of the answer; 0 while there is none, and for good when the connection was cut instead.
	Status int
}

// Fingerprint returns a short digest of a token, so that logs and failures of tests never show the token.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}

// requestLog is a ring of the newest requests.
type requestLog struct {
	mu    sync.Mutex
	ring  []Request
	count int
}

// add notes a request and returns its number, counted from 0.
func (l *requestLog) add(r Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < maxRequests {
		l.ring = append(l.ring, r)
	} else {
		l.ring[l.count%maxRequests] = r
	}
	l.count++
	return l.count - 1
}

// update changes the request with the given number, unless newer ones have taken its place.
func (l *requestLog) update(number int, change func(*Request)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count-number <= maxRequests {
		change(&l.ring[number%maxRequests])
	}
}

func (l *requestLog) snapshot() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count <= maxRequests {
		return append([]Request(nil), l.ring...)
	}
	oldest := l.count % maxRequests
	return append(append([]Request(nil), l.ring[oldest:]...), l.ring[:oldest]...)
}

// Requests returns the newest 10,000 requests, oldest first.
func (s *Server) Requests() []Request { return s.log.snapshot() }

// RequestCount returns how many requests arrived since the server was made.
func (s *Server) RequestCount() int {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.count
}
