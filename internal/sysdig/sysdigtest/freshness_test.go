package sysdigtest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

func TestTheLagHidesTheNewestPoints(t *testing.T) {
	h := serve(t, sysdigtest.Options{Lag: sysdigtest.DefaultLag})
	h.fill("x", nil, 100)
	newest := func() string { return h.query("timestamp(x)").one(t) }

	if got, want := newest(), seconds(noon.Add(-20*time.Second)); got != want {
		t.Errorf("newest point at %s, want %s", got, want)
	}
	if got := h.query("sum_over_time(x[1m])").one(t); got != "400" {
		t.Errorf("the last minute holds %s, want the 400 of 4 points", got)
	}
	h.clk.Step(9 * time.Second)
	if got, want := newest(), seconds(noon.Add(-20*time.Second)); got != want {
		t.Errorf("newest point after 9 s at %s, want still %s", got, want)
	}
	h.clk.Step(time.Second)
	if got, want := newest(), seconds(noon.Add(-10*time.Second)); got != want {
		t.Errorf("newest point after 10 s at %s, want %s", got, want)
	}
	h.Store().SetLag(0)
	if got, want := newest(), seconds(noon); got != want {
		t.Errorf("newest point without lag at %s, want %s", got, want)
	}
	if got := h.Store().Horizon(); !got.Equal(h.clk.Now()) {
		t.Errorf("horizon %s, want %s", got, h.clk.Now())
	}
}

func TestAQueryAtAnEarlierTimeSeesTheWholeWindowInSpiteOfTheLag(t *testing.T) {
	h := serve(t, sysdigtest.Options{Lag: sysdigtest.DefaultLag})
	h.fill("x", nil, 100)
	if got := h.queryAt("sum_over_time(x[1m]) / 60", noon.Add(-15*time.Second)).one(t); got != "10" {
		t.Errorf("rate %s, want 10", got)
	}
}

func TestTheNewestBucketMayBePartialAndIsCompleteAtTheNextPoll(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.Store().SetPartialNewest(0.5)
	h.fillMany("x", 100)
	count := func(at time.Time) int {
		n, err := strconv.Atoi(h.query(fmt.Sprintf("count(timestamp(x) == %s)", seconds(at))).one(t))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := count(noon)
	if first < 30 || first > 70 {
		t.Errorf("%d of 100 pods in the newest bucket, want about half", first)
	}
	if again := count(noon); again != first {
		t.Errorf("%d pods when asked again, want the same %d", again, first)
	}
	h.clk.Step(10 * time.Second)
	if got := count(noon); got != 100 {
		t.Errorf("%d pods 10 s later, want all", got)
	}
}

func TestPointsOlderThanTheRetentionAreGone(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	h.fill("x", nil, 1)
	h.clk.Step(sysdigtest.Retention - 5*time.Minute)
	h.fill("y", nil, 1)
	const all = "count_over_time(x[1h])"
	if got := h.query(all).one(t); got != "31" {
		t.Errorf("%s points, want the 31 that are younger", got)
	}
	h.clk.Step(6 * time.Minute)
	h.fill("y", nil, 1)
	if got := len(h.query(all).Data.Result); got != 0 {
		t.Errorf("%d series, want none", got)
	}
}

func TestPointsMayArriveOutOfOrderAndBeReplaced(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	lset := map[string]string{"__name__": "x"}
	for i, p := range []struct {
		ago time.Duration
		v   float64
	}{{0, 1}, {20 * time.Second, 3}, {10 * time.Second, 2}, {0, 5}} {
		h.Store().Append(lset, noon.Add(-p.ago), p.v)
		if got, want := h.query("count_over_time(x[1m])").one(t), strconv.Itoa(min(i+1, 3)); got != want {
			t.Errorf("%s points after %d, want %s", got, i+1, want)
		}
	}
	if got := h.query("sum_over_time(x[1m])").one(t); got != "10" {
		t.Errorf("sum %s, want 10", got)
	}
}

func TestReadersAndWritersMayWorkAtTheSameTime(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			lset := map[string]string{"__name__": "x", "writer": strconv.Itoa(w)}
			for i := range 200 {
				// Every third point goes between two others.
				h.Store().Append(lset, noon.Add(time.Duration(i*10-i%3*25)*time.Second), 1)
				h.clk.Step(100 * time.Millisecond)
			}
		})
		wg.Go(func() {
			for range 20 {
				_, _ = h.try(h.request(http.MethodGet, "query", url.Values{"query": {"sum(sum_over_time(x[10m]))"}}))
			}
		})
	}
	wg.Wait()
}

func TestFillIsAlignedAndIncludesBothEnds(t *testing.T) {
	h := serve(t, sysdigtest.Options{})
	sysdigtest.Fill(h.Store(), map[string]string{"__name__": "x"}, noon.Add(-35*time.Second), noon, func(at time.Time) float64 {
		return noon.Sub(at).Seconds()
	})
	if got := h.query("count_over_time(x[1h])").one(t); got != "4" {
		t.Errorf("%s points, want 4", got)
	}
	if got := h.query("max_over_time(x[1h])").one(t); got != "30" {
		t.Errorf("the first point lies %s s back, want 30", got)
	}
}

func BenchmarkAQueryOverTenThousandSeries(b *testing.B) {
	store := sysdigtest.NewStore(clocktesting.NewFakeClock(noon))
	for i := range 10_000 {
		sysdigtest.Fill(store, map[string]string{
			"__name__":            sysdigtest.MetricHTTPRequests,
			"kube_namespace_name": fmt.Sprintf("ns-%d", i%100),
			"kube_workload_name":  fmt.Sprintf("app-%d", i%1000),
			"kube_pod_name":       fmt.Sprintf("pod-%d", i),
		}, noon.Add(-30*time.Minute), noon, func(time.Time) float64 { return 1 })
	}
	matchers := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "__name__", sysdigtest.MetricHTTPRequests),
		labels.MustNewMatcher(labels.MatchRegexp, "kube_namespace_name", "ns-1|ns-2|ns-3"),
	}
	for b.Loop() {
		q, err := store.Querier(noon.Add(-time.Minute).UnixMilli(), noon.UnixMilli())
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for set := q.Select(b.Context(), false, nil, matchers...); set.Next(); {
			n++
		}
		if n != 300 {
			b.Fatalf("%d series, want 300", n)
		}
	}
}
