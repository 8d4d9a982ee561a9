package sysdig

import (
	"reflect"
	"slices"
	"testing"
)

func TestTheRecordedPageOfDescriptors(t *testing.T) {
	list := nameList{most: maxNames}
	page, err := decodeDescriptors(streamOf(fixtureFile(t, "metrics-descriptors-jvm.json")), &list)
	names := list.names
	if err != nil || page.total != 48 || len(names) != 48 || len(ordered(slices.Clone(names))) != 48 {
		t.Fatalf("%d names, %v; want 48", len(names), err)
	}
	if names[0] != "jvm.class.loaded" || names[47] != "jvm.threads.peak_count" || !slices.Contains(names, "jvm.heap.used.percent") {
		t.Errorf("got %s", names)
	}
}

func TestTheRecordedLegacyList(t *testing.T) {
	names := nameList{most: maxNames}
	err := decodeLegacyMetrics(streamOf(fixtureFile(t, "legacy-data-metrics.json")), &names)
	if want := []string{"net.http.request.count"}; err != nil || !reflect.DeepEqual(names.names, want) {
		t.Errorf("got %+v, %v; want %s", names, err, want)
	}
}

func TestWhatIsNoListOfMetrics(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"total":1}`, `{"metricDescriptors":[]}`, `{"total":null,"metricDescriptors":[]}`, `{"total":"1","metricDescriptors":[]}`,
		`{"total":-1,"metricDescriptors":[]}`, `{"total":1,"metricDescriptors":null}`, `{"total":1,"metricDescriptors":[{}]}`, `{"total":1,"metricDescriptors":[null]}`,
		`{"total":1,"metricDescriptors":{}}`, `{"total":1.5,"metricDescriptors":[]}`, `{"errors":[{"reason":"x"}]}`,
	} {
		if page, err := decodeDescriptors(streamOf([]byte(body)), &nameList{most: maxNames}); err == nil {
			t.Errorf("descriptors %s: got %+v", body, page)
		}
	}
	for _, body := range []string{``, `null`, `[]`, `{"errors":[{"reason":"x"}]}`, `{"message":"x"}`, `{"a":1}`} {
		names := nameList{most: maxNames}
		if decodeLegacyMetrics(streamOf([]byte(body)), &names) == nil {
			t.Errorf("legacy %s: got %+v", body, names)
		}
	}
}
