package poller

import (
	"slices"
	"time"
)

// delay measures how old the newest point is when ingestion is behind what the connection expects.
type delay struct {
	ages [8]time.Duration // of the last rounds
	n    int
}

// note takes in how old the newest point was. When ingestion is not behind, nothing is known but that.
func (d *delay) note(age time.Duration, behind bool) {
	if !behind {
		d.n = 0
		return
	}
	d.ages[d.n%len(d.ages)] = age
	d.n++
}

// lag is how long a point takes to arrive: as long as expected, or as the youngest that was seen of late.
func (d *delay) lag(expected time.Duration) time.Duration {
	if d.n == 0 {
		return expected
	}
	return max(slices.Min(d.ages[:min(d.n, len(d.ages))])-settle, expected)
}
