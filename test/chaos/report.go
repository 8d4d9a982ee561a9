package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// crashFailures is how many reads may fail around a crash: those under way, and those that the balancer sends to what is gone
	// until it has looked again.
	crashFailures = readers * int(2*probeEvery/readPause)
	// growth is how much more memory a replica may hold after a fault.
	growth = 64 << 20
)

// row is what was seen of one fault.
type row struct {
	fault           fault
	seen            *seen
	took, recovered time.Duration
	before, after   int
}

type report struct{ rows []row }

func (r *report) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| fault | reads | failed | for | API server away | oldest sample | wrong scalings | HPA without metrics for | recovered after | APIService flaps | api-resources failed | namespaces stuck | MiB |\n")
	b.WriteString("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, row := range r.rows {
		if s := row.seen; s != nil {
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %d | %s | %d | %s | %s | %d | %d | %d of %d | %d → %d |\n",
				row.fault.name, s.reads, failures(s), brief(s.last.Sub(s.first)), s.unreached, brief(s.oldest), s.wrong, brief(s.missed), brief(row.recovered),
				s.flaps, s.discovery, s.namespaces, s.namespaces+s.deleted, row.before>>20, row.after>>20)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// failures are how many reads failed, and in which words.
func failures(s *seen) string {
	if s.failed == 0 {
		return "0"
	}
	var words []string
	for _, word := range slices.Sorted(maps.Keys(s.words)) {
		words = append(words, fmt.Sprintf("%d %s", s.words[word], word))
	}
	return fmt.Sprintf("**%d** (%s)", s.failed, strings.Join(words, ", "))
}

func brief(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// wrong is what must not be.
func (r *report) wrong() error {
	var all []error
	for _, row := range r.rows {
		if row.seen == nil {
			continue
		}
		for what, bad := range row.broken() {
			if bad {
				all = append(all, fmt.Errorf("%s: %s", row.fault.name, what))
			}
		}
	}
	return errors.Join(all...)
}

// broken tells which of the promises were broken.
func (r row) broken() map[string]bool {
	s, f := r.seen, r.fault
	return map[string]bool{
		"reads failed":             f.graceful && s.failed > 0,
		"too many reads failed":    f.crash && s.failed > crashFailures,
		"no read failed":           f.errors && s.failed == 0,
		"replicas changed":         s.wrong > 0,
		"an HPA missed two syncs":  (f.graceful || f.crash) && s.missed > syncPeriod*3/2,
		"an APIService flapped":    (f.graceful || f.crash || f.errors) && s.flaps > 0,
		"api-resources failed":     (f.graceful || f.errors) && s.discovery > 0,
		"a namespace was stuck":    s.namespaces > 0,
		"the memory grew":          r.after > r.before+growth,
		"a sample was too old":     s.oldest > maxAge+window,
		"hardly anything was read": s.reads < 50,
		"no namespace was deleted": s.deleted == 0 && r.took > time.Minute,
	}
}
