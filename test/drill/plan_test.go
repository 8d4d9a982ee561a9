package main

import (
	"slices"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/api/v1alpha1"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func TestAWindowIsWholeWhenItsQuestionSeesNoOlderPoint(t *testing.T) {
	p := plan{ingestionLag: 30 * time.Second}
	for _, c := range []struct{ from, want time.Duration }{
		// The six points of a minute that ends with the one after 50 s, which is asked for 30 s later.
		{0, 80 * time.Second}, {time.Second, 90 * time.Second}, {10 * time.Second, 90 * time.Second},
	} {
		if got := p.covered(noon.Add(c.from), time.Minute).Sub(noon); got != c.want {
			t.Errorf("from %s on it is whole after %s, want %s", c.from, got, c.want)
		}
	}
}

func TestTheTruthIsWholeWhenALoadChangedAheadOfTheEnd(t *testing.T) {
	for _, p := range []plan{fullPlan(), quickPlan()} {
		for second := range 20 {
			changed := noon.Add(time.Duration(second) * time.Second)
			if known, end := p.covered(changed, p.window), changed.Add(p.ahead(p.window)); known.After(end) {
				t.Errorf("a load that changed at %s is known at %s, after the end at %s", changed, known, end)
			}
		}
	}
}

func TestWhatLeavesAWindowLateTakesNoReplicaAway(t *testing.T) {
	for _, p := range []plan{fullPlan(), quickPlan()} {
		for _, window := range []time.Duration{p.window, p.slow} {
			if whole := window + p.interval + p.ingestionLag; p.stabilization < whole {
				t.Errorf("HPAs stabilise for %s, but a pod that has left is seen for up to %s", p.stabilization, whole)
			}
		}
		if p.failure <= p.stabilization || p.data <= p.stabilization || p.control <= p.stabilization {
			t.Error("an incident does not outlast the stabilisation of HPAs")
		}
	}
}

func TestALoadThatFellIsWatchedUntilHPAsHaveFollowed(t *testing.T) {
	p := fullPlan()
	// The longest that whole drills have seen, with HPAs that stabilise for 5 minutes, and a 0 that is not believed for 10.
	for to, seen := range map[int]time.Duration{1: 370 * time.Second, 0: 696 * time.Second} {
		if got := p.followed(noon, to).Sub(noon); got < seen {
			t.Errorf("a fall to %d is watched for %s, less than %s", to, got, seen)
		}
	}
}

func TestAnIncidentIsPickedByName(t *testing.T) {
	both := []v1alpha1.API{v1alpha1.APIPrometheus, v1alpha1.APIData}
	picked, err := pick([]string{"gap", "zeros"}, both)
	var names []string
	for _, i := range picked {
		names = append(names, i.name+" of "+string(i.api))
	}
	want := []string{"gap of Prometheus", "zeros of Prometheus", "gap-data of Data", "zeros-data of Data"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("picked %v, %v", names, err)
	}
	if _, err := pick([]string{"gap", "flood"}, both); err == nil {
		t.Error("an incident that does not exist was picked")
	}
}

func TestFlagsChooseTheAPIs(t *testing.T) {
	for args, want := range map[string][]v1alpha1.API{
		"--quick": {v1alpha1.APIPrometheus}, "--api=Data": {v1alpha1.APIData}, "--api=Data,Prometheus": {v1alpha1.APIData, v1alpha1.APIPrometheus},
	} {
		if p, err := parse([]string{args}); err != nil || !slices.Equal(p.apis, want) {
			t.Errorf("%s: %v, %v", args, p.apis, err)
		}
	}
	for _, args := range []string{"--only=flood", "--api=data", "--api=", "--api=Data,Data"} {
		if _, err := parse([]string{args}); err == nil {
			t.Errorf("%s was taken", args)
		}
	}
}

func TestTheDrillIsLargeAndEachGroupIsMoreThanABreakerNeeds(t *testing.T) {
	workloads, names := 0, []string{}
	for _, i := range incidents() {
		n := max(i.workloads, fullPlan().perGroup)
		if n < 12 {
			t.Errorf("%s has %d workloads", i.name, n)
		}
		workloads += n
		names = append(names, i.name)
	}
	if workloads < 200 {
		t.Errorf("%d workloads in all", workloads)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(incidents()) {
		t.Errorf("two incidents have the same name: %v", names)
	}
}

func TestAProblemIsTold(t *testing.T) {
	p := fullPlan()
	for name, c := range map[string]struct {
		outcome  outcome
		problems int
	}{
		"all is well":                      {outcome{delays: []time.Duration{45 * time.Second}, falls: []time.Duration{time.Hour}}, 0},
		"a wrong scale-down":               {outcome{wrong: []string{"app-00"}, harmed: 1}, 1},
		"a scale-up that came late":        {outcome{delays: []time.Duration{0, 50 * time.Second}}, 1},
		"a scale-up that did not come":     {outcome{missed: []string{"app-00"}}, 1},
		"a genuine fall that was held":     {outcome{held: []string{"app-00"}}, 1},
		"a control run that bites":         {outcome{incident: incident{bites: true}, bare: &bare{wrong: 1}}, 0},
		"a control run that does not bite": {outcome{incident: incident{bites: true}, bare: &bare{}}, 1},
		"one that need not":                {outcome{bare: &bare{}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.outcome.problems(p); len(got) != c.problems {
				t.Errorf("problems %q, want %d", got, c.problems)
			}
		})
	}
}

func TestWhoIsPatientMindsWhatDoesNotHappenAndNotWhatIsLate(t *testing.T) {
	p := fullPlan()
	p.patience = time.Minute
	late := outcome{delays: []time.Duration{time.Hour}}
	if got := late.problems(p); len(got) != 0 {
		t.Errorf("a scale-up that came late: problems %q", got)
	}
	for _, never := range []outcome{{missed: []string{"app-00"}}, {held: []string{"app-00"}}, {incident: incident{bites: true}, bare: &bare{}}} {
		if got := never.problems(p); len(got) != 1 {
			t.Errorf("%+v: problems %q, want one", never, got)
		}
	}
}
