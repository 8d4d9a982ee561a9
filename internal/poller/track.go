package poller

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
)

const (
	// firstQuarantine and longestQuarantine bound how long a refused query is left alone, which doubles from refusal to refusal.
	firstQuarantine   = time.Minute
	longestQuarantine = 30 * time.Minute
	// misses is how many rounds in a row a request has to fail, while its connection answers others, to be halved.
	misses = 3
	// manyRows is from how many rows on an answer is halved before it comes near to what Sysdig returns at most.
	manyRows = 50_000
	// reunite is how long the halves of a request have to do well until it is tried as a whole again.
	reunite = time.Hour
)

// wait is a place in the queue.
type wait struct {
	// due is when the request is to be sent again, zero when it never was.
	due time.Time
	// turn grows with every request that is planned. The one whose last turn is longest ago goes first.
	turn int
}

// track is what is remembered of a request from round to round.
type track struct {
	wait
	// busy while one is under way: never two at a time.
	busy bool
	// missed counts rounds in a row that gave no answer, and slow is set when the last one ran into its deadline.
	missed int
	slow   bool
	// rows is how many the last answer had, and calls how many HTTP requests it took; 0 before there was one.
	rows, calls int
	// refused is why Sysdig refuses the request, and until when it is left alone; nil when it does not.
	refused *metric.Failure
	until   time.Time
	pause   *backoff.ExponentialBackOff
	// trial is set when the request was halved before and is tried as a whole again.
	trial bool
}

// quarantined is why the request is left alone at a time; nil when it may be sent.
func (t *track) quarantined(now time.Time) *metric.Failure {
	if t.refused == nil || !now.Before(t.until) {
		return nil
	}
	return t.refused
}

// answered notes an answer.
func (t *track) answered(rows int) {
	t.missed, t.rows, t.refused, t.pause, t.trial = 0, rows, nil, nil, false
}

// refuse leaves the request alone for a while, the longer the more often.
func (t *track) refuse(why *metric.Failure, now time.Time) {
	if t.pause == nil {
		t.pause = &backoff.ExponentialBackOff{InitialInterval: firstQuarantine, Multiplier: 2, RandomizationFactor: 0.1, MaxInterval: longestQuarantine}
	}
	until := now.Add(t.pause.NextBackOff())
	t.missed, t.until = 0, until
	t.refused = why.Add(fmt.Sprintf("; the query is tried again at %s or when it is edited", until.UTC().Format(time.TimeOnly)))
}

// release ends the quarantine.
func (t *track) release() { t.refused, t.pause = nil, nil }

// retuned ends the quarantine of a request that cost more than the connection allowed, which its quota decides and not Sysdig.
func (t *track) retuned() {
	if t.refused != nil && t.refused.Reason == metric.Truncated {
		t.release()
	}
}

// state says what is wrong with the request; empty when nothing is.
func (t *track) state(now time.Time) string {
	switch {
	case t.quarantined(now) != nil:
		return string(t.refused.Reason) + ": " + t.refused.Full()
	case t.missed > 0:
		return fmt.Sprintf("not answered for %d rounds", t.missed)
	}
	return ""
}
