package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/drill/judge"
)

// outcome is what came of an incident.
type outcome struct {
	incident  incident
	workloads int
	// wrong are the wrong scale-downs, and harmed how many workloads they happened to.
	wrong  []string
	harmed int
	// delays are those of rightful scale-ups; missed are those that did not come.
	delays []time.Duration
	missed []string
	// falls are the delays of genuine scale-downs; held are those that did not come.
	falls []time.Duration
	held  []string
	// told is how long it took until the operator said so, and said its words; heard is false when it did not.
	told  time.Duration
	said  words
	heard bool
	// bare is the same incident without guards; nil when it was not played.
	bare *bare
}

// bare is what came of an incident in the control run.
type bare struct {
	wrong, harmed int
	falls         []time.Duration
}

// judge looks at a group from its beginning until it was watched last.
func (o *outcome) judge(g *group, w *watch, t *told) {
	m := g.noted()
	// Before its own incident a group has no reason to lose replicas either.
	from := m.watched.Add(-time.Hour)
	for n, of := range g.workloads {
		had, needed := w.line(of.key()), of.truth()
		wrong := judge.Wrong(needed, had, from, m.watched, g.plan.stabilization)
		for _, c := range wrong {
			o.wrong = append(o.wrong, fmt.Sprintf("%s (%s): %d to %d replicas, %s after the beginning, needed %d", of.key(), of.manner, c.From, c.To,
				c.At.Sub(m.began).Round(time.Second), needed.Most(c.At.Add(-g.plan.stabilization), c.At)))
		}
		o.harmed += min(1, len(wrong))
		switch {
		case g.incident.falls != nil:
			o.judgeFall(n, of, g, had)
		case !m.known.IsZero():
			o.judgeRise(of, m, had)
		}
	}
	o.told, o.said, o.heard = t.of(g)
}

func (o *outcome) judgeRise(of *workload, m marks, had judge.Line) {
	delay, followed := judge.Rise(had, busy, m.changed, m.known, m.watched)
	if !followed {
		o.missed = append(o.missed, fmt.Sprintf("%s (%s) has %d replicas, needs %d", of.key(), of.manner, had.At(m.watched), busy))
		return
	}
	o.delays = append(o.delays, delay)
}

func (o *outcome) judgeFall(n int, of *workload, g *group, had judge.Line) {
	if !g.incident.falls(n) {
		return
	}
	m := g.noted()
	delay, followed := judge.Fall(had, calm, m.changed, m.watched)
	if !followed {
		o.held = append(o.held, fmt.Sprintf("%s (%s) has %d replicas", of.key(), of.manner, had.At(m.watched)))
		return
	}
	o.falls = append(o.falls, delay)
}

// judgeControl looks at a group of the control run.
func (o *outcome) judgeControl(g *group, w *watch) {
	m := g.noted()
	o.bare = &bare{}
	for n, of := range g.workloads {
		had := w.line(of.key())
		wrong := judge.Wrong(of.truth(), had, m.began, m.watched, g.plan.stabilization)
		o.bare.wrong += len(wrong)
		o.bare.harmed += min(1, len(wrong))
		if g.incident.falls == nil || !g.incident.falls(n) {
			continue
		}
		if delay, followed := judge.Fall(had, calm, m.changed, m.watched); followed {
			o.bare.falls = append(o.bare.falls, delay)
		}
	}
}

// problems are what makes the drill fail.
func (o *outcome) problems(p plan) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, o.incident.name+": "+fmt.Sprintf(format, args...)) }
	if len(o.wrong) > 0 {
		say("%d wrong scale-downs of %d workloads, such as %s", len(o.wrong), o.harmed, o.wrong[0])
	}
	if len(o.missed) > 0 {
		say("%d workloads did not follow the load that rose, such as %s", len(o.missed), o.missed[0])
	}
	if len(o.delays) > 0 && p.patience == 0 {
		if longest := slices.Max(o.delays); longest > p.bound()+grace {
			say("a scale-up came %s after the truth was served, later than %s", longest.Round(time.Second), p.bound())
		}
	}
	if len(o.held) > 0 {
		say("%d workloads did not follow the load that fell, such as %s", len(o.held), o.held[0])
	}
	if o.bare != nil && o.incident.bites && o.bare.wrong == 0 {
		say("the control run has no wrong scale-down: the drill does not bite")
	}
	return all
}
