package sysdig

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fixtureFile reads a recorded file of testdata.
func fixtureFile(t testing.TB, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// dataPair is a question to the data API with its answer, as IBM publishes them.
type dataPair struct {
	Name     string
	Request  map[string]any
	Response json.RawMessage
}

func dataPairs(t testing.TB) []dataPair {
	t.Helper()
	var all struct{ Cases []dataPair }
	if err := json.Unmarshal(fixtureFile(t, "data-responses-ibm-docs.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all.Cases
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// equivalent is the recorded question as we write it: with numbers as times, an explicit window, page and group aggregation.
func equivalent(recorded map[string]any, r DataRequest) map[string]any {
	want := map[string]any{"paging": map[string]any{"from": 0.0, "to": 499.0}}
	for field, value := range recorded {
		if text, ok := value.(string); ok && (field == "start" || field == "end") {
			seconds, _ := strconv.ParseFloat(text, 64)
			value = seconds
		}
		want[field] = value
	}
	if _, relative := want["last"]; relative { // "last" has no place in a DataRequest: it ends where nobody knows
		delete(want, "last")
		want["start"], want["end"] = float64(r.Start.Unix()), float64(r.End.Unix())
	}
	for _, column := range want["metrics"].([]any) {
		if aggregations, ok := column.(map[string]any)["aggregations"].(map[string]any); ok && aggregations["group"] == nil {
			aggregations["group"] = r.Values[0].Group
		}
	}
	return want
}

// TestPublishedQuestionsAndAnswers: for each pair of IBM's, we write an equivalent question and understand the answer.
func TestPublishedQuestionsAndAnswers(t *testing.T) {
	host, container := []string{"host.hostName"}, []string{"container.name"}
	cpu := []DataValue{{Metric: "cpu.used.percent", Time: "avg", Group: "avg"}}
	row := func(at time.Time, key string, values ...float64) DataRow {
		return DataRow{Time: at, Keys: []string{key}, Values: values}
	}
	const rhel = "j-rhel71.fyre.ibm.com"
	const cloudFoundry = "ibm_cloudfoundry_app_"
	none := time.Time{}
	tests := map[string]struct {
		request DataRequest
		want    DataAnswer
	}{
		"aggregated_by_host_last_600": {
			DataRequest{Start: unix(1553071035), End: unix(1553071635), Source: "host", Keys: host, Values: cpu},
			DataAnswer{
				Start: unix(1553071030), End: unix(1553071630),
				Rows: []DataRow{row(none, "jupiter-vm781", 52.062), row(none, "jupiter-vm853", 4.245)},
			},
		},
		"aggregated_by_container_last_600": {
			DataRequest{Start: unix(1553074770), End: unix(1553075370), Source: "container", Keys: container, Values: cpu},
			DataAnswer{
				Start: unix(1553074770), End: unix(1553075370),
				Rows: []DataRow{
					row(none, "sysdig-agent", 1.586), row(none, "Container_1", 0.905), row(none, "Container_2", 0.893), row(none, "Container_3", 0.892),
					row(none, "Container_4", 0.886), row(none, "Container_5", 0.885), row(none, "Container_6", 0.873),
				},
			},
		},
		"aggregated_wide_window_string_times": {
			DataRequest{Start: unix(1533078521), End: unix(1553078521), Source: "host", Keys: host, Values: cpu},
			DataAnswer{
				Start: unix(1532995200), End: unix(1553040000),
				Rows: []DataRow{row(none, "jupiter-vm376", 38.453), row(none, "jupiter-vm853", 9.853)},
			},
		},
		"sampled_by_host": {
			DataRequest{Start: unix(1555404790), End: unix(1555404850), Sampling: 10 * time.Second, Source: "host", Keys: host, Values: cpu},
			DataAnswer{
				Start: unix(1555404790), End: unix(1555404850),
				Rows: []DataRow{
					row(unix(1555404800), rhel, 3.621), row(unix(1555404810), rhel, 3.597), row(unix(1555404820), rhel, 3.993),
					row(unix(1555404830), rhel, 3.145), row(unix(1555404840), rhel, 4.09), row(unix(1555404850), rhel, 5.057),
				},
			},
		},
		"one_sample_platform_metrics": {
			DataRequest{
				Start: unix(1587686400), End: unix(1587772800), Sampling: 24 * time.Hour, Filter: `ibm_location = "us-south"`, Keys: []string{"ibm_resource"},
				Values: []DataValue{{cloudFoundry + "container_age", "max", "max"}, {cloudFoundry + "memory_bytes_used", "avg", "avg"}},
			},
			DataAnswer{
				Start: unix(1587686400), End: unix(1587772800),
				Rows: []DataRow{row(unix(1587772800), "73a9d202-7e97-45b2-a107-3b1528856be3", 316660942465643, 18809015.575)},
			},
		},
	}
	seen := 0
	for _, pair := range dataPairs(t) {
		t.Run(pair.Name, func(t *testing.T) {
			test, known := tests[pair.Name]
			if !known {
				t.Fatal("no expectation for this pair")
			}
			seen++
			test.request.To = 499
			raw, err := encodeData(test.request)
			if err != nil {
				t.Fatal(err)
			}
			var sent map[string]any
			if err := json.Unmarshal(raw, &sent); err != nil {
				t.Fatal(err)
			}
			if want := equivalent(pair.Request, test.request); !reflect.DeepEqual(sent, want) {
				t.Errorf("we write %v, want %v", sent, want)
			}
			got, err := decodeDataBody(pair.Response, test.request)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	if seen != len(tests) {
		t.Errorf("%d pairs, want %d", seen, len(tests))
	}
}

func TestAQuestionIsWrittenAsDocumented(t *testing.T) {
	request := DataRequest{
		Start: unix(1900).Add(999 * time.Millisecond), End: unix(1960), Sampling: 10 * time.Second, Source: "container", Filter: `a = "<x>"`,
		Keys: []string{"kubernetes.pod.name", "net.http.url"}, Values: []DataValue{{"net.http.request.count", "timeAvg", "sum"}, {"cpu.cores.used", "avg", ""}},
		From: 500, To: 999,
	}
	const columns = `[{"id":"kubernetes.pod.name"},{"id":"net.http.url"},{"id":"net.http.request.count","aggregations":{"time":"timeAvg","group":"sum"}},` +
		`{"id":"cpu.cores.used","aggregations":{"time":"avg"}}]`
	const full = `{"start":1900,"end":1960,"sampling":10,"metrics":` + columns + `,"filter":"a = \"\u003cx\u003e\"","dataSourceType":"container","paging":{"from":500,"to":999}}`
	if got, err := encodeData(request); err != nil || string(got) != full {
		t.Errorf("got  %s, %v\nwant %s", got, err, full)
	}
	const least = `{"start":1900,"end":1960,"metrics":[],"paging":{"from":0,"to":0}}`
	if got, err := encodeData(DataRequest{Start: unix(1900), End: unix(1960)}); err != nil || string(got) != least {
		t.Errorf("got  %s, %v\nwant %s", got, err, least)
	}
}

// twoByOne asks for two keys and one value, with or without buckets.
func twoByOne(sampling time.Duration) DataRequest {
	return DataRequest{Sampling: sampling, Keys: []string{"namespace", "pod"}, Values: []DataValue{{"cpu.cores.used", "avg", "sum"}}}
}

func TestDecodeData(t *testing.T) {
	window := func(data string) string { return `{"data":[` + data + `],"start":10,"end":20}` }
	nan := math.NaN()
	good := map[string]struct {
		body     string
		sampling time.Duration
		want     []DataRow
	}{
		"no data":                       {window(``), 0, []DataRow{}},
		"one row":                       {window(`{"d":["shop","web",1.5]}`), 0, []DataRow{{unix(0), []string{"shop", "web"}, []float64{1.5}}}},
		"a bucket":                      {window(`{"t":20,"d":["shop","web",1.5]}`), time.Second, []DataRow{{unix(20), []string{"shop", "web"}, []float64{1.5}}}},
		"the cells before the time":     {window(`{"d":["shop","web",1],"t":20}`), time.Second, []DataRow{{unix(20), []string{"shop", "web"}, []float64{1}}}},
		"a key that does not apply":     {window(`{"d":["shop",null,1]}`), 0, []DataRow{{unix(0), []string{"shop", ""}, []float64{1}}}},
		"no sample":                     {window(`{"d":["shop","web",null]}`), 0, []DataRow{{unix(0), []string{"shop", "web"}, []float64{nan}}}},
		"a sample of 0":                 {window(`{"d":["shop","web",0]}`), 0, []DataRow{{unix(0), []string{"shop", "web"}, []float64{0}}}},
		"a negative exponent":           {window(`{"d":["shop","web",-1e-7]}`), 0, []DataRow{{unix(0), []string{"shop", "web"}, []float64{-1e-7}}}},
		"more than a float can hold":    {window(`{"d":["shop","web",1e999]}`), 0, []DataRow{{unix(0), []string{"shop", "web"}, []float64{math.Inf(1)}}}},
		"a key with escapes":            {window(`{"d":["a\"b\\","\u00e9",1]}`), 0, []DataRow{{unix(0), []string{`a"b\`, "é"}, []float64{1}}}},
		"fields that are not known":     {`{"sampling":10,"x":{},"data":[{"y":[],"d":["a","b",1]}],"start":10,"end":20}`, 0, []DataRow{{unix(0), []string{"a", "b"}, []float64{1}}}},
		"no errors":                     {`{"errors":[],"data":[],"start":10,"end":20}`, 0, []DataRow{}},
		"no time is null":               {window(`{"t":null,"d":["a","b",1]}`), 0, []DataRow{{unix(0), []string{"a", "b"}, []float64{1}}}},
		"the oldest documentation":      {window(`{"t":20,"d":[["a","b",1],["a","c",null]]}`), time.Second, []DataRow{{unix(20), []string{"a", "b"}, []float64{1}}, {unix(20), []string{"a", "c"}, []float64{nan}}}},
		"a list of lists and blanks":    {window("{\"d\":[ \n\t\r[\"a\",\"b\",1]]}"), 0, []DataRow{{unix(0), []string{"a", "b"}, []float64{1}}}},
		"buckets in the order they are": {window(`{"t":20,"d":["a","b",2]},{"t":11,"d":["a","b",1]}`), time.Second, []DataRow{{unix(20), []string{"a", "b"}, []float64{2}}, {unix(11), []string{"a", "b"}, []float64{1}}}},
	}
	for name, test := range good {
		t.Run(name, func(t *testing.T) {
			got, err := decodeDataBody([]byte(test.body), twoByOne(test.sampling))
			if err != nil || !got.Start.Equal(unix(10)) || !got.End.Equal(unix(20)) || len(got.Rows) != len(test.want) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for i, row := range got.Rows {
				want := test.want[i]
				if test.sampling == 0 {
					want.Time = time.Time{}
				}
				value, wanted := row.Values[0], want.Values[0]
				if !row.Time.Equal(want.Time) || !reflect.DeepEqual(row.Keys, want.Keys) || value != wanted && !(math.IsNaN(value) && math.IsNaN(wanted)) {
					t.Errorf("row %d: got %+v, want %+v", i, row, want)
				}
			}
		})
	}
	bad := map[string]struct {
		body     string
		sampling time.Duration
	}{
		"no body": {}, "null": {body: "null"}, "a list": {body: "[]"}, "a number": {body: "1"}, "no fields": {body: "{}"},
		"a truncated document": {body: window(`{"d":["a","b",1]}`)[:25]}, "two documents": {body: window(``) + window(``)},
		"no data is no answer":         {body: `{"start":10,"end":20}`},
		"null as data is no answer":    {body: `{"data":null,"start":10,"end":20}`},
		"an object as data":            {body: `{"data":{},"start":10,"end":20}`},
		"no start":                     {body: `{"data":[],"end":20}`},
		"no end":                       {body: `{"data":[],"start":10}`},
		"null as end":                  {body: `{"data":[],"start":10,"end":null}`},
		"a start that is text":         {body: `{"data":[],"start":"10","end":20}`},
		"a start in microseconds":      {body: `{"data":[],"start":1555404800000000,"end":20}`},
		"an end before all ages":       {body: `{"data":[],"start":10,"end":-1}`},
		"a row that is null":           {body: window(`null`)},
		"a row without cells":          {body: window(`{}`)},
		"null as cells":                {body: window(`{"d":null}`)},
		"an object as cells":           {body: window(`{"d":{}}`)},
		"an empty row":                 {body: window(`{"d":[]}`)},
		"a cell too few":               {body: window(`{"d":["a",1]}`)},
		"a cell too many":              {body: window(`{"d":["a","b",1,2]}`)},
		"a value that is text":         {body: window(`{"d":["a","b","1"]}`)},
		"a value that is true":         {body: window(`{"d":["a","b",true]}`)},
		"a value that is an object":    {body: window(`{"d":["a","b",{}]}`)},
		"a value that is a list":       {body: window(`{"d":["a","b",[1]]}`)},
		"a key that is a number":       {body: window(`{"d":["a",1,1]}`)},
		"columns in another order":     {body: window(`{"d":[1,"a","b"]}`)},
		"a row too deep":               {body: window(`{"d":[[["a","b",1]]]}`)},
		"a list and a cell":            {body: window(`{"d":[["a","b",1],"a"]}`)},
		"one good and one short":       {body: window(`{"d":["a","b",1]},{"d":["a",1]}`)},
		"a time without sampling":      {body: window(`{"t":20,"d":["a","b",1]}`)},
		"no time with sampling":        {body: window(`{"d":["a","b",1]}`), sampling: time.Second},
		"null as time with sampling":   {body: window(`{"t":null,"d":["a","b",1]}`), sampling: time.Second},
		"a time that is text":          {body: window(`{"t":"20","d":["a","b",1]}`), sampling: time.Second},
		"a time in microseconds":       {body: window(`{"t":1555404800000000,"d":["a","b",1]}`), sampling: time.Second},
		"a time in a list of lists":    {body: window(`{"t":20,"d":[["a","b",1]]}`)},
		"one good and one of no time":  {body: window(`{"t":20,"d":["a","b",1]},{"d":["a","b",1]}`), sampling: time.Second},
		"errors that are no list":      {body: `{"errors":{},"data":[],"start":10,"end":20}`},
		"an answer of the other API":   {body: `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		"a page that calls itself one": {body: `{"data":[],"start":10,"end":20}<html>`},
	}
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			if got, err := decodeDataBody([]byte(test.body), twoByOne(test.sampling)); err == nil || errors.Is(err, errRefused) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAnErrorWithinASuccessIsARefusal(t *testing.T) {
	for _, c := range fixtures(t, "error-responses.json") {
		if c.Status == 200 {
			_, err := decodeDataBody(c.Body, twoByOne(0))
			if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "Metric not found: 'no.such.metric' is not a Sysdig Cloud metric") {
				t.Errorf("%s: %v", c.Name, err)
			}
			return
		}
	}
	t.Error("no such answer was recorded")
}

func FuzzDecodeData(f *testing.F) {
	for _, pair := range dataPairs(f) {
		f.Add([]byte(pair.Response), 1, 1, pair.Request["sampling"] != nil)
	}
	for _, c := range fixtures(f, "error-responses.json") {
		f.Add([]byte(c.Body), 1, 1, false)
	}
	f.Add([]byte(`{"data":[{"t":1,"d":[["proc1",1.5],["proc2",null]]}],"start":1,"end":2}`), 1, 1, true)
	f.Add([]byte(`{"data":[{"d":[]}],"start":1e9,"end":2e9}`), 0, 0, false)
	last := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte, keys, values int, sampled bool) {
		r := DataRequest{Keys: make([]string, max(keys, 0)%8), Values: make([]DataValue, max(values, 0)%8)}
		if sampled {
			r.Sampling = 10 * time.Second
		}
		got, err := decodeDataBody(body, r)
		if err != nil {
			if !reflect.DeepEqual(got, DataAnswer{}) {
				t.Fatalf("an error and an answer: %+v, %v", got, err)
			}
			return
		}
		if got.Rows == nil || len(got.Rows) > len(body) {
			t.Fatalf("%d rows from %d bytes", len(got.Rows), len(body))
		}
		times := []time.Time{got.Start, got.End}
		for _, row := range got.Rows {
			if len(row.Keys) != len(r.Keys) || len(row.Values) != len(r.Values) || row.Time.IsZero() == sampled {
				t.Fatalf("%+v answers %+v", row, r)
			}
			if sampled {
				times = append(times, row.Time)
			}
		}
		for _, at := range times {
			if at.Before(time.Unix(0, 0)) || !at.Before(last) {
				t.Fatalf("a time of %s", at)
			}
		}
	})
}
