package pods

// Remembered is how many pods an index holds.
func Remembered(x *Index) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, namespace := range x.namespaces {
		n += len(namespace.history)
	}
	return n
}
