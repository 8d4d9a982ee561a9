package query_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// everywhere is a registry.Objects in which everything exists.
type everywhere struct{}

func (everywhere) Matches(schema.GroupResource, string, string, labels.Selector) bool { return true }

func (everywhere) Select(schema.GroupResource, string, ...labels.Selector) []string { return nil }

// served is what an HPA reads of an object at noon, after Sysdig was asked: "11, 30s old" or the failure.
func (s *sysdigStage) served(b *v1alpha1.SysdigMetricBinding, object, read string) string {
	s.t.Helper()
	d := compile(s.t, b, connection())
	r := registry.New(clocktesting.NewFakeClock(noon), everywhere{})
	r.Put(d)
	r.File([]query.Outcome{s.askOne(d.Question, nil)})
	selector, err := labels.Parse(read)
	if err != nil {
		s.t.Fatal(err)
	}
	claim := d.Claim
	if claim.Set() {
		claim.Object, claim.Selector = object, ""
	}
	_, sample, failure, known := r.Serve(claim, selector)
	if !known {
		s.t.Fatalf("nobody claims %+v", claim)
	}
	return show(query.Outcome{Reading: metric.Reading{Sample: sample, Failure: failure}})
}

// depths are messages of a queue in namespace shop, until a time before noon.
func (s *sysdigStage) depths(queue string, value float64, until time.Duration) {
	set := map[string]string{"__name__": "depth", sysdigtest.LabelCluster: "c1", sysdigtest.LabelNamespace: "shop", sysdigtest.LabelPod: "broker-0"}
	if queue != "" {
		set["queue"] = queue
	}
	sysdigtest.Fill(s.Store(), set, noon.Add(-20*time.Minute), noon.Add(-until), func(time.Time) float64 { return value })
}

func noDataIs(value v1alpha1.Decimal) edit {
	return func(b *v1alpha1.SysdigMetricBinding) {
		b.Spec.OnNoData = v1alpha1.OnNoData{Action: v1alpha1.NoDataValue, Value: value}
	}
}

// TestAnExternalSumIsAsOldAsItsOldestItem: an HPA adds the items up, and one that has stopped makes the sum wrong for as long
// as the window still holds it. The control is a mean of pods, which is as old as its newest.
func TestAnExternalSumIsAsOldAsItsOldestItem(t *testing.T) {
	s := newSysdig(t)
	s.depths("orders", 5, 0)
	s.depths("mail", 7, 4*time.Minute)
	s.depths("audit", 9, 90*time.Second)
	typed := []edit{named("depth"), aggregated("Last", "Sum"), window(10 * time.Minute), dimensions("queue")}
	untyped := []edit{raw("last_over_time(depth[10m])", ""), dimensions("queue")}
	for kind, edits := range map[string][]edit{"typed": typed, "raw": untyped} {
		for read, want := range map[string]string{
			"":                        "Stale: the last sample is 4m0s old, maxAge is 2m0s",
			"queue=mail":              "Stale: ",
			"queue!=orders":           "Stale: ",
			"queue=orders":            "5, 30s old",
			"queue in (orders,audit)": "14, 1m30s old",
			"queue notin (mail)":      "14, 1m30s old",
		} {
			t.Run(kind+" by "+read, func(t *testing.T) {
				for name, more := range map[string]edit{"": func(*v1alpha1.SysdigMetricBinding) {}, ", with a value for no data": noDataIs("0")} {
					if got := s.served(binding(append(append([]edit{external}, edits...), more)...), "", read); !strings.HasPrefix(got, want) {
						t.Errorf("got %s%s, want %s", got, name, want)
					}
				}
			})
		}
	}
	if got := s.served(binding(append(append([]edit{}, typed...), target("v1", "Pod", "broker-0"))...), "", ""); got != "21, 30s old" {
		t.Errorf("the series of a pod give %s", got)
	}
}

// TestWhatIsThereMustNotLookLikeNothing: a query that lost the label of the objects, or a dimension that is misspelled, is no
// reason for the value for no data. The controls have what is asked for, or really nothing.
func TestWhatIsThereMustNotLookLikeNothing(t *testing.T) {
	s := newSysdig(t)
	s.depths("orders", 5, 0)
	s.depths("mail", 7, 0)
	s.depths("gone", 7, 15*time.Minute)
	one, all := target("example.com/v1", "Queue", "orders"), every("example.com/v1", "Queue", nil)
	byName, missing := target("example.com/v1", "Queue", "gone"), target("example.com/v1", "Queue", "none")
	lost, kept := raw("sum(depth)", "queue"), raw("sum by (queue) (depth)", "queue")
	const dropped = "Implausible: the query returned series without the label queue, which spec.source.promQL.objectLabel names; keep it, for example with sum by (queue) (…)"
	items := both(external, raw("sum by (queue) (depth)", ""))
	const misspelled = "Implausible: no series has the label queu, which metric.selector of the HPA names; correct the dimensions of spec.source"
	tests := map[string]struct {
		edits        []edit
		object, read string
		want, noData string // without and with a value for no data
	}{
		"an object by name, the label is lost":          {[]edit{one, lost}, "", "", dropped, dropped},
		"an object of a set, the label is lost":         {[]edit{all, lost}, "orders", "", dropped, dropped},
		"an object without rows, the label is lost":     {[]edit{missing, lost}, "", "", dropped, dropped},
		"control: an object by name":                    {[]edit{one, kept}, "", "", "5, 30s old", "5, 30s old"},
		"control: an object of a set":                   {[]edit{all, kept}, "orders", "", "5, 30s old", "5, 30s old"},
		"an object by name that is missing now":         {[]edit{byName, kept}, "", "", "NoData: ", "3, "},
		"an object of a set that is missing now":        {[]edit{all, kept}, "gone", "", "NoData: ", "3, "},
		"nothing at all, by name":                       {[]edit{one, raw("sum by (queue) (nothing)", "queue")}, "", "", "NoData: ", "3, "},
		"nothing at all, of a set":                      {[]edit{all, raw("sum by (queue) (nothing)", "queue")}, "orders", "", "NoData: ", "3, "},
		"a dimension that no series has":                {[]edit{items, dimensions("queu", "queue")}, "", "queu=orders", misspelled, misspelled},
		"it has to be there, and no series has it":      {[]edit{items, dimensions("queu", "queue")}, "", "queu", misspelled, misspelled},
		"a dimension of an object that no series has":   {[]edit{one, raw("sum by (queue) (depth)", "queue"), dimensions("queu")}, "", "queu=a", "Implausible: no series has the label queu", "Implausible: no series has the label queu"},
		"a dimension of a typed source":                 {[]edit{external, named("depth"), aggregated("Last", "Sum"), dimensions("queue", "queu")}, "", "queu=orders", misspelled, misspelled},
		"control: the dimension is spelled well":        {[]edit{items, dimensions("queu", "queue")}, "", "queue=orders", "5, 30s old", "5, 30s old"},
		"a value of a dimension that is missing now":    {[]edit{items, dimensions("queue")}, "", "queue=gone", "NoData: Sysdig answered, and no series matches metric.selector queue=gone", "3, "},
		"the same, typed":                               {[]edit{external, named("depth"), aggregated("Last", "Sum"), dimensions("queue")}, "", "queue=gone", "NoData: ", "3, "},
		"a dimension that has to be missing, and isn't": {[]edit{items, dimensions("queue")}, "", "!queue", "NoData: ", "3, "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := s.served(binding(test.edits...), test.object, test.read); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := s.served(binding(append(test.edits, noDataIs("3"))...), test.object, test.read); !strings.HasPrefix(got, test.noData) {
				t.Errorf("with a value for no data: got %s, want %s", got, test.noData)
			}
		})
	}
}

// TestTheServicesOfASetAreAskedAbout: what is said of each Service, also that there is nothing, is in the answer, and nothing of
// those that were not selected at that moment.
func TestTheServicesOfASetAreAskedAbout(t *testing.T) {
	s := newSysdig(t)
	s.series("depth", "c1", "shop", "web", "a-0", 5, 0)
	there := map[string]string{"a": "app=a", "bare": ""}
	world := cluster{
		selected: func(_, selector string, _ time.Duration) []string {
			return []string{strings.TrimPrefix(selector, "app=") + "-0"}
		},
		services: func(string, string) map[string]string { return there },
	}
	d := compile(t, binding(every("v1", "Service", app("x")), named("depth"), aggregated("Last", "Sum")), connection())
	const bare = "bare: Rejected: spec.target: Service bare has no selector, so its pods are unknown; bind the workload behind it, or use source.promQL"
	wants := func(want string) {
		t.Helper()
		if got := show(s.askOne(d.Question, world)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	wants("a: 5, 30s old; " + bare)
	there["b"] = "app=b"
	wants("a: 5, 30s old; b: NoData: Sysdig answered and holds nothing for this object; " + bare)
	delete(there, "a")
	delete(there, "bare")
	wants("b: NoData: Sysdig answered and holds nothing for this object")
}
