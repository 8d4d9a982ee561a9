package serving

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
)

// discovery answers which metrics there are with what was encoded once for all: a list of 10,000 takes some MB, and anybody who may list
// nothing may ask for it.
type discovery struct {
	next  http.Handler
	paths []string
	// listed changes when what there is changes.
	listed func() int64

	mu   sync.Mutex
	kept map[variant]*encoded
}

// variant is a way to encode a list. There are few.
type variant struct {
	path, mediaType string
	compressed      bool
}

// encoded is a list as it was encoded last. Who encodes it lets the others wait.
type encoded struct {
	mu     sync.Mutex
	at     int64 // listed then
	answer *recorded
}

func newDiscovery(next http.Handler, versions []schema.GroupVersion, listed func() int64) *discovery {
	d := &discovery{next: next, listed: listed, kept: map[variant]*encoded{}}
	for _, v := range versions {
		d.paths = append(d.paths, "/apis/"+v.String())
	}
	return d
}

// ServeHTTP implements http.Handler.
func (d *discovery) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimRight(r.URL.Path, "/") // the library takes any number of slashes at the end
	if r.Method != http.MethodGet || !slices.Contains(d.paths, path) {
		d.next.ServeHTTP(w, r)
		return
	}
	_, chosen, err := negotiation.NegotiateOutputMediaType(r, apiserver.Codecs, negotiation.DefaultEndpointRestrictions)
	if err != nil { // the answer is short
		d.next.ServeHTTP(w, r)
		return
	}
	answer := d.encode(variant{path, chosen.MediaType, strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")}, r)
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()) // Whoever asked has gone.
}

// encode is the answer to a variant, which is made anew when what there is has changed.
func (d *discovery) encode(v variant, r *http.Request) *recorded {
	d.mu.Lock()
	e := d.kept[v]
	if e == nil {
		e = &encoded{}
		d.kept[v] = e
	}
	d.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := d.listed(); e.answer == nil || e.at != now {
		e.at, e.answer = now, d.ask(v, r)
	}
	return e.answer
}

// ask has the list encoded in one way, whatever else the request says.
func (d *discovery) ask(v variant, r *http.Request) *recorded {
	plain := r.Clone(r.Context())
	plain.URL.Path, plain.URL.RawQuery = v.path, "pretty=false"
	plain.Header = http.Header{"Accept": {v.mediaType}}
	if v.compressed {
		plain.Header.Set("Accept-Encoding", "gzip")
	}
	answer := &recorded{header: http.Header{}, status: http.StatusOK}
	d.next.ServeHTTP(answer, plain)
	return answer
}

// recorded is an answer that was not sent.
type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorded) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorded) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorded) Write(p []byte) (int, error) { return r.body.Write(p) }
