package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is what came of all incidents, in their order.
type report struct {
	plan     plan
	took     time.Duration
	outcomes []*outcome
}

func newReport(p plan) *report { return &report{plan: p} }

// of is the outcome of a group's incident.
func (r *report) of(g *group) *outcome {
	for _, o := range r.outcomes {
		if o.incident.name == g.incident.name {
			return o
		}
	}
	o := &outcome{incident: g.incident, workloads: len(g.workloads)}
	r.outcomes = append(r.outcomes, o)
	return o
}

// wrong is everything that makes the drill fail.
func (r *report) wrong() error {
	var all []error
	for _, o := range r.outcomes {
		for _, text := range o.problems(r.plan) {
			all = append(all, errors.New(text))
		}
	}
	return errors.Join(all...)
}

// print writes all tables as Markdown.
func (r *report) print(out io.Writer) error {
	var b strings.Builder
	p, workloads := r.plan, 0
	for _, o := range r.outcomes {
		workloads += o.workloads
	}
	fmt.Fprintf(&b, "%s %s/%s, %d processors. %d workloads in %d incidents, %s in all.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		workloads, len(r.outcomes), r.took.Round(time.Second))
	fmt.Fprintf(&b, "Interval %s, ingestionLag %s, window %s; HPAs look every %s and stabilise for %s.\n", p.interval, p.ingestionLag, p.window, p.sync, p.stabilization)
	r.printIncidents(&b)
	r.printFalls(&b)
	r.printControl(&b)
	r.printWords(&b)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func (r *report) printIncidents(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Incidents\n\nA scale-up is counted from when nothing but the truth was served; at most %s.\n\n", r.plan.bound())
	b.WriteString("| incident | | workloads | wrong scale-downs | scale-up, median | most | missed | told after |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, o := range r.outcomes {
		missed := "-"
		if o.incident.falls == nil {
			missed = fmt.Sprint(len(o.missed))
		}
		told := "-"
		if o.heard {
			told = brief(o.told)
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %s | %s | %s |\n", o.incident.name, o.incident.story, o.workloads, count(len(o.wrong), o.harmed),
			median(o.delays), largest(o.delays), missed, told)
	}
}

func (r *report) printFalls(b *strings.Builder) {
	heading := "\n### Genuine falls\n\n| incident | fell | followed after, median | most | held | without guards, median | later by |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
	for _, o := range r.outcomes {
		if o.incident.falls == nil {
			continue
		}
		b.WriteString(heading)
		heading = ""
		without, later := "-", "-"
		if o.bare != nil && len(o.bare.falls) > 0 {
			without = median(o.bare.falls)
			if len(o.falls) > 0 {
				later = brief(middle(o.falls) - middle(o.bare.falls))
			}
		}
		fmt.Fprintf(b, "| %s | %d | %s | %s | %d | %s | %s |\n", o.incident.name, len(o.falls)+len(o.held), median(o.falls), largest(o.falls), len(o.held), without, later)
	}
}

func (r *report) printControl(b *strings.Builder) {
	heading := "\n### The control run\n\nThe same incidents with an adapter without guards in the operator's place.\n\n| incident | wrong scale-downs |\n| --- | ---: |\n"
	for _, o := range r.outcomes {
		if o.bare == nil || !o.incident.bites {
			continue
		}
		b.WriteString(heading)
		heading = ""
		fmt.Fprintf(b, "| %s | %s |\n", o.incident.name, count(o.bare.wrong, o.bare.harmed))
	}
}

func (r *report) printWords(b *strings.Builder) {
	b.WriteString("\n### What kubectl describe shows at the end of the incident\n\n| incident | connection | binding |\n| --- | --- | --- |\n")
	for _, o := range r.outcomes {
		if o.heard {
			fmt.Fprintf(b, "| %s | %s | %s |\n", o.incident.name, cell(o.said.connection), cell(o.said.binding))
		}
	}
}

// cell keeps a text inside of its cell.
func cell(text string) string {
	return strings.TrimSpace(strings.NewReplacer("|", `\|`, "\n", " ").Replace(text))
}

// count shows how many, and of how many workloads.
func count(n, workloads int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d** (of %d)", n, workloads)
}

func middle(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func median(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	return brief(middle(all))
}

func largest(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	return brief(slices.Max(all))
}

func brief(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
