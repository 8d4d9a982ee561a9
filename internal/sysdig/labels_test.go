package sysdig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzLabels compares with what encoding/json makes of the same objects.
func FuzzLabels(f *testing.F) {
	for _, object := range []string{
		`{}`, ` { } `, `null`, `{"a":"b"}`, `{"a":"","":"b"}`, "{ \"a\" :\t\"b\" ,\n\"c\":\"d\"}", `{"a":"1","a":"2"}`, `{"a":"\"}","b\\":"\u00e9\n"}`,
		`{"a":"é","ключ":"значение"}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":1}`, `{"a":null}`, `{"a":{}}`, `{"a":["b"]}`, `[]`, `"a"`, `1`,
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		if !json.Valid(object) {
			return
		}
		var want map[string]string
		wantErr := json.Unmarshal(object, &want)
		var r labelReader
		for range 2 { // the second time all texts are known
			got, err := r.read(object)
			if wantErr != nil && err == nil || wantErr == nil && err != nil && !bytes.Contains(object, []byte("null")) {
				t.Fatalf("%s: %v, want %v", object, err, wantErr)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err == nil && diff != "" {
				t.Fatalf("%s (-want +got):\n%s", object, diff)
			}
		}
	})
}

// TestLabelsThatAreNull: encoding/json would take null for an empty value, and two workloads for one.
func TestLabelsThatAreNull(t *testing.T) {
	if got, err := (&labelReader{}).read([]byte(`{"a":null}`)); err == nil {
		t.Errorf("got %v", got)
	}
}

// BenchmarkDecode is an answer about 1,000 workloads, their values and times.
func BenchmarkDecode(b *testing.B) {
	var series []string
	for i := range 2000 {
		part := ""
		if i%2 == 1 {
			part = `,"sysdig_metrics_part":"time"`
		}
		series = append(series, fmt.Sprintf(
			`{"metric":{"kube_namespace_name":"shop-%03d","kube_workload_type":"deployment","kube_workload_name":"web-%05d"%s},"value":[1785000000,"%d.5"]}`,
			i/20, i/2, part, i))
	}
	body := []byte(`{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
