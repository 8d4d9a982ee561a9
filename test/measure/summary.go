// Package measure is what the benchmarks share: summaries of values, and servers in processes of their own.
package measure

import (
	"math"
	"slices"
)

// Summary is what is told of several values of the same thing.
type Summary struct {
	Median, LowerQuartile, UpperQuartile, NinthDecile, Smallest, Largest float64
}

// Summarize wants at least one value.
func Summarize(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	return Summary{
		Median: quantile(sorted, 0.5), LowerQuartile: quantile(sorted, 0.25), UpperQuartile: quantile(sorted, 0.75), NinthDecile: quantile(sorted, 0.9),
		Smallest: sorted[0], Largest: sorted[len(sorted)-1],
	}
}

// quantile interpolates between the two values next to its place.
func quantile(sorted []float64, q float64) float64 {
	place := q * float64(len(sorted)-1)
	below := int(math.Floor(place))
	above := int(math.Ceil(place))
	return sorted[below] + (place-float64(below))*(sorted[above]-sorted[below])
}
