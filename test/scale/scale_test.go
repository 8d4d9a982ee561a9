package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

// TestMain lets the test binary be the servers that the program starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == standinCommand {
		if err := command(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaks.Run(m.Run))
}

// definitions compiles all bindings of a scene for the Prometheus API.
func definitions(t *testing.T, s scene) []query.Definition {
	t.Helper()
	all, err := s.definitions(way{api: v1alpha1.APIPrometheus})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEverySizeHasTheSame20Shapes(t *testing.T) {
	for _, size := range fullPlan().sizes {
		s, err := newScene(size)
		if err != nil {
			t.Fatal(err)
		}
		claims, names, questions, paths := map[string]bool{}, map[string]bool{}, []query.Question{}, 0
		for i, d := range definitions(t, s) {
			claims[d.Claim.Path("v1beta2")], names[d.Binding.String()] = true, true
			questions = append(questions, d.Question)
			if d.Claim.Path("v1beta2") == s.subject(i).path() {
				paths++
			}
		}
		if requests := len(query.Plan(questions, query.Whole)); len(claims) != size || len(names) != size || paths != size || requests != 20 {
			t.Errorf("%d bindings have %d claims, %d names, %d paths and %d requests", size, len(claims), len(names), paths, requests)
		}
	}
}

func TestScenesThatCannotBeSpread(t *testing.T) {
	for _, size := range []int{-5, 0, 4, 1001, 40_000} {
		if s, err := newScene(size); err == nil {
			t.Errorf("%d became %+v", size, s)
		}
	}
}

// twoPods are those of each app.
type twoPods struct{}

// Selected implements query.Cluster.
func (twoPods) Selected(_, selector string, _ time.Duration) ([]string, *metric.Failure) {
	app := strings.TrimPrefix(selector, "app=")
	return []string{podName(app, 0), podName(app, 1)}, nil
}

// Ready implements query.Cluster: no pod is missed.
func (twoPods) Ready(string, string, time.Time) map[metric.Workload][]string { return nil }

// Services implements query.Cluster.
func (twoPods) Services(string, string) map[string]string { return nil }

func TestBothWaysOfAskingFindWhatEveryBindingMustServe(t *testing.T) {
	s, err := newScene(100)
	if err != nil {
		t.Fatal(err)
	}
	from, err := startStandin(t.Context(), fmt.Sprintf("--bindings=%d", s.bindings))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := from.Stop(); err != nil {
			t.Error(err)
		}
	}()
	adapter, err := newNaive(s.bindings, from.URL, base64.StdEncoding.EncodeToString(from.CABundle))
	if err != nil {
		t.Fatal(err)
	}
	all := definitions(t, s)
	questions := make([]query.Question, len(all))
	for i, d := range all {
		questions[i] = d.Question
	}
	served := ask(t, adapter.source, query.Plan(questions, query.Whole))
	for i, d := range all {
		of := s.subject(i)
		if got := served[d.Question]; got != of.value {
			t.Errorf("%s is %v in a round, want %v", of.binding.Name, got, of.value)
		}
		q := of.question()
		info := provider.CustomMetricInfo{GroupResource: schema.ParseGroupResource(q.resource), Metric: q.metric}
		got, err := adapter.GetMetricByName(t.Context(), q.object, info, labels.Everything())
		if err != nil || float64(got.Value.MilliValue())/1000 != of.value {
			t.Errorf("%s is %v, %v when it is read, want %v", of.binding.Name, got, err, of.value)
		}
	}
	seen, err := from.traffic()
	if err != nil || seen.Requests != 120 || seen.Failed != 0 {
		t.Errorf("the stand-in says %+v, %v", seen, err)
	}
}

// ask asks for one round of values.
func ask(t *testing.T, source *sysdig.Client, requests []query.Request) map[query.Question]float64 {
	t.Helper()
	served := map[query.Question]float64{}
	for _, r := range requests {
		at := query.QuestionTime(time.Now(), ingestionLag)
		answer, err := source.Query(t.Context(), r.PromQL, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range r.Read(answer, query.Attempt{At: at, Received: time.Now()}, twoPods{}) {
			if o.Reading.Failure != nil {
				t.Fatalf("%+v: %v", o.Question.View, o.Reading.Failure)
			}
			served[o.Question] = o.Reading.Sample.Value
		}
	}
	return served
}

func TestRequestsDoNotGrowWithBindings(t *testing.T) {
	all, err := countAll(t.Context(), []int{20, 400}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	// The Prometheus API is asked once for each of 20 shapes, and for the heartbeat. The data API is asked twice for each of 3 grains,
	// whatever their metrics, and twice for the heartbeat: when it was, and by which pods.
	for _, tally := range all {
		for w, got := range tally.requests {
			want := 21
			if w.api == v1alpha1.APIData {
				want = 8
			}
			if got != want {
				t.Errorf("%d bindings, %s: %d requests in a round, want %d", tally.bindings, w, got, want)
			}
		}
	}
}

func TestPagesAreCountedAsRequests(t *testing.T) {
	s, err := newScene(100) // 20 apps, 20 namespaces, 40 pods
	if err != nil {
		t.Fatal(err)
	}
	// Of 15 segments, the Deployments of a page of 15 are 15, 5 and none; so are the Services and the namespaces. Of the pods they are
	// 15, 15, 10 and none, and the heartbeat has no segments.
	if got, err := s.countRequests(t.Context(), way{v1alpha1.APIData, 15}); err != nil || got != 3*2*3+1+4 {
		t.Errorf("%d requests in a round, %v; want %d", got, err, 3*2*3+1+4)
	}
}

func TestAnAdapterCountsWhatItCannotAnswer(t *testing.T) {
	adapter, err := newNaive(20, "https://127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := newScene(20)
	if err != nil {
		t.Fatal(err)
	}
	q := s.subject(0).question()
	for _, metric := range []string{q.metric, "nobody's"} {
		info := provider.CustomMetricInfo{GroupResource: schema.ParseGroupResource(q.resource), Metric: metric}
		if got, err := adapter.GetMetricByName(t.Context(), q.object, info, labels.Everything()); err == nil {
			t.Errorf("%s is %v", metric, got)
		}
	}
	if adapter.failed.Load() != 2 || adapter.served.Load() != 0 {
		t.Errorf("%d failed, %d were served", adapter.failed.Load(), adapter.served.Load())
	}
}

func TestLoadsStepUpAndDown(t *testing.T) {
	l := newLoads(2)
	began := time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)
	for _, after := range []time.Duration{10 * time.Second, 20 * time.Second} {
		if _, err := l.step(stepApp(0), began.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		app   string
		after time.Duration
		want  float64
	}{
		{stepApp(0), 0, 1}, {stepApp(0), 10 * time.Second, stepHeight}, {stepApp(0), 15 * time.Second, stepHeight},
		{stepApp(0), 25 * time.Second, 1}, {stepApp(1), 15 * time.Second, 1},
	} {
		if got := l.value(c.app, began.Add(c.after)); got != c.want {
			t.Errorf("%s is %v after %s, want %v", c.app, got, c.after, c.want)
		}
	}
	if _, err := l.step(stepApp(2), began); err == nil {
		t.Error("an app that is not there has stepped")
	}
}

func TestRoundsAreToldApartBySilence(t *testing.T) {
	began := time.Date(2031, time.March, 1, 12, 0, 0, 0, time.UTC)
	request := func(at, took time.Duration, status int) sysdigtest.Request {
		r := sysdigtest.Request{At: began.Add(at), Status: status}
		if status != 0 {
			r.Answered = r.At.Add(took)
		}
		return r
	}
	got := summarizeTraffic(6, []sysdigtest.Request{
		request(0, 300*time.Millisecond, http.StatusOK), request(100*time.Millisecond, 50*time.Millisecond, http.StatusOK),
		request(30*time.Second, 200*time.Millisecond, http.StatusOK), request(31*time.Second, 500*time.Millisecond, http.StatusOK),
		request(32*time.Second, time.Millisecond, http.StatusTooManyRequests), request(33*time.Second, 0, 0),
	})
	want := []round{{2, 300 * time.Millisecond}, {2, 1500 * time.Millisecond}}
	if got.Requests != 6 || got.Failed != 1 || len(got.Rounds) != 2 || got.Rounds[0] != want[0] || got.Rounds[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMetricsAreAddedUpByTheirLabels(t *testing.T) {
	f, err := parseMetrics(strings.NewReader("# TYPE n counter\nn{a=\"1\",b=\"1\"} 1\nn{a=\"1\",b=\"2\"} 2\nn{a=\"2\",b=\"2\"} 4\n"))
	if err != nil {
		t.Fatal(err)
	}
	for want, labels := range map[float64][]label{7: nil, 3: {{"a", "1"}}, 2: {{"a", "1"}, {"b", "2"}}, 0: {{"a", "3"}}} {
		if got := f.sum("n", labels...); got != want {
			t.Errorf("%v: got %v, want %v", labels, got, want)
		}
	}
}

func TestOnlyWhatIsWrongFailsAndTargetsAreTold(t *testing.T) {
	slow := result{scene: scene{bindings: targetSize, namespaces: 200}, ready: time.Minute}
	slow.idle.length, slow.reading.length = time.Minute, time.Minute
	slow.reading.memory.now, slow.idle.counted.cpu, slow.reading.counted.served = 300<<20, 30, 1000
	slow.reading.traffic.Rounds, slow.reading.latencies = []round{{30, time.Second}}, []float64{1}
	r := report{sizes: []result{slow}, reaction: &reaction{served: []float64{30}, scaled: []float64{40}}}
	if err := r.wrong(); err != nil {
		t.Errorf("a slow run fails: %v", err)
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "**missed**"); got != 5 {
		t.Errorf("%d targets were missed, want 5:\n%s", got, out.String())
	}
	r.sizes[0].wrong = []string{"a value"}
	if err := r.wrong(); err == nil {
		t.Error("a wrong value passes")
	}
}

func TestNumbersHaveCommas(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -123: "-123"} {
		if got := whole(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{
		{"more"}, {"--only=none"}, {"--api=data"}, {"--sizes=many"}, {"--sizes=7,1001"}, {"--unknown"},
		{standinCommand, "--bindings=1001"}, {naiveCommand, "--bindings=1001"}, {naiveCommand, "--bindings=20", "--ca-bundle=%"},
	} {
		if err := command(t.Context(), args); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
