package pods

// Remembered is how many pods an index holds.
func Remembered(x *Index) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, names := range x.pods {
		n += len(names)
	}
	return n
}
