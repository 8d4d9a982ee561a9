package sysdig

import (
	"reflect"
	"slices"
	"testing"
)

func TestTheRecordedPageOfDescriptors(t *testing.T) {
	page, err := decodeDescriptors(fixtureFile(t, "metrics-descriptors-jvm.json"))
	names := page.names()
	if err != nil || *page.Total != 48 || len(names) != 48 || len(ordered(slices.Clone(names))) != 48 {
		t.Fatalf("%d names, %v; want 48", len(names), err)
	}
	if names[0] != "jvm.class.loaded" || names[47] != "jvm.threads.peak_count" || !slices.Contains(names, "jvm.heap.used.percent") {
		t.Errorf("got %s", names)
	}
}

func TestTheRecordedLegacyList(t *testing.T) {
	names, err := decodeLegacyMetrics(fixtureFile(t, "legacy-data-metrics.json"))
	if want := []string{"net.http.request.count"}; err != nil || !reflect.DeepEqual(names, want) {
		t.Errorf("got %s, %v; want %s", names, err, want)
	}
}

func TestWhatIsNoListOfMetrics(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"total":1}`, `{"metricDescriptors":[]}`, `{"total":null,"metricDescriptors":[]}`, `{"total":"1","metricDescriptors":[]}`,
		`{"total":-1,"metricDescriptors":[]}`, `{"total":1,"metricDescriptors":null}`, `{"total":1,"metricDescriptors":[{}]}`, `{"total":1,"metricDescriptors":[null]}`,
		`{"total":1,"metricDescriptors":{}}`, `{"total":1.5,"metricDescriptors":[]}`, `{"errors":[{"reason":"x"}]}`,
	} {
		if page, err := decodeDescriptors([]byte(body)); err == nil {
			t.Errorf("descriptors %s: got %+v", body, page)
		}
	}
	for _, body := range []string{``, `null`, `[]`, `{"errors":[{"reason":"x"}]}`, `{"message":"x"}`, `{"a":1}`} {
		if names, err := decodeLegacyMetrics([]byte(body)); err == nil {
			t.Errorf("legacy %s: got %s", body, names)
		}
	}
}
