package poller_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// nameless is a data API that holds nothing of a metric that it does not know, in place of refusing it: then both APIs are alike.
type nameless struct {
	registry.Source
	unknown string
}

func (n nameless) Data(ctx context.Context, request sysdig.DataRequest) (sysdig.DataAnswer, error) {
	at := slices.IndexFunc(request.Values, func(v sysdig.DataValue) bool { return v.Metric == n.unknown })
	if at < 0 {
		return n.Source.Data(ctx, request)
	}
	request.Values = slices.Delete(slices.Clone(request.Values), at, at+1)
	if len(request.Values) == 0 {
		return sysdig.DataAnswer{Start: request.Start, End: request.End}, nil
	}
	answer, err := n.Source.Data(ctx, request)
	for i := range answer.Rows {
		answer.Rows[i].Values = slices.Insert(answer.Rows[i].Values, at, math.NaN())
	}
	return answer, err
}

const misspelt = "net.http.request.cuont"

// apis are the paths of the lists of metrics.
var apis = map[v1alpha1.API]string{v1alpha1.APIPrometheus: "/prometheus/api/v1/label/__name__/values", v1alpha1.APIData: "/api/v2/metrics/descriptors"}

// newListed is a stage whose connection lists what there is.
func newListed(t *testing.T, api v1alpha1.API, edits ...func(*registry.Connection)) *stage {
	t.Helper()
	s := newStage(t)
	s.byData = api == v1alpha1.APIData
	s.listed(edits...)
	return s
}

// listed puts the connection into the registry, as another revision of it.
func (s *stage) listed(edits ...func(*registry.Connection)) {
	s.t.Helper()
	client := s.client()
	s.connectData(append([]func(*registry.Connection){func(c *registry.Connection) {
		c.Source, c.Lister = nameless{client, misspelt}, client
	}}, edits...)...)
}

// lists are the times after noon at which the metrics were listed.
func (s *stage) lists(api v1alpha1.API) (at []time.Duration) {
	for _, r := range s.sysdig.Requests() {
		if r.Path == apis[api] && !byName(r) {
			at = append(at, r.At.Sub(noon))
		}
	}
	return at
}

// byName tells whether a request asks for some metrics only.
func byName(r sysdigtest.Request) bool { return r.Params.Has("match[]") || r.Params.Has("filter") }

func each(t *testing.T, run func(t *testing.T, api v1alpha1.API)) {
	t.Helper()
	for api := range apis {
		t.Run(string(api), func(t *testing.T) { run(t, api) })
	}
}

func TestWhatThereIsIsListedAfterTheFirstGoodRoundAndEveryHalfHour(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		web := s.bind("web")
		s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500})
		s.run(3*time.Minute, func() {})
		if at := s.lists(api); len(at) > 0 {
			t.Fatalf("listed at %s, while nothing is answered", at)
		}
		s.sysdig.ClearFault()
		s.run(65*time.Minute, func() {})
		s.wantValue(web, perPod)
		at := s.lists(api)
		if len(at) != 3 || at[0] > 4*time.Minute || at[1]-at[0] < 30*time.Minute || at[2]-at[1] > 31*time.Minute {
			t.Errorf("listed at %s, want every half an hour", at)
		}
	})
}

func TestAListThatFailsIsTriedAgainSoonAndChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		web, wrong := s.bind("web"), s.bind("wrong", metricNamed(misspelt))
		s.tick()
		s.run(2*interval, func() {})
		s.wantReason(wrong, metric.Rejected)
		s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500, Route: strings.TrimPrefix(apis[api], "/api/")}, sysdigtest.Fault{
			Kind: sysdigtest.FaultStatus, Status: 500, Route: "label",
		}, sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 500, Route: "data/metrics"})
		s.run(41*time.Minute, func() { s.wantValue(web, perPod) })
		s.wantReason(wrong, metric.Rejected) // by what was listed before
		at := s.lists(api)
		if len(at) != 4 || at[1] < 30*time.Minute || at[2]-at[1] < 5*time.Minute || at[3]-at[2] > 6*time.Minute {
			t.Errorf("listed at %s, want half an hour after the first, and then every five minutes", at)
		}
		if c, _ := s.registry.Connection("default"); c.Health != nil {
			t.Errorf("the connection's health is %v", c.Health)
		}
	})
}

// TestOfAListThatIsNotCompleteNothingIsMissing has Sysdig list a name that is too long to be held, after it has listed all.
func TestOfAListThatIsNotCompleteNothingIsMissing(t *testing.T) {
	long := `{"total":2,"metricDescriptors":[{"id":"` + strings.Repeat("x", 5000) + `"}],"status":"success","data":["` + strings.Repeat("x", 5000) + `"]}`
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		web, wrong := s.bind("web"), s.bind("wrong", metricNamed(misspelt))
		s.tick()
		s.run(2*interval, func() {})
		s.wantReason(wrong, metric.Rejected)
		garbage := sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: long, Route: "label"}
		if api == v1alpha1.APIData {
			garbage.Route = strings.TrimPrefix(apis[api], "/api/")
		}
		s.sysdig.SetFault(garbage)
		s.run(32*time.Minute, func() { s.wantValue(web, perPod) })
		s.wantReason(wrong, metric.NoData)
	})
}

func TestAnEditedConnectionListsAnew(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		s.load("web", 1, perPod)
		s.bind("web")
		s.run(time.Minute, func() {})
		s.listed()
		s.run(time.Minute, func() {})
		if at := s.lists(api); len(at) != 2 || at[1] > time.Minute+5*time.Second {
			t.Errorf("listed at %s, want once more with the connection's new revision", at)
		}
	})
}

// closed lists nothing any more.
type closed struct{ registry.Lister }

func (closed) MetricNames(context.Context, func() error) ([]string, error) {
	return nil, metric.Failf(metric.Unavailable, "closed")
}

// TestARoundOfAnOlderConnectionTakesNoTurn has a connection be edited while a round of it is under way.
func TestARoundOfAnOlderConnectionTakesNoTurn(t *testing.T) {
	s := newListed(t, v1alpha1.APIPrometheus, func(c *registry.Connection) { c.Lister = closed{c.Lister} })
	s.load("web", 1, perPod)
	s.bind("web")
	s.sysdig.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultDelay, Delay: 10 * time.Millisecond, Query: "http_request", Times: 1})
	s.poller.Tick(t.Context())
	s.eventually("Sysdig delays its answer", s.clk.HasWaiters) // nobody else waits on this clock
	s.listed()
	s.poller.Tick(t.Context()) // takes in the new revision
	s.clk.Step(10 * time.Millisecond)
	s.poller.Wait()
	s.sysdig.ClearFault()
	s.run(2*interval, func() {})
	if at := s.lists(v1alpha1.APIPrometheus); len(at) == 0 {
		t.Error("what the new one has is not listed")
	}
}

// TestListsTakeNothingFromRounds has lists of many pages and a quota that leaves room for some of them, or for none.
func TestListsTakeNothingFromRounds(t *testing.T) {
	for name, test := range map[string]struct {
		quota int
		late  time.Duration
		tries bool
		lists bool
	}{
		"the rounds want more than there is":       {6, time.Minute, false, false},
		"the rounds take nearly all there is":      {12, interval, true, false},
		"there is room for a part of the list":     {20, interval, true, false},
		"there is room for the list":               {200, interval, true, true},
		"control: there is no limit to be reached": {0, interval, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.sysdig.Close()
			s = newStageWith(t, s.clk, newSysdig(t, sysdigtest.Options{Clock: s.clk, Tokens: []string{token}, Limits: sysdigtest.Limits{Descriptors: 1}}))
			s.fill(sysdigtest.MetricUp, "heart", "heart-0", 1)
			s.byData = true
			s.listed(within(test.quota))
			var all []query.Definition
			for _, w := range []time.Duration{1, 2} { // with a heartbeat, five requests a round
				all = append(all, s.shapes(40, windowOf(w*time.Minute), patient)[0])
			}
			s.run(20*time.Minute, func() {
				for _, d := range all {
					if late := s.clk.Now().Sub(s.sampleOf(d).Received); late > test.late+time.Second {
						t.Fatalf("at %s: a round was missed", s.clk.Since(noon))
					}
				}
			})
			if got := len(s.registry.CatalogueOf("default").Metrics) > 0; got != test.lists {
				t.Errorf("listed %v, want %v", got, test.lists)
			}
			listing := func(r sysdigtest.Request) bool { return r.Path != "/api/data" }
			if got := slices.ContainsFunc(s.sysdig.Requests(), listing); got != test.tries {
				t.Errorf("tried to list %v, want %v", got, test.tries)
			}
			if test.quota > 0 {
				for from := noon; from.Before(s.clk.Now()); from = from.Add(10 * time.Second) {
					sent := 0
					for _, r := range s.sysdig.Requests() {
						if !r.At.Before(from) && r.At.Before(from.Add(time.Minute)) {
							sent++
						}
					}
					if sent > 2*test.quota {
						t.Fatalf("%d requests in the minute from %s", sent, from.Sub(noon))
					}
				}
			}
		})
	}
}

func newSysdig(t *testing.T, o sysdigtest.Options) *sysdigtest.Server {
	t.Helper()
	server := sysdigtest.New(o)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// TestAMetricThatDoesNotExistNamesTheNearest answers nothing for it: onNoData would hide that the name is wrong. The control is
// without a list.
func TestAMetricThatDoesNotExistNamesTheNearest(t *testing.T) {
	each(t, func(t *testing.T, api v1alpha1.API) {
		s := newListed(t, api)
		nearest := "net.http.request.count, net.http.request.time, net.sql.request.count"
		if api == v1alpha1.APIPrometheus {
			nearest = "sysdig_container_net_http_request_count, sysdig_container_net_http_request_time, sysdig_container_net_sql_request_count"
		}
		for _, name := range []string{"net_http_request_time", "net_sql_request_count", "cpu_cores_used"} {
			s.fill("sysdig_container_"+name, "other", "other-0", 1)
		}
		s.load("web", 1, perPod)
		silent := s.bind("silent", orZero) // the metric is there, of others
		wrong := s.bind("wrong", orZero, metricNamed(misspelt))
		s.bind("web")
		s.tick()
		s.run(2*interval, func() {})
		_, failure := s.serve(wrong)
		if failure == nil || failure.Reason != metric.Rejected || !strings.HasSuffix(failure.Message, "; the nearest are "+nearest) {
			t.Errorf("a wrong name is %v", failure)
		}
		s.wantValue(silent, 0)

		control := newListed(t, api, func(c *registry.Connection) { c.Lister = nil })
		wrong = control.bind("wrong", orZero, metricNamed(misspelt))
		control.run(2*interval, func() {})
		control.wantValue(wrong, 0)
	})
}

// TestLabelsComeAsSysdigTellsThem has Sysdig know the dotted name of a label that no table has.
func TestLabelsComeAsSysdigTellsThem(t *testing.T) {
	s := newListed(t, v1alpha1.APIData)
	sysdigtest.Fill(s.sysdig.Store(), map[string]string{
		"__name__": sysdigtest.MetricUp, sysdigtest.LabelCluster: "c1", "cloud_provider_region": "eu-de",
	}, noon.Add(-15*time.Minute), noon, func(time.Time) float64 { return 1 })
	s.load("web", 1, perPod)
	s.bind("web")
	s.tick()
	told := s.registry.CatalogueOf("default").Labels
	if told["cloud_provider_region"] != "cloudProvider.region" {
		t.Errorf("Sysdig has told %v", told)
	}
}
