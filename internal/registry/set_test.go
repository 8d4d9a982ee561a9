package registry_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

func TestAPodIsServedWhenItExistsIsSelectedTwiceAndReports(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "web-0", "web-1", "silent")
	b.pods("api", "api-0")
	b.world.put(pods, "canary", labels.Set{"app": "web", "track": "canary"})
	d := define("web", all(pods, "app in (web)"))
	b.Put(d)
	b.wantList(pods, "", "Pending")
	b.found(d.Question, map[string]float64{"web-0": 1, "web-1": 2, "api-0": 3, "canary": 4, "gone": 5})
	b.wantList(pods, "", "canary=4 web-0=1 web-1=2")
	b.wantList(pods, "app=web", "canary=4 web-0=1 web-1=2")
	b.wantList(pods, "app=web,!track", "web-0=1 web-1=2")
	b.wantList(pods, "app=api", "NoData")
	b.wantList(pods, "app=nothing", "NoData")
	b.wantList(services, "", "unknown")
	for name, value := range map[string]float64{"web-0": 1, "canary": 4} {
		b.wantValue(m(pods, name), value)
	}
	b.wantReason(m(pods, "silent"), metric.NoData)
	for _, name := range []string{"api-0", "gone", "never", ""} {
		b.wantUnknown(m(pods, name))
	}
	object, _, _, _ := b.Serve(m(pods, "web-0"), nil)
	if object.Kind != "Pod" || object.Name != "web-0" || object.Namespace != "shop" || object.APIVersion != "v1" {
		t.Errorf("it describes %+v", object)
	}
	b.wantStanding(d, "3/4", metric.NoData)
	other := m(pods, "")
	other.Namespace = "bank"
	if _, _, known := b.List(other, labels.Everything(), nil); known {
		t.Error("another namespace knows the metric")
	}
}

// desired is what an HPA makes of a list (Kubernetes 1.37, calcPlainMetricReplicas) when it shrinks: a pod that is missing
// counts as the target.
func desired(items []metric.Item, pods int, target int64) int64 {
	var sum int64
	for _, item := range items {
		sum += item.Sample.Milli
	}
	sum += int64(pods-len(items)) * target
	return (sum + target - 1) / target
}

// TestASilentPodIsLeftOutAndNever0 is about the table of docs/pods-metrics.md. Its control is a policy that the API refuses: a
// 0 for a silent pod takes a pod away.
func TestASilentPodIsLeftOutAndNever0(t *testing.T) {
	for name, test := range map[string]struct {
		edit    func(*query.Definition)
		list    string
		replica int64
	}{
		"left out":                    {func(*query.Definition) {}, "a=40 b=40 c=40", 3},
		"control: counted as nothing": {onNoData(0), "a=40 b=40 c=40 silent=0", 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a", "b", "c", "silent")
			d := define("web", all(pods, "app=web"), test.edit)
			b.Put(d)
			b.found(d.Question, map[string]float64{"a": 40, "b": 40, "c": 40})
			b.wantList(pods, "app=web", test.list)
			items, _, _ := b.List(m(pods, ""), parse("app=web"), nil)
			if got := desired(items, 4, 100_000); got != test.replica {
				t.Errorf("an HPA wants %d pods, want %d", got, test.replica)
			}
		})
	}
}

func TestWhenAllPodsAreSilentTheAnswerIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*board, query.Question)
		want metric.Reason
		text string
	}{
		"nothing was asked yet": {func(*board, query.Question) {}, metric.Pending, "none of 2 pods has a value; a: Sysdig was not asked yet"},
		"Sysdig holds nothing":  {func(b *board, q query.Question) { b.found(q, nil) }, metric.NoData, "none of 2 pods has a value; a: Sysdig answered and holds nothing for a"},
		"Sysdig is away":        {func(b *board, q query.Question) { b.fail(q, metric.Unavailable) }, metric.Unavailable, "it failed"},
		"the answer is cut":     {func(b *board, q query.Question) { b.fail(q, metric.Truncated) }, metric.Truncated, "it failed"},
		"all are too old": {func(b *board, q query.Question) {
			b.found(q, map[string]float64{"a": 1, "b": 2})
			b.clk.Step(maxAge + 1)
		}, metric.Stale, "maxAge is 2m0s"},
		"all are no numbers": {func(b *board, q query.Question) {
			nan := query.Found{Failure: metric.Failf(metric.Implausible, "it is NaN")}
			b.foundAs(q, map[string]query.Found{"a": nan, "b": nan})
		}, metric.Implausible, "a: it is NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a", "b")
			d := define("web", all(pods, "app=web"))
			b.Put(d)
			test.do(b, d.Question)
			b.wantList(pods, "app=web", string(test.want))
			_, failure, _ := b.List(m(pods, ""), parse("app=web"), nil)
			wantText(t, failure, test.text)
			b.wantReason(m(pods, "a"), test.want)
			b.wantStanding(d, "0/2", test.want)
		})
	}
}

func TestASetIsWhatExistsNow(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a")
	d := define("web", all(pods, "app=web"))
	b.Put(d)
	b.found(d.Question, map[string]float64{"a": 1, "b": 2})
	b.wantList(pods, "", "a=1")
	b.pods("web", "b", "c")
	b.wantList(pods, "", "a=1 b=2")
	b.wantStanding(d, "2/3", metric.NoData)
	b.found(d.Question, map[string]float64{"a": 1, "b": 2, "c": 3})
	b.clk.Step(time.Second)
	b.wantList(pods, "", "a=1 b=2 c=3")
	b.pods("other", "a")
	b.wantList(pods, "", "b=2 c=3")
	b.wantUnknown(m(pods, "a"))
	b.world.remove(pods, "b")
	b.wantList(pods, "", "c=3")
	b.wantUnknown(m(pods, "b"))
	b.world.remove(pods, "c")
	b.wantList(pods, "", "NoData")
	b.wantStanding(d, "0/0", metric.NoData)
}

func TestEachObjectHasItsOwnAge(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	d := define("web", all(pods, "app=web"))
	b.Put(d)
	b.found(d.Question, map[string]float64{"a": 60, "b": 60})
	b.clk.Step(time.Minute)
	b.foundAs(d.Question, map[string]query.Found{
		"a": {Sample: b.sample(10, noon)}, // the window slides on over the same points and empties
		"b": {Sample: b.sample(50, noon.Add(time.Minute))},
	})
	b.wantList(pods, "", "a=60 b=50")
	b.clk.Step(time.Minute)
	b.foundAs(d.Question, map[string]query.Found{"b": {Failure: metric.Failf(metric.Implausible, "it is NaN")}})
	b.wantList(pods, "", "a=60 b=50") // a is missing and b is no number, but what is known is not too old
	b.clk.Step(time.Second)
	b.wantList(pods, "", "b=50")
	b.wantReason(m(pods, "a"), metric.NoData)
	b.clk.Step(time.Minute)
	b.wantList(pods, "", "NoData")
	b.wantReason(m(pods, "b"), metric.Implausible)
	b.found(d.Question, map[string]float64{"a": 7})
	b.wantList(pods, "", "a=7")
}

func TestAFailureOfTheWholeAttemptKeepsSamplesUntilTheyAreTooOld(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b")
	d := define("web", all(pods, "app=web"))
	b.Put(d)
	b.found(d.Question, map[string]float64{"a": 1, "b": 2})
	for range 4 {
		b.clk.Step(maxAge / 4)
		b.fail(d.Question, metric.Unavailable)
		b.wantList(pods, "", "a=1 b=2")
		b.wantStanding(d, "2/2", metric.Unavailable)
	}
	b.clk.Step(time.Second)
	b.wantList(pods, "", "Unavailable")
	b.wantStanding(d, "0/2", metric.Unavailable)
	b.found(d.Question, map[string]float64{"a": 3})
	b.wantList(pods, "", "a=3")
}

func TestAClockThatIsSetBackDoesNotKeepOldSamplesOfASet(t *testing.T) {
	for name, do := range map[string]func(*board, query.Question){
		"the objects are there":   func(b *board, q query.Question) { b.found(q, map[string]float64{"a": 8}) },
		"the objects are missing": func(b *board, q query.Question) { b.found(q, map[string]float64{}) },
		"the attempt fails":       func(b *board, q query.Question) { b.fail(q, metric.Unavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t)
			b.pods("web", "a")
			d := define("web", all(pods, "app=web"))
			b.clk.SetTime(noon.Add(time.Hour))
			b.Put(d)
			b.found(d.Question, map[string]float64{"a": 7})
			b.clk.SetTime(noon)
			do(b, d.Question)
			if _, sample, _, _ := b.Serve(m(pods, "a"), nil); sample != nil && sample.Value == 7 {
				t.Error("a sample of the future is served")
			}
		})
	}
}

// TestADayOfPodChurnLeavesNothingBehind lets 10,000 pods live for ten minutes each.
func TestADayOfPodChurnLeavesNothingBehind(t *testing.T) {
	const names, alive = 10_000, 70
	b := newBoard(t)
	d := define("web", all(pods, "app=web"))
	b.Put(d)
	most := 0
	for first := 0; first+alive <= names; first += 7 {
		values := map[string]float64{}
		for i := range alive {
			values[fmt.Sprintf("pod-%d", first+i)] = 1
		}
		b.found(d.Question, values)
		b.clk.Step(time.Minute)
		most = max(most, b.Remembered(d.Question))
	}
	if limit := alive + 16*7; most > limit {
		t.Errorf("remembered %d objects, want those alive and those of the last 15 minutes, %d", most, limit)
	}
	b.clk.Step(time.Hour)
	b.found(d.Question, nil)
	if got := b.Remembered(d.Question); got != 0 {
		t.Errorf("remembers %d objects that are gone", got)
	}
}

func TestASetOfServicesMayHaveAValueForNoData(t *testing.T) {
	b := newBoard(t)
	for _, name := range []string{"api", "web"} {
		b.world.put(services, name, labels.Set{"tier": "web"})
	}
	d := define("all", all(services, "tier=web"), onNoData(3))
	b.Put(d)
	b.wantList(services, "", "Pending")
	b.found(d.Question, map[string]float64{"api": 1})
	b.wantList(services, "", "api=1 web=3")
	b.wantStanding(d, "2/2", "")
	b.fail(d.Question, metric.Unavailable)
	b.wantList(services, "", "api=1")
	b.wantReason(m(services, "web"), metric.Unavailable)
}

func TestAReadPicksAmongTheSeriesThatAreKeptApart(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a", "b", "c")
	keep := func(d *query.Definition) {
		reshape(d, func(s *query.Shape) { s.Dimensions[0] = "http_method" })
		d.Question.View.Dimensions[0] = "method"
		d.Question.Measure.Group = metric.Sum
	}
	d := define("web", all(pods, "app=web"), keep)
	b.Put(d)
	sample := func(values map[string]float64) query.Found {
		var series []metric.Series
		for method, value := range values {
			series = append(series, metric.Series{Labels: labels.Set{"method": method}, Raw: value})
		}
		s, failure := metric.NewSample(d.Question.Measure, series, true, b.clk.Now(), b.clk.Now(), 0)
		return query.Found{Sample: s, Failure: failure}
	}
	b.foundAs(d.Question, map[string]query.Found{"a": sample(map[string]float64{"GET": 1, "PUT": 2}), "b": sample(map[string]float64{"GET": 4})})
	for selector, want := range map[string]string{
		"": "a=3 b=4", "method=GET": "a=1 b=4", "method=PUT": "a=2", "method!=GET": "a=2", "method=DELETE": "NoData", "path=x": "Rejected",
	} {
		items, failure, known := b.List(m(pods, ""), parse(""), parse(selector))
		if got := show(items, failure, known); got != want {
			t.Errorf("%q: got %s, want %s", selector, got, want)
		}
	}
	if _, sample, failure, _ := b.Serve(m(pods, "b"), parse("method=PUT")); failure == nil || failure.Reason != metric.NoData {
		t.Errorf("got %v, %v; want NoData", sample, failure)
	}
	b.Put(define("web", all(pods, "app=web"), keep, onNoData(0)))
	if _, sample, failure, _ := b.Serve(m(pods, "b"), parse("method=PUT")); failure != nil || sample.Milli != 0 || !sample.Time.Equal(noon) {
		t.Errorf("got %v, %v; want the value of onNoData at the time of the answer", sample, failure)
	}
	if _, sample, failure, _ := b.Serve(m(pods, "b"), parse("path=x")); failure == nil || failure.Reason != metric.Rejected {
		t.Errorf("got %v, %v; want Rejected: a misspelled label is no absence of data", sample, failure)
	}
}

// TestSeriesThatHaveStoppedAreNotPickedForever is about a selection that is older than the rest of its object.
func TestSeriesThatHaveStoppedAreNotPickedForever(t *testing.T) {
	b := newBoard(t)
	b.pods("web", "a")
	d := define("web", all(pods, "app=web"), func(d *query.Definition) {
		d.Question.View.Dimensions[0] = "method"
		d.Question.Measure.Group = metric.Sum
	})
	b.Put(d)
	sample, failure := metric.NewSample(d.Question.Measure, []metric.Series{
		{Labels: labels.Set{"method": "GET"}, Raw: 1, Time: noon}, {Labels: labels.Set{"method": "PUT"}, Raw: 2, Time: noon.Add(-time.Minute)},
	}, true, noon, noon, 0)
	if failure != nil {
		t.Fatal(failure)
	}
	b.foundAs(d.Question, map[string]query.Found{"a": {Sample: sample}})
	for _, step := range []struct {
		after    time.Duration
		get, put string
	}{{0, "a=1", "a=2"}, {time.Minute, "a=1", "a=2"}, {1, "a=1", "Stale"}, {time.Minute, "Stale", "Stale"}} {
		b.clk.Step(step.after)
		for method, want := range map[string]string{"GET": step.get, "PUT": step.put} {
			items, failure, known := b.List(m(pods, ""), parse(""), parse("method="+method))
			if got := show(items, failure, known); got != want {
				t.Errorf("after %s, %s: got %s, want %s", b.clk.Now().Sub(noon), method, got, want)
			}
		}
	}
}
