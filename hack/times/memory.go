package main

import (
	"time"

	"github.com/prometheus/procfs"
)

// watchMemory looks at a process and all below it once a second. The returned function ends that, and returns the most memory that was
// resident; nothing where there is no /proc.
func watchMemory(pid int) (peak func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				most = max(most, resident(pid))
			case <-stop:
				result <- most
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-result
	}
}

// resident is the memory of a process and all below it. Pages that they share are counted for each.
func resident(root int) (bytes int64) {
	all, err := procfs.AllProcs()
	if err != nil {
		return 0
	}
	children, memory := map[int][]int{}, map[int]int64{}
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil {
			continue // It has ended meanwhile.
		}
		children[stat.PPID] = append(children[stat.PPID], p.PID)
		memory[p.PID] = int64(stat.ResidentMemory())
	}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		bytes += memory[next[0]]
		next = append(next, children[next[0]]...)
	}
	return bytes
}
