package query_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// byData has a connection ask the data API.
func byData(c *v1alpha1.SysdigConnection) {
	c.Spec.API = v1alpha1.APIData
	c.Spec.DataAPI = v1alpha1.DataAPI{SegmentsPerRequest: 10, RateFrom: v1alpha1.RateFromTimeAvg}
}

// twin is one question as both APIs are asked it.
type twin struct{ promQL, data query.Question }

// TestBothAPIsGiveTheSame is the property of the two back ends: on one store, the same bindings have the same values and times,
// whichever API is asked, together with many others and in pages. The towns hold gaps, series that stop, labels that are missing
// and pods that agents do not see. Left out are the cases in which the APIs rightly differ; see docs/sysdig-apis.md.
func TestBothAPIsGiveTheSame(t *testing.T) {
	const towns, sets = 12, 12
	var compared, served atomic.Int64
	t.Run("towns", func(t *testing.T) {
		for n := range uint64(towns) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				w := newTown(t, apiSeed+n, nil, true, finite)
				for range sets {
					same, values, why := w.compareAPIs(t, w.stage.line())
					if why != "" {
						t.Fatalf("seed %d: %s", apiSeed+n, why)
					}
					compared.Add(int64(same))
					served.Add(int64(values))
				}
			})
		}
	})
	t.Logf("%d outcomes are the same, %d of them with values", compared.Load(), served.Load())
	if served.Load() < towns*sets {
		t.Error("too few values were compared")
	}
}

const apiSeed = 20310601

// TestAnotherQuestionToTheDataAPIIsNoticed is the control: the comparison finds each of these mistakes.
func TestAnotherQuestionToTheDataAPIIsNoticed(t *testing.T) {
	for name, wrong := range map[string]func(*sysdig.DataRequest){
		"the window ends a point early":   func(r *sysdig.DataRequest) { r.Start, r.End = r.Start.Add(-10*time.Second), r.End.Add(-10*time.Second) },
		"the window is a point too short": func(r *sysdig.DataRequest) { r.Start = r.Start.Add(10 * time.Second) },
		"containers are not summed": func(r *sysdig.DataRequest) {
			for i := range r.Values {
				r.Values[i].Group = "avg"
			}
		},
		"only points are averaged": func(r *sysdig.DataRequest) {
			for i := range r.Values {
				if r.Values[i].Time == "timeAvg" {
					r.Values[i].Time = "avg"
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, apiSeed, nil, true, finite)
			line := w.stage.line()
			send := line.Send
			line.Send = func(call query.Call) (query.Reply, error) {
				if call.Data == nil {
					return send(call)
				}
				asked := *call.Data
				call.Data = &asked
				asked.Values = slices.Clone(asked.Values)
				start, end := asked.Start, asked.End
				if asked.Sampling == 0 {
					wrong(&asked)
				}
				reply, err := send(call)
				reply.Data.Start, reply.Data.End = start, end // as if it had been asked right
				return reply, err
			}
			for range 40 {
				if _, _, why := w.compareAPIs(t, line); why != "" {
					return
				}
			}
			t.Error("no difference was found")
		})
	}
}

// compareAPIs asks both APIs about random bindings, and tells how many outcomes are the same, how many of them have values, or why
// one is not the same.
func (w *town) compareAPIs(t *testing.T, line query.Line) (same, served int, why string) {
	twins := w.twins(t, w.connection())
	one := w.asked(t, line, twins, func(of twin) query.Question { return of.promQL })
	two := w.asked(t, line, twins, func(of twin) query.Question { return of.data })
	for _, of := range twins {
		a, b := one[of.promQL], two[of.data]
		b.Question = a.Question
		if why := differ(a, b, 1e-9); why != "" {
			return same, served, fmt.Sprintf("%s of %s, %+v:\nby PromQL %s\nby data   %s", why, of.promQL.Shape.Value(), of.promQL.View, show(a), show(b))
		}
		same++
		if a.Reading.Sample != nil || len(a.Objects) > 0 {
			served++
		}
	}
	return same, served, ""
}

// twins are random typed questions to one connection.
func (w *town) twins(t *testing.T, c *v1alpha1.SysdigConnection) []twin {
	var twins []twin
	of := c.DeepCopy()
	byData(of)
	sources := []edit{w.source(), w.source(), w.source()}
	for len(twins) < 8 {
		b := binding(sources[w.dice.IntN(len(sources))], in(w.pick("shop", "bank", "shop-2", "mill", "tail", "empty")))
		w.about()(b)
		if !common(b) {
			sources[w.dice.IntN(len(sources))] = w.source()
			continue
		}
		promQL, data := query.Compile(b, c, query.Target{}), query.Compile(b, of, query.Target{})
		if promQL.Refused != nil || data.Refused != nil {
			t.Fatal(promQL.Refused, data.Refused)
		}
		twins = append(twins, twin{promQL.Question, data.Question})
	}
	return twins
}

// common tells whether both APIs can answer a binding, and say the same. See docs/sysdig-apis.md for the others: counters that only
// rise, labels that are missing, the last point of several containers, and Services, which have a label in the data API.
func common(b *v1alpha1.SysdigMetricBinding) bool {
	m := b.Spec.Source.Metric
	missing := slices.ContainsFunc(m.Where, func(f v1alpha1.LabelFilter) bool { return slices.Contains(f.Values, "") })
	service := b.Spec.Target != nil && b.Spec.Target.Kind == "Service"
	return m.CounterType != v1alpha1.CounterCumulative && !missing && m.TimeAggregation != v1alpha1.TimeLast && !service
}

// asked asks one of each twins, together.
func (w *town) asked(t *testing.T, line query.Line, twins []twin, which func(twin) query.Question) map[query.Question]query.Outcome {
	t.Helper()
	var questions []query.Question
	for _, of := range twins {
		if q := which(of); !slices.Contains(questions, q) {
			questions = append(questions, q)
		}
	}
	requests := query.Plan(questions, query.Whole)
	with := attempt
	beat := query.Heartbeat{Metric: sysdigtest.MetricUp, Scope: questions[0].Shape.Value().Scope, Coverage: 80}
	needs := beat.Needs(requests)
	answer, err := line.Listen(beat, needs, attempt.At)
	if err != nil {
		t.Fatal(err)
	}
	with.Heard, _ = beat.Read(answer, attempt.At, needs)
	outcomes := map[query.Question]query.Outcome{}
	for _, together := range query.Together(requests, func(r *query.Request) *query.Request { return r }) {
		answers, err := line.Ask(together, attempt.At)
		if err != nil {
			t.Fatal(err)
		}
		for i := range together {
			for _, o := range together[i].Read(answers[i], with, w.cluster()) {
				outcomes[o.Question] = o
			}
		}
	}
	if len(outcomes) != len(questions) {
		t.Fatalf("%d of %d questions were answered", len(outcomes), len(questions))
	}
	return outcomes
}

// TestMetricsOfOneKindShareAPost counts what goes over the wire.
func TestMetricsOfOneKindShareAPost(t *testing.T) {
	s := newSysdig(t)
	c := connection(byData)
	var requests []query.Request
	for i := range 20 {
		name := fmt.Sprintf("metric_%d", i)
		s.series(name, "c1", "shop", "web", "web-1", float64(i), 0)
		q := compile(t, binding(named(name), aggregated(v1alpha1.TimeRate, v1alpha1.GroupSum)), c).Question
		requests = append(requests, query.Plan([]query.Question{q}, query.Whole)...)
	}
	groups := query.Together(requests, func(r *query.Request) *query.Request { return r })
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	calls := 0
	line := s.line()
	send := line.Send
	line.Send = func(call query.Call) (query.Reply, error) { calls++; return send(call) }
	answers, err := line.Ask(groups[0], attempt.At)
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers {
		outcome := groups[0][i].Read(answer, attempt, cluster{})[0]
		if got, want := show(outcome), fmt.Sprintf("%v, 30s old", float64(6*i)/60); got != want {
			t.Errorf("metric %d is %s, want %s", i, got, want)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls, want one for the times and one for the values", calls)
	}
}

// TestNothingIsLostBetweenPages asks for a thousand workloads in five pages, of which some are lost or moved.
func TestNothingIsLostBetweenPages(t *testing.T) {
	s := newSysdig(t)
	for i := range 1000 {
		s.series("gauge", "c1", "shop", fmt.Sprintf("web-%03d", i), fmt.Sprintf("pod-%03d", i), float64(i+1), 0)
	}
	c := connection(byData)
	question := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum), every("apps/v1", "Deployment", nil)), c).Question
	requests := query.Plan([]query.Question{question}, query.Whole)
	for name, test := range map[string]struct {
		spoil func(n int, whole bool, reply *query.Reply)
		want  string
	}{
		"whole": {func(int, bool, *query.Reply) {}, ""},
		"the third page of the values is empty": {func(n int, whole bool, r *query.Reply) {
			if whole && n == 2 {
				r.Data.Rows = nil
			}
		}, "Truncated"},
		"the third page of the values lacks half": {func(n int, whole bool, r *query.Reply) {
			if whole && n == 2 {
				r.Data.Rows = r.Data.Rows[:len(r.Data.Rows)/2]
			}
		}, "Truncated"},
		"the last page of the values lacks half": {func(n int, whole bool, r *query.Reply) {
			if whole && n == 4 {
				r.Data.Rows = r.Data.Rows[:len(r.Data.Rows)/2]
			}
		}, "Truncated"},
		"the last page of the values is empty, and nothing is behind it": {func(n int, whole bool, r *query.Reply) {
			if whole && n >= 4 {
				r.Data.Rows = nil
			}
		}, "Truncated"},
		"the times lack a page": {func(n int, whole bool, r *query.Reply) {
			if !whole && n == 2 {
				r.Data.Rows = nil
			}
		}, "Truncated"},
		"every page is the first": {func(n int, whole bool, r *query.Reply) {
			if n > 0 && len(r.Data.Rows) > 0 {
				r.Data.Rows[0].Keys = []string{"shop", "deployment", "web-999"}
			}
		}, "Truncated"},
		"another window was answered for": {func(_ int, _ bool, r *query.Reply) { r.Data.End = r.Data.End.Add(-10 * time.Second) }, "Stale"},
	} {
		t.Run(name, func(t *testing.T) {
			pages := map[bool]int{}
			line := query.Line{Segments: 200, Send: func(call query.Call) (query.Reply, error) {
				reply, err := s.send(call)
				whole := call.Data.Sampling == 0
				test.spoil(pages[whole], whole, &reply)
				pages[whole]++
				return reply, err
			}}
			answers, err := line.Ask(requests, attempt.At)
			if test.want != "" {
				if err == nil || string(metric.AsFailure(err).Reason) != test.want {
					t.Fatalf("it was answered with %v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			outcome := requests[0].Read(answers[0], attempt, cluster{})[0]
			if len(outcome.Objects) != 1000 {
				t.Fatalf("%d workloads", len(outcome.Objects))
			}
			for name, found := range outcome.Objects {
				if found.Sample == nil || fmt.Sprintf("web-%03d", int(found.Sample.Value)-1) != name {
					t.Fatalf("%s is %+v", name, found)
				}
			}
			if !maps.Equal(pages, map[bool]int{true: 7, false: 7}) { // five are full, one ends them, and nothing is behind it
				t.Errorf("%v pages", pages)
			}
		})
	}
}

// TestAServiceHasALabelInTheDataAPI reads the value of a Service without looking at its pods.
func TestAServiceHasALabelInTheDataAPI(t *testing.T) {
	s := newSysdig(t)
	for pod, value := range map[string]float64{"web-1": 3, "web-2": 5} {
		sysdigtest.Fill(s.Store(), map[string]string{
			"__name__": "gauge", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelWorkloadType: "deployment",
			sysdigtest.LabelWorkloadName: "web", sysdigtest.LabelPod: pod, sysdigtest.LabelService: "front",
		}, noon.Add(-10*time.Minute), noon, func(time.Time) float64 { return value })
	}
	for group, want := range map[v1alpha1.GroupAggregation]string{
		v1alpha1.GroupAverage: "4, 30s old", v1alpha1.GroupSum: "8, 30s old", v1alpha1.GroupMin: "3, 30s old", v1alpha1.GroupMax: "5, 30s old",
	} {
		d := query.Compile(binding(named("gauge"), aggregated(v1alpha1.TimeLast, group), target("v1", "Service", "front")), connection(byData), query.Target{})
		if d.Refused != nil {
			t.Fatal(d.Refused)
		}
		if got := show(s.askOne(d.Question, cluster{})); got != want {
			t.Errorf("%s is %s, want %s", group, got, want)
		}
	}
	all := compile(t, binding(named("gauge"), aggregated(v1alpha1.TimeAverage, v1alpha1.GroupSum), every("v1", "Service", nil)), connection(byData))
	outcome := s.askOne(all.Question, cluster{services: func(string, string) map[string]string { return map[string]string{"front": "app=web", "empty": ""} }})
	if got, want := showObjects(outcome), "empty: NoData: Sysdig answered and holds nothing for this object; front: 8, 30s old"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTheDataAPIRefusesWhatItCannotSay compiles what has no words in the data API.
func TestTheDataAPIRefusesWhatItCannotSay(t *testing.T) {
	for name, test := range map[string]struct {
		edit edit
		want string
	}{
		"PromQL":                  {raw("sum(up)", ""), "spec.source.promQL: the connection has api Data"},
		"a counter that rises":    {both(aggregated(v1alpha1.TimeRate, v1alpha1.GroupSum), cumulative), "spec.source.metric.counterType: the connection has api Data"},
		"a label that is missing": {where("code", v1alpha1.FilterIn, "200", ""), "spec.source.metric.where[0]: the connection has api Data"},
		"a value with a quote":    {where("code", v1alpha1.FilterIn, `2"00`), "spec.source.metric.where[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			d := query.Compile(binding(test.edit), connection(byData), query.Target{})
			if d.Refused == nil || d.Refused.Reason != metric.Rejected || !strings.HasPrefix(d.Refused.Message, test.want) {
				t.Errorf("refused with %v, want %s", d.Refused, test.want)
			}
		})
	}
	quoted := connection(byData, func(c *v1alpha1.SysdigConnection) { c.Spec.ClusterName = `c"1` })
	if d := query.Compile(binding(), quoted, query.Target{}); d.Refused == nil || !strings.HasPrefix(d.Refused.Message, "spec.clusterName of connection default: ") {
		t.Errorf("refused with %v", d.Refused)
	}
}
