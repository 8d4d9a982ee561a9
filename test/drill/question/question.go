// Package question is what the outage drill tells the adapter of its control run.
package question

import (
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

// PodLabel names the pods of an answer.
const PodLabel = sysdigtest.LabelPod

// Set is everything that can be read.
type Set struct {
	// Lag is how old the points are that are asked for.
	Lag     time.Duration
	Sources []Source
}

// Source is a Sysdig that knows the workloads of one namespace.
type Source struct {
	Namespace, URL, Token string
	CABundle              []byte
	// Queries are by the name of the workload.
	Queries map[string]string
}
