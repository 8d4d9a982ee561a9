package registry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/registry"
)

// hold is how long an anomaly lasts at most.
const hold = 10 * time.Minute

// town is a board with bindings of a window of a minute, each of a Service of its own.
type town struct {
	*board
	definitions []query.Definition
	// health is how rounds end.
	health *metric.Failure
}

func newTown(t testing.TB, size int, change ...func(*query.Definition)) *town {
	t.Helper()
	c := &town{board: newBoard(t)}
	c.limit(hold)
	for i := range size {
		name := fmt.Sprintf("b%02d", i)
		d := define(name, append([]func(*query.Definition){reshaped(func(s *query.Shape) { s.Window = time.Minute }), func(d *query.Definition) { d.Claim.Object = name }}, change...)...)
		c.definitions = append(c.definitions, d)
		c.Put(d)
	}
	return c
}

// limit puts the connection with the default figures, but for the time.
func (c *town) limit(hold time.Duration) {
	connection := connectionNamed("default")
	connection.AnomalyLimits = registry.AnomalyLimits{Bindings: 10, Share: 0.5, Hold: hold}
	c.PutConnection(connection)
}

// What an attempt of a round may tell, beside values.
const (
	nothing = -1 // no data
	broken  = -2 // HTTP 500
	spared  = -3 // it is not asked
)

// round asks half a minute later and tells how each attempt ended, in order of the bindings.
func (c *town) round(told func(i int) float64) {
	c.clk.Step(30 * time.Second)
	c.attempt(told)
	c.FileHealth("default", c.health)
}

// attempt is a round that has not ended.
func (c *town) attempt(told func(i int) float64) {
	for i, d := range c.definitions {
		switch value := told(i); value {
		case nothing:
			c.fail(d.Question, metric.NoData)
		case broken:
			c.fail(d.Question, metric.Unavailable)
		case spared:
		default:
			c.answer(d.Question, value)
		}
	}
}

func steady(value float64) func(int) float64 { return func(int) float64 { return value } }

// upTo tells the first n one thing and the rest another.
func upTo(n int, value, rest float64) func(int) float64 {
	return func(i int) float64 {
		if i < n {
			return value
		}
		return rest
	}
}

// read is what an HPA reads of a binding: its value, or the reason why there is none.
func (c *town) read(i int) string {
	c.t.Helper()
	_, sample, failure, known := c.Serve(c.definitions[i].Claim, nil)
	switch {
	case !known:
		c.t.Fatal("the binding is not known")
		return ""
	case failure != nil:
		return string(failure.Reason)
	default:
		return fmt.Sprint(sample.Value)
	}
}

// wantReads expects how many bindings read what.
func (c *town) wantReads(want string) {
	c.t.Helper()
	counts := map[string]int{}
	for i := range c.definitions {
		counts[c.read(i)]++
	}
	if got := strings.TrimPrefix(fmt.Sprint(counts), "map"); got != want {
		c.t.Errorf("after %s: %s, want %s", c.clk.Since(noon), got, want)
	}
}

// anomaly is what the connection tells of it.
func (c *town) anomaly() *registry.Anomaly {
	c.t.Helper()
	connection, _ := c.Connection("default")
	return connection.Anomaly
}

func TestValuesThatFallTogetherAreNotBelieved(t *testing.T) {
	zeroForNoData := func(d *query.Definition) { d.Policy.OnNoData = &metric.Sample{} }
	for name, test := range map[string]struct {
		size   int
		change []func(*query.Definition)
		falls  func(int) float64
		// soon is what is read when the round has ended, late when the samples from before are too old.
		soon, late string
	}{
		"all become 0":                             {size: 20, falls: steady(0), soon: "[7:20]", late: "[Implausible:20]"},
		"all vanish":                               {size: 20, falls: steady(nothing), soon: "[7:20]", late: "[Implausible:20]"},
		"all vanish, and no data is 0":             {size: 20, change: []func(*query.Definition){zeroForNoData}, falls: steady(nothing), soon: "[7:20]", late: "[Implausible:20]"},
		"half of them become 0":                    {size: 20, falls: upTo(10, 0, 7), soon: "[7:20]", late: "[7:10 Implausible:10]"},
		"some vanish and some become 0":            {size: 20, falls: func(i int) float64 { return []float64{0, nothing, 7, 7}[i%4] }, soon: "[7:20]", late: "[7:10 Implausible:10]"},
		"fewer than half":                          {size: 30, falls: upTo(14, 0, 7), soon: "[0:14 7:16]", late: "[0:14 7:16]"},
		"fewer than ten":                           {size: 12, falls: upTo(9, 0, 7), soon: "[0:9 7:3]", late: "[0:9 7:3]"},
		"all of fewer than ten":                    {size: 9, falls: steady(0), soon: "[0:9]", late: "[0:9]"},
		"all fall, and not to 0":                   {size: 20, falls: steady(0.001), soon: "[0.001:20]", late: "[0.001:20]"},
		"those that are not answered do not stand": {size: 30, falls: upTo(12, 0, broken), soon: "[7:30]", late: "[Implausible:12 Unavailable:18]"},
		"those that are not asked do not stand":    {size: 30, falls: upTo(12, 0, spared), soon: "[7:30]", late: "[Implausible:12 Stale:18]"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t, test.size, test.change...)
			c.round(steady(7))
			c.wantReads(fmt.Sprintf("[7:%d]", test.size))
			c.round(test.falls)
			c.wantReads(test.soon)
			for range 4 {
				c.round(test.falls)
			}
			c.wantReads(test.late)
			if got, want := c.anomaly() != nil, strings.Contains(test.late, "Implausible"); got != want {
				t.Errorf("the connection tells of %+v", c.anomaly())
			}
		})
	}
}

// TestWithoutTheBreaker is the control: with nothing held back, each HPA reads 0 at once.
func TestWithoutTheBreaker(t *testing.T) {
	c := newTown(t, 20)
	c.limit(0)
	c.round(steady(7))
	c.round(steady(0))
	c.wantReads("[0:20]")
}

func TestAFallIsBelievedInTheEnd(t *testing.T) {
	c := newTown(t, 20)
	c.round(steady(7))
	c.round(steady(0))
	noticed := c.clk.Now()
	if n := c.anomaly(); n == nil || n.Fallen != 20 || n.Standing != 0 || !n.Since.Equal(noticed) || !n.Until.Equal(noticed.Add(hold)) {
		t.Errorf("the connection tells of %+v", n)
	}
	for c.clk.Now().Before(noticed.Add(hold - 30*time.Second)) {
		c.round(steady(0))
		if got := c.read(3); got != "7" && got != "Implausible" {
			t.Fatalf("after %s it reads %s", c.clk.Since(noticed), got)
		}
	}
	c.wantReads("[Implausible:20]")
	c.round(steady(0))
	c.wantReads("[0:20]")
	if n := c.anomaly(); n != nil {
		t.Errorf("the connection still tells of %+v", n)
	}
	for range 10 { // and it stays so
		c.round(steady(0))
		c.wantReads("[0:20]")
	}
}

// TestAnOutageConfirmsNothing makes sure that the time begins anew after one.
func TestAnOutageConfirmsNothing(t *testing.T) {
	c := newTown(t, 20)
	c.round(steady(7))
	for range 8 {
		c.round(steady(0))
	}
	c.health = metric.Failf(metric.Unavailable, "HTTP 500")
	for range 16 {
		c.round(steady(broken))
	}
	c.health = nil
	for range 19 {
		c.round(steady(0))
		c.wantReads("[Implausible:20]")
	}
	c.round(steady(0))
	c.wantReads("[0:20]")
}

// TestAnOutageIsToldAsSuch makes sure that the reason of the moment is told, and not that of before.
func TestAnOutageIsToldAsSuch(t *testing.T) {
	c := newTown(t, 20)
	c.round(steady(7))
	for range 6 {
		c.round(steady(0))
	}
	c.wantReads("[Implausible:20]")
	c.health = metric.Failf(metric.Unavailable, "HTTP 500")
	c.round(steady(broken))
	c.wantReads("[Unavailable:20]")
}

// TestAFallIsBelievedOfThoseThatAreAskedLater is about rounds that ask one half of the bindings each: the second half waits no
// longer.
func TestAFallIsBelievedOfThoseThatAreAskedLater(t *testing.T) {
	c := newTown(t, 40)
	half := 0
	batch := func(told float64) func(int) float64 {
		half = 1 - half
		return func(i int) float64 {
			if i/20 == half {
				return told
			}
			return spared
		}
	}
	c.round(batch(7))
	c.round(batch(7))
	for range 21 {
		c.round(batch(0))
	}
	c.wantReads("[0:20 Implausible:20]")
	c.round(batch(0))
	c.wantReads("[0:40]")
}

// eager are HPAs that would scale up on anything.
type eager struct{}

func (eager) Exceeds(metric.Claim, string, int64) bool { return true }

// TestAValueThatIsBackWaitsForItsWindow is about windows that hold zeroes of the anomaly.
func TestAValueThatIsBackWaitsForItsWindow(t *testing.T) {
	c := newTown(t, 40)
	c.round(steady(7))
	for range 6 {
		c.round(steady(0))
	}
	c.round(steady(2))
	c.wantReads("[Partial:40]")
	c.round(steady(4))
	c.wantReads("[Partial:40]")
	c.round(steady(6))
	c.wantReads("[6:40]")
	c.round(steady(1))
	c.wantReads("[1:40]")
}

// TestABlipIsNoGapToSamplesThatAreFresh makes sure that the sample from before is served meanwhile.
func TestABlipIsNoGapToSamplesThatAreFresh(t *testing.T) {
	c := newTown(t, 3)
	c.round(steady(7))
	c.round(steady(nothing))
	c.wantReads("[7:3]")
	c.round(steady(4))
	c.wantReads("[7:3]")
}

// TestNoDataThatIsAValueIsNoGap: who takes no data for 0 has to wake up at once.
func TestNoDataThatIsAValueIsNoGap(t *testing.T) {
	c := newTown(t, 3, func(d *query.Definition) { d.Policy.OnNoData = &metric.Sample{} })
	c.round(steady(7))
	for range 6 {
		c.round(steady(nothing))
	}
	c.wantReads("[0:3]")
	c.round(steady(1))
	c.wantReads("[1:3]")
}

func TestAValueThatIsBackLetsHPAsScaleUpAtOnce(t *testing.T) {
	c := newTown(t, 40)
	c.ServeBoundsTo(eager{})
	c.round(steady(7))
	for range 6 {
		c.round(steady(0))
	}
	c.wantReads("[Implausible:40]")
	c.round(upTo(25, 9, 0))
	c.wantReads("[9:25 Implausible:15]")
	c.round(upTo(39, 9, 0))
	c.wantReads("[0:1 9:39]") // the last one alone is no anomaly
	if n := c.anomaly(); n != nil {
		t.Errorf("the connection still tells of %+v", n)
	}
}

// TestAValueThatMayBeTooHighWaitsForItsWindow is about averages after a gap, and what else is no lower bound: HPAs that would scale up on
// it wait as well.
func TestAValueThatMayBeTooHighWaitsForItsWindow(t *testing.T) {
	c := newTown(t, 40)
	c.vague = true
	c.ServeBoundsTo(eager{})
	c.round(steady(7))
	for range 6 {
		c.round(steady(0))
	}
	c.round(steady(9))
	c.wantReads("[Partial:40]")
	c.round(steady(9))
	c.wantReads("[Partial:40]")
	c.round(steady(9))
	c.wantReads("[9:40]")
}

// TestSilenceConfirmsNothing makes sure that the time of an anomaly does not pass while nobody says again that there is nothing.
func TestSilenceConfirmsNothing(t *testing.T) {
	for name, silence := range map[string]func(*town){
		"nobody is answered": func(c *town) { c.round(steady(spared)) },
		"all are broken":     func(c *town) { c.round(steady(broken)) },
		"points are of before": func(c *town) {
			c.clk.Step(30 * time.Second)
			for _, d := range c.definitions {
				c.answerAbout(d.Question, 5, noon)
			}
			c.FileHealth("default", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t, 20)
			c.round(steady(7))
			for range 7 { // three minutes of them count
				c.round(steady(0))
			}
			for range 40 {
				silence(c)
				if c.anomaly() == nil {
					t.Fatalf("it is over after %s", c.clk.Since(noon))
				}
			}
			for range 13 {
				c.round(steady(0))
				c.wantReads("[Implausible:20]")
			}
			c.round(steady(0))
			c.wantReads("[0:20]")
		})
	}
}

// TestAFallIsHeldUntilTheRoundEnds makes sure that the first answers of a round are not believed before the others are there.
func TestAFallIsHeldUntilTheRoundEnds(t *testing.T) {
	c := newTown(t, 30)
	c.round(steady(7))
	c.clk.Step(30 * time.Second)
	c.attempt(upTo(3, 0, spared))
	c.wantReads("[7:30]")
	c.attempt(func(i int) float64 { return []float64{spared, 8}[min(i/3, 1)] })
	c.wantReads("[7:3 8:27]")
	c.FileHealth("default", nil)
	c.wantReads("[0:3 8:27]")
}

// TestFallsThatAreALittleApartAreTogether is about rounds that ask one half of the bindings each.
func TestFallsThatAreALittleApartAreTogether(t *testing.T) {
	for name, test := range map[string]struct {
		apart int // rounds
		want  string
	}{
		"half a minute":                       {1, "[7:2 Implausible:18]"},
		"as long as the window and a minute":  {4, "[7:2 Implausible:18]"},
		"longer than the window and a minute": {5, "[0:18 7:2]"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t, 20)
			c.round(steady(7))
			for range test.apart {
				c.round(upTo(9, 0, 7))
			}
			c.wantReads("[0:9 7:11]")
			for range 5 {
				c.round(upTo(18, 0, 7))
			}
			c.wantReads(test.want)
		})
	}
}

func TestWhatWasObservedBeforeARestart(t *testing.T) {
	observed := func(value float64, age time.Duration) func(*query.Definition) {
		return func(d *query.Definition) {
			d.Observed = &metric.Sample{Value: value, Milli: int64(value * 1000), Time: noon.Add(-age), Received: noon.Add(-age)}
		}
	}
	for name, test := range map[string]struct {
		change []func(*query.Definition)
		want   string
	}{
		"a value":              {[]func(*query.Definition){observed(7, time.Minute)}, "[Implausible:20]"},
		"0":                    {[]func(*query.Definition){observed(0, time.Minute)}, "[0:20]"},
		"a value that was old": {[]func(*query.Definition){observed(7, maxAge+1)}, "[0:20]"},
		"nothing":              {nil, "[0:20]"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t, 20, test.change...)
			c.round(steady(0))
			c.wantReads(test.want)
		})
	}
}

func TestTheConnectionTellsOnceOfAnAnomaly(t *testing.T) {
	c := newTown(t, 20)
	c.round(steady(7))
	var told int
	c.ListenConnections(func(string) { told++ })
	for range 5 {
		c.round(steady(0))
	}
	if told != 1 {
		t.Errorf("told %d times of the anomaly", told)
	}
	c.round(steady(7))
	if told != 2 {
		t.Errorf("told %d times, want the end too", told)
	}
	c.told = nil
	c.round(steady(0))
	c.round(steady(7))
	if len(c.told) != 40 {
		t.Errorf("told %d times of bindings, want each when the newest attempt is not believed and when it is", len(c.told))
	}
}

// TestSetsFallTogether is about bindings of several objects each: a set falls with the last of its objects.
func TestSetsFallTogether(t *testing.T) {
	b := newBoard(t)
	connection := connectionNamed("default")
	connection.AnomalyLimits = registry.AnomalyLimits{Bindings: 2, Share: 0.5, Hold: hold}
	b.PutConnection(connection)
	b.world.put(pods, "a", nil)
	b.world.put(pods, "b", nil)
	var sets []query.Definition
	for _, name := range []string{"one", "two"} {
		d := define(name, all(pods, ""), func(d *query.Definition) { d.Claim.Metric = name })
		sets = append(sets, d)
		b.Put(d)
	}
	round := func(values map[string]float64) {
		b.clk.Step(30 * time.Second)
		for _, d := range sets {
			found := map[string]query.Found{}
			for pod, value := range values {
				found[pod] = query.Found{Sample: b.sample(value, b.clk.Now())}
			}
			b.File([]query.Outcome{{Question: d.Question, Reading: metric.Reading{Asked: b.clk.Now(), Attempted: b.clk.Now()}, Objects: found}})
		}
		b.FileHealth("default", nil)
	}
	wantOf := func(pod, want string) {
		t.Helper()
		claim := sets[1].Claim
		claim.Object, claim.Selector = pod, ""
		got := "nothing"
		if _, sample, failure, known := b.Serve(claim, nil); known && failure == nil {
			got = fmt.Sprint(sample.Value)
		} else if known {
			got = string(failure.Reason)
		}
		if got != want {
			t.Errorf("after %s pod %s reads %s, want %s", b.clk.Since(noon), pod, got, want)
		}
	}
	round(map[string]float64{"a": 3, "b": 4})
	round(map[string]float64{"a": 0, "b": 4})
	wantOf("a", "0") // one pod of a set may be idle
	round(map[string]float64{"a": 0, "b": 0})
	wantOf("a", "Implausible")
	wantOf("b", "4")
	for range 4 {
		round(map[string]float64{})
	}
	wantOf("b", "Implausible")
	round(map[string]float64{"a": 0, "b": 5})
	wantOf("a", "0")
	wantOf("b", "5")
}

// TestAnAnomalyForgetsBindingsThatAreGone makes sure that deleted bindings count neither as fallen nor as standing.
func TestAnAnomalyForgetsBindingsThatAreGone(t *testing.T) {
	c := newTown(t, 30)
	c.round(steady(7))
	c.round(upTo(12, 0, 7))
	if c.anomaly() != nil {
		t.Fatal("12 of 30 are an anomaly")
	}
	for _, d := range c.definitions[12:25] {
		c.Delete(d.Binding)
	}
	c.definitions = append(c.definitions[:12:12], c.definitions[25:]...)
	c.round(upTo(12, 0, 7))
	if n := c.anomaly(); n == nil || n.Fallen != 12 || n.Standing != 5 {
		t.Errorf("the connection tells of %+v, want 12 of 17", n)
	}
	for _, d := range c.definitions[:12] {
		c.Delete(types.NamespacedName{Namespace: d.Binding.Namespace, Name: d.Binding.Name})
	}
	c.definitions = c.definitions[12:]
	c.round(steady(7))
	if n := c.anomaly(); n != nil {
		t.Errorf("the connection still tells of %+v", n)
	}
}
