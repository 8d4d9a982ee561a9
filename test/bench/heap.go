package main

import (
	"runtime"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/query"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/measure"
)

// sizes are by how many bytes the heap grows for each of something.
type sizes struct {
	binding measure.Summary // its definition and its reading, in a registry
	sample  measure.Summary // of a pod of a set, in a registry
	alike   measure.Summary // a pod of a Deployment, in the index of pods
	unalike measure.Summary // a pod of a StatefulSet, in the index of pods
}

func measureHeap(rounds int) (s sizes, err error) {
	if s.binding, err = perBinding(rounds); err != nil {
		return s, err
	}
	if s.sample, err = perSample(rounds); err != nil {
		return s, err
	}
	s.alike, s.unalike = perPod(rounds, alike), perPod(rounds, unalike)
	return s, nil
}

func perBinding(rounds int) (measure.Summary, error) {
	var grown []float64
	for range rounds + 1 {
		before := heap()
		board, all, err := filled()
		if err != nil {
			return measure.Summary{}, err
		}
		board.File(outcomes(all, time.Now())) // what only the first round leaves behind counts too
		grown = append(grown, (float64(heap())-float64(before))/entries)
		runtime.KeepAlive(board)
	}
	return measure.Summarize(grown[1:]), nil // the first one also pays for what libraries keep
}

// perSample counts the names of pods in: each answer brings its own.
func perSample(rounds int) (measure.Summary, error) {
	var grown []float64
	d, err := set("Pod", podResource, map[string]string{appLabel: alike})
	if err != nil {
		return measure.Summary{}, err
	}
	names := make([]string, crowdSize)
	for i := range names {
		names[i] = podOf(crowded, alike, i).Name
	}
	for range rounds + 1 {
		board := newBoard(nobody(), d)
		before := heap()
		for range 2 { // what only the first round leaves behind counts too
			outcome, _, err := outcomeOf(d, names, time.Now())
			if err != nil {
				return measure.Summary{}, err
			}
			board.File([]query.Outcome{outcome})
		}
		grown = append(grown, (float64(heap())-float64(before))/crowdSize)
		runtime.KeepAlive(board)
	}
	return measure.Summarize(grown[1:]), nil
}

// perPod does not count what the cache of the API server's objects holds: names and labels.
func perPod(rounds int, app string) measure.Summary {
	var grown []float64
	all := crowd(app, crowdSize)[:crowdSize]
	for range rounds + 1 {
		before := heap()
		index := indexOf(all)
		grown = append(grown, (float64(heap())-float64(before))/crowdSize)
		runtime.KeepAlive(index)
	}
	runtime.KeepAlive(all)
	return measure.Summarize(grown[1:])
}

// heap is the size of everything that is in use. The second collection takes what the first one has only let go.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
