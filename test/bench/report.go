package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
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
	fmt.Fprintf(&b, "%s %s/%s, GOMAXPROCS %d. All samples are fresh.\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	fmt.Fprintf(&b, "### Reads through the serving library, without authorization\n\n"+
		"Rounds of one window of %s for each server, in turns. %d HTTPS connections over loopback that stay; the load runs on the same "+
		"processors. Values are medians of the windows, ratios are taken within a round. A no-op answers what ours answers and looks "+
		"nothing up. The full no-op holds the same registry in memory and never looks at it: the smaller a heap, the more often it is "+
		"collected.\n", p.window, p.connections)
	for _, d := range r.duels {
		d.print(&b)
	}
	r.authorized.printAuthorized(&b)
	fmt.Fprintf(&b, "\n### Inside the process\n\nMedian of %d rounds of %s.\n\n", p.rounds, p.benchtime)
	b.WriteString("| operation | time | range | memory | allocations |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, part := range r.parts {
		fmt.Fprintf(&b, "| %s | %s | %s to %s | %s | %d |\n", part.name, nanos(part.nanos.Median), nanos(part.nanos.Smallest), nanos(part.nanos.Largest),
			bytesOf(float64(part.bytes)), part.allocations)
	}
	fmt.Fprintf(&b, "\n### Discovery\n\n%d bindings in each API. One connection, nothing beside it.\n\n", entries)
	b.WriteString("| API | names | size | compressed | time | CPU |\n| --- | --- | ---: | ---: | ---: | ---: |\n")
	for _, d := range r.discovery {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", d.metrics, d.title, bytesOf(float64(d.size)), bytesOf(float64(d.transferred)),
			nanos(float64(d.elapsed)), nanos(float64(d.cpu)))
	}
	fmt.Fprintf(&b, "\n### Memory\n\n| | median of %d | range |\n| --- | ---: | ---: |\n", p.rounds)
	for _, row := range r.heap.rows() {
		fmt.Fprintf(&b, "| %s | %.0f B | %.0f to %.0f B |\n", row.name, row.size.Median, row.size.Smallest, row.size.Largest)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// heapRow is one size and what has it.
type heapRow struct {
	name string
	size measure.Summary
}

func (s sizes) rows() []heapRow {
	return []heapRow{
		{"registry, per binding", s.binding},
		{fmt.Sprintf("registry, per pod of a set of %d", crowdSize), s.sample},
		{"index of pods, per pod of a Deployment", s.alike},
		{"index of pods, per pod of a StatefulSet", s.unalike},
	}
}

// print writes the tables of one scene.
func (d duel) print(b *strings.Builder) {
	what := fmt.Sprintf("One answer has %d items", d.scene.items)
	if d.scene.name == byName {
		what = fmt.Sprintf("%d bindings in %d namespaces, 20 shapes, in random order", entries, namespaces)
	}
	fmt.Fprintf(b, "\n#### Reads of %s\n\n%s. %d rounds.\n\n", d.scene.title, what, d.rounds)
	b.WriteString("| | registry | no-op | full no-op |\n| --- | ---: | ---: | ---: |\n")
	for _, row := range append(rows(), collected()) {
		mine, plain, _ := d.compare(noop, row.value)
		_, full, _ := d.compare(noopFull, row.value)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", row.name, row.show(mine.Median), row.show(plain.Median), row.show(full.Median))
	}
	b.WriteString("\n| registry beside | | ratio (median) | middle half | range |\n| --- | --- | ---: | ---: | ---: |\n")
	for _, other := range []struct{ kind, name string }{{noop, "no-op"}, {noopFull, "full no-op"}} {
		for _, row := range rows() {
			_, _, ratio := d.compare(other.kind, row.value)
			fmt.Fprintf(b, "| %s | %s | %.3f | %.3f to %.3f | %.3f to %.3f |\n", other.name, row.name,
				ratio.Median, ratio.LowerQuartile, ratio.UpperQuartile, ratio.Smallest, ratio.Largest)
		}
	}
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
