package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// row is what something took.
type row struct {
	name      string
	wall, cpu time.Duration
	memory    int64 // bytes that were resident at most, of all its processes together
}

// add puts something that ran afterwards to a row.
func (r *row) add(other row) {
	r.wall += other.wall
	r.cpu += other.cpu
	r.memory = max(r.memory, other.memory)
}

// waiting is the time in which a row has left the machine's cores idle, as if it had been alone.
func (r row) waiting() time.Duration { return max(0, r.wall-r.cpu/time.Duration(runtime.NumCPU())) }

// print prints rows as a table of Markdown.
func print(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	fmt.Fprintln(w, "part\tseconds\tCPU seconds\twaiting\tpeak MiB\t")
	fmt.Fprintln(w, "---\t---:\t---:\t---:\t---:\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%d\t\n", r.name, r.wall.Seconds(), r.cpu.Seconds(), r.waiting().Seconds(), r.memory>>20)
	}
	return w.Flush()
}
