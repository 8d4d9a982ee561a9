package cluster

import "testing"

func TestNoPortIsGivenTwice(t *testing.T) {
	given := map[int]bool{}
	for range 50 {
		ports, err := FreePorts(3)
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range ports {
			if given[port] || port < firstPort || port > lastPort {
				t.Errorf("port %d is given, although %t", port, given[port])
			}
			given[port] = true
		}
	}
}
