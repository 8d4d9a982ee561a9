package measure_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/leaks"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// TestMain lets the test binary be the child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "echo" {
		if err := measure.Answer(os.Stdin, os.Stdout, echo); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(leaks.Run(m.Run))
}

func echo(question string) (any, error) {
	if question == "fail" {
		return nil, errors.New("told to fail")
	}
	return question, nil
}

func TestAChildAnswersUntilItIsStopped(t *testing.T) {
	c, err := measure.StartChild(t.Context(), "echo")
	if err != nil {
		t.Fatal(err)
	}
	for _, question := range []string{"one", "two"} {
		var got string
		if err := c.Ask(question, &got); err != nil || got != question {
			t.Errorf("got %q and %v", got, err)
		}
	}
	if c.PID() == os.Getpid() {
		t.Error("the child is this process")
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTheLogOfAChildThatFailsIsTold(t *testing.T) {
	c, err := measure.StartChild(t.Context(), "echo")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := c.Ask("fail", &got); err == nil {
		t.Errorf("got %q", got)
	}
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "told to fail") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersEndWithTheInput(t *testing.T) {
	var out bytes.Buffer
	if err := measure.Answer(strings.NewReader("a\nb\n"), &out, echo); err != nil || out.String() != "\"a\"\n\"b\"\n" {
		t.Errorf("got %q and %v", out.String(), err)
	}
}

func TestSummaries(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   measure.Summary
	}{
		{[]float64{4, 1, 3, 2}, measure.Summary{Median: 2.5, LowerQuartile: 1.75, UpperQuartile: 3.25, NinthDecile: 3.7, Smallest: 1, Largest: 4}},
		{[]float64{7}, measure.Summary{Median: 7, LowerQuartile: 7, UpperQuartile: 7, NinthDecile: 7, Smallest: 7, Largest: 7}},
	} {
		if got := measure.Summarize(c.values); got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}
