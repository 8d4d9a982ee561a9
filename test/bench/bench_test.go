package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
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
	os.Exit(m.Run())
}

func TestAQuickRun(t *testing.T) {
	r, err := run(t.Context(), quickPlan(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds() {
		if len(r.duel[kind]) != quickPlan().pairs {
			t.Fatalf("%s has %d windows", kind, len(r.duel[kind]))
		}
		for _, row := range rows() {
			mine, theirs, ratio := r.duel.compare(kind, row.value)
			for _, v := range []float64{mine.median, theirs.median, ratio.smallest, ratio.median, ratio.largest} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
					t.Errorf("%s: %+v beside %+v of %s is %+v", row.name, mine, theirs, kind, ratio)
				}
			}
		}
	}
	for _, p := range r.parts {
		if p.nanos.smallest <= 0 {
			t.Errorf("%s took %v ns", p.name, p.nanos.smallest)
		}
	}
	if r.perEntry.median <= 0 {
		t.Errorf("a binding takes %v bytes", r.perEntry.median)
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, row := range rows() {
		if !strings.Contains(out.String(), "| "+row.name+" |") {
			t.Errorf("%s is not in the report", row.name)
		}
	}
}

func TestTheContentIsWhatTheReportSays(t *testing.T) {
	all, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	shapes, claims, questions := map[query.Shape]int{}, map[string]bool{}, map[query.Question]bool{}
	for _, d := range all {
		shapes[d.Question.Shape]++
		claims[d.Claim.Path("v1beta2")] = true
		questions[d.Question] = true
	}
	if len(all) != 10_000 || len(claims) != len(all) || len(questions) != len(all) || len(shapes) != 20 {
		t.Errorf("%d bindings, %d claims, %d questions, %d shapes", len(all), len(claims), len(questions), len(shapes))
	}
}

func TestSummaries(t *testing.T) {
	if got, want := summarize([]float64{4, 1, 3, 2}), (summary{2.5, 1.75, 3.25, 1, 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := summarize([]float64{7}), (summary{7, 7, 7, 7, 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"more"}, {"--pairs=0"}, {"--unknown"}, {serveCommand, "--provider=none"}} {
		if err := command(t.Context(), args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
