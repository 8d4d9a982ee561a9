package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunsAreRecordedWithTheirExitCode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	if rows, err := recorded(file); err != nil || len(rows) != 0 {
		t.Errorf("before all runs there are %v, %v", rows, err)
	}
	for script, want := range map[string]int{"exit 0": 0, "exit 3": 3, "kill -9 $$": 128 + 9} {
		if got := record(file, []string{"/bin/sh", "-c", script}); got != want {
			t.Errorf("%s: the exit code is %d, want %d", script, got, want)
		}
	}
	rows, err := recorded(file)
	if err != nil || len(rows) != 3 {
		t.Fatalf("recorded %v, %v", rows, err)
	}
	for _, r := range rows {
		if r.name != "  go run sh" || r.wall <= 0 {
			t.Errorf("recorded %+v", r)
		}
	}
}

func TestAFuzzTargetIsNamed(t *testing.T) {
	got := nameOf("/clone", "/clone/internal/query", []string{"/tmp/query.test", "-test.run=^$", "-test.fuzz=^FuzzNames$"})
	if want := "internal/query FuzzNames"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheTable(t *testing.T) {
	var whole row
	whole.name = "make check"
	whole.add(row{"a", 100 * time.Second, 20 * time.Second, 5 << 20})
	whole.add(row{"b", 20 * time.Second, 0, 3 << 20})
	var out strings.Builder
	if err := print(&out, []row{whole, {name: "  internal/query", wall: time.Second}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || !strings.Contains(strings.Join(strings.Fields(lines[2]), " "), "make check| 120| 20|") || !strings.HasSuffix(lines[2], "5|") {
		t.Errorf("the table is\n%s", out.String())
	}
}

func TestWhatWasMeasuredIsPrintedWhenATargetFails(t *testing.T) {
	var out strings.Builder
	err := measure(t.Context(), &out, []string{"no-such-target", "another"}, false)
	if err == nil || !strings.Contains(err.Error(), "no-such-target") {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(out.String(), "make no-such-target|") || strings.Contains(out.String(), "another") {
		t.Errorf("the table is\n%s", out.String())
	}
}
