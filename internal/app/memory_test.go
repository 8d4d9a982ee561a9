package app

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestTheRuntimeKeepsWithinTheMemoryOfTheContainer: GOMEMLIMIT is all of it, and Go's runtime does not count all that is used.
func TestTheRuntimeKeepsWithinTheMemoryOfTheContainer(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for said, want := range map[int64]int64{500 << 20: 450 << 20, math.MaxInt64: math.MaxInt64} {
		debug.SetMemoryLimit(said)
		if got := limitMemory(); got != want || debug.SetMemoryLimit(-1) != want {
			t.Errorf("of %d: %d, and the runtime keeps to %d, want %d", said, got, debug.SetMemoryLimit(-1), want)
		}
	}
}
