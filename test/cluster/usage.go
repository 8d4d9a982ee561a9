package cluster

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster/binaries"
)

// CPUTime is how much processor time, user and system, a component has used since it started, in steps of 10 ms. It is
// known on Linux only.
func (c *Cluster) CPUTime(component binaries.Component) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		if p.component != component || p.ended() {
			continue
		}
		process, err := procfs.NewProc(p.handle.Pid)
		if err != nil {
			return 0, fmt.Errorf("find the process of %s: %w", component, err)
		}
		stat, err := process.Stat()
		if err != nil {
			return 0, fmt.Errorf("read the usage of %s: %w", component, err)
		}
		return time.Duration(stat.CPUTime() * float64(time.Second)), nil
	}
	return 0, fmt.Errorf("%s does not run", component)
}
