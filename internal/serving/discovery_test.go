package serving

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// longList answers with 2 MB of names that it makes for each request, and counts how often it does.
type longList struct{ made atomic.Int64 }

// ServeHTTP implements http.Handler.
func (l *longList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.made.Add(1)
	if r.URL.Path != "/apis/custom.metrics.k8s.io/v1beta2" {
		http.NotFound(w, r)
		return
	}
	body := bytes.Repeat([]byte(`{"name":"pods/a-metric"},`), 80_000)
	w.Header().Set("Content-Type", r.Header.Get("Accept"))
	if r.Header.Get("Accept-Encoding") == "gzip" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		_, _ = z.Write(body)
		return
	}
	_, _ = w.Write(body)
}

// thrown is an answer that goes nowhere.
type thrown struct {
	header http.Header
	bytes  int
}

// Header implements http.ResponseWriter.
func (t *thrown) Header() http.Header { return t.header }

// WriteHeader implements http.ResponseWriter.
func (*thrown) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (t *thrown) Write(p []byte) (int, error) { t.bytes += len(p); return len(p), nil }

func ask(t *testing.T, of http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	of.ServeHTTP(w, r)
	return w
}

func TestAListIsEncodedOncePerChange(t *testing.T) {
	const path = "/apis/custom.metrics.k8s.io/v1beta2"
	var list longList
	var listed atomic.Int64
	d := newDiscovery(&list, []schema.GroupVersion{{Group: "custom.metrics.k8s.io", Version: "v1beta2"}}, listed.Load)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for range 128 {
		all.Go(func() {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			w := &thrown{header: http.Header{}}
			if d.ServeHTTP(w, r); w.bytes != 2_000_000 || w.header.Get("Content-Type") != "application/json" {
				t.Errorf("got %d bytes of %s", w.bytes, w.header)
			}
		})
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	if list.made.Load() != 1 {
		t.Errorf("128 requests had it made %d times", list.made.Load())
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 { // once it takes 2 MB, and a buffer that grows to that
		t.Errorf("128 requests took %d MiB", took>>20)
	}
	listed.Add(1)
	for _, end := range []string{"", "/", "//"} { // which are all the same for the library
		ask(t, d, path+end+"?pretty=true&x=y", "Accept", "*/*", "User-Agent", "curl/8")
	}
	if list.made.Load() != 2 {
		t.Errorf("after a change it was made %d times", list.made.Load())
	}
	zipped := ask(t, d, path, "Accept-Encoding", "gzip, deflate")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil || zipped.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("got %v, %v", zipped.Header(), err)
	}
	if body, err := io.ReadAll(z); err != nil || len(body) != 2_000_000 {
		t.Errorf("got %d bytes, %v", len(body), err)
	}
	if proto := ask(t, d, path, "Accept", "application/vnd.kubernetes.protobuf, */*"); proto.Header().Get("Content-Type") != "application/vnd.kubernetes.protobuf" {
		t.Errorf("got %v", proto.Header())
	}
}

// TestStrangersKeepNothing asks for whatever there is not.
func TestStrangersKeepNothing(t *testing.T) {
	var list longList
	d := newDiscovery(&list, []schema.GroupVersion{{Group: "custom.metrics.k8s.io", Version: "v1beta2"}}, func() int64 { return 0 })
	for _, path := range []string{"/apis/custom.metrics.k8s.io/v1", "/apis/" + strings.Repeat("x", 1000) + "/v1", "/healthz"} {
		if w := ask(t, d, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	ask(t, d, "/apis/custom.metrics.k8s.io/v1beta2", "Accept", "text/nonsense")
	if len(d.kept) != 0 {
		t.Errorf("%d lists are kept", len(d.kept))
	}
}
