package query

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed metrics.tsv
var metricsTSV string

// kind tells what the points of a metric of Sysdig's agents are.
type kind string

const (
	// counter has points that are the count or sum of an agent interval: it never only rises.
	counter kind = "counter"
	// gauge has points that are a level, a mean or a share.
	gauge kind = "gauge"
)

// known is a metric of Sysdig's agents.
type known struct {
	// dotted is its name in the data API, and promQL in the Prometheus API, of containers where they have it; empty where that has none.
	dotted, promQL string
	// kind is empty where Sysdig does not document it.
	kind kind
	// unit is number, byte, ns, s or %.
	unit string
	// scopes are whose metric it is: container, host, program, connection, filesystem, jmx. promQL is of the first.
	scopes []string
	// others are the names of the first scope that other pages of Sysdig's have in place of promQL.
	others []string
}

// sysdigMetric finds a metric of Sysdig's agents by its name in either notation and of any scope.
func sysdigMetric(name string) (m known, ok bool) {
	m, ok = metricTable()[name]
	return m, ok
}

// metricTable has the metrics of metrics.tsv by each of their names.
var metricTable = sync.OnceValue(func() map[string]known {
	table := map[string]known{}
	for line := range strings.Lines(metricsTSV) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for name, m := range metricsOf(strings.Split(strings.TrimSuffix(line, "\n"), "\t")) {
			table[name] = m
		}
	}
	return table
})

// metricsOf reads a row of metrics.tsv: a metric by each of its names.
func metricsOf(row []string) map[string]known {
	list := func(text string) []string { return strings.Fields(strings.TrimPrefix(text, "-")) }
	m := known{dotted: row[0], scopes: list(row[1]), kind: kind(strings.TrimPrefix(row[4], "-")), unit: row[5]}
	words := append(list(row[2]), list(row[3])...)
	var names []string
	for i, rest := range words {
		_, after, other := strings.Cut(rest, ":") // the source of other words
		if other {
			rest = after
		}
		for j, scope := range m.scopes {
			name := prefixOf(scope) + rest
			names = append(names, name)
			switch {
			case i == 0 && j == 0:
				m.promQL = name
			case j == 0:
				m.others = append(m.others, name)
			}
		}
	}
	metrics := map[string]known{m.dotted: m}
	for _, name := range names {
		metrics[name] = m
	}
	return metrics
}

// prefixOf is the beginning of the PromQL names of a scope.
func prefixOf(scope string) string {
	switch scope {
	case "jmx":
		return "jmx_"
	case "filesystem":
		return "sysdig_"
	}
	return "sysdig_" + scope + "_"
}
