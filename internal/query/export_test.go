package query

// The names of metrics and labels in the notations of both APIs.
var (
	PromQLName  = promQLName
	DataName    = dataName
	PromQLLabel = promQLLabel
	DataLabel   = dataLabel
)
