package main

import "time"

// phase is a stretch of the story: a load, and the replicas that flask has to settle at.
type phase struct {
	name            string
	rps             float64 // of all pods together
	lowest, highest int32   // replicas
	hold            time.Duration
	deadline        time.Duration
}

// story is what the demo plays. The first value comes after 50 seconds, and the first phase lasts until its window of a minute is whole.
func story() []phase {
	return []phase{
		{name: "steady", rps: 20, lowest: 2, highest: 2, hold: 30 * time.Second, deadline: 3 * time.Minute},
		{name: "load", rps: 800, lowest: 7, highest: 9, hold: 30 * time.Second, deadline: 6 * time.Minute},
		{name: "idle", rps: 0, lowest: 2, highest: 2, hold: 10 * time.Second, deadline: 5 * time.Minute},
	}
}

// wants tells whether a sample is what the phase is to settle at: a metric, and the replicas both asked for and ready.
func (p phase) wants(s sample) bool {
	within := func(n int32) bool { return n >= p.lowest && n <= p.highest }
	return s.err == nil && s.metric != nil && within(s.desired) && within(s.ready)
}

// verdict is what is known of a phase.
type verdict int

const (
	open verdict = iota // it goes on
	held                // the replicas settled and stayed
	late                // the deadline passed before
)

// watch follows a phase.
type watch struct {
	phase   phase
	started time.Time
	settled time.Time // since when every sample was what the phase wants; zero when the last one was not
}

// see takes a sample into account.
func (w watch) see(s sample) (watch, verdict) {
	switch {
	case !w.phase.wants(s):
		w.settled = time.Time{}
	case w.settled.IsZero():
		w.settled = s.at
	}
	switch {
	case !w.settled.IsZero() && s.at.Sub(w.settled) >= w.phase.hold:
		return w, held
	case s.at.Sub(w.started) >= w.phase.deadline:
		return w, late
	}
	return w, open
}
