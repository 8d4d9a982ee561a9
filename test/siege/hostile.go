package main

import (
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// hostile is a Sysdig that answers what costs the most.
type hostile struct{ *httptest.Server }

func newHostile() hostile { return hostile{httptest.NewTLSServer(http.HandlerFunc(answer))} }

// authority is what a connection has to trust.
func (h hostile) authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
}

// answer answers a query by the name of its metric: bomb, wide, or one that is well.
func answer(w http.ResponseWriter, r *http.Request) {
	query := r.FormValue("query")
	switch {
	case strings.HasSuffix(r.URL.Path, "/values"):
		_, _ = io.WriteString(w, `{"status":"success","data":["up","bomb","wide","sysdig_container_up","x"]}`)
	case strings.Contains(query, "bomb"):
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, `{"status":"success","data":{"resultType":"vector","result":[`)
		for range 1 << 12 { // 2 GiB of heap for who keeps it
			_, _ = io.WriteString(z, strings.Repeat("{},", 1<<12))
		}
		_ = z.Close()
	case strings.Contains(query, "wide"):
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`)
		for i := range 7500 { // 31 MB
			comma := ","
			if i == 0 {
				comma = ""
			}
			fmt.Fprintf(w, `%s{"metric":{"b":"%d%s"},"value":[%d,"1"]}`, comma, i, strings.Repeat("x", 4000), time.Now().Unix())
		}
		_, _ = io.WriteString(w, `]}}`)
	default:
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d,"%d"]}]}}`, time.Now().Unix(), time.Now().Unix()-10)
	}
}
