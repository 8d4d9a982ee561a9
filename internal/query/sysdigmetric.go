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
		m, names := readMetric(strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		for _, name := range names {
			table[name] = m
		}
	}
	return table
})

// readMetric reads a row of metrics.tsv: a metric and all of its names.
func readMetric(row []string) (m known, names []string) {
	list := func(text string) []string { return strings.Fields(strings.TrimPrefix(text, "-")) }
	m = known{dotted: row[0], scopes: list(row[1]), kind: kind(strings.TrimPrefix(row[4], "-")), unit: row[5]}
	names = []string{m.dotted}
	for i, scope := range m.scopes {
		promQL := prefixOf(scope) + row[2]
		var others []string
		for _, other := range list(row[3]) {
			_, words, _ := strings.Cut(other, ":") // behind its source
			others = append(others, prefixOf(scope)+words)
		}
		if i == 0 {
			m.promQL, m.others = promQL, others
		}
		names = append(append(names, promQL), others...)
	}
	return m, names
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
