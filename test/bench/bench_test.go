package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
)

// TestMain lets the test binary be the server that bench starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveCommand {
		if err := command(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leaks.Run(m.Run))
}

func TestAQuickRun(t *testing.T) {
	p := quickPlan()
	p.deadline = time.Hour // the end is that of the test
	r, err := run(t.Context(), p, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.duels) != len(scenes()) || len(r.discovery) != 4 {
		t.Fatalf("%d duels, %d reads of discovery", len(r.duels), len(r.discovery))
	}
	for _, d := range r.duels {
		checkDuel(t, d)
	}
	checkAuthorized(t, r.authorized)
	for _, p := range r.parts {
		if p.nanos.Smallest <= 0 {
			t.Errorf("%s took %v ns", p.name, p.nanos.Smallest)
		}
	}
	for _, row := range r.heap.rows() {
		if row.size.Median <= 0 {
			t.Errorf("%s takes %v bytes", row.name, row.size.Median)
		}
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, row := range append(rows(), authorizedRows()...) {
		if !strings.Contains(out.String(), "| "+row.name+" |") {
			t.Errorf("%s is not in the report", row.name)
		}
	}
}

func checkDuel(t *testing.T, d duel) {
	t.Helper()
	for _, kind := range kinds() {
		if len(d.windows[kind]) != quickPlan().roundsOf(d.scene) {
			t.Fatalf("%s: %s has %d windows", d.scene.title, kind, len(d.windows[kind]))
		}
		for _, row := range rows() {
			mine, theirs, ratio := d.compare(kind, row.value)
			for _, v := range []float64{mine.Median, theirs.Median, ratio.Smallest, ratio.Median, ratio.Largest} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
					t.Errorf("%s: %s: %+v beside %+v of %s is %+v", d.scene.title, row.name, mine, theirs, kind, ratio)
				}
			}
		}
	}
}

// forgotten is after how long the serving library forgets a review.
const forgotten = 10 * time.Second

// checkAuthorized also makes sure that the duel is about what it says. The API server counts a review after it has answered it, so that
// each connection may be one behind; and what it uses when nobody reads is taken off, which may be more than it uses in a short window.
func checkAuthorized(t *testing.T, d duel) {
	t.Helper()
	for _, c := range contenders() {
		if len(d.windows[c.kind]) != quickPlan().pairs {
			t.Fatalf("%s has %d windows", c.title, len(d.windows[c.kind]))
		}
		for _, w := range d.windows[c.kind] {
			least, most := 0.0, 1+float64(w.elapsed)/float64(forgotten)
			if c.kind == reviewed {
				slack := float64(w.reads)/100 + float64(quickPlan().connections)
				least, most = float64(w.reads)-slack, float64(w.reads)+slack
			}
			if w.reviews < least || w.reviews > most {
				t.Errorf("%s: %v reviews for %d reads in %s, want %v to %v", c.title, w.reviews, w.reads, w.elapsed, least, most)
			}
			if v := w.cpuPerRead(); v <= 0 || math.IsNaN(v+w.cpuOfBoth()) || math.IsInf(v+w.cpuOfBoth(), 0) {
				t.Errorf("%s: a read takes %v ns, with the API server %v", c.title, v, w.cpuOfBoth())
			}
		}
	}
}

func TestDiscoveryShowsEveryName(t *testing.T) {
	for _, s := range discoveryScenes() {
		c, err := s.fill()
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.newProvider()
		if err != nil {
			t.Fatal(err)
		}
		custom, external := len(p.ListAllMetrics()), len(p.ListAllExternalMetrics())
		want := [2]int{entries, entries}
		if s.name == discoveryScenes()[0].name {
			want = [2]int{2*len(metricNames()) + ofNamespace, len(metricNames())}
		}
		if got := [2]int{custom, external}; got != want {
			t.Errorf("%s: %d metrics in the two APIs, want %d", s.title, got, want)
		}
	}
}

func TestASetIsAnsweredWholeAndAlone(t *testing.T) {
	for _, s := range scenes()[1:] {
		c, err := s.fill()
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.newProvider()
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.readSet(p)
		if err != nil || len(list.Items) != s.items || len(c.want(0)) != s.items {
			t.Errorf("%s: %d items and %v, want %d of %d", s.title, len(list.Items), err, s.items, len(c.want(0)))
		}
	}
}

func TestTheContentIsWhatTheReportSays(t *testing.T) {
	all, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	shapes, claims, questions := map[query.ShapeID]int{}, map[string]bool{}, map[query.Question]bool{}
	for _, d := range all {
		shapes[d.Question.Shape]++
		claims[d.Claim.Path("v1beta2")] = true
		questions[d.Question] = true
	}
	if len(all) != 10_000 || len(claims) != len(all) || len(questions) != len(all) || len(shapes) != 20 {
		t.Errorf("%d bindings, %d claims, %d questions, %d shapes", len(all), len(claims), len(questions), len(shapes))
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"more"}, {"--pairs=0"}, {"--unknown"}, {serveCommand, "--provider=none"}, {serveCommand, "--scene=none"}, {"--set-pairs=0"}} {
		if err := command(t.Context(), args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
