package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// The targets at the largest size.
const (
	targetSize     = 10_000
	targetRequests = 25               // a round
	targetMemory   = 200 << 20        // resident
	targetCPU      = 0.05             // of one core, without reads
	targetReady    = 20 * time.Second // from the start
	targetServed   = 22.0             // seconds from a step to its value, the median
)

// report is everything that was measured.
type report struct {
	way      way
	requests []tally
	sizes    []result
	reaction *reaction
}

// wrong is everything that is not as it should be. A target that was missed is not among it.
func (r report) wrong() error {
	var all []error
	for _, s := range r.sizes {
		for i, text := range s.wrong {
			if i == 10 {
				all = append(all, fmt.Errorf("%d bindings: and %d more", s.scene.bindings, len(s.wrong)-i))
				break
			}
			all = append(all, fmt.Errorf("%d bindings: %s", s.scene.bindings, text))
		}
	}
	return errors.Join(all...)
}

// print writes all tables as Markdown.
func (r report) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s, %d processors.\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if len(r.requests) > 0 {
		printRequests(&b, r.requests)
	}
	if len(r.sizes) > 0 {
		r.printScale(&b)
		r.printNaive(&b)
	}
	if r.reaction != nil {
		r.reaction.print(&b)
	}
	r.printTargets(&b)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// row is one line of a table: a value of each size.
type row struct {
	name string
	show func(result) string
}

func scaleRows() []row {
	return []row{
		{"namespaces", func(r result) string { return whole(float64(r.scene.namespaces)) }},
		{"pods", func(r result) string { return whole(float64(r.scene.pods())) }},
		{"requests to Sysdig in a round", func(r result) string { return whole(r.reading.perRound()) }},
		{"requests to Sysdig per minute", func(r result) string { return tenths(r.reading.perMinute(float64(r.reading.traffic.Requests))) }},
		{"a round, from the first request to the last answer", func(r result) string { return millis(r.reading.roundTime()) }},
		{"start to Ready", func(r result) string { return seconds(r.ready.Seconds()) }},
		{"memory, without HPAs (peak)", func(r result) string { return r.idle.memory.String() }},
		{"memory, with HPAs (peak)", func(r result) string { return r.reading.memory.String() }},
		{"CPU per minute, without HPAs", func(r result) string { return seconds(r.idle.cpuPerMinute()) }},
		{"CPU per minute, with HPAs", func(r result) string { return seconds(r.reading.cpuPerMinute()) }},
		{"reads answered per minute", func(r result) string { return whole(r.reading.perMinute(r.reading.counted.served)) }},
		{"reads that failed", func(r result) string { return whole(r.reading.counted.failed) }},
		{"CPU per read", func(r result) string { return millis(1000 * r.cpuPerRead()) }},
		{"read through the API server, median", func(r result) string { return millis(measure.Summarize(r.reading.latencies).Median) }},
		{"read through the API server, 90 %", func(r result) string { return millis(measure.Summarize(r.reading.latencies).NinthDecile) }},
		{"access reviews per minute", func(r result) string { return whole(r.reading.perMinute(r.reading.counted.reviews)) }},
		{"writes per minute, without HPAs", func(r result) string { return r.idle.writes() }},
		{"writes per minute, with HPAs", func(r result) string { return r.reading.writes() }},
	}
}

func (r report) printScale(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Scale\n\n%s, interval %s, sync period of the HPAs %s, one HPA for each binding.\n", r.way, interval, syncPeriod)
	for _, s := range r.sizes {
		fmt.Fprintf(b, "%d bindings were made in %s; their HPAs had all read a value after %s.\n",
			s.scene.bindings, s.created.Round(time.Second), s.synced.Round(time.Second))
	}
	r.table(b, scaleRows(), func(result) bool { return true })
}

// naiveRows compare one query per read with ours.
func naiveRows() []row {
	return []row{
		{"reads answered per minute", func(r result) string { return whole(r.naive.perMinute(r.naive.counted.served)) }},
		{"reads that failed", func(r result) string { return whole(r.naive.counted.failed) }},
		{"requests to Sysdig per minute", func(r result) string { return whole(r.naive.requestsPerMinute()) }},
		{"… as a multiple of ours", func(r result) string { return tenths(r.naive.requestsPerMinute() / r.reading.requestsPerMinute()) }},
		{"CPU per minute", func(r result) string { return seconds(r.naive.cpuPerMinute()) }},
		{"CPU per read", func(r result) string { return millis(1000 * r.naive.counted.cpu / r.naive.counted.served) }},
		{"… as a multiple of ours", func(r result) string { return tenths(r.naive.counted.cpu / r.naive.counted.served / r.cpuPerRead()) }},
		{"read through the API server, median", func(r result) string { return millis(measure.Summarize(r.naive.latencies).Median) }},
		{"read through the API server, 90 %", func(r result) string { return millis(measure.Summarize(r.naive.latencies).NinthDecile) }},
	}
}

func (r report) printNaive(b *strings.Builder) {
	measured := func(r result) bool { return r.naive != nil && len(r.naive.latencies) > 0 && r.naive.counted.served > 0 }
	for _, s := range r.sizes {
		if measured(s) {
			b.WriteString("\n### One query per read\n\nAn adapter that asks when it is read, on the same serving library, with the same HPAs. " +
				"The stand-in answers within milliseconds.\n")
			r.table(b, naiveRows(), measured)
			return
		}
	}
}

// table has a column for each size that is wanted.
func (r report) table(b *strings.Builder, rows []row, wanted func(result) bool) {
	b.WriteString("\n| bindings |")
	line := "| --- |"
	for _, s := range r.sizes {
		if wanted(s) {
			fmt.Fprintf(b, " %s |", whole(float64(s.scene.bindings)))
			line += " ---: |"
		}
	}
	b.WriteString("\n" + line + "\n")
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |", row.name)
		for _, s := range r.sizes {
			if wanted(s) {
				fmt.Fprintf(b, " %s |", row.show(s))
			}
		}
		b.WriteString("\n")
	}
}

// print writes the distribution of reactions.
func (r reaction) print(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Reaction\n\n%d steps. Points every 10 s and visible after %s, interval %s, sync period of the HPAs %s.\n\n",
		len(r.served), stepLag, stepInterval, syncPeriod)
	b.WriteString("| from the step of the load until | least | median | 90 % | most |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, line := range []struct {
		name   string
		values []float64
	}{{"its value is served", r.served}, {"the HPA has scaled", r.scaled}} {
		s := measure.Summarize(line.values)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", line.name, seconds(s.Smallest), seconds(s.Median), seconds(s.NinthDecile), seconds(s.Largest))
	}
}

// printTargets says of each target whether it was met.
func (r report) printTargets(b *strings.Builder) {
	heading := "\n### Targets\n\n| target | measured | |\n| --- | ---: | --- |\n"
	line := func(name, measured string, met bool) {
		b.WriteString(heading)
		heading = ""
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, measured, verdict)
	}
	for _, s := range r.sizes {
		if s.scene.bindings != targetSize {
			continue
		}
		of := fmt.Sprintf("%s bindings: ", whole(targetSize))
		requests, cpu := s.reading.perRound(), s.idle.cpuPerMinute()/60
		line(fmt.Sprintf("%sat most %d requests in a round", of, targetRequests), whole(requests), requests <= targetRequests)
		line(fmt.Sprintf("%sat most %d MiB of memory", of, targetMemory>>20), mebibytes(s.reading.memory.now), s.reading.memory.now <= targetMemory)
		line(fmt.Sprintf("%sat most %.0f %% of one core without reads", of, 100*targetCPU), fmt.Sprintf("%.1f %%", 100*cpu), cpu <= targetCPU)
		line(fmt.Sprintf("%sReady %s after the start", of, targetReady), seconds(s.ready.Seconds()), s.ready <= targetReady)
	}
	if r.reaction != nil {
		median := measure.Summarize(r.reaction.served).Median
		line(fmt.Sprintf("a step is served within %.0f s (median)", targetServed), seconds(median), median <= targetServed)
	}
}

// perRound is the median of the requests in a round.
func (w window) perRound() float64 {
	return w.median(func(r round) float64 { return float64(r.Requests) })
}

// roundTime is the median of the time of a round, in milliseconds.
func (w window) roundTime() float64 {
	return w.median(func(r round) float64 { return float64(r.Took.Microseconds()) / 1000 })
}

func (w window) median(of func(round) float64) float64 {
	var all []float64
	for _, r := range w.traffic.Rounds {
		all = append(all, of(r))
	}
	if len(all) == 0 {
		return 0
	}
	return measure.Summarize(all).Median
}

func (w window) requestsPerMinute() float64 { return w.perMinute(float64(w.traffic.Requests)) }

// cpuPerMinute is in seconds.
func (w window) cpuPerMinute() float64 { return w.perMinute(w.counted.cpu) }

// cpuPerRead is in seconds, without what is used anyway.
func (r result) cpuPerRead() float64 {
	return (r.reading.cpuPerMinute() - r.idle.cpuPerMinute()) / r.reading.perMinute(r.reading.counted.served)
}

// writes tells the writes per minute and what they are.
func (w window) writes() string {
	return fmt.Sprintf("%s (status %s, leases %s, events %s)", whole(w.perMinute(w.counted.writes())), whole(w.perMinute(w.counted.status)),
		whole(w.perMinute(w.counted.leases)), whole(w.perMinute(w.counted.events())))
}

// String shows what is resident and what was at most.
func (m memory) String() string { return fmt.Sprintf("%s (%s)", mebibytes(m.now), mebibytes(m.peak)) }

func mebibytes(n uint64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
func seconds(v float64) string  { return fmt.Sprintf("%.1f s", v) }
func millis(v float64) string   { return fmt.Sprintf("%.2f ms", v) }
func tenths(v float64) string   { return fmt.Sprintf("%.1f", v) }

// whole shows a whole number with commas.
func whole(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
