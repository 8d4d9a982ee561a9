package pods

// Bounds of what is remembered.
const (
	MaxFollowed   = maxFollowed
	MaxDepartures = maxDepartures
	MaxGone       = maxGone
)

// Remembered is how much an index holds of pods that were other pods: selectors, pods that have left them, and labels that are gone.
func Remembered(x *Index) (selectors, departures, gone int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, n := range x.namespaces {
		selectors += len(n.followed)
		gone += len(n.gone)
		for _, f := range n.followed {
			departures += len(f.left)
		}
	}
	return selectors, departures, gone
}

// Namespaces is how many namespaces an index knows anything of.
func Namespaces(x *Index) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.namespaces)
}
