package sysdigtest_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// S2.
func TestTheDataAPIAnswersWithAndWithoutASlash(t *testing.T) {
	for _, prefix := range []string{"", "/api", "/sysdig", "/sysdig/api"} {
		h := serve(t, sysdigtest.Options{PathPrefix: prefix})
		h.fill(requests, pod("a"), 10)
		// A redirect would turn the POST into a GET.
		h.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for _, slash := range []string{"", "/"} {
			path := strings.TrimSuffix(prefix, "/api") + "/api/data" + slash
			res := h.post(path, encode(t, minute("net.http.request.count:sum:sum")))
			wantStatus(t, res.result, http.StatusOK)
			wantRows(t, res, "60")
		}
		wantStatus(t, h.post(prefix+"/elsewhere/api/data", "{}").result, http.StatusNotFound)
	}
}

func TestTheDataAPIRefusesOtherMethods(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.path = "/api/"
	wantStatus(t, h.get("data", nil), http.StatusMethodNotAllowed)
}

// S3, S5, S7, S8, S9 as on the Prometheus API.
func TestTheDataAPIHasTokensTeamsBudgetAndHeaders(t *testing.T) {
	h := serve(t, sysdigtest.Options{RequestsPerMinute: 3})
	h.AddToken("one", sysdigtest.WithLabel(sysdigtest.LabelPod, "a"))
	h.fill(requests, pod("a"), 10)
	h.fill(requests, pod("b"), 20)
	question := minute(podKey, "net.http.request.count:sum:sum")

	res := h.data(question)
	wantRows(t, res, "b 120", "a 60")
	for _, name := range []string{"Set-Cookie", "X-Request-Id", "Vary", "Date"} {
		if res.header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
	if kind, limit := res.header.Get("Content-Type"), res.header.Get("X-Ratelimit-Limit"); kind != "application/json;charset=utf-8" || limit != "3" {
		t.Errorf("content type %q, limit %q", kind, limit)
	}
	wantRows(t, h.data(question, withToken("one")), "a 60")
	wantStatus(t, h.tryData(question, withToken("wrong")).result, http.StatusUnauthorized)
	h.data(question)
	h.data(question)
	wantStatus(t, h.tryData(question).result, http.StatusTooManyRequests, "too_many_requests")
	h.RevokeToken("one")
	wantStatus(t, h.tryData(question, withToken("one")).result, http.StatusUnauthorized)
}

func TestARequestForDataIsLogged(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum")
	h.data(question)
	got := h.Requests()[0]
	if got.Query != encode(t, question) || got.Path != "/api/data" || got.Time != seconds(noon) || got.Status != http.StatusOK {
		t.Errorf("log %+v", got)
	}
}

// D1.
func TestAMetricIsNamedByIDOrByMetric(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	question := minute().with("metrics", []any{
		map[string]any{"metric": podKey},
		map[string]any{"metric": "net.http.request.count", "aggregations": map[string]string{"time": "sum", "group": "sum"}},
	})
	wantRows(t, h.data(question), "a 60")
}

// D2.
func TestTimesAreNumbersOrStrings(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	start, end := noon.Add(-time.Minute), noon
	question := minute("net.http.request.count:sum:sum")
	for _, times := range [][2]any{{start.Unix(), end.Unix()}, {seconds(start), seconds(end)}, {float64(start.Unix()) + 0.5, seconds(end.Add(500 * time.Millisecond))}} {
		res := h.data(question.with("start", times[0]).with("end", times[1]))
		wantRows(t, res, "60")
		if res.Start != start.Unix() || res.End != end.Unix() {
			t.Errorf("%v: window %d to %d", times, res.Start, res.End)
		}
	}
	for _, bad := range []any{"noon", true, "NaN", "", []int{1}} {
		wantRefused(t, h.tryData(question.with("start", bad)), "body", "no time in seconds")
	}
}

// D3.
func TestAGroupThatIsLeftOutIsTheDefaultOfTheMetric(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for _, m := range []string{requests, sysdigtest.MetricCPU} {
		h.fill(m, pod("a"), 10)
		h.fill(m, pod("b"), 20)
	}
	onlyTime := func(id string) []any {
		return []any{map[string]any{"id": id, "aggregations": map[string]string{"time": "avg"}}}
	}
	wantRows(t, h.data(minute().with("metrics", onlyTime("net.http.request.count"))), "30")
	wantRows(t, h.data(minute().with("metrics", onlyTime("cpu.cores.used"))), "15")
}

// D3, and what nobody documents.
func TestColumnsThatMakeNoSenseAreRefused(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	for what, c := range map[string]struct {
		metrics []map[string]any
		message string
	}{
		"no columns":                {nil, "no metrics"},
		"a number without any":      {metrics("net.http.request.count"), "needs aggregations"},
		"a label with aggregations": {metrics("kubernetes.pod.name:avg:avg"), "no aggregations"},
	} {
		t.Run(what, func(t *testing.T) {
			wantRefused(t, h.tryData(minute().with("metrics", c.metrics)), "metrics", c.message)
		})
	}
}

// D4, D23.
func TestRowsAreFlatInTheOrderOfTheRequest(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	h.fill(sysdigtest.MetricCPU, pod("a"), 0.5)
	h.fill(sysdigtest.MetricCPU, pod("idle"), 0.1)
	res := h.data(minute("net.http.request.count:sum:sum", "kubernetes.node.name", "cpu.cores.used:avg:avg", podKey))
	if got, want := res.body[strings.Index(res.body, `"d"`):], `"d":[60,null,0.5,"a"]`; !strings.HasPrefix(got, want) {
		t.Errorf("rows %s, want %s first", got, want)
	}
	wantRows(t, res, "60 <nil> 0.5 a", "<nil> <nil> 0.1 idle")
}

// D4.
func TestRowsNestWhenTheSwitchSaysSo(t *testing.T) {
	h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{NestedRows: true}}})
	h.fill(requests, pod("a"), 10)
	h.fill(requests, pod("b"), 20)
	res := h.data(minute(podKey, "net.http.request.count:sum:sum").with("sampling", 10).with("start", noon.Add(-20*time.Second).Unix()))
	if got, want := encode(t, res.Data[1].D), `[["b",20],["a",10]]`; len(res.Data) != 2 || got != want || *res.Data[1].T != noon.Unix() {
		t.Errorf("the newest of %d rows is %s, want %s", len(res.Data), got, want)
	}
}

// D5, and the shapes of the recorded answers.
func TestARowCarriesTheEndOfItsBucketOnlyWithASampling(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("sysdig_host_cpu_used_percent", map[string]string{"host_hostname": "vm"}, 3)
	question := ask{"start": noon.Add(-time.Minute).Unix(), "end": noon.Unix(), "metrics": metrics("host.hostName", "cpu.used.percent:avg:avg")}
	sampled := h.data(question.with("sampling", 10))
	wantRows(t, sampled, "10: vm 3", "20: vm 3", "30: vm 3", "40: vm 3", "50: vm 3", "60: vm 3")
	if *sampled.Data[5].T != sampled.End || sampled.End != noon.Unix() {
		t.Errorf("the newest row is of %d, the window's end %d", *sampled.Data[5].T, sampled.End)
	}
	plain := h.data(question)
	wantRows(t, plain, "vm 3")
	whole := h.data(question.with("sampling", 60))
	wantRows(t, whole, "60: vm 3")

	for name, got := range map[string]told{"sampled_by_host": sampled, "aggregated_by_host_last_600": plain, "one_sample_platform_metrics": whole} {
		want := recordedRow(t, name)
		if have := rowShape(t, got.body); have != want {
			t.Errorf("%s: rows of shape %s, recorded %s", name, have, want)
		}
	}
}

// recordedRow returns the fields of the first row of a recorded answer.
func recordedRow(t *testing.T, name string) string {
	t.Helper()
	return rowShape(t, encode(t, recorded(t, name)["response"]))
}

// rowShape returns the fields of an answer and of its first row, without their order.
func rowShape(t *testing.T, body string) string {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	row := answer["data"].([]any)[0].(map[string]any)
	row["d"] = fmt.Sprintf("%T", row["d"].([]any)[len(row["d"].([]any))-1])
	answer["data"] = row
	return shape(t, encode(t, answer))
}

// D6.
func TestTheWindowIsRoundedDown(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum")
	for _, c := range []struct {
		start, end         time.Duration
		sampling           int
		wantStart, wantEnd time.Duration
	}{
		{-51 * time.Second, -9 * time.Second, 0, -60 * time.Second, -10 * time.Second},
		{-51 * time.Second, -9 * time.Second, 10, -60 * time.Second, -10 * time.Second},
		{-5*time.Minute - time.Second, -time.Second, 60, -6 * time.Minute, -time.Minute},
		{-60 * time.Second, 0, 10, -60 * time.Second, 0},
	} {
		res := h.data(question.with("start", noon.Add(c.start).Unix()).with("end", noon.Add(c.end).Unix()).with("sampling", c.sampling))
		if start, end := noon.Add(c.wantStart).Unix(), noon.Add(c.wantEnd).Unix(); res.Start != start || res.End != end {
			t.Errorf("%v to %v at %d: %d to %d, want %d to %d", c.start, c.end, c.sampling, res.Start, res.End, start, end)
		}
	}
}

// D6: the recorded window of 231 days.
func TestAWideWindowIsRoundedToACoarserTimeline(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("sysdig_host_cpu_used_percent", nil, 3)
	exchange := recorded(t, "aggregated_wide_window_string_times")
	h.clk.SetTime(time.Unix(1553078530, 0))
	res := h.data(ask(exchange["request"].(map[string]any)))
	want := exchange["response"].(map[string]any)
	if float64(res.Start) != want["start"] || float64(res.End) != want["end"] {
		t.Errorf("window %d to %d, recorded %v to %v", res.Start, res.End, want["start"], want["end"])
	}
}

func recorded(t *testing.T, name string) map[string]any {
	t.Helper()
	var all struct{ Cases []map[string]any }
	readJSON(t, "data-responses-ibm-docs.json", &all)
	i := slices.IndexFunc(all.Cases, func(c map[string]any) bool { return c["name"] == name })
	if i < 0 {
		t.Fatalf("nothing recorded as %q", name)
	}
	return all.Cases[i]
}

// D7.
func TestLastEndsAtTheNewestBucket(t *testing.T) {
	h := serve(t, sysdigtest.Options{Lag: 25 * time.Second})
	h.fill(requests, nil, 10)
	question := ask{"last": 60, "dataSourceType": "container", "metrics": metrics("net.http.request.count:sum:sum")}
	res := h.data(question)
	wantRows(t, res, "60")
	if want := noon.Add(-30 * time.Second).Unix(); res.End != want || res.Start != want-60 {
		t.Errorf("window %d to %d, want an end of %d", res.Start, res.End, want)
	}
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{LastFromNow: true}})
	wantRows(t, h.data(question), "30")
	late := h.data(question.with("last", 10).with("sampling", 10))
	wantRows(t, late)
	if late.End != noon.Unix() {
		t.Errorf("the window ends at %d, want now", late.End)
	}
}

func TestAWindowNeedsTwoEdges(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	bare := ask{"metrics": metrics("net.http.request.count:sum:sum")}
	for what, c := range map[string]struct {
		question ask
		field    string
	}{
		"none":               {bare, "start"},
		"start only":         {bare.with("start", noon.Unix()), "start"},
		"end only":           {bare.with("end", noon.Unix()), "start"},
		"last and start":     {bare.with("last", 60).with("start", noon.Unix()), "last"},
		"end of 0":           {bare.with("start", noon.Unix()).with("end", 0), "start"},
		"end before start":   {bare.with("start", noon.Unix()).with("end", noon.Unix()-60), "start"},
		"nothing in between": {bare.with("start", noon.Unix()).with("end", noon.Unix()), "start"},
	} {
		t.Run(what, func(t *testing.T) { wantRefused(t, h.tryData(c.question), c.field) })
	}
	within := h.data(minute("net.http.request.count:sum:sum").with("start", noon.Unix()+1).with("end", noon.Unix()+9))
	wantRows(t, within)
}

func TestAFieldThatIsNullIsAbsent(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum")
	for _, field := range []string{"last", "sampling", "filter", "paging"} {
		question[field] = nil
	}
	wantRows(t, h.data(question), "60")
	wantRefused(t, h.tryData(question.with("start", nil)), "start")
	wantRefused(t, h.tryData(minute("net.http.request.count:sum:sum").with("start", 1)), "start", "no timeline")
	wantRefused(t, h.post("/api/data", "no JSON"), "body", "no request")
}

// D8.
func TestPagesHaveTenSegmentsUnlessTheRequestSaysSo(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	for i := range 12 {
		h.fill(requests, pod(fmt.Sprintf("pod-%02d", i)), float64(i))
	}
	question := minute(podKey, "net.http.request.count:max:max")
	ids := func(res told) (ids []string) {
		for _, row := range res.Data {
			ids = append(ids, strings.TrimPrefix(row.D[0].(string), "pod-"))
		}
		return ids
	}
	page := func(from, to int) ask { return question.with("paging", map[string]int{"from": from, "to": to}) }
	for what, c := range map[string]struct {
		question ask
		want     string
	}{
		"by default":             {question, "11 10 09 08 07 06 05 04 03 02"},
		"ascending by minimum":   {question.with("metrics", metrics(podKey, "net.http.request.count:max:min")), "00 01 02 03 04 05 06 07 08 09"},
		"to is inclusive":        {page(0, 0), "11"},
		"the second page":        {page(10, 19), "01 00"},
		"past the end":           {page(12, 20), ""},
		"all":                    {page(0, 99), "11 10 09 08 07 06 05 04 03 02 01 00"},
		"keys only are by name":  {question.with("metrics", metrics(podKey)), "00 01 02 03 04 05 06 07 08 09"},
		"an end without a start": {question.with("paging", map[string]int{"to": 1}), "11 10"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := strings.Join(ids(h.data(c.question)), " "); got != c.want {
				t.Errorf("pods %s, want %s", got, c.want)
			}
		})
	}
	sampled := h.data(page(0, 1).with("sampling", 60))
	wantRows(t, sampled, "60: pod-11 11", "60: pod-10 10")
	if n := len(h.data(page(0, 1).with("sampling", 10)).Data); n != 12 {
		t.Errorf("%d rows, want 2 segments of 6 buckets", n)
	}
	wantRefused(t, h.tryData(page(5, 4)), "paging")
}

// D9.
func TestARequestHas600SamplesAtMost(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum").with("sampling", 10)
	h.data(question.with("start", noon.Add(-6000*time.Second).Unix()))
	wantRefused(t, h.tryData(question.with("start", noon.Add(-6010*time.Second).Unix())), "sampling", "601 samples")
	last := ask{"metrics": question["metrics"], "sampling": 10}
	h.data(last.with("last", 6000))
	wantRefused(t, h.tryData(last.with("last", 6010)), "sampling", "601 samples")
}

// D10.
func TestASamplingIsOneOfThePlan(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum")
	for sampling, ok := range map[any]bool{0: true, 10: true, "10": true, 60: true, 600: true, 3600: true, 86400: true, 1: false, 20: false, 30: false, -10: false, 10.5: false} {
		if res := h.tryData(question.with("sampling", sampling)); (res.status == http.StatusOK) != ok {
			t.Errorf("a sampling of %v: status %d, want success to be %v", sampling, res.status, ok)
		}
	}
	fine := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{Timelines: []sysdigtest.Timeline{{Sampling: time.Second, Kept: time.Hour}}}})
	fine.fill(requests, nil, 10)
	wantRows(t, fine.data(question.with("sampling", 1).with("start", noon.Add(-19*time.Second).Unix())), "9: 10", "19: 10")
	wantRefused(t, fine.tryData(question.with("sampling", 10)), "sampling")
}

// D11.
func TestAMetricTwiceIsRefused(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	for _, twice := range [][2]string{
		{"net.http.request.count:sum:sum", "net.http.request.count:avg:avg"},
		{"net.http.request.count:sum:sum", requests + ":avg:avg"},
		{podKey, podKey},
		{podKey, sysdigtest.LabelPod},
	} {
		wantRefused(t, h.tryData(minute(twice[0], twice[1])), "metrics", "more than once")
	}
}

// D12.
func TestAggregationsAreSpelledExactly(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	wrong := []string{"Avg:avg", "avg:Avg", "timeavg:sum", "TimeAvg:sum", ":sum", "avg:timeAvg", "avg:none", "p95:avg", "concat:concat", "AVG:SUM"}
	for _, a := range wrong {
		wantRefused(t, h.tryData(minute("net.http.request.count:"+a)), "metrics", "has no aggregations")
	}
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{AnyCase: true}})
	wantRows(t, h.data(minute("net.http.request.count:TIMEAVG:Sum")), "1")
	wantRefused(t, h.tryData(minute("net.http.request.count:p95:avg")), "metrics")
}

// D13.
func TestAnUnknownMetricIsNamed(t *testing.T) {
	documented, _ := fixture(t, "error-responses.json", "batch_unknown_metric")
	for _, status := range []int{0, http.StatusBadRequest, http.StatusUnprocessableEntity} {
		h := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{ErrorStatus: status}}})
		want := max(status, http.StatusBadRequest)
		for _, column := range []string{"no.such.metric:avg:avg", "no.such.metric"} {
			res := h.tryData(minute(column))
			wantStatus(t, res.result, want)
			got := map[string]any{"errors": []any{map[string]any{
				"reason": res.Errors[0].Reason, "message": res.Errors[0].Message, "field": res.Errors[0].Field,
			}}}
			if encode(t, got) != encode(t, documented) {
				t.Errorf("errors %s, documented %s", encode(t, got), encode(t, documented))
			}
			if !strings.Contains(res.body, `"rejectedValue":[{`) {
				t.Errorf("the metric is not echoed: %s", res.body)
			}
		}
	}
}

// D15.
func TestNoDataIsSuccess(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	question := minute(podKey, "net.http.request.count:sum:sum")
	for what, q := range map[string]ask{
		"a value that nobody has":      question.with("filter", `kubernetes.namespace.name = "none"`),
		"a documented metric":          minute("memory.bytes.used:avg:avg"),
		"a window before all points":   question.with("start", noon.Add(-20*time.Minute).Unix()).with("end", noon.Add(-15*time.Minute).Unix()),
		"a documented label in a page": question.with("filter", `agent.tag.x = "y"`),
	} {
		t.Run(what, func(t *testing.T) {
			if res := h.data(q); !strings.Contains(res.body, `"data":[]`) {
				t.Errorf("body %s", res.body)
			}
		})
	}
	h.Store().Forget()
	wantRows(t, h.data(question))
}

// D16.
func TestAGapIsAMissingRowOrNull(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.at(requests, pod("a"), map[int]float64{20: 1, 10: 2, 0: 3})
	h.at(requests, pod("b"), map[int]float64{20: 1, 0: 1})
	question := minute(podKey, "net.http.request.count:sum:sum").with("start", noon.Add(-30*time.Second).Unix()).with("sampling", 10)
	wantRows(t, h.data(question), "10: a 1", "10: b 1", "20: a 2", "30: a 3", "30: b 1")
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{NullGaps: true}})
	wantRows(t, h.data(question), "10: a 1", "10: b 1", "20: a 2", "20: b <nil>", "30: a 3", "30: b 1")
}

// D17.
func TestTheOrderOfFieldsVariesAndOthersMayAppear(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	question := minute("net.http.request.count:sum:sum").with("sampling", 60)
	first, second := h.data(question), h.data(question)
	if first.body == second.body || len(first.body) != len(second.body) {
		t.Errorf("two answers: %s and %s", first.body, second.body)
	}
	wantRows(t, first, "60: 60")
	wantRows(t, second, "60: 60")
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{ExtraFields: true}})
	for range 2 {
		more := h.data(question)
		wantRows(t, more, "60: 60")
		wantStatus(t, more.result, http.StatusOK, `"sampling":60`, `"meta":null`)
	}
}

// D18.
func TestHostsAndContainersAreDifferentSources(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("sysdig_host_cpu_used_percent", map[string]string{"host_hostname": "vm"}, 30)
	h.fill("sysdig_container_cpu_used_percent", map[string]string{"container_name": "web"}, 5)
	bare := ask{"last": 60, "metrics": metrics("cpu.used.percent:avg:avg")}
	wantRows(t, h.data(bare), "30")
	wantRows(t, h.data(bare.with("dataSourceType", "host")), "30")
	wantRows(t, h.data(bare.with("dataSourceType", "container")), "5")
	wantRows(t, h.data(bare.with("metrics", metrics("container.name", "cpu.used.percent:avg:avg"))), "web 5")
	wantRows(t, h.data(bare.with("filter", `container.name = "web"`)), "5")
	wantRows(t, h.data(bare.with("dataSourceType", "container").with("metrics", metrics("host.hostName", "container.name"))), "<nil> web")
	wantRefused(t, h.tryData(bare.with("dataSourceType", "pod")), "dataSourceType")
}

// D19.
func TestEveryTimeAggregationReducesItsOwnWay(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.at(requests, pod("a"), map[int]float64{60: 1000, 50: 2, 40: 8, 10: 6, 0: 4})
	h.at(requests, pod("b"), map[int]float64{20: 10})
	question := func(agg string) ask { return minute("net.http.request.count:" + agg) }
	for agg, want := range map[string]string{
		"sum:sum": "30", "sum:max": "20", "sum:min": "10", "sum:avg": "15",
		"avg:sum": "15", "avg:avg": "7.5", "min:min": "2", "max:max": "10", "max:sum": "18",
		"timeAvg:sum": "0.5", "timeAvg:max": "0.333333",
		"rateOfChange:sum": "0.04", // of a alone: from 2 to 4 in 50 s; one point has no rate
	} {
		t.Run(agg, func(t *testing.T) { wantRows(t, h.data(question(agg)), want) })
	}
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{TimeAvgPerInterval: true}})
	wantRows(t, h.data(question("timeAvg:sum")), "5")
	ten := question("timeAvg:sum").with("sampling", 10).with("start", noon.Add(-10*time.Second).Unix())
	h.SetSwitches(sysdigtest.Switches{})
	wantRows(t, h.data(ten), "10: 0.4")
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{StoredPoints: true}})
	wantRows(t, h.data(ten), "10: 4")
	wantRows(t, h.data(question("timeAvg:sum")), "0.5")
}

// D20.
func TestOldDataHaveACoarseSamplingOnly(t *testing.T) {
	h := serve(t, sysdigtest.Options{Limits: sysdigtest.Limits{Timelines: []sysdigtest.Timeline{
		{Sampling: 10 * time.Second, Kept: 5 * time.Minute}, {Sampling: time.Minute, Kept: time.Hour},
	}}})
	h.fill(requests, nil, 10)
	old := minute("net.http.request.count:sum:sum").with("start", noon.Add(-8*time.Minute).Unix()).with("end", noon.Add(-7*time.Minute).Unix())
	wantRefused(t, h.tryData(old.with("sampling", 10)), "sampling", "do not reach back")
	wantRows(t, h.data(old.with("sampling", 60)), "60: 60")
	res := h.data(old.with("start", noon.Add(-8*time.Minute-5*time.Second).Unix()))
	if want := noon.Add(-9 * time.Minute).Unix(); res.Start != want {
		t.Errorf("without a sampling the window starts at %d, want the whole minute %d", res.Start, want)
	}
	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{EmptyBeyondTimeline: true}})
	wantRows(t, h.data(old.with("sampling", 10)))
	wantRows(t, h.data(minute("net.http.request.count:sum:sum").with("sampling", 60)), "60: 60")
}

// D21.
func TestTheServerGivesUpAfter30Seconds(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, nil, 10)
	h.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDelay, Delay: 40 * time.Second})
	answer := make(chan told, 1)
	go func() { answer <- h.tryData(minute("net.http.request.count:sum:sum")) }()
	eventually(t, "the request waits", h.clk.HasWaiters)
	h.clk.Step(29 * time.Second)
	select {
	case res := <-answer:
		t.Fatalf("answer before its time: %s", res.body)
	default:
	}
	h.clk.Step(time.Second)
	wantStatus(t, (<-answer).result, http.StatusGatewayTimeout, `{"errors":[`)
	h.wantHealthy()
}

// D22.
func TestNamesOfPromQLWorkBesideDottedOnes(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, pod("a"), 10)
	h.fill("http_requests_total", pod("a"), 7)
	promQL := minute(sysdigtest.LabelPod, requests+":sum:sum").with("filter", `kube_pod_name = "a"`)
	wantRows(t, h.data(promQL), "a 60")
	scraped := minute(podKey, "http_requests_total:max:sum")
	wantRows(t, h.data(scraped), "a 7")

	h.SetSwitches(sysdigtest.Switches{Classic: sysdigtest.ClassicSwitches{DottedOnly: true}})
	for _, q := range []ask{minute(sysdigtest.LabelPod), minute(requests + ":sum:sum"), minute(podKey).with("filter", `kube_pod_name = "a"`)} {
		res := h.tryData(q)
		wantStatus(t, res.result, http.StatusBadRequest, "Metric not found")
	}
	wantRows(t, h.data(scraped), "a 7")
	wantRows(t, h.data(minute(podKey, "net.http.request.count:sum:sum")), "a 60")
}

// D24.
func TestTheNewestBucketOfTheDataAPIMayBePartial(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.Store().SetPartialNewest(0.5)
	h.fillMany(requests, 100)
	question := minute("net.http.request.count:sum:sum").with("sampling", 10).with("start", noon.Add(-20*time.Second).Unix())
	res := h.data(question)
	if whole, newest := res.Data[0].D[0].(float64), res.Data[1].D[0].(float64); whole != 100 || newest < 30 || newest > 70 {
		t.Errorf("%v and then %v of 100 pods, want all and then about half", whole, newest)
	}
	h.clk.Step(10 * time.Second)
	wantRows(t, h.data(question), "10: 100", "20: 100")
}

// P16.
func TestBothAPIsTellTheSame(t *testing.T) {
	h := serve(t, sysdigtest.Options{Lag: 15 * time.Second})
	for i := range 5 {
		labels := map[string]string{sysdigtest.LabelPod: fmt.Sprintf("pod-%d", i), sysdigtest.LabelWorkloadName: fmt.Sprintf("web-%d", i%2)}
		lset := map[string]string{"__name__": requests}
		for k, v := range labels {
			lset[k] = v
		}
		sysdigtest.Fill(h.Store(), lset, noon.Add(-10*time.Minute), noon, func(at time.Time) float64 {
			return float64(at.Unix()/10%7) + float64(i)
		})
	}
	for window, text := range map[time.Duration]string{time.Minute: "1m", 2 * time.Minute: "2m"} {
		// A multiple of 10 s and 5 s more.
		at := noon.Add(-25 * time.Second)
		end := at.Truncate(10 * time.Second)
		question := minute("kubernetes.workload.name").with("start", end.Add(-window).Unix()).with("end", end.Unix())
		for _, pair := range [][2]string{
			{"sum by (kube_workload_name) (sum_over_time(%s[%s]))", "sum:sum"},
			{"avg by (kube_workload_name) (avg_over_time(%s[%s]))", "avg:avg"},
			{"max by (kube_workload_name) (max_over_time(%s[%s]))", "max:max"},
			{"min by (kube_workload_name) (min_over_time(%s[%s]))", "min:min"},
			{"sum by (kube_workload_name) (sum_over_time(%s[%s])) / " + fmt.Sprint(window.Seconds()), "timeAvg:sum"},
		} {
			want := h.queryAt(fmt.Sprintf(pair[0], requests, text), at).by(sysdigtest.LabelWorkloadName)
			res := h.data(question.with("metrics", metrics("kubernetes.workload.name", "net.http.request.count:"+pair[1])))
			if len(res.Data) != 2 || len(want) != 2 {
				t.Fatalf("%s over %s: rows %v, PromQL %v", pair[1], text, res.rows(), want)
			}
			for _, row := range res.Data {
				said, err := strconv.ParseFloat(want[row.D[0].(string)], 64)
				if got := row.D[1].(float64); err != nil || math.Abs(got-said) > 1e-9 {
					t.Errorf("%s over %s of %s: %v, PromQL says %v", pair[1], text, row.D[0], got, said)
				}
			}
		}
	}
}

// U23.
func TestOnlyTheDataAPIKnowsTheService(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill(requests, map[string]string{sysdigtest.LabelPod: "a", sysdigtest.LabelService: "shop"}, 10)
	h.fill(requests, map[string]string{sysdigtest.LabelPod: "b", sysdigtest.LabelService: "shop"}, 20)
	h.fill(requests, pod("c"), 5)
	wantRows(t, h.data(minute("kubernetes.service.name", "net.http.request.count:sum:sum")), "shop 180", "<nil> 30")
	wantRows(t, h.data(minute("net.http.request.count:sum:sum").with("filter", `kubernetes.service.name = "shop"`)), "180")
	for _, res := range []result{
		h.query(requests), h.get("labels", nil), h.get("series", url.Values{"match[]": {requests}}),
	} {
		if strings.Contains(res.body, "shop") || strings.Contains(res.body, "kube_service_name") {
			t.Errorf("the Prometheus API tells the service: %s", res.body)
		}
	}
	if got := h.get("label/kube_service_name/values", nil).body; got != `{"status":"success","data":[]}` {
		t.Errorf("values of the label: %s", got)
	}
}
