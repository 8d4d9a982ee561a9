package registry_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
)

// herd is a board with one binding of all pods, whose window is a minute.
type herd struct {
	*board
	of query.Definition
}

func newHerd(t *testing.T, change ...func(*query.Definition)) *herd {
	t.Helper()
	edits := append([]func(*query.Definition){all(pods, ""), reshaped(func(s *query.Shape) { s.Window = time.Minute })}, change...)
	c := &herd{board: newBoard(t), of: define("a", edits...)}
	c.pods("web", "a", "b", "c")
	c.PutConnection(connectionNamed("default"))
	c.Put(c.of)
	return c
}

// round asks half a minute later; without values there is no data.
func (c *herd) round(values map[string]float64) {
	c.clk.Step(30 * time.Second)
	c.found(c.of.Question, values)
	c.FileHealth("default", nil)
}

// gap is three minutes without data.
func (c *herd) gap() {
	for range 6 {
		c.round(nil)
	}
}

// TestAListThatIsBackWaitsForItsWindow unless all in it surpass whatever was told in the last hour. What is back is told three times.
func TestAListThatIsBackWaitsForItsWindow(t *testing.T) {
	three := func(a, b, c float64) map[string]float64 { return map[string]float64{"a": a, "b": b, "c": c} }
	for name, test := range map[string]struct {
		before func(*herd)
		back   map[string]float64
		vague  bool
		want   string // of the first answer that is back
	}{
		"all are as high":                             {back: three(10, 20, 30), want: "a=10 b=20 c=30"},
		"the sum is lower":                            {back: three(10, 20, 29), want: "Partial"},
		"one is lower, and others higher":             {back: three(9, 40, 40), want: "Partial"},
		"one is not back":                             {back: map[string]float64{"a": 20, "b": 30}, want: "Partial"},
		"one is not back, and the others do its work": {back: map[string]float64{"a": 30, "b": 30}, want: "a=30 b=30"},
		"they may be too high":                        {back: three(20, 40, 60), vague: true, want: "Partial"},
		"one was higher 50 minutes ago": {
			before: func(c *herd) {
				c.round(three(11, 20, 30))
				for range 100 {
					c.round(three(10, 20, 30))
				}
			},
			back: three(10, 40, 60), want: "Partial",
		},
		"all together were higher 50 minutes ago": {
			before: func(c *herd) {
				c.round(map[string]float64{"a": 10, "b": 20, "c": 30, "d": 10})
				for range 100 {
					c.round(three(10, 20, 30))
				}
			},
			back: three(10, 20, 30), want: "Partial",
		},
		"all were higher long ago": {
			before: func(c *herd) {
				c.round(three(20, 40, 60))
				for range 310 {
					c.round(three(10, 20, 30))
				}
			},
			back: three(10, 20, 30), want: "a=10 b=20 c=30",
		},
		// An HPA that has stabilised in between has the replicas of before both gaps.
		"they were higher before a gap that is over": {
			before: func(c *herd) {
				c.round(three(20, 40, 60))
				c.gap()
				for range 3 {
					c.round(three(10, 20, 30))
				}
			},
			back: three(10, 20, 30), want: "Partial",
		},
		// Points of before that come late are no newer total: that is how 10 replicas became 8.
		"points of before are told of one": {
			before: func(c *herd) {
				c.round(three(10, 20, 0))
				c.clk.Step(8 * time.Minute)
				c.foundAbout(c.of.Question, map[string]float64{"c": 1}, noon)
			},
			back: three(6, 10, 14), want: "Partial",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newHerd(t)
			if test.before != nil {
				test.before(c)
			}
			c.round(three(10, 20, 30))
			c.gap()
			c.wantList(pods, "", "NoData")
			c.vague = test.vague
			c.round(test.back)
			c.wantList(pods, "", test.want)
			c.round(test.back)
			c.wantList(pods, "", test.want)
			c.round(test.back)
			if test.want == "Partial" {
				test.want = show(itemsOf(test.back), nil, true)
			}
			c.wantList(pods, "", test.want)
		})
	}
}

// itemsOf lists values of pods a to c.
func itemsOf(values map[string]float64) (items []metric.Item) {
	for _, name := range []string{"a", "b", "c"} {
		if value, ok := values[name]; ok {
			items = append(items, metric.Item{Name: name, Sample: &metric.Sample{Value: value}})
		}
	}
	return items
}

// TestAnObjectOfASetThatIsBackLetsItsHPAScaleUp is about a read by name while the others of the set hold it back.
func TestAnObjectOfASetThatIsBackLetsItsHPAScaleUp(t *testing.T) {
	c := newHerd(t, all(services, ""), reshaped(func(s *query.Shape) { s.Window = time.Minute }))
	for _, name := range []string{"web", "api"} {
		c.world.put(services, name, labels.Set{})
	}
	c.with(scaler("a", "100"))
	c.round(map[string]float64{"web": 90, "api": 90})
	c.gap()
	c.round(map[string]float64{"web": 150, "api": 50})
	c.wantValue(m(services, "web"), 150)
	c.wantReason(m(services, "api"), metric.Partial)
	c.wantList(services, "", "Partial")

	c.fail(c.of.Question, metric.Partial) // nothing was learned, and the bound is of before
	c.wantReason(m(services, "web"), metric.Partial)

	c.vague = true
	c.round(map[string]float64{"web": 150, "api": 50})
	c.wantReason(m(services, "web"), metric.Partial)
	c.round(map[string]float64{"web": 150, "api": 50})
	c.wantValue(m(services, "web"), 150)
	c.wantValue(m(services, "api"), 50)
}
