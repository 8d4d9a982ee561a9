package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// row is one comparison of the two servers. show formats a value with its unit.
type row struct {
	name  string
	value func(window) float64
	show  func(float64) string
}

func rows() []row {
	return []row{
		{"CPU per read", window.cpuPerRead, nanos},
		{"reads per second", window.readsPerSecond, func(v float64) string { return fmt.Sprintf("%.0f/s", v) }},
		{"memory allocated per read", window.bytesPerRead, bytesOf},
		{"allocations per read", window.allocsPerRead, func(v float64) string { return fmt.Sprintf("%.1f", v) }},
	}
}

// collected explains the difference between the two that do nothing. A short window may have none, and no ratio.
func collected() row {
	return row{"garbage collections per 1,000 reads", window.collections, func(v float64) string { return fmt.Sprintf("%.2f", v) }}
}

// print writes all tables as Markdown.
func (r results) print(out io.Writer) error {
	var b strings.Builder
	p := r.plan
	fmt.Fprintf(&b, "%s %s/%s, GOMAXPROCS %d. %d bindings in %d namespaces, 20 shapes, all with a fresh sample.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), entries, namespaces)
	fmt.Fprintf(&b, "### Reads through the serving library, without authorization\n\n"+
		"%d rounds of one window of %s each, in turns. %d HTTPS connections over loopback that stay, reads of objects by name in "+
		"random order; the load runs on the same processors. Values are medians of the windows, ratios are taken within a round. "+
		"The full no-op holds the same registry in memory and never looks at it: the smaller a heap, the more often it is collected.\n\n",
		p.pairs, p.window, p.connections)
	b.WriteString("| | registry | no-op | full no-op |\n| --- | ---: | ---: | ---: |\n")
	for _, row := range append(rows(), collected()) {
		mine, plain, _ := r.duel.compare(noop, row.value)
		_, full, _ := r.duel.compare(noopFull, row.value)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.name, row.show(mine.median), row.show(plain.median), row.show(full.median))
	}
	b.WriteString("\n| registry beside | | ratio (median) | middle half | range |\n| --- | --- | ---: | ---: | ---: |\n")
	for _, other := range []struct{ kind, name string }{{noop, "no-op"}, {noopFull, "full no-op"}} {
		for _, row := range rows() {
			_, _, ratio := r.duel.compare(other.kind, row.value)
			fmt.Fprintf(&b, "| %s | %s | %.3f | %.3f to %.3f | %.3f to %.3f |\n", other.name, row.name,
				ratio.median, ratio.lowerQuartile, ratio.upperQuartile, ratio.smallest, ratio.largest)
		}
	}
	fmt.Fprintf(&b, "\n### Inside the process\n\nMedian of %d rounds of %s.\n\n", p.rounds, p.benchtime)
	b.WriteString("| operation | time | range | memory | allocations |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, part := range r.parts {
		fmt.Fprintf(&b, "| %s | %s | %s to %s | %s | %d |\n", part.name, nanos(part.nanos.median), nanos(part.nanos.smallest), nanos(part.nanos.largest),
			bytesOf(float64(part.bytes)), part.allocations)
	}
	fmt.Fprintf(&b, "\n### Memory\n\n| | median of %d | range |\n| --- | ---: | ---: |\n| heap of the registry per binding | %.0f B | %.0f to %.0f B |\n",
		p.rounds, r.perEntry.median, r.perEntry.smallest, r.perEntry.largest)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// nanos shows a number of nanoseconds.
func nanos(v float64) string {
	switch {
	case v < 1e3:
		return fmt.Sprintf("%.0f ns", v)
	case v < 1e6:
		return fmt.Sprintf("%.1f µs", v/1e3)
	default:
		return fmt.Sprintf("%.1f ms", v/1e6)
	}
}

// bytesOf shows a number of bytes.
func bytesOf(v float64) string {
	switch {
	case v < 1<<10:
		return fmt.Sprintf("%.0f B", v)
	case v < 1<<20:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	}
}
