package query

// The names of metrics and labels in the notations of both APIs.
var (
	PromQLName  = promQLName
	DataName    = dataName
	PromQLLabel = promQLLabel
	DataLabel   = dataLabel
)

// The kinds of metrics.
const (
	Counter = string(counter)
	Gauge   = string(gauge)
)

// Row is a row of the table of Sysdig's metrics.
type Row struct {
	Dotted, PromQL, Kind, Unit string
	Scopes, Others             []string
}

// Rows are those of the table, by all of their names.
func Rows() map[string]Row {
	rows := map[string]Row{}
	for name, m := range metricTable() {
		rows[name] = Row{m.dotted, m.promQL, string(m.kind), m.unit, m.scopes, m.others}
	}
	return rows
}

// MetricsTSV is the table as it is written.
var MetricsTSV = metricsTSV
