package main

import (
	"math"
	"slices"
)

// summary is what is told of several values of the same thing.
type summary struct {
	median, lowerQuartile, upperQuartile, smallest, largest float64
}

// summarize wants at least one value.
func summarize(values []float64) summary {
	sorted := slices.Sorted(slices.Values(values))
	return summary{
		median: quantile(sorted, 0.5), lowerQuartile: quantile(sorted, 0.25), upperQuartile: quantile(sorted, 0.75),
		smallest: sorted[0], largest: sorted[len(sorted)-1],
	}
}

// quantile interpolates between the two values next to its place.
func quantile(sorted []float64, q float64) float64 {
	place := q * float64(len(sorted)-1)
	below := int(math.Floor(place))
	above := int(math.Ceil(place))
	return sorted[below] + (place-float64(below))*(sorted[above]-sorted[below])
}
