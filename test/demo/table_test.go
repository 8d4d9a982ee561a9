package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	load := phase{name: "load", rps: 800, lowest: 7, highest: 9, hold: time.Minute, deadline: 5 * time.Minute}
	long := strings.Repeat("much to tell ", 20)
	got := header() +
		row(5*time.Second, story()[0], sample{desired: 2, hpa: target{wanted: 100}}) +
		row(125*time.Second, load, sample{
			metric: &reading{value: 312.345, age: 12400 * time.Millisecond}, hpa: target{current: new(290.05), wanted: 100},
			desired: 4, ready: 2, event: &event{age: 3 * time.Second, text: "New size: 4;\nreason: much"},
		}) +
		row(time.Hour, load, sample{metric: &reading{}, desired: 10, ready: 10, event: &event{text: long}}) +
		row(time.Hour, load, sample{err: errors.New("no answer")})
	want := `
                req/s   per pod         cur/target  set/ready
 TIME  PHASE     LOAD    METRIC   AGE          HPA   REPLICAS  LAST EVENT OF THE HPA
 0:05  steady      20         -     -        -/100        2/0  -
 2:05  load       800     312.3   12s    290.1/100        4/2  3s ago: New size: 4; reason: much
60:00  load       800       0.0    0s          -/0      10/10  0s ago: much to tell much to tell much to tell much to t…
60:00  load       800         -     -            -          -  error: no answer
`
	compare(t, got, want)
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestAnnouncement(t *testing.T) {
	var got strings.Builder
	for _, p := range story() {
		got.WriteString(announce(p))
	}
	compare(t, got.String(), `

steady: 20 requests/s; flask is to settle at 2 replicas and to stay there for 30s, all within 180s

load: 800 requests/s; flask is to settle at 7 to 9 replicas and to stay there for 30s, all within 360s

idle: 0 requests/s; flask is to settle at 2 replicas and to stay there for 10s, all within 300s
`)
}

func TestSummary(t *testing.T) {
	phases := story()
	got := summary([]result{
		{phases[0], 10, 2, 15 * time.Second, 75 * time.Second},
		{phases[1], 99.96, 8, 66 * time.Second, 126 * time.Second},
		{phases[2], 0, 2, 80 * time.Second, 100 * time.Second},
	})
	compare(t, got, `
  PHASE         LOAD  METRIC AT THE END  REPLICAS  SETTLED AFTER  ENDED AFTER
  steady    20 req/s       10.0 per pod         2            15s          75s
  load     800 req/s      100.0 per pod         8            66s         126s
  idle       0 req/s        0.0 per pod         2            80s         100s

Replicas of flask: 2 → 8 → 2, by the HorizontalPodAutoscaler of a real kube-controller-manager,
driven by the Sysdig metric net.http.request.count of the Service flask.
`)
}

func TestWordsOfAnEvent(t *testing.T) {
	for _, c := range [][3]string{
		{"SuccessfulRescale", "New size: 8; reason: x", "New size: 8; reason: x"},
		{"SuccessfulRescale", "(combined from similar events): New size: 8", "New size: 8"},
		{"FailedGetObjectMetric", "unable", "FailedGetObjectMetric: unable"},
	} {
		if got := words(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %q becomes %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestTourHasSixCommands(t *testing.T) {
	got := tour{"/d/admin.kubeconfig", "/b/kubectl", "https://127.0.0.1:1", "/d/standin/ca.crt", "/d"}.String()
	commands := 0
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "  kubectl ") || strings.HasPrefix(line, "  curl ") {
			commands++
		}
	}
	if commands != 6 {
		t.Errorf("%d commands in\n%s", commands, got)
	}
	for _, want := range []string{
		"export KUBECONFIG='/d/admin.kubeconfig'\n", `export PATH='/b':"$PATH"`, "go run ./test/demo --stop '/d'\n",
		"export SYSDIG='https://127.0.0.1:1' CA='/d/standin/ca.crt'\n", `curl --cacert "$CA" -X PUT "$SYSDIG/control/load?rps=400"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s:\n%s", want, got)
		}
	}
}

// compare ignores the newline before what is wanted and blanks at the ends of lines.
func compare(t *testing.T, got, want string) {
	t.Helper()
	var trimmed strings.Builder
	for line := range strings.Lines(got) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got, want := trimmed.String(), strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
