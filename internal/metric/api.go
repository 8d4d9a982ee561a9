package metric

// API is one of the two API groups that HPAs ask.
type API string

// The API groups.
const (
	// CustomMetrics serves Object and Pods metrics.
	CustomMetrics API = "custom.metrics.k8s.io"
	// ExternalMetrics serves External metrics.
	ExternalMetrics API = "external.metrics.k8s.io"
)

// APIs lists both, so that metrics can show each from the start.
func APIs() []API { return []API{CustomMetrics, ExternalMetrics} }
