package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	rowFormat = "%5s  %-7s %6s  %8s %5s  %11s  %9s  %s\n"
	// none stands for what is not known.
	none = "-"
	// eventWidth keeps a row within 120 columns.
	eventWidth = 57
)

// header is printed above rows, again and again.
func header() string {
	return strings.TrimRight(fmt.Sprintf(rowFormat, "", "", "req/s", "per pod", "", "cur/target", "set/ready", ""), " \n") + "\n" +
		fmt.Sprintf(rowFormat, "TIME", "PHASE", "LOAD", "METRIC", "AGE", "HPA", "REPLICAS", "LAST EVENT OF THE HPA")
}

// row renders a sample.
func row(elapsed time.Duration, p phase, s sample) string {
	value, age := none, none
	if s.metric != nil {
		value, age = decimal(s.metric.value), seconds(s.metric.age)
	}
	current := none
	if s.hpa.current != nil {
		current = decimal(*s.hpa.current)
	}
	replicas := fmt.Sprintf("%d/%d", s.desired, s.ready)
	hpa := current + "/" + number(s.hpa.wanted)
	text := none
	switch {
	case s.err != nil:
		text = shorten("error: "+s.err.Error(), eventWidth)
		replicas, hpa = none, none
	case s.event != nil:
		text = shorten(seconds(s.event.age)+" ago: "+s.event.text, eventWidth)
	}
	return fmt.Sprintf(rowFormat, minutes(elapsed), p.name, number(p.rps), value, age, hpa, replicas, text)
}

// announce tells what a phase is about.
func announce(p phase) string {
	replicas := fmt.Sprintf("%d to %d replicas", p.lowest, p.highest)
	if p.lowest == p.highest {
		replicas = fmt.Sprintf("%d replicas", p.lowest)
	}
	return fmt.Sprintf("\n%s: %s requests/s; flask is to settle at %s and to stay there for %s, all within %s\n",
		p.name, number(p.rps), replicas, seconds(p.hold), seconds(p.deadline))
}

// summary is the table of the phases and what they show.
func summary(results []result) string {
	const format = "  %-7s %10s  %17s  %8s  %13s  %11s\n"
	var b strings.Builder
	path := make([]string, 0, len(results))
	fmt.Fprintf(&b, format, "PHASE", "LOAD", "METRIC AT THE END", "REPLICAS", "SETTLED AFTER", "ENDED AFTER")
	for _, r := range results {
		fmt.Fprintf(&b, format, r.phase.name, number(r.phase.rps)+" req/s", decimal(r.value)+" per pod",
			strconv.Itoa(int(r.replicas)), seconds(r.settled), seconds(r.took))
		path = append(path, strconv.Itoa(int(r.replicas)))
	}
	fmt.Fprintf(&b, "\nReplicas of flask: %s, by the HorizontalPodAutoscaler of a real kube-controller-manager,\n", strings.Join(path, " → "))
	fmt.Fprintf(&b, "driven by the Sysdig metric %s of the Service flask.\n", metric)
	return b.String()
}

func minutes(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0fs", d.Seconds()) }

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// shorten makes a text a line of so many characters at most.
func shorten(text string, width int) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}
