package query

import "github.com/prometheus/common/model"

// MaxListed is how many names Listing asks about at most. With all of them it has 13 KB.
const MaxListed = 50

// Listing is the PromQL that tells which of some metrics there are: each that has a point within the lookback is the label __name__ of a
// row. It looks at everything that the token sees, as the list of all metrics does.
func Listing(names []string) string {
	return "group by (" + model.MetricNameLabel + ") ({" + oneOf(model.MetricNameLabel, names, true) + "})"
}
