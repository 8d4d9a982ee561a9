package main

import (
	"runtime"
	"time"
)

// measureHeap is by how much the heap grows for each binding: its definition and its reading, in a registry.
func measureHeap(rounds int) (summary, error) {
	var grown []float64
	for range rounds + 1 {
		before := heap()
		board, all, err := filled()
		if err != nil {
			return summary{}, err
		}
		board.File(outcomes(all, time.Now())) // what only the first round leaves behind counts too
		grown = append(grown, (float64(heap())-float64(before))/entries)
		runtime.KeepAlive(board)
	}
	return summarize(grown[1:]), nil // the first one also pays for what libraries keep
}

// heap is the size of everything that is in use. The second collection takes what the first one has only let go.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
