package sysdig

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// workloads is an answer about workloads: their values and, of half of the series, the times of their newest points.
func workloads(series int) []byte {
	var body bytes.Buffer
	body.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range series {
		part := ""
		if i%2 == 1 {
			part = `,"sysdig_metrics_part":"time"`
		}
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"metric":{"kube_namespace_name":"shop-%03d","kube_workload_type":"deployment","kube_workload_name":"web-%05d"%s},"value":[1785000000,"%d.5"]}`,
			i/20, i/2, part, i)
	}
	body.WriteString(`]}}`)
	return body.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	for _, series := range []int{2000, 20_000, 100_000} {
		b.Run(fmt.Sprint(series), func(b *testing.B) {
			body := workloads(series)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkQuery is the same from the wire, compressed as Sysdig sends it.
func BenchmarkQuery(b *testing.B) {
	for _, series := range []int{20_000} {
		b.Run(fmt.Sprint(series), func(b *testing.B) {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			_, _ = w.Write(workloads(series))
			_ = w.Close()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(packed.Bytes())
			}))
			defer s.Close()
			address, _ := url.Parse(s.URL)
			client, err := NewClient(Config{QueryURL: address, Token: "t", Timeout: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Query(b.Context(), "x", time.Unix(1785000000, 0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeData(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"data":[`)
	for i := range 20_000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"t":1785000000,"d":["shop-%03d","web-%05d",%d.5]}`, i/20, i/2, i)
	}
	body.WriteString(`],"start":1784999990,"end":1785000000}`)
	q := twoByOne(time.Second)
	q.To = 19_999
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeDataBody(body.Bytes(), q); err != nil {
			b.Fatal(err)
		}
	}
}
