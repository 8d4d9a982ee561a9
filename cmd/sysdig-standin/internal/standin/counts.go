package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// maxCounts is the largest body with counts: those of some ten thousand pods.
const maxCounts = 1 << 20

// counts takes what an agent has counted in a cluster: the requests of each pod of a workload in one bucket.
type counts struct {
	load      *sysdigtest.Load
	workloads map[string]sysdigtest.Workload
}

// ServeHTTP takes an object of requests by pod, with the parameters workload and time, which is the end of the bucket in RFC 3339.
func (c *counts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answered(func(params url.Values) error {
		var requests map[string]float64
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCounts)).Decode(&requests); err != nil {
			return fmt.Errorf("requests of each pod: %w", err)
		}
		return c.record(params, requests)
	}).ServeHTTP(w, r)
}

func (c *counts) record(params url.Values, requests map[string]float64) error {
	if err := only(params, "workload", "time"); err != nil {
		return err
	}
	workload, ok := c.workloads[params.Get("workload")]
	if !ok {
		return fmt.Errorf("workload: no %q is counted here", params.Get("workload"))
	}
	end, err := time.Parse(time.RFC3339, params.Get("time"))
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if !end.Truncate(sysdigtest.Interval).Equal(end) {
		return fmt.Errorf("time: no bucket ends at %s, they are of %s", end, sysdigtest.Interval)
	}
	for pod, n := range requests {
		if pod == "" || n < 0 {
			return fmt.Errorf("requests: %q has %v", pod, n)
		}
	}
	c.load.Record(workload, end, requests)
	return nil
}
